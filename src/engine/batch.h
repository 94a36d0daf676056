// SPDX-License-Identifier: Apache-2.0
/*
 * "Do f for each of these": the one loop over many chunks, whatever engine runs it.
 */
#ifndef DOSNA_BATCH_H
#define DOSNA_BATCH_H

#include "pool.h"

/**
 * Call fn(arg, i) for i in 0 … n − 1, on the pool's threads in the write-back lane and in any order, or in the
 * calling thread in order when the pool has none. A non-zero return stops what has not begun, and so does the calling
 * thread's cancel hook, which each call has for its own waits too. Returns only when no call is running any more: a
 * backend call that hangs is bounded by the backend's own time limits.
 *
 * @return 0, or the first non-zero that fn returned, with its error text; -EINTR
 */
int batch_run(struct pool *pool, uint64_t n, int (*fn)(void *arg, uint64_t i), void *arg);

#endif
