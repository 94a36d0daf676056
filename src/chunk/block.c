// SPDX-License-Identifier: Apache-2.0
#include "block.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "box.h"
#include "clock.h"

/* ---- lists and memory -------------------------------------------------------------------- */

static pthread_cond_t *queue_of(const struct block *block)
{
    uint64_t h = (block->key.chunk * 31 + block->key.piece) * 0x9e3779b97f4a7c15u;

    return &block->dataset->cache->queue[h >> 58];
}

void block_wake_locked(struct block *block)
{
    pthread_cond_broadcast(queue_of(block));
}

int block_wait_locked(struct block *block, int64_t deadline)
{
    return clock_wait(queue_of(block), &block->dataset->cache->lock, deadline);
}

bool block_evictable_locked(const struct block *block)
{
    return !block->pins && !block->dirty.count && !block->flight.count;
}

static void list_remove(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    if (block->list == LIST_LRU)
        DL_DELETE(cache->lru, block);
    else if (block->list == LIST_GUESSES)
        DL_DELETE(cache->guesses, block);
    block->list = LIST_NONE;
}

void block_cut_locked(struct block *block, uint64_t lo)
{
    ranges_cut(&block->valid, lo);
    block->cut = block->readers;
}

void block_unlatch_locked(struct block *block)
{
    if (--block->readers)
        return;
    block->cut = false;
    block_wake_locked(block);
}

void block_settle_locked(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    list_remove(block);
    if (!block_evictable_locked(block))
        return;
    if (block->guess) {
        DL_APPEND(cache->guesses, block);
        block->list = LIST_GUESSES;
    } else {
        DL_APPEND(cache->lru, block);
        block->list = LIST_LRU;
    }
    pthread_cond_broadcast(&cache->room);
}

void block_used_locked(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    if (!block->guess)
        return;
    block->guess = false;
    cache->guess_bytes -= block->nbytes;
    stats_add(cache->stats, STAT_PREFETCH_USED, 1);
}

static void guess_lost_locked(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    if (!block->guess)
        return;
    block->guess = false;
    cache->guess_bytes -= block->nbytes;
    stats_add(cache->stats, STAT_PREFETCH_WASTED, 1);
    prefetch_wasted(&block->dataset->prefetch);
}

void memory_noted_locked(struct cache *cache)
{
    atomic_store_explicit(&cache->stats->value[STAT_CACHE_BYTES], arena_used(cache->arena),
                          memory_order_relaxed);
}

void block_buffer_drop_locked(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    if (!block->buffer)
        return;
    arena_give(cache->arena, block->buffer, block->nbytes);
    block->buffer = NULL;
    memory_noted_locked(cache);
    pthread_cond_broadcast(&cache->room);
}

void block_free_locked(struct block *block)
{
    struct cache *cache = block->dataset->cache;

    assert(!block->pins && !block->fetch);
    guess_lost_locked(block);
    list_remove(block);
    block_buffer_drop_locked(block);
    HASH_DEL(cache->blocks, block);
    DL_DELETE2(block->dataset->blocks, block, ds_prev, ds_next);
    ranges_clear(&block->valid);
    ranges_clear(&block->dirty);
    ranges_clear(&block->flight);
    free(block->error_text);
    free(block);
    arena_charge(cache->arena, -(int64_t)sizeof *block);
}

static bool evict_one_locked(struct cache *cache, bool guesses_too)
{
    struct block *victim = cache->lru;

    if (!victim && guesses_too)
        victim = cache->guesses;
    if (!victim)
        return false;
    stats_add(cache->stats, STAT_CACHE_EVICTIONS, 1);
    victim->dataset->forgot = true;
    block_free_locked(victim);
    return true;
}

/* A guess may not push out another guess: the reader who needs that one may be here any moment. */
void *memory_take_locked(struct cache *cache, uint64_t nbytes, uint64_t spare, bool guess)
{
    for (;;) {
        void *memory = arena_take(cache->arena, nbytes, spare);

        if (memory) {
            memory_noted_locked(cache);
            return memory;
        }
        if (!evict_one_locked(cache, !guess))
            return NULL;
    }
}

uint64_t memory_spare_for(uint64_t chunk_nbytes)
{
    return chunk_nbytes + chunk_nbytes / 8 + 4096; /* as the arena may round it up */
}

