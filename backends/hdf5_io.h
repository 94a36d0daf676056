// SPDX-License-Identifier: Apache-2.0
/* Reads and writes of files that go all the way, or fail with 0 or a negative errno (and no text); and their times. */
#ifndef DOSNA_HDF5_IO_H
#define DOSNA_HDF5_IO_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
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

#define HDF5_SETTLED_MS 100

/** A file just changed may change again without its times telling: they go in steps of a few milliseconds. */
static inline bool hdf5_is_settled(const struct timespec *changed)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (now.tv_sec - changed->tv_sec) * 1000 + (now.tv_nsec - changed->tv_nsec) / 1000000 > HDF5_SETTLED_MS;
}

/** Times that hdf5_set_time() sets are multiples of this, which others are by a rare chance only. */
#define HDF5_TIME_UNIT 1009

/** Give a file that was just written a time of its own, which no other change of a file has. Where it can't be set, or
 *  not to the nanosecond, it is a time like others. */
static inline void hdf5_set_time(int fd)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};

    clock_gettime(CLOCK_REALTIME, &times[1]);
    times[1].tv_nsec -= times[1].tv_nsec % HDF5_TIME_UNIT;
    futimens(fd, times);
}

static inline bool hdf5_time_is_own(const struct timespec *time)
{
    return time->tv_nsec > 0 && time->tv_nsec % HDF5_TIME_UNIT == 0;
}

#endif
