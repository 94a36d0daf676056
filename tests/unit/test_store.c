// SPDX-License-Identifier: Apache-2.0
/*
 * The strict door, against a backend that plays back a script of results, and against fault over ram
 * for what needs threads. Sleeps between tries are caught and written down, not slept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clock.h"
#include "fault.h"
#include "store.h"
#include <dosna/dosna.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

int __wrap_clock_sleep(int64_t ns);

/* ---- the scripted backend ---------------------------------------------------------------------- */

#define LONGEST 64
#define CHUNK_NBYTES 12 /* of the dataset below: 2 × 3 of <u2 */

static struct {
    int codes[LONGEST]; /* what the next calls return; then 0 */
    int calls;
    const char *text; /* said with every failure */
    double pauses[LONGEST]; /* what a failing call asks for; 0: nothing */
    unsigned abilities;
    struct dn_limits limits;
    uint64_t shape[DN_MAX_NDIM]; /* what open_dataset reports */
    int ndim;
    int open_handles;
    uint64_t offset; /* of the last read or write */
    size_t length;
    struct dn_version given, mark; /* mark the last read was given; mark that reads and writes give */
    int items;                     /* how many items listings give before they return */
    uint64_t item[2];
    const char *item_name;
    bool deaf; /* listings do not stop when told to */

    int64_t slept[LONGEST];
    int sleeps;
    int sleep_code;
} script;

int __wrap_clock_sleep(int64_t ns)
{
    assert_in_range(script.sleeps, 0, LONGEST - 1);
    script.slept[script.sleeps++] = ns;
    return script.sleep_code;
}

static int play(void)
{
    int code = script.calls < LONGEST ? script.codes[script.calls] : 0;
    double pause = script.calls < LONGEST ? script.pauses[script.calls] : 0;
    script.calls++;
    if (pause != 0)
        dn_retry_after(pause);
    return code < 0 && script.text ? dn_fail(code, "%s", script.text) : code;
}

static int s_connect(const char *connection, const void *options, void **conn)
{
    (void)connection;
    (void)options;
    *conn = &script;
    return play();
}

static void s_disconnect(void *conn)
{
    assert_ptr_equal(conn, &script);
}

static void s_limits(void *conn, struct dn_limits *out)
{
    (void)conn;
    *out = script.limits;
}

static int s_list_datasets(void *conn, dn_name_fn fn, void *arg)
{
    (void)conn;
    int rc = 0;
    for (int i = 0; i < script.items && (rc == 0 || script.deaf); i++)
        rc = fn(arg, script.item_name);
    int code = play();
    return rc ? rc : code;
}

static int s_create(void *conn, const char *name, const struct dn_desc *desc)
{
    (void)conn;
    (void)name;
    (void)desc;
    return play();
}

/* A failing try leaves a half-filled description behind. */
static int s_open(void *conn, const char *name, void **dataset, struct dn_desc *desc)
{
    (void)conn;
    (void)name;
    int rc = play();
    dn_desc_init(desc, 2, (uint64_t[]){4, 6}, "<u2", (uint64_t[]){2, 3}, "7");
    if (rc != 0)
        return rc;
    desc->ndim = script.ndim;
    memcpy(desc->shape, script.shape, sizeof desc->shape);
    *dataset = &script;
    script.open_handles++;
    return 0;
}

static void s_close(void *dataset)
{
    assert_ptr_equal(dataset, &script);
    script.open_handles--;
}

static int s_name(void *conn, const char *name)
{
    (void)conn;
    (void)name;
    return play();
}

static int s_rename(void *conn, const char *from, const char *to)
{
    (void)conn;
    (void)from;
    (void)to;
    return play();
}

static int s_read(void *dataset, const struct dn_chunk_id *id, uint64_t offset, void *buffer,
                  size_t length, struct dn_version *version)
{
    (void)dataset;
    (void)id;
    script.offset = offset;
    script.length = length;
    for (size_t i = 0; i < length; i++)
        ((unsigned char *)buffer)[i] = (unsigned char)(offset + i);
    if (version) {
        script.given = *version;
        *version = script.mark;
    }
    return play();
}

static int s_write(void *dataset, const struct dn_chunk_id *id, uint64_t offset, const void *buffer,
                   size_t length, struct dn_version *version)
{
    (void)dataset;
    (void)id;
    (void)buffer;
    script.offset = offset;
    script.length = length;
    if (version)
        *version = script.mark;
    return play();
}

static int s_chunk(void *dataset, const struct dn_chunk_id *id)
{
    (void)dataset;
    (void)id;
    return play();
}

static int s_delete_chunks(void *dataset, const struct dn_chunk_id *ids, size_t count)
{
    (void)dataset;
    (void)ids;
    script.length = count;
    return play();
}

static int s_copy(void *from, void *to, const struct dn_chunk_id *chunk)
{
    (void)from;
    return s_chunk(to, chunk);
}

