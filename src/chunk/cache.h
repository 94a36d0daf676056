// SPDX-License-Identifier: Apache-2.0
/*
 * The chunk cache: blocks of chunks in memory, one cache per connection.
 *
 * A block (grid.h) is a whole chunk or a contiguous part of one. Each block in use has one entry: a buffer and
 * two sets of byte intervals, *valid* (the buffer is right there) and *dirty* (not yet stored,
 * always a part of valid).
 *
 *   state      what is so                            becomes              by
 *   ---------  ------------------------------------  -------------------  ---------------------------
 *   EMPTY      nothing valid                         FETCHING             a reader, or the prefetcher
 *                                                    DIRTY                a writer
 *   FETCHING   `fetch` is on its way; whoever needs  CLEAN, HOLE          fetch_run(), done
 *              it waits; a writer waits too          EMPTY, DIRTY         fetch_run(), failed: every
 *                                                                         waiter gets the error, once
 *   HOLE       valid, no buffer: known not to be     DIRTY                a writer
 *              stored, reads as the fill value       (gone)               eviction
 *   CLEAN      all or part valid, nothing dirty      DIRTY                a writer
 *                                                    FETCHING             a reader after the epoch changed
 *                                                    (gone)               eviction
 *   DIRTY      some interval is dirty                STORING              write-back takes the chunk
 *   STORING    a put of the chunk is on its way      CLEAN                put done
 *                                                    DIRTY                put failed, or written again
 *
 * HOLE, CLEAN, DIRTY and STORING are not stored as one value: they follow from buffer, valid, dirty
 * and flight; cache_check_locked() asserts which combinations may be.
 *
 * A *pin* keeps an entry in memory. A *latch* orders copies: any number of readers, or one writer,
 * copy to or from a buffer; the cache's lock is never held across a copy or a request to the store.
 * Nobody waits while holding a latch, and nobody waits for memory while holding a pin, so requests
 * can't block each other for ever.
 *
 * Memory: buffers and entries together stay within `limit`, a hard bound. Clean, unpinned entries are evicted,
 * least recently used first, those that were fetched ahead and not yet read last. When only dirty is
 * left, writers wait for write-back. A share as large as a chunk is left free by blocks, so that
 * write-back can always assemble one.
 *
 * Lock order: connection lock, then cache lock, then pool lock. The cache lock guards every field below that
 * is not marked otherwise.
 */
#ifndef DOSNA_CACHE_H
#define DOSNA_CACHE_H

#include <dosna/dosna.h>
#include <pthread.h>

/* An entry that could not be added for lack of memory has no table afterwards. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION HASH_FNV /* clang objects to the default one's -Wimplicit-fallthrough */
#include <uthash.h>

#include "arena.h"
#include "gather.h"
#include "grid.h"
#include "pool.h"
#include "prefetch.h"
#include "ranges.h"
#include "settings.h"
#include "stats.h"
#include "store.h"

/** More intervals than this in a block: the gaps are fetched, so that one is left. */
#define BLOCK_MAX_RANGES 8

/** With more ranges of chunks stored since a truncation, its rest is applied before more is written. Rewriting N
 *  chunks makes no more than N / 2 of them, in random order about N / 4. */
#define RESTORED_MAX_RANGES 65536

/** Waiters sleep on one of these by their block's address. */
#define CACHE_QUEUES 64

struct cache {
    pthread_mutex_t lock;
    pthread_cond_t room;               /* memory came free, dirty data got less, or a put ended */
    pthread_cond_t queue[CACHE_QUEUES]; /* a block's state changed */
    pthread_cond_t tick;               /* the flusher's clock */

    struct arena *arena;
    struct block *blocks;              /* hash by key */
    struct block *lru;                 /* evictable and read at least once, oldest first */
    struct block *guesses;             /* evictable and fetched ahead, not read yet, oldest first */
    struct dirty_chunk *dirty_chunks;  /* hash by key */
    struct cache_dataset *datasets;
    uint64_t next_id;
    uint64_t dirty_bytes;
    uint64_t putting_bytes;            /* of dirty_bytes: in chunks whose put is queued or under way */
    uint64_t guess_bytes;              /* buffers fetched ahead and not read yet, in flight or in memory */
    uint64_t spare;                    /* what blocks leave free for write-back: for the largest chunk that was ever
                                          written, at most three quarters of `limit` (reserve_spare()) */
    unsigned scratches;                /* buffers in which write-back assembles a chunk */
    uint64_t flush_round;
    bool stopping;
    bool flusher_runs;
    pthread_t flusher;

    /* Set at creation. */
    struct pool *pool;
    struct stats *stats;
    uint64_t limit, dirty_max, prefetch_max;
    uint64_t good_read;
    bool compare_cheap;
    int64_t patience;                  /* ns that anybody waits for one request */
    int64_t dirty_expire;              /* ns */
    enum cache_mode mode;
};

struct block_key {
    uint64_t dataset, chunk, piece;
};

