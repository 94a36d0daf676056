// SPDX-License-Identifier: Apache-2.0
/*
 * The chunk cache over a backend that counts its calls, holds them at gates and fails when told. What is not
 * said otherwise: 8 chunks of 4 KiB in a row, no prefetch, nothing is stored before a flush.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "block.h"
#include "cache.h"
#include "checked.h"
#include "clock.h"
#include "connection.h"
#include "fault.h"
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHUNK 4096
#define CHUNKS 8
#define NBYTES (CHUNKS * CHUNK)

static struct fault_control control;
static dn_connection *conn;
static dn_dataset *set;
static struct store_dataset *behind; /* the same dataset, past the cache */
static struct dn_desc desc;

/* ---- the stage ---------------------------------------------------------------------------------- */

static void quiet(enum dn_log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static int set_up(void **state)
{
    (void)state;
    dn_log_sink(quiet);
    assert_int_equal(fault_control_init(&control), 0);
    fault_attach(&control);
    return 0;
}

/* `pairs` is "key=value;key=value". */
static void connect_to(const char *pairs)
{
    static const char common[] = "backend=fault;retries=0;request_timeout=30;cache_size=4M;prefetch=0;"
                                 "dirty_expire=3600;njobs=4;";
    dn_config *config = dn_config_new();
    char text[400], *rest = text, *pair;

    snprintf(text, sizeof text, "%s%s", common, pairs);
    while ((pair = strsep(&rest, ";"))) {
        char *value = strchr(pair, '=');

        if (!value)
            continue;
        *value++ = '\0';
        assert_int_equal(dn_config_set(config, pair, value), 0);
    }
    assert_int_equal(dn_connect(config, "any", &conn), 0);
    dn_config_free(config);
}

static void make_set(int ndim, const uint64_t *shape, const uint64_t *chunk)
{
    struct dn_desc other = {0};

    assert_int_equal(dn_desc_init(&desc, ndim, shape, "|u1", chunk, "7"), 0);
    assert_int_equal(dn_create(conn, "set", &desc, &set), 0);
    assert_int_equal(store_open_dataset(conn->store, "set", &behind, &other), 0);
    dn_desc_clear(&other);
    fault_reset_counts(&control);
}

static void start(const char *pairs)
{
    connect_to(pairs);
    make_set(1, (uint64_t[]){NBYTES}, (uint64_t[]){CHUNK});
}

static int tear_down(void **state)
{
    (void)state;
    for (int op = 0; op < FAULT_OPS; op++) {
        fault_open(&control, op);
        fault_fail(&control, op, 1, 1, 0);
    }
    if (behind)
        store_close_dataset(behind);
    if (set)
        assert_int_equal(dn_close(set), 0);
    assert_int_equal(dn_disconnect(conn), 0);
    dn_desc_clear(&desc);
    behind = NULL;
    set = NULL;
    conn = NULL;
    fault_attach(NULL);
    fault_control_destroy(&control);
    return 0;
}

static struct dn_chunk_id id_of(uint64_t chunk, uint64_t *index)
{
    grid_chunk_index(&set->cached->grid, chunk, index);
    return (struct dn_chunk_id){chunk, index, desc.ndim};
}

/* Store a chunk of one value without the cache's knowledge. */
static void put_behind(uint64_t chunk, int value)
{
    uint64_t index[DN_MAX_NDIM], nbytes = dn_desc_chunk_nbytes(&desc);
    struct dn_chunk_id id = id_of(chunk, index);
    unsigned char *bytes = malloc(nbytes);

    memset(bytes, value, nbytes);
    assert_int_equal(store_write(behind, &id, 0, bytes, nbytes, NULL), 0);
    free(bytes);
}

static void put_all_behind(void)
{
    for (uint64_t i = 0; i < dn_desc_chunks(&desc); i++)
        put_behind(i, (int)(10 + i));
    fault_reset_counts(&control);
}

/* One byte of a chunk as the store has it; -1: the chunk is not stored. */
static int stored_in(uint64_t chunk, uint64_t at)
{
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = id_of(chunk, index);
    unsigned char byte;
    int error = store_read(behind, &id, at, &byte, 1, NULL);

    if (error == -ENOENT)
        return -1;
    assert_int_equal(error, 0);
    return byte;
}

static int stored_byte(uint64_t offset)
{
    return stored_in(offset / CHUNK, offset % CHUNK);
}

static void write_bytes(uint64_t offset, uint64_t n, int value)
{
    unsigned char *bytes = malloc(n);

    memset(bytes, value, n);
    assert_int_equal(dn_pwrite(set, bytes, n, offset), n);
    free(bytes);
}

/* All of [offset, offset + n) reads as `value`. */
static void assert_bytes(uint64_t offset, uint64_t n, int value)
{
    unsigned char *bytes = malloc(n);

    assert_int_equal(dn_pread(set, bytes, n, offset), n);
    for (uint64_t i = 0; i < n; i++)
        if (bytes[i] != value)
            fail_msg("byte %d is %d, should be %d", (int)(offset + i), bytes[i], value);
    free(bytes);
}

static void assert_calls(uint64_t reads, uint64_t writes)
{
    assert_int_equal(fault_calls(&control, FAULT_READ), reads);
    assert_int_equal(fault_calls(&control, FAULT_WRITE), writes);
}

static uint64_t stat_of(const char *name)
{
    return dn_stat(conn, name);
}

/* Until a counter is there; gates hold everything else meanwhile. */
static void await_stat(const char *name, uint64_t value)
{
    int64_t deadline = clock_now() + clock_ns(30);

    while (stat_of(name) != value) {
        if (clock_now() > deadline)
            fail_msg("%s is %d, never %d", name, (int)stat_of(name), (int)value);
        sched_yield();
    }
}

static void reopen(void)
{
    assert_int_equal(dn_close(set), 0);
    assert_int_equal(dn_open(conn, "set", &set), 0);
}

/* ---- another thread ----------------------------------------------------------------------------- */

struct task {
    pthread_t thread;
    int (*fn)(struct task *task);
    uint64_t offset, length;
    int value;
    int result;
    unsigned char bytes[CHUNK];
    _Atomic bool cancelled;
};

static bool is_cancelled(void *arg)
{
    return ((struct task *)arg)->cancelled;
}

static void *task_main(void *arg)
{
    struct task *task = arg;

    dn_cancel_hook(is_cancelled, task);
    task->result = task->fn(task);
    return NULL;
}

static void begin(struct task *task, int (*fn)(struct task *task), uint64_t offset, uint64_t length)
{
    memset(task, 0, sizeof *task);
    task->fn = fn;
    task->offset = offset;
    task->length = length;
    assert_int_equal(pthread_create(&task->thread, NULL, task_main, task), 0);
}

static int join(struct task *task)
{
    pthread_join(task->thread, NULL);
    return task->result;
}

static int do_read(struct task *task)
{
    return (int)dn_pread(set, task->bytes, task->length, task->offset);
}

static int do_flush(struct task *task)
{
    (void)task;
    return dn_flush(set);
}

static int do_delete_chunk(struct task *task)
{
    return dn_chunk_del(set, &task->offset);
}

static int do_delete(struct task *task)
{
    (void)task;
    return dn_delete(conn, "set");
}

/* ---- reading ------------------------------------------------------------------------------------ */

static void test_single_flight(void **state)
{
    struct task reader[6];

    (void)state;
    start("");
    put_all_behind();
    fault_close(&control, FAULT_READ);
    for (int i = 0; i < 6; i++)
        begin(&reader[i], do_read, (uint64_t)i * 10, 100);
    await_stat("dosnafs_cache_waits_total", 5);
    fault_open(&control, FAULT_READ);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(join(&reader[i]), 100);
        assert_int_equal(reader[i].bytes[99], 10);
    }
    assert_calls(1, 0);
}

