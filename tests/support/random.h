// SPDX-License-Identifier: Apache-2.0
/* Numbers for random tests (splitmix64), from $DOSNA_SEED or the clock; the seed is printed at the start. */
#ifndef DOSNA_TEST_RANDOM_H
#define DOSNA_TEST_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t random_seed, random_state;

static inline void random_begin(void)
{
    const char *given = getenv("DOSNA_SEED");

    random_seed = random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("DOSNA_SEED=%llu\n", (unsigned long long)random_seed);
}

static inline uint64_t random_u64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/** lo … hi, both included. */
static inline uint64_t between_u64(uint64_t lo, uint64_t hi)
{
    return lo + random_u64() % (hi - lo + 1);
}

static inline int64_t between(int64_t lo, int64_t hi)
{
    return lo + (int64_t)between_u64(0, (uint64_t)hi - (uint64_t)lo);
}

#endif
