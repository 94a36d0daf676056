// SPDX-License-Identifier: Apache-2.0
/*
 * One put: a chunk on its way to the store.
 *
 * A whole chunk in one block is stored from the block's buffer, latched as by a reader meanwhile (a writer waits).
 * Anything else is assembled in a buffer of its own, what memory lacks having been read in one
 * request; writers go on, and what they write then makes the chunk dirty again. What fails stays dirty and
 * is due again after 1 s, doubling up to 30 s.
 */
#ifndef DOSNA_PUT_H
#define DOSNA_PUT_H

#include "cache.h"

/** Begin a put of the chunk; none is under way. The caller holds cache->lock, which with an engine without threads
 *  is released while the put runs. */
void put_start_locked(struct dirty_chunk *record);

#endif
