// SPDX-License-Identifier: Apache-2.0
#include "temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define TRIES 100

static char *target_of(const char *path)
{
    char *real = realpath(path, NULL);

    return real ? real : strdup(path);
}

static char *name_beside(const char *target, uint32_t number)
{
    const char *slash = strrchr(target, '/');
    int folder = slash ? (int)(slash + 1 - target) : 0;
    char *text;

    return asprintf(&text, "%.*s.dosna-%08x.part", folder, target, number) < 0 ? NULL : text;
}

/* A descriptor, or -EEXIST: the number is taken. */
static int try_number(struct temporary *temporary, uint32_t number)
{
    int fd;

    free(temporary->path);
    temporary->number = number;
    temporary->path = name_beside(temporary->target, number);
    fd = temporary->path ? open(temporary->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : -1;
    return fd < 0 ? -errno : fd;
}

static void clear(struct temporary *temporary)
{
    free(temporary->path);
    free(temporary->target);
    *temporary = (struct temporary){.path = NULL};
}

int temporary_create(struct temporary *out, const char *path)
{
    uint32_t number;
    int fd = -EEXIST;

    *out = (struct temporary){.target = target_of(path)};
    if (!out->target)
        return -ENOMEM;
    for (int i = 0; i < TRIES && fd == -EEXIST; i++)
        fd = getrandom(&number, sizeof number, 0) < 0 ? -errno : try_number(out, number);
    if (fd < 0)
        clear(out);
    return fd;
}

int temporary_open(const char *path, uint32_t number)
{
    char *target = target_of(path), *name = target ? name_beside(target, number) : NULL;
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;

    fd = fd < 0 ? -errno : fd;
    free(name);
    free(target);
    return fd;
}

static int give_name(const struct temporary *temporary, bool force)
{
    if (!force && renameat2(AT_FDCWD, temporary->path, AT_FDCWD, temporary->target, RENAME_NOREPLACE) == 0)
        return 0;
    if (!force && errno != EINVAL) /* a file system that cannot tell */
        return -errno;
    return rename(temporary->path, temporary->target) < 0 ? -errno : 0;
}

int temporary_finish(struct temporary *temporary, bool keep, bool force)
{
    int error = 0;

    if (keep && temporary->path)
        error = give_name(temporary, force);
    if (temporary->path && (!keep || error))
        unlink(temporary->path);
    clear(temporary);
    return error;
}
