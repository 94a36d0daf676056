// SPDX-License-Identifier: Apache-2.0
/*
 * Random reads of 4 KiB: prints the median and the 99th percentile of their times in nanoseconds.
 *
 *   randread FILE COUNT SEED [direct]
 *
 * Offsets are multiples of 4096. `direct` opens with O_DIRECT, so that the kernel keeps no pages.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 4096 };

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Fills `times`. Returns 0, or -1 with errno set. */
static int measure(int fd, uint64_t blocks, uint64_t count, uint64_t seed, uint64_t *times)
{
    char *buffer = aligned_alloc(SIZE, SIZE);
    int rc = buffer ? 0 : -1;

    for (uint64_t i = 0; rc == 0 && i < count; i++) {
        off_t offset = (off_t)(next_random(&seed) % blocks * SIZE);
        uint64_t begin = now_ns();

        rc = pread(fd, buffer, SIZE, offset) == SIZE ? 0 : -1;
        times[i] = now_ns() - begin;
    }
    free(buffer);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fputs("usage: randread FILE COUNT SEED [direct]\n", stderr);
        return 2;
    }
    bool direct = argc > 4 && strcmp(argv[4], "direct") == 0;
    uint64_t count = strtoull(argv[2], NULL, 10);
    uint64_t seed = strtoull(argv[3], NULL, 10) | 1; /* xorshift stays at 0 */
    uint64_t *times = calloc(count ? count : 1, sizeof(*times));
    int fd = open(argv[1], O_RDONLY | (direct ? O_DIRECT : 0));
    struct stat st;

    if (!times || fd < 0 || fstat(fd, &st) < 0 || st.st_size < SIZE || count == 0 ||
        measure(fd, (uint64_t)st.st_size / SIZE, count, seed, times) < 0) {
        perror(argv[1]);
        return 1;
    }
    qsort(times, count, sizeof(*times), by_value);
    printf("%" PRIu64 " %" PRIu64 "\n", times[count / 2], times[count - 1 - count / 100]);
    free(times);
    close(fd);
    return 0;
}