static void test_shared_error(void **state)
{
    struct task reader[6];

    (void)state;
    start("");
    put_all_behind();
    fault_close(&control, FAULT_READ);
    fault_fail(&control, FAULT_READ, 1, 1, -EIO);
    for (int i = 0; i < 6; i++)
        begin(&reader[i], do_read, 0, 100);
    await_stat("dosnafs_cache_waits_total", 5);
    fault_open(&control, FAULT_READ);
    for (int i = 0; i < 6; i++)
        assert_int_equal(join(&reader[i]), -EIO);
    assert_calls(1, 0);
    assert_bytes(0, CHUNK, 10);
    assert_calls(2, 0);
}

/* With two threads one guess may run. Awaited, it is none any more: the next one begins. */
static void test_awaited_guess_is_promoted(void **state)
{
    struct task first, second;

    (void)state;
    start("njobs=2;prefetch=1M");
    put_all_behind();
    fault_close(&control, FAULT_READ);
    begin(&first, do_read, 0, CHUNK); /* from 0: chunk 1 is fetched ahead */
    assert_int_equal(fault_wait_for(&control, FAULT_READ, 2), 0);
    assert_true(fault_pass(&control, FAULT_READ, 0));
    assert_int_equal(join(&first), CHUNK);
    begin(&second, do_read, CHUNK, CHUNK);
    assert_int_equal(fault_wait_for(&control, FAULT_READ, 2), 0);
    assert_int_equal(stat_of("dosnafs_prefetch_late_total"), 1);
    assert_true(fault_pass(&control, FAULT_READ, 1));
    assert_int_equal(join(&second), CHUNK);
    assert_int_equal(second.bytes[0], 11);
    fault_open(&control, FAULT_READ);
}

static void await_idle(void)
{
    pthread_mutex_lock(&conn->cache->lock);
    assert_int_equal(cache_wait_idle_locked(set->cached), 0);
    pthread_mutex_unlock(&conn->cache->lock);
}

/* A guess that became old before anybody read it, and is asked about ahead of another reader, counts once. */
static void test_guess_is_counted_once(void **state)
{
    const uint64_t mib = 1 << 20;

    (void)state;
    connect_to("cache_size=64M;prefetch=16M");
    make_set(1, (uint64_t[]){16 * mib}, (uint64_t[]){mib});
    put_all_behind();
    assert_bytes(0, 1, 10); /* forward: block 1 comes */
    await_idle();
    cache_new_epoch(set->cached);
    assert_bytes(2 * mib + 4096, 4096, 12);
    assert_bytes(2 * mib, 4096, 12); /* backward: block 1 again */
    await_idle();
    assert_int_equal(conn->cache->guess_bytes, mib);
    assert_bytes(mib, 1, 11);
    await_idle();
    assert_int_equal(stat_of("dosnafs_chunk_unchanged_total"), 1);
    pthread_mutex_lock(&conn->cache->lock);
    cache_check_locked(conn->cache);
    pthread_mutex_unlock(&conn->cache->lock);
}

static void test_hole_is_asked_once(void **state)
{
    (void)state;
    start("");
    for (int i = 0; i < 3; i++)
        assert_bytes(3 * CHUNK, CHUNK, 7);
    assert_calls(1, 0);
    assert_int_equal(stat_of("dosnafs_chunk_absent_total"), 1);
    assert_bytes(3 * CHUNK + 5, 10, 7);
    write_bytes(3 * CHUNK + 100, 10, 1); /* on a hole: nothing to read */
    assert_bytes(3 * CHUNK, 100, 7);
    assert_bytes(3 * CHUNK + 100, 10, 1);
    assert_int_equal(dn_flush(set), 0);
    assert_calls(1, 1);
    assert_int_equal(stored_byte(3 * CHUNK + 100), 1);
    assert_int_equal(stored_byte(3 * CHUNK + 110), 7);
}

static void test_cancel_ends_wait(void **state)
{
    struct task reader;

    (void)state;
    start("");
    put_all_behind();
    fault_close(&control, FAULT_READ);
    begin(&reader, do_read, 0, 100);
    assert_int_equal(fault_wait_for(&control, FAULT_READ, 1), 0);
    reader.cancelled = true;
    assert_int_equal(join(&reader), -EINTR);
    fault_open(&control, FAULT_READ);
    assert_bytes(0, CHUNK, 10);
    assert_calls(1, 0); /* the fetch went on */
}

static void test_hanging_get_times_out(void **state)
{
    unsigned char byte;

    (void)state;
    start("");
    put_all_behind();
    conn->cache->patience = clock_ns(0.05);
    fault_close(&control, FAULT_READ);
    assert_int_equal(dn_pread(set, &byte, 1, 0), -ETIMEDOUT);
    conn->cache->patience = clock_ns(60);
    fault_open(&control, FAULT_READ);
    assert_bytes(0, CHUNK, 10);
}

/* ---- writing ------------------------------------------------------------------------------------ */

static void test_whole_chunk_in_pieces(void **state)
{
    (void)state;
    start("");
    put_all_behind();
    for (uint64_t at = 0; at < CHUNK; at += 512)
        write_bytes((at * 5) % CHUNK, 512, 99); /* in any order */
    assert_int_equal(dn_flush(set), 0);
    assert_calls(0, 1);
    assert_bytes(0, CHUNK, 99);
    assert_int_equal(stored_byte(CHUNK - 1), 99);
}

/* Without threads a put runs in the writer's own thread: not before it has let go of all blocks of the chunk. */
static void test_chunk_completed_by_its_first_block(void **state)
{
    static unsigned char bytes[32768];

    (void)state;
    connect_to("engine=cpu;cache_size=256K;request_timeout=1");
    make_set(2, (uint64_t[]){64, 1024}, (uint64_t[]){32, 1024});
    assert_true(set->cached->grid.blocks_per_chunk > 1);
    memset(bytes, 99, sizeof bytes);
    assert_int_equal(dn_pwrite(set, bytes, 32768 - 8, 8), 32768 - 8);
    assert_int_equal(dn_pwrite(set, bytes, 32768, 0), 32768);
    assert_calls(0, 1);
    assert_bytes(0, 32768, 99);
}

static void test_partial_chunk(void **state)
{
    (void)state;
    start("");
    put_all_behind();
    write_bytes(100, 50, 99);
    assert_calls(0, 0);
    assert_int_equal(stat_of("dosnafs_cache_dirty_bytes"), 50);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(fault_calls(&control, FAULT_WRITE), 1);
    assert_int_equal(stat_of("dosnafs_writeback_partial_total"), 1);
    assert_int_equal(stat_of("dosnafs_cache_dirty_bytes"), 0);
    assert_int_equal(stored_byte(99), 10);
    assert_int_equal(stored_byte(100), 99);
    assert_int_equal(stored_byte(150), 10);
}

/* Many small writes become one interval, at the price of one read. */
static void test_patchwork(void **state)
{
    (void)state;
    start("");
    put_all_behind();
    for (uint64_t i = 0; i < 200; i++)
        write_bytes(i * 20, 3, 99);
    assert_calls(1, 0);
    assert_bytes(20, 3, 99);
    assert_bytes(23, 17, 10);
    assert_int_equal(dn_flush(set), 0);
    assert_calls(1, 1);
    assert_int_equal(stored_byte(200 * 20 - 18), 99);
    assert_int_equal(stored_byte(200 * 20), 10);
}

static void test_write_during_put(void **state)
{
    struct task flush;

    (void)state;
    start("");
    put_all_behind();
    write_bytes(0, 100, 50);
    fault_close(&control, FAULT_WRITE);
    begin(&flush, do_flush, 0, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_WRITE, 1), 0);
    write_bytes(50, 100, 60); /* the put stores a copy: no waiting */
    assert_bytes(50, 100, 60);
    fault_open(&control, FAULT_WRITE);
    assert_int_equal(join(&flush), 0);
    assert_bytes(0, 50, 50);
    assert_bytes(50, 100, 60);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(stored_byte(49), 50);
    assert_int_equal(stored_byte(50), 60);
    assert_int_equal(stored_byte(149), 60);
    assert_int_equal(stored_byte(150), 10);
}