static int s_chunk_length(void *dataset, const struct dn_chunk_id *chunk, uint64_t *nbytes)
{
    *nbytes = 5;
    return s_chunk(dataset, chunk);
}

static int s_list_strays(void *dataset, dn_name_fn fn, void *arg)
{
    (void)dataset;
    (void)fn;
    (void)arg;
    return play();
}

static int s_list_chunks(void *dataset, dn_chunk_fn fn, void *arg)
{
    (void)dataset;
    int rc = 0;
    for (int i = 0; i < script.items && rc == 0; i++)
        rc = fn(arg, script.item, 2);
    int code = play();
    return rc ? rc : code;
}

static int s_dataset(void *dataset)
{
    (void)dataset;
    return play();
}

static int s_rescan(void *conn)
{
    (void)conn;
    return play();
}

static int s_usage(void *conn, struct dn_usage *out)
{
    (void)conn;
    out->total = 10;
    return play();
}

static const struct dn_backend full = {
    .name = "script",
    .abilities = DN_CAN_READ_RANGE | DN_CAN_WRITE_RANGE | DN_CAN_COMPARE,
    .connect = s_connect,
    .disconnect = s_disconnect,
    .limits = s_limits,
    .list_datasets = s_list_datasets,
    .rescan = s_rescan,
    .create_dataset = s_create,
    .open_dataset = s_open,
    .has_dataset = s_name,
    .close_dataset = s_close,
    .delete_dataset = s_name,
    .rename_dataset = s_rename,
    .read_chunk = s_read,
    .write_chunk = s_write,
    .delete_chunk = s_chunk,
    .delete_chunks = s_delete_chunks,
    .has_chunk = s_chunk,
    .chunk_length = s_chunk_length,
    .list_chunks = s_list_chunks,
    .copy_chunk = s_copy,
    .list_strays = s_list_strays,
    .delete_strays = s_dataset,
    .flush = s_dataset,
    .usage = s_usage,
};

static const struct dn_backend bare = {
    .name = "bare",
    .connect = s_connect,
    .disconnect = s_disconnect,
    .open_dataset = s_open,
    .close_dataset = s_close,
    .read_chunk = s_read,
};

/* ---- the fixture ------------------------------------------------------------------------------- */

static struct {
    struct stats stats;
    struct store *store;
    struct store_dataset *data;
    struct dn_desc desc;
} door;

static const uint64_t here[] = {1, 1};
static const struct dn_chunk_id id = {.flat = 3, .index = here, .ndim = 2};

static void open_door(const struct dn_backend *backend, int64_t retries)
{
    struct store_settings settings = {.retries = retries, .request_timeout = 30};
    memset(script.codes, 0, sizeof script.codes);
    memset(&door.stats, 0, sizeof door.stats);
    assert_int_equal(store_open(backend, "conn", NULL, &settings, &door.stats, &door.store), 0);
    assert_int_equal(store_open_dataset(door.store, "set", &door.data, &door.desc), 0);
    memset(&door.stats, 0, sizeof door.stats);
    script.calls = 0;
}

static void close_door(void)
{
    store_close_dataset(door.data);
    dn_desc_clear(&door.desc);
    store_close(door.store);
    door.store = NULL;
    assert_int_equal(script.open_handles, 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&script, 0, sizeof script);
    script.ndim = 2;
    script.shape[0] = 4;
    script.shape[1] = 6;
    script.item_name = "item";
    return 0;
}

/* The next calls return these. */
static void say(const char *text, int count, const int *codes)
{
    script.calls = script.sleeps = 0;
    script.text = text;
    memset(script.codes, 0, sizeof script.codes);
    memcpy(script.codes, codes, (size_t)count * sizeof *codes);
}
#define SAY(...)                                                                                     \
    say("why", (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), (const int[]){__VA_ARGS__})

static uint64_t stat_of(enum stat_id stat)
{
    return stats_get(&door.stats, stat);
}

static unsigned char buffer[CHUNK_NBYTES];

static int read_all(struct dn_version *version)
{
    return store_read(door.data, &id, 0, buffer, CHUNK_NBYTES, version);
}

static int write_all(struct dn_version *version)
{
    return store_write(door.data, &id, 0, buffer, CHUNK_NBYTES, version);
}

/* ---- every operation by one signature, for tables of cases ------------------------------------- */

static int any_name(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return 0;
}

static int any_chunk(void *arg, const uint64_t *index, int ndim)
{
    (void)arg;
    (void)index;
    (void)ndim;
    return 0;
}

