// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* Datasets that nobody has open, but whose chunks stay in memory for the next opener. */
#define MAX_IDLE 128

/* ---- the table ------------------------------------------------------------------------------- */

static dn_dataset *find_locked(dn_connection *conn, const char *name)
{
    dn_dataset *dataset;

    HASH_FIND_STR(conn->datasets, name, dataset);
    return dataset;
}

static void open_locked(dn_dataset *dataset)
{
    if (dataset->openers++ == 0)
        dataset->conn->idle--;
    dataset->used = ++dataset->conn->uses;
}

static struct dataset_name *name_new(const char *text)
{
    size_t size = strlen(text) + 1;
    struct dataset_name *name = malloc(sizeof *name + size);

    if (!name)
        return NULL;
    name->older = NULL;
    memcpy(name->text, text, size);
    return name;
}

static dn_dataset *dataset_new(dn_connection *conn, const char *name)
{
    dn_dataset *dataset = calloc(1, sizeof *dataset);

    if (dataset)
        dataset->name = name_new(name);
    if (!dataset || !dataset->name) {
        free(dataset);
        return NULL;
    }
    dataset->conn = conn;
    return dataset;
}

/* It is not in the cache. */
static void dataset_discard(dn_dataset *dataset)
{
    struct dataset_name *name, *next;

    LL_FOREACH_SAFE2 (dataset->name, name, next, older)
        free(name);
    free(dataset);
}

void dataset_free(dn_dataset *dataset)
{
    cache_remove_dataset(dataset->cached);
    dataset_discard(dataset);
}

static bool is_dirty(const dn_dataset *dataset)
{
    const struct cache_dataset *cached = dataset->cached;
    bool dirty;

    pthread_mutex_lock(&dataset->conn->cache->lock);
    dirty = cached->dirty || cached->busy || cached->void_from != UINT64_MAX || cached->flushed < cached->changes;
    pthread_mutex_unlock(&dataset->conn->cache->lock);
    return dirty;
}

static bool is_busy(const dn_dataset *dataset)
{
    bool busy;

    pthread_mutex_lock(&dataset->conn->cache->lock);
    busy = dataset->cached->busy;
    pthread_mutex_unlock(&dataset->conn->cache->lock);
    return busy;
}

/* Take out the idle dataset that was used longest ago, if there are too many. */
static dn_dataset *surplus_locked(dn_connection *conn)
{
    dn_dataset *oldest = NULL, *dataset, *next;

    if (conn->idle <= MAX_IDLE)
        return NULL;
    HASH_ITER(hh, conn->datasets, dataset, next)
    if (!dataset->openers && (!oldest || dataset->used < oldest->used) && !is_dirty(dataset))
        oldest = dataset;
    if (oldest) {
        HASH_DEL(conn->datasets, oldest);
        conn->idle--;
    }
    return oldest;
}

/* Drop one opener, who may be the last one of a dataset that is gone. */
static void drop_opener(dn_dataset *dataset)
{
    dn_connection *conn = dataset->conn;
    dn_dataset *unused = NULL;

    pthread_mutex_lock(&conn->lock);
    assert(dataset->openers > 0);
    if (--dataset->openers == 0) {
        if (!dataset->retired) {
            conn->idle++;
            unused = surplus_locked(conn);
        } else if (!is_busy(dataset)) { /* else a request hangs: kept until the connection ends */
            DL_DELETE(conn->retired, dataset);
            unused = dataset;
        }
    }
    pthread_mutex_unlock(&conn->lock);
    if (unused)
        dataset_free(unused);
}

/* The dataset of this name that is known, with one more opener; NULL if none is. */
static dn_dataset *open_known(dn_connection *conn, const char *name)
{
    dn_dataset *dataset;

    pthread_mutex_lock(&conn->lock);
    dataset = find_locked(conn, name);
    if (dataset)
        open_locked(dataset);
    pthread_mutex_unlock(&conn->lock);
    return dataset;
}