static void test_failing_put(void **state)
{
    (void)state;
    start("");
    write_bytes(0, CHUNK / 2, 50);
    fault_fail(&control, FAULT_WRITE, 1, 0, -ENOSPC);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dn_flush(set), -ENOSPC);
        assert_int_equal(stat_of("dosnafs_cache_dirty_bytes"), CHUNK / 2);
        assert_bytes(0, CHUNK / 2, 50);
    }
    assert_int_equal(stat_of("dosnafs_writeback_errors_total"), 3);
    assert_int_equal(stored_byte(0), -1);
    fault_fail(&control, FAULT_WRITE, 1, 0, 0);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(stat_of("dosnafs_cache_dirty_bytes"), 0);
    assert_int_equal(stored_byte(0), 50);
}

/* A flush error after which the writes count as not durable: the next flush asks again. */
static void test_failing_flush(void **state)
{
    (void)state;
    start("");
    write_bytes(0, CHUNK, 50);
    fault_fail(&control, FAULT_FLUSH, 1, 1, -EIO);
    assert_int_equal(dn_flush(set), -EIO);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(fault_calls(&control, FAULT_FLUSH), 2);
    assert_int_equal(dn_flush(set), 0); /* nothing new */
    assert_int_equal(fault_calls(&control, FAULT_FLUSH), 2);
}

/* A flush may not say "durable" while another one still asks the store to make it so. */
static void test_two_flushes(void **state)
{
    struct task first, second;

    (void)state;
    start("");
    write_bytes(0, CHUNK, 50);
    fault_close(&control, FAULT_FLUSH);
    fault_fail(&control, FAULT_FLUSH, 1, 2, -EIO);
    begin(&first, do_flush, 0, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_FLUSH, 1), 0);
    begin(&second, do_flush, 0, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_FLUSH, 2), 0);
    fault_open(&control, FAULT_FLUSH);
    assert_int_equal(join(&first), -EIO);
    assert_int_equal(join(&second), -EIO);
    assert_int_equal(dn_flush(set), 0);
}

static void test_throttle_returns_error(void **state)
{
    unsigned char bytes[CHUNK] = {0};
    int64_t done = 0;
    int writes = 0;

    (void)state;
    connect_to("cache_size=1M;dirty_max=64K");
    make_set(1, (uint64_t[]){16 << 20}, (uint64_t[]){CHUNK});
    fault_fail(&control, FAULT_WRITE, 1, 0, -EDQUOT);
    for (uint64_t at = 0; at < 16 << 20 && done >= 0; at += CHUNK, writes++)
        done = dn_pwrite(set, bytes, CHUNK, at);
    assert_int_equal(done, -EDQUOT);
    assert_true(writes >= 10 && writes <= 100);
    assert_true(stat_of("dosnafs_cache_dirty_bytes") <= 128 << 10);
    assert_int_equal(dn_flush(set), -EDQUOT);
    fault_fail(&control, FAULT_WRITE, 1, 0, 0);
    assert_int_equal(dn_flush(set), 0);
    assert_bytes(0, CHUNK, 0);
}

static void test_expiry(void **state)
{
    (void)state;
    start("dirty_expire=0.05");
    fault_close(&control, FAULT_WRITE);
    write_bytes(0, 100, 50);
    assert_int_equal(fault_wait_for(&control, FAULT_WRITE, 1), 0);
    fault_open(&control, FAULT_WRITE);
    await_stat("dosnafs_cache_dirty_bytes", 0);
    assert_int_equal(stored_byte(0), 50);
}

/* ---- truncation --------------------------------------------------------------------------------- */

static void test_truncate_and_rewrite(void **state)
{
    (void)state;
    start("");
    put_all_behind();
    assert_int_equal(dn_truncate(set, 0), 0);
    for (uint64_t at = 0; at < NBYTES; at += 1000)
        write_bytes(at, min_u64(1000, NBYTES - at), 50);
    assert_int_equal(dn_flush(set), 0);
    assert_calls(0, CHUNKS);
    assert_int_equal(fault_calls(&control, FAULT_DELETE_CHUNK), 0);
    assert_int_equal(fault_calls(&control, FAULT_LIST_CHUNKS), 0);
    assert_bytes(0, NBYTES, 50);
}

static void test_truncate_partial(void **state)
{
    (void)state;
    start("");
    put_all_behind();
    assert_bytes(0, CHUNK, 10);
    assert_bytes(2 * CHUNK, CHUNK, 12);
    assert_bytes(5 * CHUNK, CHUNK, 15);
    fault_reset_counts(&control);
    assert_int_equal(dn_truncate(set, 2 * CHUNK + 100), 0);
    assert_bytes(2 * CHUNK + 100, NBYTES - 2 * CHUNK - 100, 7);
    assert_bytes(2 * CHUNK, 100, 12);
    assert_calls(0, 0); /* known without asking */
    assert_int_equal(stored_byte(5 * CHUNK), 15);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(fault_calls(&control, FAULT_DELETE_CHUNK), 5);
    assert_int_equal(fault_calls(&control, FAULT_WRITE), 1);
    for (uint64_t i = 3; i < CHUNKS; i++)
        assert_int_equal(stored_byte(i * CHUNK), -1);
    assert_int_equal(stored_byte(2 * CHUNK + 99), 12);
    assert_int_equal(stored_byte(2 * CHUNK + 100), 7);
    assert_int_equal(stored_byte(CHUNK), 11);
    assert_bytes(2 * CHUNK + 100, CHUNK, 7);
    assert_int_equal(dn_flush(set), 0); /* all was done */
    assert_int_equal(fault_calls(&control, FAULT_DELETE_CHUNK), 5);
}

/* A reader that still copies what is cut off keeps its buffer: nobody fetches into it, or takes it away. */
static void test_truncate_under_a_reader(void **state)
{
    struct cache *cache;
    struct block *block;
    struct task reader;
    bool waits, fetches;

    (void)state;
    start("");
    cache = conn->cache;
    put_all_behind();
    assert_bytes(3 * CHUNK, CHUNK, 13);
    pthread_mutex_lock(&cache->lock);
    block = block_find_locked(set->cached, 3, 0);
    block_hold_locked(block);
    block->readers++;
    pthread_mutex_unlock(&cache->lock);
    assert_int_equal(dn_truncate(set, 0), 0);
    begin(&reader, do_read, 3 * CHUNK, CHUNK);
    do {
        sched_yield();
        pthread_mutex_lock(&cache->lock);
        waits = block->pins == 2;
        fetches = block->fetch || !block->buffer;
        pthread_mutex_unlock(&cache->lock);
    } while (!waits && !fetches);
    pthread_mutex_lock(&cache->lock);
    block_unlatch_locked(block);
    block_unpin_locked(block);
    pthread_mutex_unlock(&cache->lock);
    assert_int_equal(join(&reader), CHUNK);
    assert_int_equal(reader.bytes[0], 7);
    assert_false(fetches);
}

/* Dirty data beyond the mark go, those below stay, and what is written after it counts. */
static void test_truncate_dirty(void **state)
{
    (void)state;
    start("");
    put_all_behind();
    write_bytes(0, 100, 50);
    write_bytes(4 * CHUNK, 100, 51);
    assert_int_equal(dn_truncate(set, 50), 0);
    assert_int_equal(stat_of("dosnafs_cache_dirty_bytes"), 50);
    write_bytes(6 * CHUNK + 10, 10, 52);
    assert_bytes(6 * CHUNK, 10, 7);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(stored_byte(49), 50);
    assert_int_equal(stored_byte(50), 7);
    assert_int_equal(stored_byte(4 * CHUNK), -1);
    assert_int_equal(stored_byte(6 * CHUNK), 7);
    assert_int_equal(stored_byte(6 * CHUNK + 10), 52);
    assert_int_equal(stored_byte(6 * CHUNK + 20), 7);
}

