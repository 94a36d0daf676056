// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "config.h"
#include "log.h"
#include "pool.h"

/* ---- putting a connection together ------------------------------------------------------------ */

/* The longest that one request takes: store.h says how long the pauses between its tries are. */
static double patience(const struct settings *settings)
{
    double seconds = settings->request_timeout, pause = STORE_FIRST_PAUSE;

    for (int64_t i = 0; i < settings->retries; i++) {
        seconds += pause * STORE_JITTER + settings->request_timeout;
        pause = pause * 2 < STORE_LONGEST_PAUSE ? pause * 2 : STORE_LONGEST_PAUSE;
    }
    return seconds + 1;
}

static int open_store(dn_connection *conn, const char *name)
{
    struct store_settings settings = {.retries = conn->settings->retries,
                                      .request_timeout = conn->settings->request_timeout};

    return store_open(config_backend(conn->config), name, config_options(conn->config), &settings,
                      &conn->stats, &conn->store);
}

static int start_pool(dn_connection *conn)
{
    struct pool_hooks hooks = {store_thread_enter, store_thread_leave, conn->store};
    unsigned threads = conn->settings->engine == ENGINE_CPU ? 0 : (unsigned)conn->settings->njobs;
    int error = pool_create(threads, &hooks, &conn->pool);

    return error ? dn_fail(error, "cannot start %u threads", threads) : 0;
}

/* With cache=never a block is asked about before each use; where that means reading it again, guesses only cost. */
static bool guesses_pay(const dn_connection *conn)
{
    return conn->settings->cache != CACHE_NEVER || store_can(conn->store, DN_CAN_COMPARE);
}

static int make_cache(dn_connection *conn)
{
    const struct settings *s = conn->settings;
    struct cache_settings settings = {
        .limit = s->cache_size,
        .dirty_max = settings_dirty_max(s),
        .prefetch = guesses_pay(conn) ? settings_prefetch(s) : 0,
        .dirty_expire = s->dirty_expire,
        .patience = patience(s),
        .good_read = store_limits(conn->store)->good_read,
        .compare_cheap = store_can(conn->store, DN_CAN_COMPARE) && store_can(conn->store, DN_COMPARE_CHEAP),
        .mode = s->cache,
    };

    return cache_create(&settings, conn->pool, &conn->stats, &conn->cache);
}

static int join_team(dn_connection *conn)
{
    const struct dn_team *team = config_team(conn->config);

    if (conn->settings->engine == ENGINE_MPI && !team)
        return dn_fail(-EINVAL, "engine=mpi is for programs that run under mpiexec, not for a single process");
    conn->team = team && team->size > 1 ? team : NULL;
    return 0;
}

/* What one process stores, the others have to see. */
static int check_shared(const dn_connection *conn)
{
    const struct settings *s = conn->settings;
    bool processes = s->engine == ENGINE_THREADS && s->jlbackend == JOBS_MULTIPROCESSING;

    if (!store_can(conn->store, DN_IS_PRIVATE) || !(processes || s->engine == ENGINE_MPI || conn->team))
        return 0;
    return dn_fail(-EINVAL, "backend %s cannot be used with %s: each process would have a store of its own",
                   config_backend(conn->config)->name,
                   s->engine == ENGINE_MPI ? "engine=mpi" : "jlbackend=multiprocessing");
}

int dn_connect(const dn_config *config, const char *name, dn_connection **out)
{
    dn_connection *conn = calloc(1, sizeof *conn);
    int error;

    *out = NULL;
    if (!conn)
        return dn_fail(-ENOMEM, "out of memory");
    pthread_mutex_init(&conn->lock, NULL);
    error = config_copy(config, &conn->config);
    if (!error)
        error = config_resolve(conn->config);
    if (error)
        goto out;
    conn->settings = config_settings(conn->config);
    error = join_team(conn);
    if (!error)
        error = open_store(conn, name);
    if (!error)
        error = check_shared(conn);
    if (!error)
        error = start_pool(conn);
    if (!error)
        error = make_cache(conn);
out:
    if (error)
        dn_disconnect(conn);
    else
        *out = conn;
    return error;
}

/* ---- taking it apart ----------------------------------------------------------------------------- */

static void free_datasets(dn_connection *conn)
{
    dn_dataset *dataset, *next;

    HASH_ITER(hh, conn->datasets, dataset, next)
    {
        HASH_DEL(conn->datasets, dataset);
        dataset_free(dataset);
    }
    DL_FOREACH_SAFE(conn->retired, dataset, next)
    dataset_free(dataset);
}

static void report_lost(dn_connection *conn, int error)
{
    uint64_t lost = stats_get(&conn->stats, STAT_CACHE_DIRTY_BYTES);

    if (error && lost)
        log_error("%llu bytes could not be stored and are lost: %s", (unsigned long long)lost,
                  dn_error_text(error));
}

int dn_disconnect(dn_connection *conn)
{
    int error = 0, hung;

    if (!conn)
        return 0;
    if (conn->cache) {
        error = dn_sync(conn);
        report_lost(conn, error);
        cache_stop(conn->cache);
    }
    hung = pool_destroy(conn->pool, patience(conn->settings ? conn->settings : &(struct settings){0}));
    if (hung) {
        /* A call hangs in the backend and may still touch its memory: nothing can be freed. */
        log_error("a request to the store never ended");
        return error ? error : dn_fail(hung, "a request to the store never ended");
    }
    free_datasets(conn);
    cache_destroy(conn->cache);
    if (conn->store)
        store_close(conn->store);
    dn_config_free(conn->config);
    pthread_mutex_destroy(&conn->lock);
    free(conn);
    return error;
}

/* ---- the connection as a whole ----------------------------------------------------------------- */

int dn_list(dn_connection *conn, dn_name_fn fn, void *arg)
{
    return store_list(conn->store, fn, arg);
}

int dn_rescan(dn_connection *conn)
{
    return store_rescan(conn->store);
}

int dn_agree(dn_connection *conn, int error, uint64_t *sum)
{
    return conn->team ? conn->team->agree(conn->team->arg, error, sum) : error;
}

int dn_usage(dn_connection *conn, struct dn_usage *out)
{
    return store_usage(conn->store, out);
}

char *dn_stats_text(dn_connection *conn)
{
    return stats_text(&conn->stats);
}

uint64_t dn_stat(dn_connection *conn, const char *name)
{
    return stats_by_name(&conn->stats, name);
}
