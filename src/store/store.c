// SPDX-License-Identifier: Apache-2.0
#include "store.h"

#include "checked.h"
#include "clock.h"
#include "log.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct store {
    const struct dn_backend *backend;
    void *conn;
    char *name;
    struct store_settings settings;
    struct stats *stats;
    struct dn_limits limits;

    pthread_mutex_t mutex; /* guards `calls` */
    pthread_cond_t turn;
    unsigned calls; /* in the backend now; counted only when limits.max_calls is set */
};

struct store_dataset {
    struct store *store;
    void *handle;
    char *name;
    int ndim;
    uint64_t grid[DN_MAX_NDIM];
    uint64_t chunk_nbytes;
};

/* ---- one request: its turn, its tries, its outcome --------------------------------------------- */

enum {
    MAY_BE_ABSENT = 1 << 0, /* -ENOENT is an answer */
    MAY_BE_ONE = 1 << 1,    /* 1 is an answer */
    GONE_IS_DONE = 1 << 2,  /* a repeated removal that finds nothing has succeeded before */
    NOT_TWICE = 1 << 3,     /* a repetition would stumble over the success of the first try */
};

enum op {
    OP_LIST, OP_RESCAN, OP_CREATE, OP_OPEN, OP_HAS, OP_DELETE, OP_RENAME, OP_USAGE,
    OP_READ, OP_WRITE, OP_DELETE_CHUNK, OP_DELETE_CHUNKS, OP_HAS_CHUNK, OP_LENGTH, OP_LIST_CHUNKS, OP_COPY,
    OP_LIST_STRAYS, OP_STRAYS, OP_FLUSH,
};

static const struct {
    const char *name;
    enum stat_id counter;
    unsigned flags;
} rules[] = {
    [OP_LIST] = {"list_datasets", STAT_LISTS, 0},
    [OP_RESCAN] = {"rescan", STAT_LISTS, 0},
    [OP_CREATE] = {"create_dataset", STAT_META_REQUESTS, NOT_TWICE},
    [OP_OPEN] = {"open_dataset", STAT_META_REQUESTS, MAY_BE_ABSENT},
    [OP_HAS] = {"has_dataset", STAT_META_REQUESTS, MAY_BE_ONE},
    [OP_DELETE] = {"delete_dataset", STAT_META_REQUESTS, MAY_BE_ABSENT | GONE_IS_DONE},
    [OP_RENAME] = {"rename_dataset", STAT_META_REQUESTS, MAY_BE_ABSENT | MAY_BE_ONE | NOT_TWICE},
    [OP_USAGE] = {"usage", STAT_META_REQUESTS, 0},
    [OP_READ] = {"read_chunk", STAT_CHUNK_GETS, MAY_BE_ABSENT},
    [OP_WRITE] = {"write_chunk", STAT_CHUNK_PUTS, 0},
    [OP_DELETE_CHUNK] = {"delete_chunk", STAT_CHUNK_DELETES, MAY_BE_ABSENT | GONE_IS_DONE},
    [OP_DELETE_CHUNKS] = {"delete_chunks", STAT_CHUNK_DELETES, 0},
    [OP_HAS_CHUNK] = {"has_chunk", STAT_CHUNK_HAS, MAY_BE_ONE},
    [OP_LENGTH] = {"chunk_length", STAT_CHUNK_HAS, MAY_BE_ABSENT},
    [OP_LIST_CHUNKS] = {"list_chunks", STAT_LISTS, 0},
    [OP_COPY] = {"copy_chunk", STAT_CHUNK_COPIES, MAY_BE_ABSENT},
    [OP_LIST_STRAYS] = {"list_strays", STAT_LISTS, 0},
    [OP_STRAYS] = {"delete_strays", STAT_LISTS, 0},
    [OP_FLUSH] = {"flush", STAT_FLUSHES, 0},
};

struct call {
    struct store *store;
    enum op op;
    unsigned flags;
    const char *name;             /* for the error text */
    const struct dn_chunk_id *id; /* NULL: not about one chunk */
    int64_t tries;
    bool unsure; /* an earlier try failed, but may have had its effect */
    int result;
};

static struct call call_name(struct store *store, enum op op, const char *name)
{
    return (struct call){.store = store, .op = op, .flags = rules[op].flags, .name = name};
}

static struct call call_chunk(struct store_dataset *dataset, enum op op, const struct dn_chunk_id *id)
{
    struct call call = call_name(dataset->store, op, dataset->name);
    call.id = id;
    return call;
}

