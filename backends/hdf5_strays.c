// SPDX-License-Identifier: Apache-2.0
#include "hdf5_strays.h"
#include "chunk_index.h"
#include "hdf5_folder.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FORGOTTEN (24 * 60 * 60) /* seconds: nobody is still at it, on any machine */

/* A writer that was killed leaves its temporary file. */
static bool is_forgotten(int dir, const char *file)
{
    struct stat st;

    return hdf5_temporary_is(file) && fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           st.st_mtime < time(NULL) - FORGOTTEN;
}

/* A chunk's file, but of no chunk in the grid, or of a writer that is no more. */
static bool is_stray(int dir, const struct dn_desc *desc, const char *file)
{
    int64_t index[DN_MAX_NDIM];
    int ndim = hdf5_chunk_parse(file, index);

    return ndim != 0 ? !chunk_index_is_inside(desc, ndim, index) : is_forgotten(dir, file);
}

static bool is_ours(const char *file)
{
    int64_t index[DN_MAX_NDIM];

    return hdf5_chunk_parse(file, index) != 0 || hdf5_temporary_is(file);
}

struct removal {
    int dir;
    const struct dn_desc *desc; /* NULL: not only strays */
    int removed;
};

static int remove_ours(void *arg, const char *file)
{
    struct removal *removal = arg;

    if (!(removal->desc != NULL ? is_stray(removal->dir, removal->desc, file) : is_ours(file)))
        return 0;
    if (unlinkat(removal->dir, file, 0) == 0)
        removal->removed++;
    else if (errno != ENOENT && errno != EISDIR) /* a folder of that name is none of ours */
        return dn_fail(-errno, "%s: %s", file, strerror(errno));
    return 0;
}

/* Again until nothing is found: a folder that changes under its reader may hide entries. */
int hdf5_strays_remove(int dir, const struct dn_desc *desc, int *removed)
{
    struct removal removal = {.dir = dir, .desc = desc};
    int r, before;

    do {
        before = removal.removed;
        r = hdf5_folder_each(dir, remove_ours, &removal);
    } while (r == 0 && removal.removed > before);
    *removed = removal.removed;
    return r;
}

struct listing {
    int dir;
    const struct dn_desc *desc;
    dn_name_fn fn;
    void *arg;
};

static int list_stray(void *arg, const char *file)
{
    const struct listing *listing = arg;

    return is_stray(listing->dir, listing->desc, file) ? listing->fn(listing->arg, file) : 0;
}

int hdf5_strays_list(int dir, const struct dn_desc *desc, dn_name_fn fn, void *arg)
{
    struct listing listing = {.dir = dir, .desc = desc, .fn = fn, .arg = arg};

    return hdf5_folder_each(dir, list_stray, &listing);
}