/* Blocks leave room for one chunk, so that only other scratches can be in the way for long. */
int scratch_wait_locked(struct cache *cache, uint64_t nbytes, void **out)
{
    int64_t deadline = clock_now() + cache->patience;
    int error = 0;

    while (!(*out = memory_take_locked(cache, nbytes, 0, false))) {
        if (error || !cache->scratches)
            return dn_fail(error ? error : -ENOMEM,
                           "no room in cache_size to assemble a chunk of %llu bytes",
                           (unsigned long long)nbytes);
        error = clock_wait(&cache->room, &cache->lock, deadline);
    }
    cache->scratches++;
    return 0;
}

void scratch_give_locked(struct cache *cache, void *buffer, uint64_t nbytes)
{
    if (!buffer)
        return;
    cache->scratches--;
    arena_give(cache->arena, buffer, nbytes);
    memory_noted_locked(cache);
    pthread_cond_broadcast(&cache->room);
}

bool memory_room_locked(struct cache *cache, uint64_t nbytes)
{
    while (arena_used(cache->arena) + nbytes + cache->spare > cache->limit)
        if (!evict_one_locked(cache, true))
            return false;
    return true;
}

/* ---- blocks --------------------------------------------------------------------------------- */

struct block *block_find_locked(struct cache_dataset *dataset, uint64_t chunk, uint64_t piece)
{
    struct block_key key = {dataset->id, chunk, piece};
    struct block *block;

    HASH_FIND_BYHASHVALUE(hh, dataset->cache->blocks, &key, sizeof key, block_key_hash(&key), block);
    return block;
}

static struct block *block_new_locked(struct cache_dataset *dataset, const struct block_box *box)
{
    struct cache *cache = dataset->cache;
    struct block *block;

    if (!memory_room_locked(cache, sizeof *block))
        return NULL;
    block = calloc(1, sizeof *block);
    if (!block)
        return NULL;
    block->key = (struct block_key){dataset->id, box->chunk, box->piece};
    block->dataset = dataset;
    block->nbytes = box->nbytes;
    block->epoch = dataset->epoch;
    HASH_ADD_BYHASHVALUE(hh, cache->blocks, key, sizeof block->key, block_key_hash(&block->key), block);
    if (!block->hh.tbl) { /* uthash had no memory */
        free(block);
        return NULL;
    }
    DL_APPEND2(dataset->blocks, block, ds_prev, ds_next);
    arena_charge(cache->arena, sizeof *block);
    return block;
}

struct block *block_pin_locked(struct cache_dataset *dataset, const struct block_box *box)
{
    struct block *block = block_find_locked(dataset, box->chunk, box->piece);

    if (!block)
        block = block_new_locked(dataset, box);
    if (!block)
        return NULL;
    block_hold_locked(block);
    return block;
}

void block_hold_locked(struct block *block)
{
    block->pins++;
    list_remove(block);
}

void block_unpin_locked(struct block *block)
{
    assert(block->pins > 0);
    if (--block->pins)
        return;
    if (!block->valid.count)
        block_free_locked(block);
    else
        block_settle_locked(block);
}

void block_leave_locked(struct block *block)
{
    if (block->dataset->once && block->pins == 1 && !block->dirty.count && !block->flight.count) {
        block->dataset->forgot = true;
        ranges_clear(&block->valid);
    }
    block_unpin_locked(block);
}

/* Rows of a chunk are whole items, so an item's phase is the offset in the chunk modulo its size. */
void chunk_fill(const struct cache_dataset *dataset, uint64_t offset, unsigned char *buffer, uint64_t length)
{
    uint64_t stride = 1, count = length;

    if (length)
        box_fill(1, &count, buffer, &stride, dataset->desc.fill, dataset->grid.itemsize,
                 offset % dataset->grid.itemsize);
}

bool block_has_padding(const struct cache_dataset *dataset, const struct block_box *box)
{
    for (int i = 0; i < dataset->grid.ndim; i++)
        if (box->inside[i] != box->extent[i])
            return true;
    return false;
}

bool block_buffer_locked(struct block *block, bool guess)
{
    struct cache *cache = block->dataset->cache;

    if (!block->buffer)
        block->buffer = memory_take_locked(cache, block->nbytes, cache->spare, guess);
    return block->buffer;
}

/* Dirty bytes win over what the store has, so they need no question. */
static bool known_since(const struct block *block, uint64_t epoch)
{
    return block->epoch >= epoch || block->dirty.count || block->flight.count;
}

bool block_current_locked(const struct block *block)
{
    return known_since(block, block->dataset->epoch);
}

bool block_ready_locked(const struct block *block, uint64_t lo, uint64_t hi, uint64_t epoch)
{
    return ranges_cover(&block->valid, lo, hi) && known_since(block, epoch);
}