/* Take a dataset that is gone from the store out of the table; the caller becomes one of its openers, so that
   it stays until the cache has let go of it. */
static void retire_locked(dn_dataset *dataset)
{
    HASH_DEL(dataset->conn->datasets, dataset);
    open_locked(dataset);
    dataset->retired = true;
    DL_APPEND(dataset->conn->retired, dataset);
}

/* Its chunks are dropped, and its openers get -ESTALE. */
static int end_retired(dn_dataset *dataset)
{
    int error = cache_retire(dataset->cached);

    drop_opener(dataset);
    return error;
}

/* The store no longer has `name` as we knew it. With `only`: if it is still that one in the table, and its name is not
   being changed here. */
static int forget_name(dn_connection *conn, const char *name, const dn_dataset *only)
{
    dn_dataset *dataset;

    pthread_mutex_lock(&conn->lock);
    dataset = find_locked(conn, name);
    if (dataset && only && (dataset != only || only->moving))
        dataset = NULL;
    if (dataset)
        retire_locked(dataset);
    pthread_mutex_unlock(&conn->lock);
    return dataset ? end_retired(dataset) : 0;
}

static void name_use_begin(dn_connection *conn, struct name_use *use)
{
    struct name_use *other;

    pthread_mutex_lock(&conn->lock);
    DL_FOREACH(conn->name_uses, other)
    {
        if (strcmp(other->name, use->name) != 0)
            continue;
        use->gone = use->gone || other->deletes;
        other->gone = other->gone || use->deletes;
    }
    DL_APPEND(conn->name_uses, use);
    pthread_mutex_unlock(&conn->lock);
}

static void name_use_end(dn_connection *conn, struct name_use *use)
{
    pthread_mutex_lock(&conn->lock);
    DL_DELETE(conn->name_uses, use);
    pthread_mutex_unlock(&conn->lock);
}

/* ---- creating and opening ----------------------------------------------------------------------- */

static int create(dn_connection *conn, const char *name, const struct dn_desc *desc)
{
    uint64_t largest = store_limits(conn->store)->largest_chunk;
    int error = check_writable(conn);

    if (!error)
        error = dn_desc_check(desc);
    if (!error && largest && dn_desc_chunk_nbytes(desc) > largest)
        error = dn_fail(-EFBIG, "%s: a chunk has %llu bytes, and this store takes %llu at most", name,
                        (unsigned long long)dn_desc_chunk_nbytes(desc), (unsigned long long)largest);
    return error ? error : store_create(conn->store, name, desc);
}

int dn_create(dn_connection *conn, const char *name, const struct dn_desc *desc, dn_dataset **out)
{
    dn_dataset *known = open_known(conn, name); /* what is opened from now on may be the new one */
    int error = dn_agree(conn, is_first(conn) ? create(conn, name, desc) : 0, NULL);

    if (out)
        *out = NULL;
    if (known) {
        error = error ? error : forget_name(conn, name, known);
        drop_opener(known);
    }
    return error || !out ? error : dn_open(conn, name, out);
}

/* Make an entry for what was opened in the store, unless somebody was faster. Takes over `store`. */
static int add_dataset(dn_connection *conn, const struct name_use *use, struct store_dataset *store,
                       const struct dn_desc *desc, dn_dataset **out)
{
    const char *name = use->name;
    dn_dataset *dataset = dataset_new(conn, name), *other;
    int error = dataset ? cache_add_dataset(conn->cache, store, desc, &dataset->cached) : -ENOMEM;

    if (error) {
        store_close_dataset(store);
        if (dataset)
            dataset_discard(dataset);
        return dn_fail(error, "out of memory");
    }
    pthread_mutex_lock(&conn->lock);
    other = find_locked(conn, name);
    if (use->gone) {
        error = dn_fail(-ENOENT, "%s: the dataset is being deleted", name);
    } else if (!other) {
        HASH_ADD_KEYPTR(hh, conn->datasets, dataset->name->text, strlen(name), dataset);
        if (!dataset->hh.tbl)
            error = dn_fail(-ENOMEM, "out of memory");
        else
            conn->idle++;
    }
    if (!error) {
        *out = other ? other : dataset;
        open_locked(*out);
    }
    pthread_mutex_unlock(&conn->lock);
    if (other || error)
        dataset_free(dataset);
    return error;
}

