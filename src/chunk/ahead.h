// SPDX-License-Identifier: Apache-2.0
/* Fetching ahead: what prefetch.h decides is begun here, as far as there is room for guesses. */
#ifndef DOSNA_AHEAD_H
#define DOSNA_AHEAD_H

#include "cache.h"

/** Note a read of the flat range [a, b), b > a, and say what is worth fetching. With cache->lock. */
struct prefetch_plan ahead_plan_locked(struct cache_dataset *dataset, uint64_t a, uint64_t b);
/** Begin the plan's fetches, until there is no room. With cache->lock. */
void ahead_fetch_locked(struct cache_dataset *dataset, struct prefetch_plan *plan);

#endif