static void test_truncate_twice(void **state)
{
    (void)state;
    start("");
    put_all_behind();
    assert_int_equal(dn_truncate(set, 4 * CHUNK), 0);
    write_bytes(5 * CHUNK, CHUNK, 50);
    assert_int_equal(dn_truncate(set, 2 * CHUNK), 0);
    assert_bytes(CHUNK, CHUNK, 11);
    assert_bytes(2 * CHUNK, 6 * CHUNK, 7);
    assert_int_equal(dn_flush(set), 0);
    for (uint64_t i = 2; i < CHUNKS; i++)
        assert_int_equal(stored_byte(i * CHUNK), -1);
    assert_int_equal(stored_byte(CHUNK), 11);
}

#define PIECES (2 * RESTORED_MAX_RANGES + 4096)

static int do_write_even(struct task *task)
{
    for (uint64_t i = task->offset; i < PIECES; i += 2 * task->length)
        if (dn_pwrite(set, "e", 1, i) != 1)
            return -EIO;
    return 0;
}

/* After a truncation more scattered chunks are stored than are remembered: the others are deleted meanwhile, once. */
static void test_truncate_and_rewrite_piecemeal(void **state)
{
    struct task writer[2];
    unsigned char bytes[64];

    (void)state;
    connect_to("");
    make_set(1, (uint64_t[]){PIECES}, (uint64_t[]){1});
    for (uint64_t i = 0; i < 10; i++)
        put_behind(i, 9);
    put_behind(PIECES - 1, 9);
    fault_reset_counts(&control);
    assert_int_equal(dn_truncate(set, 3), 0);
    for (uint64_t i = 0; i < 2; i++)
        begin(&writer[i], do_write_even, 4 + 2 * i, 2);
    for (uint64_t i = 0; i < 2; i++)
        assert_int_equal(join(&writer[i]), 0);
    await_stat("dosnafs_cache_dirty_bytes", 0);
    assert_int_equal(dn_pwrite(set, "e", 1, 4), 1);
    assert_int_equal(fault_calls(&control, FAULT_DELETE_CHUNK), 5); /* 3, 5, 7, 9 and the last */
    assert_false(cache_is_truncated(set->cached));
    assert_int_equal(set->cached->restored.count, 0);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(fault_calls(&control, FAULT_DELETE_CHUNK), 5);
    cache_new_epoch(set->cached);
    assert_int_equal(dn_pread(set, bytes, sizeof bytes, 0), sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        assert_int_equal(bytes[i], i < 3 ? 9 : i < 4 || i % 2 ? 7 : 'e');
    assert_bytes(PIECES - 1, 1, 7);
    assert_bytes(PIECES - 2, 1, 'e');
}

/* A mark that goes through a layer of many chunks: only those that are stored cost requests. */
static void test_truncate_through_a_layer(void **state)
{
    const uint64_t width = 100000, mark = width + 5;

    (void)state;
    connect_to("");
    make_set(2, (uint64_t[]){4, width}, (uint64_t[]){2, 1});
    for (uint64_t i = 0; i < 9; i++)
        put_behind(i * width / 5 + 1, (int)(10 + i)); /* the layer's 1, 20001, …, and four of the next */
    fault_reset_counts(&control);
    assert_int_equal(dn_truncate(set, mark), 0);
    assert_int_equal(dn_flush(set), 0);
    assert_calls(4, 4);
    assert_int_equal(fault_calls(&control, FAULT_LIST_CHUNKS), 2);
    assert_int_equal(fault_calls(&control, FAULT_DELETE_CHUNK), 4);
    assert_int_equal(stored_in(1, 1), 10);
    assert_int_equal(stored_in(width / 5 + 1, 0), 11);
    assert_int_equal(stored_in(width / 5 + 1, 1), 7);
}

static void test_truncate_through_more_than_are_listed_at_once(void **state)
{
    const uint64_t width = 100000;

    (void)state;
    connect_to("");
    make_set(2, (uint64_t[]){2, width}, (uint64_t[]){2, 1});
    for (uint64_t i = 0; i < width; i++)
        put_behind(i, 10);
    fault_reset_counts(&control);
    assert_int_equal(dn_truncate(set, width + 5), 0);
    assert_int_equal(dn_flush(set), 0);
    assert_calls((unsigned)width - 5, (unsigned)width - 5);
    assert_in_range(fault_calls(&control, FAULT_LIST_CHUNKS), 3, 6);
    for (uint64_t i = 0; i < width; i += 7)
        assert_int_equal(stored_in(i, 1), i < 5 ? 10 : 7);
}

static void test_failing_delete_is_tried_again(void **state)
{
    (void)state;
    start("");
    put_all_behind();
    assert_int_equal(dn_truncate(set, 6 * CHUNK), 0);
    fault_fail(&control, FAULT_DELETE_CHUNK, 1, 0, -EACCES);
    assert_int_equal(dn_flush(set), -EACCES);
    assert_int_equal(dn_flush(set), -EACCES);
    assert_bytes(6 * CHUNK, 2 * CHUNK, 7);
    fault_fail(&control, FAULT_DELETE_CHUNK, 1, 0, 0);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(stored_byte(6 * CHUNK), -1);
    assert_int_equal(stored_byte(7 * CHUNK), -1);
}

/* ---- deleting ----------------------------------------------------------------------------------- */

static void test_delete_chunk_after_put(void **state)
{
    struct task flush, del;

    (void)state;
    start("");
    write_bytes(0, 100, 50);
    fault_close(&control, FAULT_WRITE);
    begin(&flush, do_flush, 0, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_WRITE, 1), 0);
    begin(&del, do_delete_chunk, 0, 0);
    fault_open(&control, FAULT_WRITE);
    assert_int_equal(join(&flush), 0);
    assert_int_equal(join(&del), 0);
    assert_int_equal(stored_byte(0), -1);
    assert_bytes(0, CHUNK, 7);
}

/* A reader between the delete's beginning and its end may see what was there; one after it may not. */
static void test_read_during_delete_chunk(void **state)
{
    struct task del, reader;

    (void)state;
    start("");
    put_all_behind();
    fault_close(&control, FAULT_DELETE_CHUNK);
    begin(&del, do_delete_chunk, 0, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_DELETE_CHUNK, 1), 0);
    begin(&reader, do_read, 0, CHUNK);
    assert_int_equal(join(&reader), CHUNK);
    fault_open(&control, FAULT_DELETE_CHUNK);
    assert_int_equal(join(&del), 0);
    assert_bytes(0, CHUNK, 7);
    assert_int_equal(dn_chunk_del(set, (uint64_t[]){0}), -ENOENT);
    assert_int_equal(dn_chunk_has(set, (uint64_t[]){0}), 0);
}

static void test_write_during_delete_chunk(void **state)
{
    struct task del;

    (void)state;
    start("");
    put_all_behind();
    fault_close(&control, FAULT_DELETE_CHUNK);
    begin(&del, do_delete_chunk, 0, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_DELETE_CHUNK, 1), 0);
    write_bytes(0, CHUNK, 50); /* complete, but its put has to wait */
    assert_int_equal(fault_calls(&control, FAULT_WRITE), 0);
    fault_open(&control, FAULT_DELETE_CHUNK);
    assert_int_equal(join(&del), 0);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(stored_byte(0), 50);
}