/** Looked up for each block of each request, so simpler than a hash of any bytes. */
static inline unsigned block_key_hash(const struct block_key *key)
{
    uint64_t h = (key->dataset << 40 ^ key->chunk) * 0x9e3779b97f4a7c15u;

    h = (h ^ h >> 29 ^ key->piece) * 0xbf58476d1ce4e5b9u;
    return (unsigned)(h >> 32);
}

struct block {
    struct block_key key;
    UT_hash_handle hh;
    struct cache_dataset *dataset;
    struct block *prev, *next;         /* lru or guesses */
    struct block *ds_prev, *ds_next;   /* the dataset's blocks */
    enum { LIST_NONE, LIST_LRU, LIST_GUESSES } list;
    unsigned char *buffer;             /* NULL in EMPTY and HOLE */
    uint64_t nbytes;
    struct ranges valid, dirty;
    unsigned pins;
    unsigned readers;                  /* latched for copying out */
    bool writer;                       /* latched for copying in */
    bool cut;                          /* readers still copy what is not valid any more */
    bool hole;
    struct ranges flight;              /* dirty intervals that a put under way has taken over */
    bool guess;                        /* fetched ahead, not read yet */
    bool rewriting;                    /* the fetch replaces bytes that were valid */
    struct fetch *fetch;
    uint64_t epoch;                    /* of the dataset, when this was last known to be current; 0: never */
    struct dn_version version;
    uint64_t failures;                 /* fetches that failed; a waiter sees it grow */
    int error;                         /* of the last one */
    char *error_text;
};

/** A chunk of which something is dirty: what write-back works on. */
struct dirty_chunk {
    struct block_key key;              /* piece 0 */
    UT_hash_handle hh;
    struct cache_dataset *dataset;
    struct dirty_chunk *prev, *next;   /* the dataset's `dirty` (least recently written first) or `puts` */
    uint64_t bytes;                    /* in its blocks' dirty intervals */
    uint64_t flight;                   /* in its blocks' flight intervals */
    int64_t first, last;               /* clock_now() of the oldest and the newest write */
    unsigned writers;                  /* announced, not done yet */
    bool putting;                      /* a put is queued or under way */
    uint64_t round;                    /* the last flush that saw it */
    int error;                         /* of the last put, 0 once stored */
    unsigned tries;
    int64_t retry_at;
    char *error_text;
};

/** A dataset as the cache sees it. */
struct cache_dataset {
    struct cache *cache;
    struct cache_dataset *prev, *next;
    uint64_t id;
    struct store_dataset *store;       /* constant while the dataset is in use */
    struct grid grid;                  /* constant once there are blocks */
    struct grid whole;                 /* the same, blocks are chunks; constant */
    struct dn_desc desc;               /* constant */
    bool fill_is_zero;                 /* constant */
    uint64_t dirty_limit;              /* constant: dirty_max, or what a slab of chunks takes */
    bool once;                         /* as dn_use_once() */
    struct block *blocks;
    struct dirty_chunk *dirty, *puts;  /* no put under way; put queued or under way */
    uint64_t busy;                     /* fetches, puts, writers and settling under way */
    uint64_t epoch, generation;
    int64_t mtime_ns;
    unsigned calm;                     /* so many wait until nothing is in flight: nothing new is begun */
    bool stale;                        /* deleted or replaced: everything gives -ESTALE */
    uint64_t changes, flushed;         /* puts and deletes so far, and how many of them store_flush() covered */
    bool forgot;                       /* since the generation began, bytes that readers had left memory unasked */
    uint64_t void_from;                /* truncated: stored bytes from here on do not count; else UINT64_MAX */
    struct ranges restored;            /* chunks stored since that truncation: they count whole. RESTORED_MAX_RANGES and
                                          as many as were dirty when writers stopped, at most */
    bool failing;                      /* the last put failed; the log has said so */
    bool settling;                     /* a flush applies the truncation */
    struct prefetch prefetch;
};

struct cache_settings {
    uint64_t limit, dirty_max; /* bytes: of memory; dirty ones of a dataset */
    int64_t prefetch; /* bytes, or DN_SIZE_AUTO */
    double dirty_expire; /* seconds */
    double patience;  /* seconds that anybody waits for one request, retries included */
    uint64_t good_read; /* as in struct dn_limits */
    bool compare_cheap; /* asking about a block takes microseconds */
    enum cache_mode mode;
};

/** `pool` and `stats` must live until cache_destroy(), which *out is for, unless it is NULL, after a failure too.
 *  0 or a negative errno. */
int cache_create(const struct cache_settings *settings, struct pool *pool, struct stats *stats,
                 struct cache **out);
/** Stop the flusher. To be called before the pool ends, so that nothing new is submitted. */
void cache_stop(struct cache *cache);
/** Nothing is in flight and no dataset is left. NULL is allowed. */
void cache_destroy(struct cache *cache);