/* Is what we know still what the store has? A point of coherence. */
static int reopen(dn_connection *conn, const struct name_use *use, dn_dataset *known, struct store_dataset *store,
                  const struct dn_desc *desc, dn_dataset **out)
{
    if (dn_desc_equal(&known->cached->desc, desc) && store_same_dataset(known->cached->store, store)) {
        store_close_dataset(store);
        cache_new_epoch(known->cached);
        *out = known;
        return 0;
    }
    cache_flush(known->cached, false); /* where it was written, if that is only renamed */
    forget_name(conn, use->name, known);
    drop_opener(known);
    return add_dataset(conn, use, store, desc, out);
}

int dn_open(dn_connection *conn, const char *name, dn_dataset **out)
{
    dn_dataset *known = open_known(conn, name);
    struct name_use use = {.name = name};
    struct store_dataset *store = NULL;
    struct dn_desc desc = {0};
    int error;

    *out = NULL;
    if (known && conn->settings->cache == CACHE_ALWAYS) {
        *out = known;
        return 0;
    }
    name_use_begin(conn, &use);
    error = store_open_dataset(conn->store, name, &store, &desc);
    if (error && known) {
        if (error == -ENOENT)
            forget_name(conn, name, known);
        drop_opener(known);
    } else if (!error && known) {
        error = reopen(conn, &use, known, store, &desc, out);
    } else if (!error) {
        error = add_dataset(conn, &use, store, &desc, out);
    }
    name_use_end(conn, &use);
    dn_desc_clear(&desc);
    return error;
}

/* The store takes nothing of it any more. If it is gone, so is what waits here to be stored: that would only be in
   the way of others. */
static int look_again(dn_dataset *dataset, int error)
{
    char text[DN_ERROR_MAX];
    dn_dataset *now;

    snprintf(text, sizeof text, "%s", dn_error_text(error));
    if (!dn_open(dataset->conn, dn_name(dataset), &now))
        drop_opener(now);
    return dn_fail(error, "%s", text);
}

int dn_close(dn_dataset *dataset)
{
    int error = cache_flush(dataset->cached, false);

    if (error == -ESTALE)
        error = look_again(dataset, error);
    drop_opener(dataset);
    return error;
}

int dn_sync(dn_connection *conn)
{
    dn_dataset *dataset, *next, **all;
    unsigned count = 0;
    int error = 0, failed;

    pthread_mutex_lock(&conn->lock);
    all = calloc(HASH_COUNT(conn->datasets) + 1, sizeof *all);
    HASH_ITER(hh, conn->datasets, dataset, next)
    if (all) {
        open_locked(dataset);
        all[count++] = dataset;
    }
    pthread_mutex_unlock(&conn->lock);
    if (!all)
        return dn_fail(-ENOMEM, "out of memory");
    for (unsigned i = 0; i < count; i++) {
        failed = dn_close(all[i]);
        error = error ? error : failed;
    }
    free(all);
    return error;
}

int dn_has(dn_connection *conn, const char *name)
{
    return store_has(conn->store, name);
}

/* ---- deleting and renaming ------------------------------------------------------------------------ */

static int delete_chunks(dn_connection *conn, const char *name)
{
    struct store_dataset *store;
    struct dn_desc desc = {0};
    struct grid grid;
    int error = store_open_dataset(conn->store, name, &store, &desc);

    if (error == -EPROTO) /* no readable description, so no chunks that could be named */
        return 0;
    if (error)
        return error;
    grid_init(&grid, &desc);
    error = chunks_delete(conn->cache, store, &grid);
    if (!error)
        error = store_delete_strays(store);
    store_close_dataset(store);
    dn_desc_clear(&desc);
    return error;
}