static int take_turn(struct store *store)
{
    unsigned most = store->limits.max_calls;
    if (most == 0)
        return 0;
    int64_t limit = clock_ns(store->settings.request_timeout), now = clock_now();
    int64_t deadline = limit > INT64_MAX - now ? INT64_MAX : now + limit;
    int rc = 0;
    pthread_mutex_lock(&store->mutex);
    while (store->calls >= most && rc == 0)
        rc = clock_wait(&store->turn, &store->mutex, deadline);
    if (store->calls < most) {
        store->calls++;
        rc = 0;
    }
    pthread_mutex_unlock(&store->mutex);
    if (rc == -ETIMEDOUT)
        return dn_fail(rc, "the store is busy: no call was free within %g s",
                       store->settings.request_timeout);
    return rc < 0 ? dn_fail(rc, "interrupted while waiting for the store") : 0;
}

static void give_turn(struct store *store)
{
    if (store->limits.max_calls == 0)
        return;
    pthread_mutex_lock(&store->mutex);
    store->calls--;
    pthread_cond_signal(&store->turn);
    pthread_mutex_unlock(&store->mutex);
}

static bool may_have_happened(int code)
{
    return code == -ETIMEDOUT || code == -ECONNRESET;
}

static bool worth_repeating(const struct call *call)
{
    if (call->result != -EAGAIN && !may_have_happened(call->result))
        return false;
    if ((call->flags & NOT_TWICE) && call->result != -EAGAIN)
        return false;
    return call->tries <= call->store->settings.retries;
}

/* What the store asked for: for no longer than a request may take, as those who wait count with. */
static int64_t asked_pause(const struct store *store)
{
    return (int64_t)min_u64((uint64_t)clock_ns(dn_retry_pause()),
                            (uint64_t)clock_ns(store->settings.request_timeout));
}

/* Half of the wait is fixed, half is chance, so that threads that failed together come back apart. */
static int back_off(struct call *call)
{
    int64_t wait = clock_ns(STORE_LONGEST_PAUSE);
    if (call->tries <= 7)
        wait = min_u64((uint64_t)wait, (uint64_t)clock_ns(STORE_FIRST_PAUSE) << (call->tries - 1));
    wait = wait / 2 + clock_now() % (wait / 2 + 1);
    if (wait < asked_pause(call->store))
        wait = asked_pause(call->store);
    log_debug("%s of %.200s: %s; trying again", rules[call->op].name, call->name,
              dn_error_text(call->result));
    stats_add(call->store->stats, STAT_RETRIES, 1);
    return clock_sleep(wait) < 0 ? dn_fail(-EINTR, "interrupted while waiting to try again") : 0;
}

/* Answers that tell about the dataset or the store's nature, not about its health. */
static bool is_answer(int code)
{
    switch (code) {
    case -ENOENT:
    case -EEXIST:
    case -EINVAL:
    case -ENAMETOOLONG:
    case -ENOTSUP:
    case -EROFS:
    case -EXDEV:
    case -EINTR:
        return true;
    default:
        return code >= 0;
    }
}

/* The outcome is final: count a failure and put what it is about in front of its text. */
static void conclude(struct call *call)
{
    if (call->result >= 0)
        return;
    char index[DN_VECTOR_TEXT] = "";
    const char *why = dn_error_text(call->result);
    if (!is_answer(call->result))
        stats_add(call->store->stats, STAT_BACKEND_ERRORS, 1);
    if (call->result == -EAGAIN || call->result == -ECONNRESET)
        call->result = -EIO;
    if (call->id)
        dn_vector_format(call->id->index, call->id->ndim, ".", index, sizeof index);
    dn_fail(call->result, "%.200s%s%s: %s", call->name, call->id ? " chunk " : "", index, why);
}

/*
 * while (attempt(&call))
 *     finish(&call, backend->operation(…));
 *
 * True: the turn is taken, make the call. False: call.result is the outcome.
 */
static bool attempt(struct call *call)
{
    int rc = 0;
    if (call->tries > 0) {
        if (!worth_repeating(call)) {
            conclude(call);
            return false;
        }
        rc = back_off(call);
    }
    if (rc == 0)
        rc = take_turn(call->store);
    if (rc < 0) {
        call->result = rc;
        conclude(call);
        return false;
    }
    call->tries++;
    stats_add(call->store->stats, rules[call->op].counter, 1);
    dn_error_clear();
    return true;
}