static int do_list(void) { return store_list(door.store, any_name, NULL); }
static int do_rescan(void) { return store_rescan(door.store); }
static int do_create(void) { return store_create(door.store, "new", &door.desc); }
static int do_has(void) { return store_has(door.store, "set"); }
static int do_delete(void) { return store_delete(door.store, "set"); }
static int do_rename(void) { return store_rename(door.store, "set", "other"); }
static int do_read(void) { return read_all(NULL); }
static int do_write(void) { return write_all(NULL); }
static int do_write_part(void) { return store_write(door.data, &id, 2, buffer, 4, NULL); }
static int do_delete_chunk(void) { return store_delete_chunk(door.data, &id); }
static int do_delete_chunks(void) { return store_delete_chunks(door.data, &id, 1); }
static int do_has_chunk(void) { return store_has_chunk(door.data, &id); }
static int do_length(void)
{
    uint64_t nbytes;
    return store_chunk_length(door.data, &id, &nbytes);
}

static int do_list_chunks(void) { return store_list_chunks(door.data, any_chunk, NULL); }
static int do_copy(void) { return store_copy_chunk(door.data, door.data, &id); }
static int do_list_strays(void) { return store_list_strays(door.data, any_name, NULL); }
static int do_strays(void) { return store_delete_strays(door.data); }
static int do_flush(void) { return store_flush(door.data); }

static int do_usage(void)
{
    struct dn_usage usage;
    return store_usage(door.store, &usage);
}

static int do_open(void)
{
    struct store_dataset *data;
    struct dn_desc desc;
    int rc = store_open_dataset(door.store, "set", &data, &desc);
    if (rc == 0) {
        store_close_dataset(data);
        dn_desc_clear(&desc);
    }
    return rc;
}

static const struct {
    const char *name;
    int (*run)(void);
    enum stat_id counter;
    bool absent, one, on_chunk;
} ops[] = {
    {"list", do_list, STAT_LISTS, false, false, false},
    {"rescan", do_rescan, STAT_LISTS, false, false, false},
    {"create", do_create, STAT_META_REQUESTS, false, false, false},
    {"open", do_open, STAT_META_REQUESTS, true, false, false},
    {"has", do_has, STAT_META_REQUESTS, false, true, false},
    {"delete", do_delete, STAT_META_REQUESTS, true, false, false},
    {"rename", do_rename, STAT_META_REQUESTS, true, true, false},
    {"usage", do_usage, STAT_META_REQUESTS, false, false, false},
    {"read", do_read, STAT_CHUNK_GETS, true, false, true},
    {"write", do_write, STAT_CHUNK_PUTS, false, false, true},
    {"write part", do_write_part, STAT_CHUNK_PUTS, true, false, true},
    {"delete_chunk", do_delete_chunk, STAT_CHUNK_DELETES, true, false, true},
    {"delete_chunks", do_delete_chunks, STAT_CHUNK_DELETES, false, false, false},
    {"has_chunk", do_has_chunk, STAT_CHUNK_HAS, false, true, true},
    {"chunk_length", do_length, STAT_CHUNK_HAS, true, false, true},
    {"list_chunks", do_list_chunks, STAT_LISTS, false, false, false},
    {"copy_chunk", do_copy, STAT_CHUNK_COPIES, true, false, true},
    {"list_strays", do_list_strays, STAT_LISTS, false, false, false},
    {"strays", do_strays, STAT_LISTS, false, false, false},
    {"flush", do_flush, STAT_FLUSHES, false, false, false},
};
#define OP_COUNT (sizeof ops / sizeof *ops)

/* ---- what comes back --------------------------------------------------------------------------- */

static void expect(size_t op, int code, int want)
{
    SAY(code);
    int rc = ops[op].run();
    if (rc != want)
        fail_msg("%s: backend said %d, door said %d, not %d", ops[op].name, code, rc, want);
}

static void test_results(void **state)
{
    (void)state;
    open_door(&full, 5);
    for (size_t op = 0; op < OP_COUNT; op++) {
        expect(op, 0, 0);
        expect(op, 1, ops[op].one ? 1 : -EIO);
        expect(op, 2, -EIO);
        expect(op, -ENOENT, ops[op].absent ? -ENOENT : -EIO);
        expect(op, -EACCES, -EACCES);
        expect(op, -ENOSPC, -ENOSPC);
        expect(op, -EIO, -EIO);
        expect(op, -5000, -EIO);
        expect(op, INT32_MIN, -EIO);
    }
    assert_int_equal(stat_of(STAT_RETRIES), 0);
    close_door();
}