/* Nobody opens it from now on until it is gone. */
static int delete_unopened(dn_connection *conn, const char *name)
{
    struct name_use use = {.name = name, .deletes = true};
    int error;

    name_use_begin(conn, &use);
    error = forget_name(conn, name, NULL);
    if (!error && !store_can(conn->store, DN_DELETES_CHUNKS))
        error = delete_chunks(conn, name);
    if (!error)
        error = store_delete(conn->store, name);
    name_use_end(conn, &use);
    return error;
}

static int delete(dn_connection *conn, const char *name)
{
    int error = check_writable(conn);

    if (error)
        return error;
    error = store_has(conn->store, name);
    if (error <= 0)
        return error ? error : dn_fail(-ENOENT, "%s: no such dataset", name);
    return delete_unopened(conn, name);
}

int dn_delete(dn_connection *conn, const char *name)
{
    return dn_agree(conn, is_first(conn) ? delete(conn, name) : forget_name(conn, name, NULL), NULL);
}

/* Under a new name; the object stays what it is, so that open handles go on. */
static int rename_known(dn_connection *conn, const char *from, const char *to)
{
    struct dataset_name *name = name_new(to);
    dn_dataset *dataset;

    if (!name)
        return dn_fail(-ENOMEM, "out of memory");
    pthread_mutex_lock(&conn->lock);
    dataset = find_locked(conn, from);
    if (dataset) {
        HASH_DEL(conn->datasets, dataset);
        name->older = dataset->name;
        dataset->name = name;
        HASH_ADD_KEYPTR(hh, conn->datasets, name->text, strlen(to), dataset);
        if (!dataset->hh.tbl) { /* no memory: the next open makes another one */
            dataset->retired = true;
            DL_APPEND(conn->retired, dataset);
        }
    }
    pthread_mutex_unlock(&conn->lock);
    if (!dataset)
        free(name);
    return 0;
}

static int rename_stored(dn_connection *conn, const char *from, const char *to)
{
    int result = store_rename(conn->store, from, to);
    int error = result < 0 ? result : forget_name(conn, to, NULL);

    if (error)
        return error;
    return result ? rename_known(conn, from, to) : forget_name(conn, from, NULL);
}

static void set_moving(dn_dataset *dataset, bool moving)
{
    pthread_mutex_lock(&dataset->conn->lock);
    dataset->moving = moving;
    pthread_mutex_unlock(&dataset->conn->lock);
}

int dn_rename(dn_connection *conn, const char *from, const char *to)
{
    int error = check_writable(conn);
    dn_dataset *known;

    if (error)
        return error;
    known = open_known(conn, from);
    if (!known)
        return rename_stored(conn, from, to);
    error = cache_flush(known->cached, false); /* what is dirty belongs to the old name */
    set_moving(known, true);
    if (!error)
        error = rename_stored(conn, from, to);
    set_moving(known, false);
    drop_opener(known);
    return error;
}

/* ---- what it is ------------------------------------------------------------------------------------ */

const struct dn_desc *dn_describe(const dn_dataset *dataset)
{
    return &dataset->cached->desc;
}

const char *dn_name(const dn_dataset *dataset)
{
    const struct dataset_name *name;

    pthread_mutex_lock(&dataset->conn->lock);
    name = dataset->name;
    pthread_mutex_unlock(&dataset->conn->lock);
    return name->text;
}

int64_t dn_mtime_ns(const dn_dataset *dataset)
{
    struct cache *cache = dataset->conn->cache;
    int64_t mtime;

    pthread_mutex_lock(&cache->lock);
    mtime = dataset->cached->mtime_ns;
    pthread_mutex_unlock(&cache->lock);
    return mtime;
}

uint64_t dn_generation(const dn_dataset *dataset)
{
    struct cache *cache = dataset->conn->cache;
    uint64_t generation;

    pthread_mutex_lock(&cache->lock);
    generation = dataset->cached->generation;
    pthread_mutex_unlock(&cache->lock);
    return generation;
}
