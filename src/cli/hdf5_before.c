// SPDX-License-Identifier: Apache-2.0
#include "hdf5_before.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SIGNATURE 8
#define LINKS (1 << 20) /* more than the groups on a path take */

int hdf5_before_look(struct hdf5_before *before, const char *path)
{
    static const char signature[] = "\211HDF\r\n\032\n";

    *before = (struct hdf5_before){.fd = open(path, O_RDWR | O_CLOEXEC)};
    if (before->fd < 0 || (before->size = lseek(before->fd, 0, SEEK_END)) < 0)
        return -errno;
    for (off_t at = 0; at < before->size; at = at ? 2 * at : 512) {
        ssize_t n = pread(before->fd, before->superblock, sizeof before->superblock, at);

        if (n < SIGNATURE || memcmp(before->superblock, signature, SIGNATURE) != 0)
            continue;
        before->at = at;
        before->length = (size_t)n;
        return 0;
    }
    return -EINVAL;
}

void hdf5_before_opened(struct hdf5_before *before, bool good)
{
    if (!good || lseek(before->fd, 0, SEEK_END) != before->size)
        before->length = 0;
}

int hdf5_before_reserve(const struct hdf5_before *before)
{
    off_t end = before->fd < 0 ? 0 : lseek(before->fd, 0, SEEK_END);

    if (before->fd < 0 || fallocate(before->fd, FALLOC_FL_KEEP_SIZE, end, LINKS) == 0 || errno == EOPNOTSUPP)
        return 0;
    return -errno;
}

void hdf5_before_release(const struct hdf5_before *before)
{
    off_t end = before->fd < 0 ? -1 : lseek(before->fd, 0, SEEK_END);

    if (end >= 0)
        (void)!ftruncate(before->fd, end);
}

void hdf5_before_end(struct hdf5_before *before, bool restore, bool closed)
{
    if (before->fd < 0)
        return;
    if (restore && before->length && (!closed || flock(before->fd, LOCK_EX | LOCK_NB) == 0) &&
        pwrite(before->fd, before->superblock, before->length, before->at) == (ssize_t)before->length)
        (void)!ftruncate(before->fd, before->size);
    close(before->fd);
    before->fd = -1;
}