/** `store` and a copy of `desc` belong to the dataset from now on. 0 or -ENOMEM (nothing taken). */
int cache_add_dataset(struct cache *cache, struct store_dataset *store, const struct dn_desc *desc,
                      struct cache_dataset **out);
/** Drops its blocks, dirty ones too, closes the store dataset and frees it. Nothing is in flight. */
void cache_remove_dataset(struct cache_dataset *dataset);

/** Nothing that is in memory counts any more (the dataset was deleted): drop it, dirty data too, and give
 *  -ESTALE from now on. Waits for what is in flight. 0, -ETIMEDOUT or -EINTR. */
int cache_retire(struct cache_dataset *dataset);

/* read.c, write.c: between user memory and blocks. Arguments were checked by the caller. */

int cache_read_flat(struct cache_dataset *dataset, void *buffer, uint64_t offset, uint64_t length);
int cache_write_flat(struct cache_dataset *dataset, const void *buffer, uint64_t offset, uint64_t length);
/** Boxes in elements, as dn_read() and dn_write(). */
int cache_read_slab(struct cache_dataset *dataset, const uint64_t *start, const uint64_t *count, void *buffer);
int cache_write_slab(struct cache_dataset *dataset, const uint64_t *start, const uint64_t *count,
                     const void *buffer);

/** Flat bytes of a slice (gather.h), `offset` and `length` in whole elements. */
int cache_read_gathered(struct cache_dataset *dataset, const struct gather *gather, void *buffer, uint64_t offset,
                        uint64_t length);
int cache_write_gathered(struct cache_dataset *dataset, const struct gather *gather, const void *buffer,
                         uint64_t offset, uint64_t length);

/** A point of coherence: clean blocks of before are asked about before they are used again. */
void cache_new_epoch(struct cache_dataset *dataset);
/** As dn_use_once(). */
void cache_use_once(struct cache_dataset *dataset, uint64_t in_use);
/** As dn_verify(). */
void cache_verify(struct cache_dataset *dataset);

/** The fill value into bytes [offset, offset + length) of a chunk. */
void chunk_fill(const struct cache_dataset *dataset, uint64_t offset, unsigned char *buffer, uint64_t length);

/* writeback.c */

/** Store all that was dirty when called, apply a truncation, make it durable. The first error, if any.
 *  `truncation_may_wait`: one after which nothing was written is left for a later flush. */
int cache_flush(struct cache_dataset *dataset, bool truncation_may_wait);
/** Before more is written: wait until there is less dirty than the dataset's limit, and apply a truncation of which too
 *  much would have to be remembered. The error that keeps it from getting less, if any. */
int cache_throttle(struct cache_dataset *dataset);

/* truncate.c */

/** From byte `length` on the dataset is fill value, in the store after the next flush. */
int cache_truncate(struct cache_dataset *dataset, uint64_t length);
/** Apply a truncation to the store: delete or cut the chunks that were not stored since. Waits for another thread that
 *  does so, as long as that one gets on. */
int truncate_settle(struct cache_dataset *dataset);
/** Delete every chunk that the store has of a dataset that is not open. */
int chunks_delete(struct cache *cache, struct store_dataset *store, const struct grid *grid);

/** Is there a truncation that the store has not seen? */
bool cache_is_truncated(struct cache_dataset *dataset);
/** Does memory hold something of this chunk that is not stored? */
bool cache_chunk_is_dirty(struct cache_dataset *dataset, uint64_t chunk);
/** Delete one chunk, in memory and in the store. Waits for what is in flight, and for write-back where the cache is
 *  full. -ENOENT: it was in neither; -ESTALE. */
int cache_delete_chunk(struct cache_dataset *dataset, uint64_t chunk);

/* list.c */

/** Every chunk that the store has, in any order; `fn` as for a backend's list_chunks. */
int cache_list_chunks(struct cache_dataset *dataset, dn_chunk_fn fn, void *arg);
/**
 * Numbers of chunks that the store has, in order and each once, of those in [from, to): all that are left, or the first
 * of them, at least half of `room`. Each call goes through a whole listing.
 *
 * @param room  at least 2
 * @param next  where the next call is to go on; `to`: nothing is left
 * @return 0; -ENOTSUP: the store has no listing; -EINTR
 */
int cache_list_from(struct cache_dataset *dataset, uint64_t from, uint64_t to, uint64_t *numbers, size_t room,
                    size_t *count, uint64_t *next);

/* ---- within src/chunk; the caller holds cache->lock (more in block.h, fetch.h, writeback.h) --- */

/** The data changed now. */
void cache_touch_locked(struct cache_dataset *dataset);

/** Wait until nothing of the dataset is in flight. */
int cache_wait_idle_locked(struct cache_dataset *dataset);

#ifdef NDEBUG
#define cache_check_locked(cache) ((void)(cache))
#else
/** Assert every invariant above. Debug builds only. */
void cache_check_locked(struct cache *cache);
#endif

#endif
