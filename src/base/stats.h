// SPDX-License-Identifier: Apache-2.0
/*
 * Counters of one connection. stats.def is the one list: name, type, help. Counting is one relaxed
 * atomic addition, allowed under any lock.
 */
#ifndef DOSNA_STATS_H
#define DOSNA_STATS_H

#include <stdatomic.h>
#include <stdint.h>

enum stat_id {
#define STAT(id, kind, name, help) STAT_##id,
#include "stats.def"
#undef STAT
    STAT_COUNT
};

struct stats {
    _Atomic uint64_t value[STAT_COUNT];
};

static inline void stats_add(struct stats *stats, enum stat_id id, uint64_t n)
{
    atomic_fetch_add_explicit(&stats->value[id], n, memory_order_relaxed);
}

static inline void stats_sub(struct stats *stats, enum stat_id id, uint64_t n)
{
    atomic_fetch_sub_explicit(&stats->value[id], n, memory_order_relaxed);
}

static inline uint64_t stats_get(const struct stats *stats, enum stat_id id)
{
    return atomic_load_explicit(&stats->value[id], memory_order_relaxed);
}

/** All counters as Prometheus text, for the caller to free(). NULL: no memory. */
char *stats_text(const struct stats *stats);

/** The value of the counter called `name`; 0 if there is none. */
uint64_t stats_by_name(const struct stats *stats, const char *name);

#endif