static void test_counts(void **state)
{
    (void)state;
    open_door(&full, 5);
    for (size_t op = 0; op < OP_COUNT; op++) {
        uint64_t before = stat_of(ops[op].counter), errors = stat_of(STAT_BACKEND_ERRORS);
        SAY(0);
        assert_int_equal(ops[op].run(), 0);
        assert_int_equal(stat_of(ops[op].counter) - before, 1);
        SAY(-EACCES);
        assert_int_equal(ops[op].run(), -EACCES);
        assert_int_equal(stat_of(ops[op].counter) - before, 2);
        assert_int_equal(stat_of(STAT_BACKEND_ERRORS) - errors, 1);
    }
    uint64_t errors = stat_of(STAT_BACKEND_ERRORS);
    SAY(-ENOENT);
    assert_int_equal(do_read(), -ENOENT);
    SAY(-EEXIST);
    assert_int_equal(do_create(), -EEXIST);
    assert_int_equal(stat_of(STAT_CHUNK_ABSENT), 1);
    assert_int_equal(stat_of(STAT_BACKEND_ERRORS), errors); /* answers, not failures */
    assert_int_equal(stat_of(STAT_CHUNK_GET_BYTES), CHUNK_NBYTES);
    assert_int_equal(stat_of(STAT_CHUNK_PUT_BYTES), CHUNK_NBYTES + 4);
    close_door();
}

static void test_texts(void **state)
{
    (void)state;
    open_door(&full, 0);
    for (size_t op = 0; op < OP_COUNT; op++) {
        const char *want = ops[op].on_chunk ? "set chunk 1.1: why" : "set: why";
        if (ops[op].run == do_list || ops[op].run == do_rescan || ops[op].run == do_usage)
            want = "conn: why";
        if (ops[op].run == do_create)
            want = "new: why";
        SAY(-EACCES);
        assert_int_equal(ops[op].run(), -EACCES);
        assert_string_equal(dn_error_text(-EACCES), want);
    }
    dn_fail(-EACCES, "of another failure, long ago");
    say(NULL, 1, (int[]){-EACCES});
    assert_int_equal(do_flush(), -EACCES);
    assert_string_equal(dn_error_text(-EACCES), "set: Permission denied");
    SAY(-EAGAIN);
    assert_int_equal(do_flush(), -EIO);
    assert_string_equal(dn_error_text(-EIO), "set: why");
    close_door();
}

static void test_connect(void **state)
{
    (void)state;
    struct store_settings settings = {.retries = 5, .request_timeout = 30};
    struct store *store;
    SAY(-ENOENT);
    assert_int_equal(store_open(&full, "conn", NULL, &settings, &door.stats, &store), -ENOENT);
    assert_string_equal(dn_error_text(-ENOENT), "connection conn: why");
    SAY(-ETIMEDOUT);
    assert_int_equal(store_open(&full, "conn", NULL, &settings, &door.stats, &store), -ETIMEDOUT);
    assert_int_equal(script.calls, 1);
    SAY(1);
    assert_int_equal(store_open(&full, "conn", NULL, &settings, &door.stats, &store), -EIO);
}

/* ---- trying again ------------------------------------------------------------------------------ */

static void assert_slept(int i, double least, double most)
{
    assert_true(script.slept[i] >= clock_ns(least));
    assert_true(script.slept[i] <= clock_ns(most));
}

static void test_retry(void **state)
{
    (void)state;
    open_door(&full, 5);
    SAY(-EAGAIN, -ECONNRESET, -ETIMEDOUT, 0);
    assert_int_equal(do_read(), 0);
    assert_int_equal(script.calls, 4);
    assert_int_equal(stat_of(STAT_CHUNK_GETS), 4);
    assert_int_equal(stat_of(STAT_RETRIES), 3);
    assert_int_equal(stat_of(STAT_BACKEND_ERRORS), 0);
    assert_int_equal(script.sleeps, 3);
    assert_slept(0, 0.05, 0.1);
    assert_slept(1, 0.1, 0.2);
    assert_slept(2, 0.2, 0.4);
    close_door();
}

/* A store may ask for a longer pause: for one, and for no longer than a request may take. */
static void test_retry_after(void **state)
{
    (void)state;
    open_door(&full, 5);
    SAY(-EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN, 0);
    script.pauses[0] = 7;
    script.pauses[2] = 1e9;
    script.pauses[3] = -5;
    assert_int_equal(do_read(), 0);
    assert_int_equal(script.sleeps, 4);
    assert_slept(0, 7, 7);
    assert_slept(1, 0.1, 0.2);
    assert_slept(2, 30, 30);
    assert_slept(3, 0.4, 0.8);
    memset(script.pauses, 0, sizeof script.pauses);
    close_door();
}

static void test_retries_run_out(void **state)
{
    (void)state;
    static const int codes[][2] = {{-EAGAIN, -EIO}, {-ECONNRESET, -EIO}, {-ETIMEDOUT, -ETIMEDOUT}};
    open_door(&full, 3);
    for (size_t i = 0; i < 3; i++) {
        int again[LONGEST];
        for (int k = 0; k < LONGEST; k++)
            again[k] = codes[i][0];
        say("why", LONGEST, again);
        assert_int_equal(do_write(), codes[i][1]);
        assert_int_equal(script.calls, 4);
        assert_string_equal(dn_error_text(codes[i][1]), "set chunk 1.1: why");
        assert_int_equal(stat_of(STAT_BACKEND_ERRORS), i + 1);
    }
    close_door();
    open_door(&full, 0);
    SAY(-EAGAIN);
    assert_int_equal(do_write(), -EIO);
    assert_int_equal(script.calls, 1);
    close_door();
}