static void test_retired_is_stale(void **state)
{
    unsigned char byte = 1;

    (void)state;
    start("");
    put_all_behind();
    assert_bytes(0, CHUNK, 10);
    write_bytes(CHUNK, 10, 50);
    assert_int_equal(dn_delete(conn, "set"), 0);
    assert_int_equal(dn_pread(set, &byte, 1, 0), -ESTALE);
    assert_int_equal(dn_pwrite(set, &byte, 1, 0), -ESTALE);
    assert_int_equal(dn_truncate(set, 0), -ESTALE);
    assert_int_equal(dn_close(set), 0);
    assert_int_equal(dn_open(conn, "set", &set), -ENOENT);
    set = NULL;
    assert_int_equal(stat_of("dosnafs_cache_dirty_bytes"), 0);
}

static int do_truncate(struct task *task)
{
    return dn_truncate(set, task->offset);
}

/* A truncation that finds an earlier one not yet applied, and meanwhile the dataset goes. */
static void test_truncate_during_delete(void **state)
{
    struct task truncation, deletion;
    bool stale = false;

    (void)state;
    start("");
    put_all_behind();
    assert_int_equal(dn_truncate(set, 100), 0);
    write_bytes(3 * CHUNK, 10, 50);
    fault_close(&control, FAULT_WRITE);
    begin(&truncation, do_truncate, 50, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_WRITE, 1), 0);
    begin(&deletion, do_delete, 0, 0);
    while (!stale) {
        sched_yield();
        pthread_mutex_lock(&conn->cache->lock);
        stale = set->cached->stale;
        pthread_mutex_unlock(&conn->cache->lock);
    }
    fault_open(&control, FAULT_WRITE);
    assert_int_equal(join(&truncation), -ESTALE);
    assert_int_equal(join(&deletion), 0);
}

/* Nothing is written to a dataset whose chunks are deleted already: what is stored then would be left behind. */
static void test_open_during_delete(void **state)
{
    dn_dataset *late;
    struct task del;

    (void)state;
    start("lacks=deletes_chunks");
    put_all_behind();
    fault_close(&control, FAULT_DELETE);
    fault_fail(&control, FAULT_DELETE, 1, 1, -EACCES);
    begin(&del, do_delete, 0, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_DELETE, 1), 0);
    assert_int_equal(stored_byte(0), -1);
    assert_int_equal(dn_open(conn, "set", &late), -ENOENT);
    assert_null(late);
    fault_open(&control, FAULT_DELETE);
    assert_int_equal(join(&del), -EACCES);
    assert_int_equal(dn_open(conn, "set", &late), 0); /* it is still there */
    assert_int_equal(dn_close(late), 0);
}

static int do_open_other(struct task *task)
{
    dn_dataset *opened = NULL;
    int error = dn_open(conn, "other", &opened);

    (void)task;
    if (!error)
        dn_close(opened);
    return error;
}

static int do_delete_other(struct task *task)
{
    (void)task;
    return dn_delete(conn, "other");
}

/* The same for an opener who was there first, but found it only after the deletion had begun. */
static void test_delete_during_open(void **state)
{
    struct task opener, del;

    (void)state;
    start("lacks=deletes_chunks");
    assert_int_equal(dn_create(conn, "other", &desc, NULL), 0);
    fault_close(&control, FAULT_OPEN);
    begin(&opener, do_open_other, 0, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_OPEN, 1), 0);
    begin(&del, do_delete_other, 0, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_OPEN, 2), 0);
    assert_true(fault_pass(&control, FAULT_OPEN, FAULT_ANY));
    assert_int_equal(join(&opener), -ENOENT);
    fault_open(&control, FAULT_OPEN);
    assert_int_equal(join(&del), 0);
    assert_int_equal(dn_has(conn, "other"), 0);
}

/* The last opener leaves while the deletion waits for what is in flight. */
static void test_close_during_delete(void **state)
{
    struct task reader, del;
    unsigned char byte;

    (void)state;
    start("prefetch=1M");
    put_all_behind();
    fault_close(&control, FAULT_READ);
    begin(&reader, do_read, 0, CHUNK);
    assert_int_equal(fault_wait_for(&control, FAULT_READ, 2), 0);
    assert_true(fault_pass(&control, FAULT_READ, 0));
    assert_int_equal(join(&reader), CHUNK); /* chunk 1, fetched ahead, still is on its way */
    begin(&del, do_delete, 0, 0);
    while (dn_pread(set, &byte, 1, 0) != -ESTALE)
        sched_yield();
    assert_int_equal(dn_close(set), 0);
    set = NULL;
    fault_open(&control, FAULT_READ);
    assert_int_equal(join(&del), 0);
    assert_int_equal(dn_has(conn, "set"), 0);
}

/* ---- coherence ---------------------------------------------------------------------------------- */

static void read_all(unsigned char *bytes)
{
    assert_int_equal(dn_pread(set, bytes, NBYTES, 0), NBYTES);
}

static void test_reopen(void **state)
{
    static unsigned char bytes[NBYTES];
    uint64_t before;

    (void)state;
    start("");
    put_all_behind();
    read_all(bytes);
    before = stat_of("dosnafs_chunk_get_bytes_total");
    reopen();
    read_all(bytes);
    assert_int_equal(stat_of("dosnafs_chunk_get_bytes_total"), before);
    assert_int_equal(stat_of("dosnafs_chunk_unchanged_total"), CHUNKS);
    read_all(bytes); /* not asked again */
    assert_calls(2 * CHUNKS, 0);

    put_behind(3, 99);
    read_all(bytes); /* between two opens what is known may be given */
    reopen();
    assert_bytes(3 * CHUNK, CHUNK, 99);
    assert_bytes(4 * CHUNK, CHUNK, 14);
}

/* What this connection stored itself needs no second look at the data. */
static void test_reopen_after_write(void **state)
{
    (void)state;
    start("");
    write_bytes(0, CHUNK, 50);
    reopen();
    assert_bytes(0, CHUNK, 50);
    assert_int_equal(stat_of("dosnafs_chunk_get_bytes_total"), 0);
    assert_int_equal(stat_of("dosnafs_chunk_unchanged_total"), 1);
}

static void test_reopen_finds_hole_filled(void **state)
{
    (void)state;
    start("");
    assert_bytes(0, CHUNK, 7);
    put_behind(0, 30);
    reopen();
    assert_bytes(0, CHUNK, 30);
}

/* Somebody else deleted the dataset and made one just like it: that is what an open finds. */
static void test_replaced_by_its_like(void **state)
{
    dn_dataset *old;
    unsigned char byte;

    (void)state;
    start("");
    write_bytes(0, CHUNK, 50);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(store_delete(conn->store, "set"), 0);
    assert_int_equal(store_create(conn->store, "set", &desc), 0);
    old = set;
    assert_int_equal(dn_open(conn, "set", &set), 0);
    assert_bytes(0, CHUNK, 7);
    write_bytes(0, CHUNK, 60);
    assert_int_equal(dn_flush(set), 0);
    assert_bytes(0, CHUNK, 60);
    assert_int_equal(dn_pread(old, &byte, 1, 0), -ESTALE);
    assert_int_equal(dn_close(old), 0);
    assert_true(dn_generation(set) > 0);
}

/* What the kernel kept of a dataset that was dropped here must not pass for pages of its successor. */
static void test_generation_of_another_object(void **state)
{
    uint64_t before;

    (void)state;
    start("");
    before = dn_generation(set);
    assert_int_equal(dn_close(set), 0);
    assert_int_equal(dn_delete(conn, "set"), 0);
    assert_int_equal(dn_create(conn, "set", &desc, &set), 0);
    assert_true(dn_generation(set) > before);
}

static dn_dataset *meanwhile;

static int open_meanwhile(void *arg, int error, uint64_t *sum)
{
    (void)arg;
    (void)sum;
    if (!error)
        assert_int_equal(dn_open(conn, "other", &meanwhile), 0);
    return error;
}