/* What the backend said, if it may say that; else -EIO with a text. */
static int checked_result(const struct call *call, int rc)
{
    const char *what = rules[call->op].name;
    if (rc > 0 && !(rc == 1 && (call->flags & MAY_BE_ONE)))
        return dn_fail(-EIO, "backend %s: %s returned %d", call->store->backend->name, what, rc);
    if (rc < -4095)
        return dn_fail(-EIO, "backend %s: %s returned %d, which is no errno",
                       call->store->backend->name, what, rc);
    if (rc == -ENOENT && !(call->flags & MAY_BE_ABSENT))
        return dn_fail(-EIO, "backend %s: %s says \"absent\", which it may not",
                       call->store->backend->name, what);
    return rc;
}

static void finish(struct call *call, int rc)
{
    give_turn(call->store);
    if (rc == -ENOENT && call->unsure && (call->flags & GONE_IS_DONE))
        rc = 0;
    call->result = checked_result(call, rc);
    call->unsure |= may_have_happened(call->result);
}

/* ---- connection -------------------------------------------------------------------------------- */

static int connect_backend(struct store *store, const char *connection, const void *options)
{
    dn_error_clear();
    int rc = store->backend->connect(connection, options, &store->conn);
    if (rc > 0)
        rc = dn_fail(-EIO, "backend %s: connect returned %d", store->backend->name, rc);
    if (rc < 0)
        return dn_fail(rc, "connection %.200s: %s", connection, dn_error_text(rc));
    if (store->backend->limits)
        store->backend->limits(store->conn, &store->limits);
    return 0;
}

static int init_turns(struct store *store)
{
    int rc = clock_cond_init(&store->turn);
    if (rc < 0)
        return rc;
    rc = pthread_mutex_init(&store->mutex, NULL);
    if (rc != 0)
        pthread_cond_destroy(&store->turn);
    return -rc;
}

static void free_turns(struct store *store)
{
    pthread_mutex_destroy(&store->mutex);
    pthread_cond_destroy(&store->turn);
}

int store_open(const struct dn_backend *backend, const char *connection, const void *options,
               const struct store_settings *settings, struct stats *stats, struct store **out)
{
    assert(backend && connection && settings && stats && out);
    int rc = registry_load(backend, &backend);
    if (rc < 0)
        return rc;
    assert(backend->connect && backend->disconnect && backend->open_dataset &&
           backend->close_dataset && backend->read_chunk);
    struct store *store = calloc(1, sizeof *store);
    char *name = strdup(connection);
    rc = dn_fail(-ENOMEM, "connection %.200s: out of memory", connection);
    if (!store || !name)
        goto fail;
    store->backend = backend;
    store->name = name;
    store->settings = *settings;
    store->stats = stats;
    rc = init_turns(store);
    if (rc < 0)
        goto fail;
    rc = connect_backend(store, connection, options);
    if (rc < 0) {
        free_turns(store);
        goto fail;
    }
    *out = store;
    return 0;

fail:
    free(name);
    free(store);
    return rc;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    assert(store->calls == 0);
    store->backend->disconnect(store->conn);
    free_turns(store);
    free(store->name);
    free(store);
}

const struct dn_backend *store_backend(const struct store *store)
{
    return store->backend;
}

const struct dn_limits *store_limits(const struct store *store)
{
    return &store->limits;
}

bool store_can(const struct store *store, enum dn_ability ability)
{
    return (store->backend->abilities & ~store->limits.lacks & ability) != 0;
}

int store_thread_enter(void *arg)
{
    struct store *store = arg;
    return store->backend->thread_enter ? store->backend->thread_enter(store->conn) : 0;
}

void store_thread_leave(void *arg)
{
    struct store *store = arg;
    if (store->backend->thread_leave)
        store->backend->thread_leave(store->conn);
}

int store_usage(struct store *store, struct dn_usage *out)
{
    assert(store && out);
    struct call call = call_name(store, OP_USAGE, store->name);
    if (!store->backend->usage)
        return dn_fail(-ENOTSUP, "this store does not know its space");
    while (attempt(&call)) {
        *out = (struct dn_usage){0};
        finish(&call, store->backend->usage(store->conn, out));
    }
    return call.result;
}

/* ---- datasets ---------------------------------------------------------------------------------- */