static void test_back_off_is_bounded(void **state)
{
    (void)state;
    int again[LONGEST];
    open_door(&full, 20);
    for (int i = 0; i < LONGEST; i++)
        again[i] = -EAGAIN;
    say("why", LONGEST, again);
    assert_int_equal(do_flush(), -EIO);
    assert_int_equal(script.sleeps, 20);
    for (int i = 0; i < 20; i++)
        assert_slept(i, i < 7 ? 0.05 * (1 << i) : 5, i < 7 ? 0.1 * (1 << i) : 10);
    close_door();
}

static void test_cancelled_back_off(void **state)
{
    (void)state;
    open_door(&full, 5);
    SAY(-EAGAIN, 0);
    script.sleep_code = -EINTR;
    assert_int_equal(do_read(), -EINTR);
    assert_int_equal(script.calls, 1);
    close_door();
}

static void test_repeated_removal(void **state)
{
    (void)state;
    int (*const removals[])(void) = {do_delete, do_delete_chunk};
    open_door(&full, 5);
    for (int i = 0; i < 2; i++) {
        SAY(-ETIMEDOUT, -ENOENT); /* the first try had done it */
        assert_int_equal(removals[i](), 0);
        SAY(-EAGAIN, -ENOENT); /* the first try was refused */
        assert_int_equal(removals[i](), -ENOENT);
        SAY(-ENOENT);
        assert_int_equal(removals[i](), -ENOENT);
    }
    close_door();
}

static void test_not_twice(void **state)
{
    (void)state;
    int (*const once[])(void) = {do_create, do_rename};
    open_door(&full, 5);
    for (int i = 0; i < 2; i++) {
        SAY(-ETIMEDOUT, -EEXIST);
        assert_int_equal(once[i](), -ETIMEDOUT);
        assert_int_equal(script.calls, 1);
        SAY(-EAGAIN, 0);
        assert_int_equal(once[i](), 0);
    }
    close_door();
}

/* ---- opening ----------------------------------------------------------------------------------- */

static void test_bad_metadata(void **state)
{
    (void)state;
    open_door(&full, 0);
    SAY(0);
    script.ndim = 0;
    assert_int_equal(do_open(), -EPROTO);
    script.ndim = DN_MAX_NDIM + 1;
    assert_int_equal(do_open(), -EPROTO);
    script.ndim = 2;
    script.shape[0] = 0;
    assert_int_equal(do_open(), -EPROTO);
    script.shape[0] = script.shape[1] = UINT64_C(1) << 40;
    assert_int_equal(do_open(), -EPROTO);
    assert_memory_equal(dn_error_text(-EPROTO), "set: bad metadata: ", 19);
    assert_int_equal(script.open_handles, 1); /* the fixture's own */
    close_door();
}

static void test_retried_open(void **state)
{
    (void)state;
    open_door(&full, 5);
    SAY(-EAGAIN, -EAGAIN, 0); /* each try fills a description, with a fill value in memory */
    assert_int_equal(do_open(), 0);
    SAY(-EAGAIN, -EACCES);
    assert_int_equal(do_open(), -EACCES);
    close_door();
}

static void test_create_limits(void **state)
{
    (void)state;
    struct dn_desc desc = {0};
    script.limits.largest_chunk = CHUNK_NBYTES - 1;
    open_door(&full, 0);
    assert_int_equal(do_create(), -EFBIG);
    assert_int_equal(store_create(door.store, "new", &desc), -EINVAL);
    assert_int_equal(script.calls, 0);
    close_door();
    script.limits.largest_chunk = CHUNK_NBYTES;
    open_door(&full, 0);
    assert_int_equal(do_create(), 0);
    close_door();
}

/* ---- what is missing --------------------------------------------------------------------------- */

static void test_bare(void **state)
{
    (void)state;
    open_door(&bare, 0);
    assert_int_equal(do_list(), -ENOTSUP);
    assert_int_equal(do_rescan(), 0);
    assert_int_equal(do_list_chunks(), -ENOTSUP);
    assert_int_equal(do_usage(), -ENOTSUP);
    assert_int_equal(do_create(), -EROFS);
    assert_int_equal(do_delete(), -EROFS);
    assert_int_equal(do_write(), -EROFS);
    assert_int_equal(do_delete_chunk(), -EROFS);
    assert_int_equal(do_delete_chunks(), -EROFS);
    assert_true(store_deletes_at_once(door.data) == 1);
    assert_int_equal(do_rename(), -EXDEV);
    assert_int_equal(do_list_strays(), 0);
    assert_int_equal(do_strays(), 0);
    assert_int_equal(do_flush(), 0);
    assert_int_equal(store_thread_enter(door.store), 0);
    store_thread_leave(door.store);
    assert_int_equal(script.calls, 0);
    assert_int_equal(store_limits(door.store)->max_calls, 0);
    close_door();
}