/* Who opens a dataset that is just being created has the one that was created. */
static void test_open_during_create(void **state)
{
    const struct dn_team team = {.size = 2, .agree = open_meanwhile};
    unsigned char byte = 0;
    int error;

    (void)state;
    start("");
    conn->team = &team; /* asked when the store has it */
    error = dn_create(conn, "other", &desc, NULL);
    conn->team = NULL;
    assert_int_equal(error, 0);
    assert_int_equal(dn_pread(meanwhile, &byte, 1, 0), 1);
    assert_int_equal(byte, 7);
    assert_int_equal(dn_close(meanwhile), 0);
}

/* What readers were given of a block that is stale is no longer known once a part of it is overwritten: nobody can ask
   whether the rest still holds. */
static void test_verify_after_a_write_to_a_stale_block(void **state)
{
    dn_dataset *again;
    uint64_t before;

    (void)state;
    start("");
    conn->cache->compare_cheap = true;
    put_all_behind();
    assert_bytes(0, CHUNK, 10);
    before = dn_generation(set);
    put_behind(0, 99);
    assert_int_equal(dn_open(conn, "set", &again), 0);
    write_bytes(0, 10, 50);
    dn_verify(set);
    assert_true(dn_generation(set) > before);
    assert_int_equal(dn_close(again), 0);
}

/* Nor when the question failed. */
static void test_verify_after_a_failed_question(void **state)
{
    unsigned char byte;
    uint64_t before;

    (void)state;
    start("");
    conn->cache->compare_cheap = true;
    put_all_behind();
    assert_bytes(0, CHUNK, 10);
    before = dn_generation(set);
    put_behind(0, 99);
    reopen();
    fault_fail(&control, FAULT_READ, 1, 1, -EIO);
    assert_int_equal(dn_pread(set, &byte, 1, 0), -EIO);
    assert_bytes(0, CHUNK, 99);
    dn_verify(set);
    assert_true(dn_generation(set) > before);
}

/* A name that was asked for stays a text while the dataset is open, as its users hold no lock. */
static void test_name_during_rename(void **state)
{
    const char *before;

    (void)state;
    start("");
    before = dn_name(set);
    assert_int_equal(dn_rename(conn, "set", "other"), 0);
    assert_string_equal(before, "set");
    assert_string_equal(dn_name(set), "other");
}

/* What is dirty of a dataset that somebody else deleted can't be stored by anybody, and is in nobody's way. */
static void test_dirty_data_of_what_is_gone(void **state)
{
    dn_dataset *other;

    (void)state;
    start("dirty_max=8K");
    for (uint64_t i = 0; i < 3; i++)
        write_bytes(i * CHUNK, CHUNK - 1, 50);
    assert_int_equal(store_delete(conn->store, "set"), 0);
    assert_int_equal(dn_close(set), -ESTALE);
    set = NULL;
    assert_int_equal(dn_create(conn, "other", &desc, &other), 0);
    assert_int_equal(dn_pwrite(other, "some", 4, 0), 4);
    assert_int_equal(dn_close(other), 0);
}

/* ---- a full cache ------------------------------------------------------------------------------- */

static int do_write(struct task *task)
{
    return (int)dn_pwrite(set, task->bytes, task->length, task->offset);
}

/* Memory that is held against the cache's bound; `left` bytes of it are free. */
static int64_t charge_all_but(uint64_t left)
{
    struct cache *cache = conn->cache;
    int64_t charge;

    pthread_mutex_lock(&cache->lock);
    charge = (int64_t)(cache->limit - arena_used(cache->arena) - left);
    arena_charge(cache->arena, charge);
    pthread_mutex_unlock(&cache->lock);
    return charge;
}

static void discharge(int64_t charge)
{
    struct cache *cache = conn->cache;

    pthread_mutex_lock(&cache->lock);
    arena_charge(cache->arena, -charge);
    pthread_cond_broadcast(&cache->room);
    pthread_mutex_unlock(&cache->lock);
}

/* Asking about a hole takes a buffer, for which the hole itself may not be the one to go. */
static void test_verify_in_a_full_cache(void **state)
{
    uint64_t before;
    int64_t charge;

    (void)state;
    start("");
    conn->cache->compare_cheap = true;
    assert_bytes(3 * CHUNK, CHUNK, 7);
    reopen();
    before = dn_generation(set);
    charge = charge_all_but(CHUNK / 2);
    dn_verify(set);
    assert_true(dn_generation(set) > before);
    discharge(charge);
    assert_bytes(3 * CHUNK, CHUNK, 7);
}

/* A writer that has a buffer for a hole, and no memory for the record of what is dirty, waits. Meanwhile
   the buffer is nobody's data. */
static void test_hole_while_a_writer_waits(void **state)
{
    struct task writer;
    struct cache *cache;
    int64_t charge;
    bool tried = false;

    (void)state;
    start("");
    cache = conn->cache;
    put_behind(5, 99);
    assert_bytes(3 * CHUNK, CHUNK, 7);
    assert_bytes(5 * CHUNK, CHUNK, 99); /* its buffer will be taken for the hole */
    charge = charge_all_but(memory_spare_for(CHUNK) + sizeof(struct dirty_chunk) / 2 - sizeof(struct block));
    begin(&writer, do_write, 3 * CHUNK + 100, 10);
    for (int i = 0; i < 2000 || !tried; i++) {
        assert_bytes(3 * CHUNK, CHUNK, 7);
        sched_yield();
        pthread_mutex_lock(&cache->lock);
        tried = cache->spare > 0;
        pthread_mutex_unlock(&cache->lock);
    }
    discharge(charge);
    assert_int_equal(join(&writer), 10);
    assert_bytes(3 * CHUNK + 100, 10, 0);
    assert_bytes(3 * CHUNK, 100, 7);
}

/* Dirty data in all of the cache are stored, so that a chunk can be deleted. */
static void test_delete_chunk_in_a_full_cache(void **state)
{
    int64_t charge;

    (void)state;
    start("");
    put_behind(6, 60);
    write_bytes(2 * CHUNK, CHUNK / 2, 50);
    charge = charge_all_but(memory_spare_for(CHUNK) + sizeof(struct dirty_chunk) / 2);
    assert_int_equal(dn_chunk_del(set, (uint64_t[]){6}), 0);
    assert_int_equal(stored_byte(6 * CHUNK), -1);
    assert_int_equal(stored_byte(2 * CHUNK), 50);
    discharge(charge);
    assert_bytes(6 * CHUNK, CHUNK, 7);
}

/* Memory that can never be had is not waited for. */
static void test_cache_smaller_than_an_element(void **state)
{
    unsigned char byte;

    (void)state;
    connect_to("cache_size=64K;request_timeout=1");
    assert_int_equal(dn_desc_init(&desc, 1, (uint64_t[]){3}, "|S100000", NULL, NULL), 0);
    assert_int_equal(dn_create(conn, "set", &desc, &set), 0);
    assert_int_equal(dn_pread(set, &byte, 1, 0), -ENOBUFS);
    assert_int_equal(dn_pwrite(set, "", 1, 0), -ENOBUFS);
}

/* ---- parts of blocks ---------------------------------------------------------------------------- */

static void start_in_parts(void)
{
    start("");
    conn->cache->good_read = 512;
    put_all_behind();
}

static void assert_got(uint64_t reads, uint64_t bytes)
{
    assert_calls(reads, 0);
    assert_int_equal(stat_of("dosnafs_chunk_get_bytes_total"), bytes);
}

/* Who reads here and there gets what it asked for, rounded; who goes on gets the rest at once. */
static void test_lone_read_fetches_a_part(void **state)
{
    (void)state;
    start_in_parts();
    assert_bytes(5 * CHUNK + 600, 100, 15);
    assert_got(1, 512);
    assert_bytes(5 * CHUNK + 512, 512, 15);
    assert_got(1, 512);
    assert_bytes(5 * CHUNK + 1000, 100, 15); /* near the last ones: it goes on. A gap on either side */
    assert_got(3, CHUNK);
    assert_bytes(5 * CHUNK, CHUNK, 15);
    assert_got(3, CHUNK);
}