/* What stands between a backend's listing and the caller's function. */
struct listing {
    struct call *call;
    dn_name_fn name_fn;
    dn_chunk_fn chunk_fn;
    void *arg;
    const struct store_dataset *dataset;
    int stop;     /* what the caller's function stopped with */
    bool ignored; /* the backend went on all the same */
};

/* Before each item. False: the caller has had enough. */
static bool listing_goes_on(struct listing *listing)
{
    listing->call->tries = INT64_MAX; /* a repetition would give items twice */
    listing->ignored = listing->stop != 0;
    return !listing->ignored;
}

static int listing_result(const struct listing *listing, int rc)
{
    if (listing->ignored || (listing->stop && rc != listing->stop))
        return dn_fail(-EIO, "backend %s: %s does not stop when told to",
                       listing->call->store->backend->name, rules[listing->call->op].name);
    return listing->stop ? 0 : rc;
}

static int pass_name(void *arg, const char *name)
{
    struct listing *listing = arg;
    if (!listing_goes_on(listing))
        return listing->stop;
    if (!name || !*name)
        return dn_fail(-EIO, "the store lists something without a name");
    return listing->stop = listing->name_fn(listing->arg, name);
}

int store_list(struct store *store, dn_name_fn fn, void *arg)
{
    assert(store && fn);
    struct call call = call_name(store, OP_LIST, store->name);
    struct listing listing = {.call = &call, .name_fn = fn, .arg = arg};
    if (!store->backend->list_datasets)
        return dn_fail(-ENOTSUP, "this store keeps no list of datasets");
    while (attempt(&call)) {
        int rc = store->backend->list_datasets(store->conn, pass_name, &listing);
        finish(&call, listing_result(&listing, rc));
    }
    return call.result < 0 ? call.result : listing.stop;
}

int store_rescan(struct store *store)
{
    assert(store);
    struct call call = call_name(store, OP_RESCAN, store->name);
    if (!store->backend->rescan)
        return 0;
    while (attempt(&call))
        finish(&call, store->backend->rescan(store->conn));
    return call.result;
}

int store_create(struct store *store, const char *name, const struct dn_desc *desc)
{
    assert(store && name && desc);
    struct call call = call_name(store, OP_CREATE, name);
    int rc = dn_desc_check(desc);
    if (rc < 0)
        return rc;
    uint64_t most = store->limits.largest_chunk;
    if (most > 0 && dn_desc_chunk_nbytes(desc) > most)
        return dn_fail(-EFBIG, "%.200s: chunks of %llu bytes; this store takes %llu at most", name,
                       (unsigned long long)dn_desc_chunk_nbytes(desc), (unsigned long long)most);
    if (!store->backend->create_dataset)
        return dn_fail(-EROFS, "%.200s: this store is read-only", name);
    while (attempt(&call))
        finish(&call, store->backend->create_dataset(store->conn, name, desc));
    return call.result;
}

static void free_dataset(struct store_dataset *dataset)
{
    if (dataset)
        free(dataset->name);
    free(dataset);
}

/* The description comes from anybody: nothing computes with it before it was checked. */
static int adopt_desc(struct store_dataset *dataset, const struct dn_desc *desc)
{
    int rc = dn_desc_check(desc);
    if (rc < 0)
        return dn_fail(-EPROTO, "%.200s: bad metadata: %s", dataset->name, dn_error_text(rc));
    dataset->ndim = desc->ndim;
    dataset->chunk_nbytes = dn_desc_chunk_nbytes(desc);
    for (int axis = 0; axis < desc->ndim; axis++)
        dataset->grid[axis] = dn_desc_grid(desc, axis);
    return 0;
}

int store_open_dataset(struct store *store, const char *name, struct store_dataset **out,
                       struct dn_desc *desc)
{
    assert(store && name && out && desc);
    struct call call = call_name(store, OP_OPEN, name);
    struct store_dataset *dataset = calloc(1, sizeof *dataset);
    *desc = (struct dn_desc){0};
    int rc = dn_fail(-ENOMEM, "%.200s: out of memory", name);
    if (!dataset || !(dataset->name = strdup(name)))
        goto fail;
    dataset->store = store;
    while (attempt(&call)) {
        dn_desc_clear(desc); /* of what a failed try may have left */
        finish(&call, store->backend->open_dataset(store->conn, name, &dataset->handle, desc));
    }
    rc = call.result;
    if (rc < 0)
        goto fail;
    rc = adopt_desc(dataset, desc);
    if (rc < 0) {
        store->backend->close_dataset(dataset->handle);
        goto fail;
    }
    *out = dataset;
    return 0;

fail:
    dn_desc_clear(desc);
    free_dataset(dataset);
    return rc;
}