static void test_has_is_emulated(void **state)
{
    (void)state;
    open_door(&bare, 0);
    SAY(0);
    assert_int_equal(do_has(), 1);
    assert_int_equal(script.open_handles, 1);
    SAY(-ENOENT);
    assert_int_equal(do_has(), 0);
    SAY(-EACCES);
    assert_int_equal(do_has(), -EACCES);
    SAY(0);
    assert_int_equal(do_has_chunk(), 1);
    SAY(-ENOENT);
    assert_int_equal(do_has_chunk(), 0);
    SAY(-EIO);
    assert_int_equal(do_has_chunk(), -EIO);
    close_door();
}

/* A store that does not tell how long a chunk is has whole ones. */
static void test_length_is_emulated(void **state)
{
    (void)state;
    uint64_t nbytes = 0;
    open_door(&bare, 0);
    SAY(0);
    assert_int_equal(store_chunk_length(door.data, &id, &nbytes), 0);
    assert_int_equal(nbytes, CHUNK_NBYTES);
    SAY(-ENOENT);
    assert_int_equal(do_length(), -ENOENT);
    SAY(-EIO);
    assert_int_equal(do_length(), -EIO);
    close_door();
    open_door(&full, 0);
    SAY(0);
    assert_int_equal(store_chunk_length(door.data, &id, &nbytes), 0);
    assert_int_equal(nbytes, 5);
    SAY(-ENOTSUP, 1);
    assert_int_equal(store_chunk_length(door.data, &id, &nbytes), 0);
    assert_int_equal(nbytes, CHUNK_NBYTES);
    close_door();
}

struct seen {
    int count, stop_at, stop;
    uint64_t index[8][2];
};

static int see_chunk(void *arg, const uint64_t *index, int ndim)
{
    struct seen *seen = arg;
    assert_int_equal(ndim, 2);
    memcpy(seen->index[seen->count], index, sizeof seen->index[0]);
    return ++seen->count == seen->stop_at ? seen->stop : 0;
}

static int see_name(void *arg, const char *name)
{
    struct seen *seen = arg;
    assert_string_equal(name, "item");
    return ++seen->count == seen->stop_at ? seen->stop : 0;
}

/* An operation that says so at run time is as good as absent. */
static void test_unsupported_is_absent(void **state)
{
    (void)state;
    open_door(&full, 5);
    SAY(-ENOTSUP, 0);
    assert_int_equal(do_has(), 1);
    SAY(-ENOTSUP, -ENOENT);
    assert_int_equal(do_has_chunk(), 0);
    SAY(-ENOTSUP);
    assert_int_equal(do_list_chunks(), -ENOTSUP);
    SAY(-ENOTSUP);
    assert_int_equal(do_create(), -ENOTSUP);
    assert_int_equal(stat_of(STAT_BACKEND_ERRORS), 0);
    close_door();
}

static void test_read_is_cut(void **state)
{
    (void)state;
    struct dn_version version = {.size = 5};
    open_door(&bare, 0);
    assert_int_equal(store_read(door.data, &id, 3, buffer, 4, &version), 0);
    assert_int_equal(script.offset, 0);
    assert_int_equal(script.length, CHUNK_NBYTES);
    for (int i = 0; i < 4; i++)
        assert_int_equal(buffer[i], 3 + i);
    assert_int_equal(version.size, 0);
    assert_int_equal(stat_of(STAT_CHUNK_GET_BYTES), CHUNK_NBYTES);
    close_door();
    open_door(&full, 0);
    assert_int_equal(store_read(door.data, &id, 3, buffer, 4, NULL), 0);
    assert_int_equal(script.offset, 3);
    assert_int_equal(script.length, 4);
    close_door();
    script.limits.lacks = DN_CAN_READ_RANGE;
    open_door(&full, 0);
    assert_false(store_can(door.store, DN_CAN_READ_RANGE));
    assert_true(store_can(door.store, DN_CAN_WRITE_RANGE));
    assert_int_equal(store_read(door.data, &id, 3, buffer, 4, NULL), 0);
    assert_int_equal(script.length, CHUNK_NBYTES);
    close_door();
}

/* ---- versions ---------------------------------------------------------------------------------- */

