// SPDX-License-Identifier: Apache-2.0
/*
 * The arena: buffers for blocks, recycled, under one hard bound.
 *
 * A fresh mapping costs several times the read of a chunk, so a buffer that is given back stays in memory for
 * the next one of its size. Buffers come in a few sizes (eight per power of two, so that rounding
 * wastes an eighth at most); each size has its own range of addresses, taken from front to back. Those
 * smaller than a page are malloc's. What
 * counts against the bound is all memory that may be resident: buffers in use, buffers kept for
 * reuse, and the bookkeeping that the owner charges. When another size needs room, kept buffers go
 * back to the system.
 *
 * Not thread-safe: the cache's lock guards it.
 */
#ifndef DOSNA_ARENA_H
#define DOSNA_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena;

/** @param limit  bytes; buffers larger than this can never be had. 0 or -ENOMEM. */
int arena_create(uint64_t limit, struct arena **out);
void arena_destroy(struct arena *arena);

/**
 * A buffer of at least `size` bytes, contents undefined.
 * @param spare  bytes of the bound that this call must leave free
 * @return NULL when the bound does not allow it now
 */
void *arena_take(struct arena *arena, size_t size, uint64_t spare);
/** `size` is what was asked for. NULL is allowed. */
void arena_give(struct arena *arena, void *buffer, size_t size);

/** Charge or release (negative) bookkeeping bytes; the caller sees to it that they fit. */
void arena_charge(struct arena *arena, int64_t bytes);

/** Bytes in use and bytes that count against the bound (in use, kept, charged). */
uint64_t arena_used(const struct arena *arena);
uint64_t arena_held(const struct arena *arena);

#endif