bool store_same_dataset(const struct store_dataset *dataset, const struct store_dataset *fresh)
{
    const struct dn_backend *backend = dataset->store->backend;
    return !backend->same_dataset || backend->same_dataset(dataset->handle, fresh->handle);
}

static int has_by_opening(struct store *store, const char *name)
{
    struct store_dataset *dataset;
    struct dn_desc desc;
    int rc = store_open_dataset(store, name, &dataset, &desc);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    store_close_dataset(dataset);
    dn_desc_clear(&desc);
    return 1;
}

int store_has(struct store *store, const char *name)
{
    assert(store && name);
    struct call call = call_name(store, OP_HAS, name);
    if (!store->backend->has_dataset)
        return has_by_opening(store, name);
    while (attempt(&call))
        finish(&call, store->backend->has_dataset(store->conn, name));
    return call.result == -ENOTSUP ? has_by_opening(store, name) : call.result;
}

void store_close_dataset(struct store_dataset *dataset)
{
    if (!dataset)
        return;
    dataset->store->backend->close_dataset(dataset->handle);
    free_dataset(dataset);
}

int store_delete(struct store *store, const char *name)
{
    assert(store && name);
    struct call call = call_name(store, OP_DELETE, name);
    if (!store->backend->delete_dataset)
        return dn_fail(-EROFS, "%.200s: this store deletes no datasets", name);
    while (attempt(&call))
        finish(&call, store->backend->delete_dataset(store->conn, name));
    return call.result;
}

int store_rename(struct store *store, const char *from, const char *to)
{
    assert(store && from && to);
    struct call call = call_name(store, OP_RENAME, from);
    if (!store->backend->rename_dataset)
        return dn_fail(-EXDEV, "%.200s: this store renames nothing in one step", from);
    while (attempt(&call))
        finish(&call, store->backend->rename_dataset(store->conn, from, to));
    return call.result;
}

int store_list_strays(struct store_dataset *dataset, dn_name_fn fn, void *arg)
{
    assert(dataset && fn);
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_chunk(dataset, OP_LIST_STRAYS, NULL);
    struct listing listing = {.call = &call, .name_fn = fn, .arg = arg};
    if (!backend->list_strays)
        return backend->delete_strays ? dn_fail(-ENOTSUP, "this store does not list stray chunks") : 0;
    while (attempt(&call)) {
        int rc = backend->list_strays(dataset->handle, pass_name, &listing);
        finish(&call, listing_result(&listing, rc));
    }
    return call.result < 0 ? call.result : listing.stop;
}

int store_delete_strays(struct store_dataset *dataset)
{
    assert(dataset);
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_chunk(dataset, OP_STRAYS, NULL);
    if (!backend->delete_strays)
        return 0;
    while (attempt(&call))
        finish(&call, backend->delete_strays(dataset->handle));
    return call.result;
}

int store_flush(struct store_dataset *dataset)
{
    assert(dataset);
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_chunk(dataset, OP_FLUSH, NULL);
    if (!backend->flush)
        return 0;
    while (attempt(&call))
        finish(&call, backend->flush(dataset->handle));
    return call.result;
}

/* ---- chunks ------------------------------------------------------------------------------------ */

static bool in_grid(const struct store_dataset *dataset, const uint64_t *index, int ndim)
{
    if (!index || ndim != dataset->ndim)
        return false;
    for (int axis = 0; axis < ndim; axis++) {
        if (index[axis] >= dataset->grid[axis])
            return false;
    }
    return true;
}

static __attribute__((unused)) bool chunk_is_valid(const struct store_dataset *dataset, const struct dn_chunk_id *id)
{
    if (!dataset || !id || !in_grid(dataset, id->index, id->ndim))
        return false;
    uint64_t flat = 0;
    for (int axis = 0; axis < id->ndim; axis++)
        flat = flat * dataset->grid[axis] + id->index[axis];
    return flat == id->flat;
}

static __attribute__((unused)) bool range_is_valid(const struct store_dataset *dataset, uint64_t offset, size_t length)
{
    return length > 0 && length <= dataset->chunk_nbytes && offset <= dataset->chunk_nbytes - length;
}

