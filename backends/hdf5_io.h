// SPDX-License-Identifier: Apache-2.0
/* Reads and writes of files that go all the way, or fail with 0 or a negative errno (and no text). */
#ifndef DOSNA_HDF5_IO_H
#define DOSNA_HDF5_IO_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <unistd.h>

/** -EIO: the file ends before. */
static inline int hdf5_read_all(int fd, void *buffer, size_t size, uint64_t offset)
{
    unsigned char *at = buffer;

    while (size > 0) {
        ssize_t n = pread(fd, at, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

static inline int hdf5_write_all(int fd, const void *buffer, size_t size, uint64_t offset)
{
    const unsigned char *at = buffer;

    while (size > 0) {
        ssize_t n = pwrite(fd, at, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

/** Read `first` bytes from `offset` into one buffer and what follows into another, in one call mostly. */
static inline int hdf5_read_two(int fd, void *head, size_t first, void *rest, size_t second,
                                uint64_t offset)
{
    struct iovec parts[2] = {{head, first}, {rest, second}};
    ssize_t n;
    size_t done;

    do
        n = preadv(fd, parts, 2, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    done = (size_t)n;
    if (done < first)
        return -EIO;
    done -= first;
    return hdf5_read_all(fd, (unsigned char *)rest + done, second - done, offset + first + done);
}

static inline int hdf5_write_two(int fd, const void *head, size_t first, const void *rest, size_t second)
{
    struct iovec parts[2] = {{(void *)head, first}, {(void *)rest, second}};
    ssize_t n;
    size_t done;
    int r;

    do
        n = pwritev(fd, parts, 2, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    done = (size_t)n;
    if (done < first) {
        r = hdf5_write_all(fd, (const unsigned char *)head + done, first - done, done);
        if (r < 0)
            return r;
        done = first;
    }
    done -= first;
    return hdf5_write_all(fd, (const unsigned char *)rest + done, second - done, first + done);
}

#endif