static void test_part_of_a_hole(void **state)
{
    (void)state;
    start("");
    conn->cache->good_read = 512;
    assert_bytes(5 * CHUNK + 1000, 100, 7);
    assert_bytes(5 * CHUNK, CHUNK, 7);
    assert_calls(1, 0);
}

static void test_part_reopened(void **state)
{
    (void)state;
    start_in_parts();
    assert_bytes(5 * CHUNK + 1000, 100, 15);
    reopen();
    assert_bytes(5 * CHUNK + 1000, 100, 15);
    assert_got(2, 1024);
    assert_int_equal(stat_of("dosnafs_chunk_unchanged_total"), 1);
    put_behind(5, 99);
    reopen();
    assert_bytes(5 * CHUNK + 1000, 100, 99);
    assert_bytes(5 * CHUNK, CHUNK, 99);
}

/* The chunk changed between two fetches of its parts: what came first must not be taken for a part of what came
   then, or the mark of the second would vouch for it. */
static void test_parts_of_two_states(void **state)
{
    uint64_t before;

    (void)state;
    start_in_parts();
    assert_bytes(5 * CHUNK + 1000, 100, 15);
    before = dn_generation(set);
    put_behind(5, 99);
    assert_bytes(5 * CHUNK + 3000, 100, 99);
    assert_true(dn_generation(set) > before);
    assert_bytes(5 * CHUNK + 1000, 100, 99);
    reopen();
    assert_bytes(5 * CHUNK, CHUNK, 99);
}

static int do_verify(struct task *task)
{
    (void)task;
    dn_verify(set);
    return 0;
}

/* What is found out while somebody waits for the answer about another chunk is not forgotten at its end. */
static void test_generation_only_grows(void **state)
{
    struct task task;
    uint64_t before;

    (void)state;
    start("");
    conn->cache->compare_cheap = true;
    put_all_behind();
    for (uint64_t chunk = 0; chunk < 3; chunk++)
        assert_bytes(chunk * CHUNK, CHUNK, (int)(10 + chunk));
    reopen();
    put_behind(1, 91);
    put_behind(2, 92);
    before = dn_generation(set);
    fault_close(&control, FAULT_READ);
    begin(&task, do_verify, 0, 0);
    assert_int_equal(fault_wait_for(&control, FAULT_READ, 3), 0);
    assert_true(fault_pass(&control, FAULT_READ, 1));
    assert_true(fault_pass(&control, FAULT_READ, 2));
    while (dn_generation(set) < before + 2)
        sched_yield();
    fault_open(&control, FAULT_READ);
    assert_int_equal(join(&task), 0);
    assert_true(dn_generation(set) >= before + 2);
}

static void test_write_beside_a_part(void **state)
{
    (void)state;
    start_in_parts();
    assert_bytes(5 * CHUNK + 1000, 100, 15);
    write_bytes(5 * CHUNK + 1200, 1000, 3);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(stored_byte(5 * CHUNK + 1199), 15);
    assert_int_equal(stored_byte(5 * CHUNK + 1200), 3);
    assert_int_equal(stored_byte(5 * CHUNK + 2200), 15);
    assert_bytes(5 * CHUNK, 1200, 15);
    assert_bytes(5 * CHUNK + 1200, 1000, 3);
}

static void test_modes(void **state)
{
    static const struct {
        const char *mode;
        uint64_t reads;
        int seen;
    } cases[] = {{"cache=never", 4, 99}, {"cache=always", 1, 10}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        start(cases[i].mode);
        put_all_behind();
        for (int n = 0; n < 3; n++)
            assert_bytes(0, CHUNK, 10);
        put_behind(0, 99);
        reopen();
        assert_bytes(0, CHUNK, cases[i].seen);
        assert_int_equal(fault_calls(&control, FAULT_READ), cases[i].reads);
        if (i == 0) {
            tear_down(NULL);
            set_up(NULL);
        }
    }
}

/* A put of a chunk in several blocks gives its version to those blocks only that it stored as they are. */
static void test_stale_piece_stays_stale(void **state)
{
    (void)state;
    connect_to("cache_size=1M");
    make_set(2, (uint64_t[]){128, 4096}, (uint64_t[]){64, 4096});
    assert_true(set->cached->grid.blocks_per_chunk >= 4);
    put_behind(0, 10);
    assert_bytes(0, 100, 10);
    put_behind(0, 20);
    reopen();
    write_bytes(63 * 4096, 100, 50);
    assert_int_equal(dn_flush(set), 0);
    assert_bytes(0, 100, 20);
    assert_bytes(63 * 4096, 100, 50);
    assert_bytes(63 * 4096 + 100, 100, 20);
}

/* What another stored before the reopening may not be undone by a write to another part of the chunk. */
static void test_write_to_stale_block(void **state)
{
    (void)state;
    start("");
    put_behind(0, 10);
    assert_bytes(0, CHUNK, 10);
    assert_bytes(CHUNK, CHUNK, 7); /* a hole */
    put_behind(0, 20);
    put_behind(1, 21);
    reopen();
    write_bytes(100, 50, 50);
    write_bytes(CHUNK + 100, 50, 51);
    assert_bytes(0, 100, 20);
    assert_int_equal(dn_flush(set), 0);
    assert_int_equal(stored_byte(99), 20);
    assert_int_equal(stored_byte(100), 50);
    assert_int_equal(stored_byte(CHUNK + 99), 21);
    assert_int_equal(stored_byte(CHUNK + 100), 51);
    assert_bytes(150, CHUNK - 150, 20);
}

/* ---- without threads ---------------------------------------------------------------------------- */

/* A part that is no range of the block needs the block first. */
static void test_serial_slab_write(void **state)
{
    unsigned char bytes[100], got[100];

    (void)state;
    connect_to("engine=cpu");
    make_set(2, (uint64_t[]){64, 64}, (uint64_t[]){32, 32});
    conn->cache->patience = clock_ns(5);
    memset(bytes, 9, sizeof bytes);
    assert_int_equal(dn_write(set, (uint64_t[]){3, 3}, (uint64_t[]){10, 10}, bytes), 0);
    assert_int_equal(dn_read(set, (uint64_t[]){3, 3}, (uint64_t[]){10, 10}, got), 0);
    assert_memory_equal(bytes, got, sizeof got);
    fault_fail(&control, FAULT_READ, 1, 1, -EIO);
    assert_int_equal(dn_write(set, (uint64_t[]){3, 40}, (uint64_t[]){10, 10}, bytes), -EIO);
    assert_int_equal(dn_write(set, (uint64_t[]){3, 40}, (uint64_t[]){10, 10}, bytes), 0);
}

/* ---- memory ------------------------------------------------------------------------------------- */

static _Atomic uint64_t peak;

static int do_random(struct task *task)
{
    unsigned seed = (unsigned)task->offset;
    static const uint64_t nbytes = 24 << 20;
    unsigned char *bytes = calloc(1, 300000);
    int64_t done = 0;

    for (int i = 0; i < 150 && done >= 0; i++) {
        uint64_t n = 1 + (uint64_t)rand_r(&seed) % 300000, at = (uint64_t)rand_r(&seed) % (nbytes - n), now;

        done = rand_r(&seed) % 2 ? dn_pread(set, bytes, n, at) : dn_pwrite(set, bytes, n, at);
        now = stat_of("dosnafs_cache_bytes");
        if (now > peak)
            peak = now;
    }
    free(bytes);
    return done < 0 ? (int)done : 0;
}