/* A mark longer than its field would be read past its end by whoever copies it. */
static int checked_mark(const struct call *call, int rc, const struct dn_version *mark)
{
    if (rc == 0 && mark->size > sizeof mark->bytes)
        return dn_fail(-EIO, "backend %s: %s returned a version of %u bytes",
                       call->store->backend->name, rules[call->op].name, mark->size);
    return rc;
}

/* Each try begins with the caller's mark, whatever a failed one left in it. */
static int read_as_is(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t offset,
                      void *buffer, size_t length, struct dn_version *version)
{
    struct store *store = dataset->store;
    struct call call = call_chunk(dataset, OP_READ, id);
    bool compare = version && store_can(store, DN_CAN_COMPARE);
    struct dn_version mark = {0};
    if (compare && version->size > 0)
        call.flags |= MAY_BE_ONE;
    while (attempt(&call)) {
        if (compare)
            mark = *version;
        int rc = store->backend->read_chunk(dataset->handle, id, offset, buffer, length,
                                            compare ? &mark : NULL);
        finish(&call, checked_mark(&call, rc, &mark));
    }
    if (call.result == 0) {
        stats_add(store->stats, STAT_CHUNK_GET_BYTES, length);
        if (version)
            *version = mark;
    }
    stats_add(store->stats, STAT_CHUNK_ABSENT, call.result == -ENOENT);
    stats_add(store->stats, STAT_CHUNK_UNCHANGED, call.result == DN_UNCHANGED);
    return call.result;
}

static int read_and_cut(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t offset,
                        void *buffer, size_t length, struct dn_version *version)
{
    unsigned char *whole = malloc(dataset->chunk_nbytes);
    if (!whole)
        return dn_fail(-ENOMEM, "%.200s: no memory for a chunk of %llu bytes", dataset->name,
                       (unsigned long long)dataset->chunk_nbytes);
    int rc = read_as_is(dataset, id, 0, whole, dataset->chunk_nbytes, version);
    if (rc == 0)
        memcpy(buffer, whole + offset, length);
    free(whole);
    return rc;
}

int store_read(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t offset, void *buffer,
               size_t length, struct dn_version *version)
{
    assert(chunk_is_valid(dataset, id) && range_is_valid(dataset, offset, length) && buffer);
    if (length < dataset->chunk_nbytes && !store_can(dataset->store, DN_CAN_READ_RANGE))
        return read_and_cut(dataset, id, offset, buffer, length, version);
    return read_as_is(dataset, id, offset, buffer, length, version);
}

int store_write(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t offset,
                const void *buffer, size_t length, struct dn_version *version)
{
    assert(chunk_is_valid(dataset, id) && range_is_valid(dataset, offset, length) && buffer);
    struct store *store = dataset->store;
    bool part = length < dataset->chunk_nbytes;
    assert(!part || store_can(store, DN_CAN_WRITE_RANGE));
    struct call call = call_chunk(dataset, OP_WRITE, id);
    bool marked = version && store_can(store, DN_CAN_COMPARE);
    struct dn_version mark = {0};
    if (!store->backend->write_chunk)
        return dn_fail(-EROFS, "%.200s: this store is read-only", dataset->name);
    if (part)
        call.flags |= MAY_BE_ABSENT;
    while (attempt(&call)) {
        mark.size = 0;
        int rc = store->backend->write_chunk(dataset->handle, id, offset, buffer, length,
                                             marked ? &mark : NULL);
        finish(&call, checked_mark(&call, rc, &mark));
    }
    if (call.result == 0) {
        stats_add(store->stats, STAT_CHUNK_PUT_BYTES, length);
        if (version)
            *version = mark;
    }
    return call.result;
}

int store_delete_chunk(struct store_dataset *dataset, const struct dn_chunk_id *id)
{
    assert(chunk_is_valid(dataset, id));
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_chunk(dataset, OP_DELETE_CHUNK, id);
    if (!backend->delete_chunk)
        return dn_fail(-EROFS, "%.200s: this store deletes no chunks", dataset->name);
    while (attempt(&call))
        finish(&call, backend->delete_chunk(dataset->handle, id));
    return call.result;
}

size_t store_deletes_at_once(const struct store_dataset *dataset)
{
    return dataset->store->backend->delete_chunks ? DN_DELETE_MOST : 1;
}