static void test_versions(void **state)
{
    (void)state;
    const struct dn_version mine = {.size = 2, .bytes = "ab"}, theirs = {.size = 2, .bytes = "cd"};
    struct dn_version version = mine;
    open_door(&full, 5);
    script.mark = theirs;
    SAY(DN_UNCHANGED);
    assert_int_equal(read_all(&version), DN_UNCHANGED);
    assert_memory_equal(&version, &mine, sizeof mine);
    assert_int_equal(stat_of(STAT_CHUNK_UNCHANGED), 1);
    assert_int_equal(stat_of(STAT_CHUNK_GET_BYTES), 0);
    SAY(-EAGAIN, -EIO); /* a failed try scribbles over its mark, not over the caller's */
    assert_int_equal(read_all(&version), -EIO);
    assert_memory_equal(&script.given, &mine, sizeof mine);
    assert_memory_equal(&version, &mine, sizeof mine);
    SAY(0);
    assert_int_equal(read_all(&version), 0);
    assert_memory_equal(&version, &theirs, sizeof theirs);
    version = mine;
    SAY(-EIO);
    assert_int_equal(write_all(&version), -EIO);
    assert_memory_equal(&version, &mine, sizeof mine);
    SAY(0);
    assert_int_equal(write_all(&version), 0);
    assert_memory_equal(&version, &theirs, sizeof theirs);
    close_door();
}

static void test_bad_versions(void **state)
{
    (void)state;
    struct dn_version version = {0};
    open_door(&full, 0);
    SAY(DN_UNCHANGED); /* unchanged from nothing */
    assert_int_equal(read_all(&version), -EIO);
    script.mark.size = sizeof script.mark.bytes + 1;
    SAY(0);
    assert_int_equal(read_all(&version), -EIO);
    assert_int_equal(write_all(&version), -EIO);
    close_door();
    script.mark.size = 4;
    script.limits.lacks = DN_CAN_COMPARE;
    open_door(&full, 0);
    version.size = 4;
    assert_int_equal(read_all(&version), 0);
    assert_int_equal(version.size, 0);
    version.size = 4;
    assert_int_equal(write_all(&version), 0);
    assert_int_equal(version.size, 0);
    close_door();
}

/* ---- listings ---------------------------------------------------------------------------------- */

static void test_listing_stops(void **state)
{
    (void)state;
    static const int stops[] = {-EAGAIN, -ENOENT, 1, 77};
    open_door(&full, 5);
    script.items = 3;
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        struct seen seen = {.stop_at = 2, .stop = stops[i]};
        SAY(0);
        assert_int_equal(store_list(door.store, see_name, &seen), stops[i]);
        assert_int_equal(seen.count, 2);
        seen.count = 0;
        assert_int_equal(store_list_chunks(door.data, see_chunk, &seen), stops[i]);
        assert_int_equal(seen.count, 2);
    }
    assert_int_equal(stat_of(STAT_RETRIES), 0);
    assert_int_equal(stat_of(STAT_BACKEND_ERRORS), 0);
    close_door();
}

static void test_deaf_listing(void **state)
{
    (void)state;
    struct seen seen = {.stop_at = 2, .stop = 7};
    open_door(&full, 5);
    script.items = 4;
    script.deaf = true;
    SAY(0);
    assert_int_equal(store_list(door.store, see_name, &seen), -EIO);
    assert_int_equal(seen.count, 2); /* the caller is spared the rest */
    close_door();
}

static void test_listing_retries(void **state)
{
    (void)state;
    struct seen seen = {0};
    open_door(&full, 5);
    SAY(-EAGAIN, 0); /* nothing was given yet */
    assert_int_equal(do_list(), 0);
    assert_int_equal(script.calls, 2);
    SAY(-EAGAIN, 0);
    assert_int_equal(do_list_chunks(), 0);
    assert_int_equal(script.calls, 2);
    script.items = 1;
    SAY(-EAGAIN, 0); /* a repetition would give the item twice */
    assert_int_equal(store_list(door.store, see_name, &seen), -EIO);
    assert_int_equal(seen.count, 1);
    SAY(-EAGAIN, 0);
    assert_int_equal(store_list_chunks(door.data, see_chunk, &seen), -EIO);
    assert_int_equal(seen.count, 2);
    close_door();
}

static void test_bad_items(void **state)
{
    (void)state;
    open_door(&full, 5);
    script.items = 1;
    script.item_name = "";
    SAY(0);
    assert_int_equal(do_list(), -EIO);
    script.item[1] = 2; /* the grid is 2 × 2 */
    assert_int_equal(do_list_chunks(), -EIO);
    assert_string_equal(dn_error_text(-EIO), "set: the store lists a chunk outside the grid");
    close_door();
}

/* ---- calls at once ----------------------------------------------------------------------------- */

struct crowd {
    struct fault_control control;
    struct fault_options options;
    _Atomic int done, failed;
};

