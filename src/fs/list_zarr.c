// SPDX-License-Identifier: Apache-2.0
#include "list_zarr.h"

#include "views.h"
#include "zarr.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PART_CHUNKS (UINT64_C(1) << 27)

static const char *const fixed_names[] = { ".zarray", ".zattrs" };

#define FIXED (sizeof fixed_names / sizeof *fixed_names)

/* Chunks by their places in the grid. Those that are there: none from `from` to `first`, in the part as `there` says,
 * and none behind it before `next`. */
struct chunk_listing {
    struct zarr zarr;
    uint64_t from, first, count, next;
    uint64_t *there; /* a bit for each of the part; NULL: all are */
};

static int note_chunk(void *arg, const uint64_t *index, int ndim)
{
    struct chunk_listing *chunks = arg;
    uint64_t number = zarr_chunk_number(&chunks->zarr, index), at = number - chunks->first;

    (void)ndim;
    if (number < chunks->first)
        return 0;
    if (at < chunks->count)
        chunks->there[at / 64] |= UINT64_C(1) << at % 64;
    else if (number < chunks->next)
        chunks->next = number;
    return 0;
}

static int list_part(struct chunk_listing *chunks, dn_dataset *dataset)
{
    chunks->count = chunks->next = zarr_chunks(&chunks->zarr);
    if (!chunks->zarr.whole)
        return 0;
    chunks->count = chunks->first < chunks->next ? chunks->next - chunks->first : 0;
    if (chunks->count > PART_CHUNKS)
        chunks->count = PART_CHUNKS;
    chunks->there = calloc(chunks->count / 64 + 1, sizeof *chunks->there);
    return chunks->there ? dn_chunk_list(dataset, note_chunk, chunks) : dn_fail(-ENOMEM, "no memory");
}

/** Know the part that begins with chunk `from`, for which the name is looked up anew. After a failure it is unknown. */
static int know_part(struct fs *fs, const struct node *node, struct chunk_listing *chunks, uint64_t from)
{
    dn_dataset *dataset;
    int err = views_open_zarr(fs, node, &dataset, &chunks->zarr);

    free(chunks->there);
    chunks->there = NULL;
    chunks->from = chunks->first = chunks->zarr.whole ? from : 0;
    if (!err) {
        err = list_part(chunks, dataset);
        files_give_back(dataset);
    }
    if (err) {
        chunks->from = chunks->first = chunks->next = from;
        chunks->count = 0;
    }
    return err;
}

int list_zarr_begin(struct fs *fs, struct listing *out)
{
    out->chunks = calloc(1, sizeof *out->chunks);
    return out->chunks ? know_part(fs, out->node, out->chunks, 0) : dn_fail(-ENOMEM, "no memory");
}

void list_zarr_end(struct chunk_listing *chunks)
{
    if (chunks)
        free(chunks->there);
    free(chunks);
}

static uint64_t find_bit(const uint64_t *bits, uint64_t at, uint64_t count)
{
    while (at < count) {
        uint64_t word = bits[at / 64] >> at % 64;

        if (word)
            return at + (uint64_t)__builtin_ctzll(word);
        at = (at / 64 + 1) * 64;
    }
    return count;
}

/** The first chunk that is there, from *number on, of the part alone. */
static bool find_in_part(const struct chunk_listing *chunks, uint64_t *number)
{
    uint64_t at = *number > chunks->first ? *number - chunks->first : 0;

    if (chunks->there)
        at = find_bit(chunks->there, at, chunks->count);
    if (at >= chunks->count)
        return false;
    *number = chunks->first + at;
    return true;
}

/** The same, of all. */
static bool find_chunk(struct fs *fs, struct listing *listing, uint64_t *number)
{
    struct chunk_listing *chunks = listing->chunks;

    listing->error = *number < chunks->from ? know_part(fs, listing->node, chunks, *number) : 0;
    while (!listing->error && !find_in_part(chunks, number)) {
        if (chunks->next >= zarr_chunks(&chunks->zarr))
            return false;
        *number = *number > chunks->next ? *number : chunks->next;
        listing->error = know_part(fs, listing->node, chunks, *number);
    }
    return !listing->error;
}

bool list_zarr_entry(struct fs *fs, struct listing *listing, size_t *i, struct entry *out)
{
    const struct zarr *zarr = &listing->chunks->zarr;
    uint64_t index[DN_MAX_NDIM], number = *i - FIXED;
    char chunk[ZARR_NAME_TEXT], *path;
    const char *name = chunk;

    if (*i < FIXED) {
        name = fixed_names[*i];
    } else {
        if (!find_chunk(fs, listing, &number))
            return false;
        *i = number + FIXED;
        zarr_chunk_index(zarr, number, index);
        zarr_name(zarr, index, chunk);
    }
    if (asprintf(&path, "%s/%s", listing->node->name, name) < 0) {
        listing->error = dn_fail(-ENOMEM, "no memory");
        return false;
    }
    dirs_set_entry(out, name, tree_inode(path, PARTS), false);
    free(path);
    return true;
}