int store_delete_chunks(struct store_dataset *dataset, const struct dn_chunk_id *ids, size_t count)
{
    assert(dataset && ids && count > 0 && count <= store_deletes_at_once(dataset));
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_chunk(dataset, OP_DELETE_CHUNKS, NULL);
    if (!backend->delete_chunks) {
        int rc = store_delete_chunk(dataset, ids);
        return rc == -ENOENT ? 0 : rc;
    }
    while (attempt(&call))
        finish(&call, backend->delete_chunks(dataset->handle, ids, count));
    return call.result;
}

static int copy_by_reading(struct store_dataset *from, struct store_dataset *to, const struct dn_chunk_id *id)
{
    void *buffer = malloc(from->chunk_nbytes);
    if (!buffer)
        return dn_fail(-ENOMEM, "%.200s: no memory for a chunk of %llu bytes", from->name,
                       (unsigned long long)from->chunk_nbytes);
    int rc = store_read(from, id, 0, buffer, from->chunk_nbytes, NULL);
    if (rc == 0)
        rc = store_write(to, id, 0, buffer, to->chunk_nbytes, NULL);
    free(buffer);
    return rc;
}

int store_copy_chunk(struct store_dataset *from, struct store_dataset *to, const struct dn_chunk_id *id)
{
    assert(chunk_is_valid(from, id) && chunk_is_valid(to, id));
    assert(from->store == to->store && from->chunk_nbytes == to->chunk_nbytes);
    const struct dn_backend *backend = to->store->backend;
    struct call call = call_chunk(to, OP_COPY, id);
    if (!backend->copy_chunk)
        return copy_by_reading(from, to, id);
    while (attempt(&call))
        finish(&call, backend->copy_chunk(from->handle, to->handle, id));
    return call.result == -ENOTSUP ? copy_by_reading(from, to, id) : call.result;
}

static int has_by_reading(struct store_dataset *dataset, const struct dn_chunk_id *id)
{
    unsigned char byte;
    int rc = store_read(dataset, id, 0, &byte, 1, NULL);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    return 1;
}

int store_has_chunk(struct store_dataset *dataset, const struct dn_chunk_id *id)
{
    assert(chunk_is_valid(dataset, id));
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_chunk(dataset, OP_HAS_CHUNK, id);
    if (!backend->has_chunk)
        return has_by_reading(dataset, id);
    while (attempt(&call))
        finish(&call, backend->has_chunk(dataset->handle, id));
    return call.result == -ENOTSUP ? has_by_reading(dataset, id) : call.result;
}

static int length_by_asking(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t *nbytes)
{
    int rc = store_has_chunk(dataset, id);
    *nbytes = dataset->chunk_nbytes;
    return rc > 0 ? 0 : rc < 0 ? rc : dn_fail(-ENOENT, "not stored");
}

int store_chunk_length(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t *nbytes)
{
    assert(chunk_is_valid(dataset, id) && nbytes);
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_chunk(dataset, OP_LENGTH, id);
    if (!backend->chunk_length)
        return length_by_asking(dataset, id, nbytes);
    while (attempt(&call))
        finish(&call, backend->chunk_length(dataset->handle, id, nbytes));
    return call.result == -ENOTSUP ? length_by_asking(dataset, id, nbytes) : call.result;
}

static int pass_chunk(void *arg, const uint64_t *index, int ndim)
{
    struct listing *listing = arg;
    if (!listing_goes_on(listing))
        return listing->stop;
    if (!in_grid(listing->dataset, index, ndim))
        return dn_fail(-EIO, "the store lists a chunk outside the grid");
    return listing->stop = listing->chunk_fn(listing->arg, index, ndim);
}

int store_list_chunks(struct store_dataset *dataset, dn_chunk_fn fn, void *arg)
{
    assert(dataset && fn);
    const struct dn_backend *backend = dataset->store->backend;
    struct call call = call_chunk(dataset, OP_LIST_CHUNKS, NULL);
    struct listing listing = {.call = &call, .chunk_fn = fn, .arg = arg, .dataset = dataset};
    if (!backend->list_chunks)
        return dn_fail(-ENOTSUP, "%.200s: this store lists no chunks", dataset->name);
    while (attempt(&call)) {
        int rc = backend->list_chunks(dataset->handle, pass_chunk, &listing);
        finish(&call, listing_result(&listing, rc));
    }
    return call.result < 0 ? call.result : listing.stop;
}