static void open_crowd(struct crowd *crowd, int64_t max_calls, double timeout)
{
    struct store_settings settings = {.retries = 0, .request_timeout = timeout};
    struct dn_desc desc;
    crowd->options.max_calls = max_calls;
    assert_int_equal(fault_control_init(&crowd->control), 0);
    fault_attach(&crowd->control);
    memset(&door.stats, 0, sizeof door.stats);
    assert_int_equal(store_open(registry_find("fault"), "conn", &crowd->options, &settings,
                                &door.stats, &door.store), 0);
    assert_int_equal(dn_desc_init(&desc, 2, (uint64_t[]){4, 6}, "<u2", (uint64_t[]){2, 3}, NULL), 0);
    assert_int_equal(store_create(door.store, "set", &desc), 0);
    dn_desc_clear(&desc);
    assert_int_equal(store_open_dataset(door.store, "set", &door.data, &door.desc), 0);
    assert_int_equal(write_all(NULL), 0);
}

static void close_crowd(struct crowd *crowd)
{
    close_door();
    fault_attach(NULL);
    fault_control_destroy(&crowd->control);
}

static void *read_one(void *arg)
{
    struct crowd *crowd = arg;
    unsigned char bytes[CHUNK_NBYTES];
    crowd->failed += store_read(door.data, &id, 0, bytes, sizeof bytes, NULL) != 0;
    crowd->done++;
    return NULL;
}

/* All want in, two at a time are let in, and each who leaves makes room for one more. */
static void test_max_calls(void **state)
{
    (void)state;
    struct crowd crowd = {0};
    pthread_t threads[6];
    open_crowd(&crowd, 2, 30);
    fault_close(&crowd.control, FAULT_READ);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_one, &crowd), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(fault_wait_for(&crowd.control, FAULT_READ, 2), 0);
        assert_int_equal(fault_calls(&crowd.control, FAULT_READ), 2 + i);
        if (i < 4)
            assert_true(fault_pass(&crowd.control, FAULT_READ, FAULT_ANY));
    }
    fault_open(&crowd.control, FAULT_READ);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd.failed, 0);
    assert_int_equal(fault_calls(&crowd.control, FAULT_READ), 6);
    assert_int_equal(fault_most_running(&crowd.control, FAULT_READ), 2);
    close_crowd(&crowd);
}

static void test_no_limit(void **state)
{
    (void)state;
    struct crowd crowd = {0};
    pthread_t threads[6];
    open_crowd(&crowd, 0, 30);
    fault_close(&crowd.control, FAULT_READ);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_one, &crowd), 0);
    assert_int_equal(fault_wait_for(&crowd.control, FAULT_READ, 6), 0);
    fault_open(&crowd.control, FAULT_READ);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd.failed, 0);
    close_crowd(&crowd);
}

static bool always(void *arg)
{
    (void)arg;
    return true;
}

static void test_turn_is_bounded(void **state)
{
    (void)state;
    struct crowd crowd = {0};
    pthread_t thread;
    open_crowd(&crowd, 1, 0.02);
    fault_close(&crowd.control, FAULT_READ);
    assert_int_equal(pthread_create(&thread, NULL, read_one, &crowd), 0);
    assert_int_equal(fault_wait_for(&crowd.control, FAULT_READ, 1), 0);
    assert_int_equal(read_all(NULL), -ETIMEDOUT);
    dn_cancel_hook(always, NULL);
    assert_int_equal(read_all(NULL), -EINTR);
    dn_cancel_hook(NULL, NULL);
    fault_open(&crowd.control, FAULT_READ);
    pthread_join(thread, NULL);
    assert_int_equal(read_all(NULL), 0); /* who gave up took nothing with it */
    assert_int_equal(fault_calls(&crowd.control, FAULT_READ), 2);
    assert_int_equal(crowd.failed, 0);
    close_crowd(&crowd);
}

static void test_registry(void **state)
{
    (void)state;
    assert_string_equal(registry_find("ram")->name, "ram");
    assert_null(registry_find("no such backend"));
    assert_null(registry_find(""));
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_results),
        TEST(test_counts),
        TEST(test_texts),
        TEST(test_connect),
        TEST(test_retry),
        TEST(test_retry_after),
        TEST(test_retries_run_out),
        TEST(test_back_off_is_bounded),
        TEST(test_cancelled_back_off),
        TEST(test_repeated_removal),
        TEST(test_not_twice),
        TEST(test_bad_metadata),
        TEST(test_retried_open),
        TEST(test_create_limits),
        TEST(test_bare),
        TEST(test_has_is_emulated),
        TEST(test_length_is_emulated),
        TEST(test_unsupported_is_absent),
        TEST(test_read_is_cut),
        TEST(test_versions),
        TEST(test_bad_versions),
        TEST(test_listing_stops),
        TEST(test_deaf_listing),
        TEST(test_listing_retries),
        TEST(test_bad_items),
        TEST(test_max_calls),
        TEST(test_no_limit),
        TEST(test_turn_is_bounded),
        TEST(test_registry),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