static void test_memory_bound(void **state)
{
    struct task task[4];
    unsigned seed = (unsigned)time(NULL);

    (void)state;
    print_message("seed %u\n", seed);
    connect_to("cache_size=2M;prefetch=auto;dirty_expire=0.05");
    make_set(3, (uint64_t[]){96, 512, 512}, (uint64_t[]){16, 64, 128});
    peak = 0;
    for (unsigned i = 0; i < 4; i++)
        begin(&task[i], do_random, seed + i, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(join(&task[i]), 0);
    assert_true(peak > 1 << 20);
    assert_true(peak <= 2 << 20);
}

/* Chunks that are used once stay in one piece and leave when they were read or stored. */
static void test_used_once(void **state)
{
    const uint64_t chunk = 2 << 20, part = chunk / 2;

    (void)state;
    connect_to("cache_size=64M");
    make_set(1, (uint64_t[]){4 * chunk}, (uint64_t[]){chunk});
    assert_int_equal(set->cached->grid.blocks_per_chunk, 2);
    dn_use_once(set, 2 * chunk);
    assert_int_equal(set->cached->grid.blocks_per_chunk, 1);
    put_all_behind();
    for (uint64_t at = 0; at < 4 * chunk; at += part)
        assert_bytes(at, part, (int)(10 + at / chunk));
    assert_calls(4, 0);
    assert_true(stat_of("dosnafs_cache_bytes") < chunk);
    for (uint64_t at = 0; at < 4 * chunk; at += part)
        write_bytes(at, part, 99);
    assert_int_equal(dn_flush(set), 0);
    assert_calls(4, 4);
    assert_true(stat_of("dosnafs_cache_bytes") < chunk);
    assert_bytes(0, 4 * chunk, 99);
    assert_calls(8, 4);
}

static int do_write_much(struct task *task)
{
    unsigned char *bytes = calloc(1, task->length);
    int64_t done = dn_pwrite(set, bytes, task->length, task->offset);

    free(bytes);
    return done < 0 ? (int)done : 0;
}

/* A writer is not further ahead of the store than all jobs are busy for. */
static void test_used_once_waits_for_puts(void **state)
{
    struct task writer;

    (void)state;
    connect_to("");
    make_set(1, (uint64_t[]){200 * CHUNK}, (uint64_t[]){CHUNK});
    dn_use_once(set, UINT64_MAX);
    fault_close(&control, FAULT_WRITE);
    begin(&writer, do_write_much, 0, 200 * CHUNK);
    await_stat("dosnafs_dirty_waits_total", 1);
    assert_true(stat_of("dosnafs_cache_dirty_bytes") <= 100 * CHUNK);
    fault_open(&control, FAULT_WRITE);
    assert_int_equal(join(&writer), 0);
    assert_int_equal(dn_flush(set), 0);
    assert_calls(0, 200);
}

/* ---- amplification ------------------------------------------------------------------------------ */

static const struct geometry {
    int ndim;
    uint64_t shape[3], chunk[3];
} geometries[] = {
    {1, {3000001}, {100000}},
    {2, {1500, 2000}, {128, 256}},
    {3, {90, 200, 210}, {32, 32, 32}},
    {3, {64, 256, 256}, {64, 64, 64}},
};

static void run_sequential(const struct geometry *g, uint64_t cache_size, uint64_t request)
{
    unsigned char *bytes = malloc(request);
    uint64_t stored = 0, nbytes;
    char pairs[100];

    snprintf(pairs, sizeof pairs, "prefetch=auto;cache_size=%llu", (unsigned long long)cache_size);
    connect_to(pairs);
    make_set(g->ndim, g->shape, g->chunk);
    put_all_behind();
    for (uint64_t i = 0; i < grid_block_count(&set->cached->grid); i++) {
        struct block_box box;

        grid_block(&set->cached->grid, i, &box);
        stored += box.nbytes;
    }
    nbytes = dn_desc_nbytes(&desc);
    for (uint64_t at = 0; at < nbytes; at += request)
        assert_int_equal(dn_pread(set, bytes, request, at), min_u64(request, nbytes - at));
    if (stat_of("dosnafs_chunk_get_bytes_total") != stored)
        fail_msg("%llu bytes of cache, requests of %llu: %llu bytes were read, %llu are stored",
                 (unsigned long long)cache_size, (unsigned long long)request,
                 (unsigned long long)stat_of("dosnafs_chunk_get_bytes_total"), (unsigned long long)stored);
    free(bytes);
}

/* Sequential reading fetches each byte once, however small the cache. */
static void test_sequential_reads_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof geometries / sizeof *geometries; i++) {
        const struct geometry *g = &geometries[i];
        struct grid grid;
        uint64_t slab;

        assert_int_equal(dn_desc_init(&desc, g->ndim, g->shape, "|u1", g->chunk, NULL), 0);
        grid_init(&grid, &desc);
        dn_desc_clear(&desc);
        slab = grid_slab_memory(&grid);
        for (int size = 0; size < 4; size++) {
            uint64_t cache = (const uint64_t[]){4 * slab, slab, slab / 4, slab / 16}[size];

            run_sequential(g, max_u64(cache, 128 << 10), size % 2 ? 10000 : 65536);
            tear_down(NULL);
            set_up(NULL);
        }
    }
    start("");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_single_flight),
        TEST(test_shared_error),
        TEST(test_awaited_guess_is_promoted),
        TEST(test_guess_is_counted_once),
        TEST(test_hole_is_asked_once),
        TEST(test_cancel_ends_wait),
        TEST(test_hanging_get_times_out),
        TEST(test_whole_chunk_in_pieces),
        TEST(test_chunk_completed_by_its_first_block),
        TEST(test_partial_chunk),
        TEST(test_patchwork),
        TEST(test_write_during_put),
        TEST(test_failing_put),
        TEST(test_failing_flush),
        TEST(test_two_flushes),
        TEST(test_throttle_returns_error),
        TEST(test_expiry),
        TEST(test_truncate_and_rewrite),
        TEST(test_truncate_partial),
        TEST(test_truncate_under_a_reader),
        TEST(test_truncate_dirty),
        TEST(test_truncate_twice),
        TEST(test_truncate_and_rewrite_piecemeal),
        TEST(test_truncate_through_a_layer),
        TEST(test_truncate_through_more_than_are_listed_at_once),
        TEST(test_failing_delete_is_tried_again),
        TEST(test_delete_chunk_after_put),
        TEST(test_read_during_delete_chunk),
        TEST(test_write_during_delete_chunk),
        TEST(test_retired_is_stale),
        TEST(test_truncate_during_delete),
        TEST(test_close_during_delete),
        TEST(test_open_during_delete),
        TEST(test_delete_during_open),
        TEST(test_reopen),
        TEST(test_reopen_after_write),
        TEST(test_reopen_finds_hole_filled),
        TEST(test_replaced_by_its_like),
        TEST(test_generation_of_another_object),
        TEST(test_open_during_create),
        TEST(test_verify_after_a_write_to_a_stale_block),
        TEST(test_verify_after_a_failed_question),
        TEST(test_name_during_rename),
        TEST(test_dirty_data_of_what_is_gone),
        TEST(test_verify_in_a_full_cache),
        TEST(test_hole_while_a_writer_waits),
        TEST(test_delete_chunk_in_a_full_cache),
        TEST(test_cache_smaller_than_an_element),
        TEST(test_lone_read_fetches_a_part),
        TEST(test_part_of_a_hole),
        TEST(test_part_reopened),
        TEST(test_parts_of_two_states),
        TEST(test_generation_only_grows),
        TEST(test_write_beside_a_part),
        TEST(test_modes),
        TEST(test_stale_piece_stays_stale),
        TEST(test_write_to_stale_block),
        TEST(test_serial_slab_write),
        TEST(test_memory_bound),
        TEST(test_used_once),
        TEST(test_used_once_waits_for_puts),
        TEST(test_sequential_reads_once),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
