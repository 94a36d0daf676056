// SPDX-License-Identifier: Apache-2.0
#include "ceph_pool.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_TIMEOUT 30.0 /* seconds, where nobody says */

/* ---- errors ------------------------------------------------------------------------------------ */

static const struct {
    int code, ours;
    const char *text;
} failures[] = {
    {-EPERM, -EACCES, "this client may not do that"},
    {-EACCES, -EACCES, "this client may not do that"},
    {-ENOENT, -ENOENT, "no such object"},
    {-EEXIST, -EEXIST, "there is an object of that name"},
    {-ENOSPC, -ENOSPC, "the cluster is full"},
    {-EDQUOT, -EDQUOT, "the pool's quota is used up"},
    {-ETIMEDOUT, -ETIMEDOUT, "the cluster did not answer in time"},
    {-EMSGSIZE, -EFBIG, "more than osd_max_write_size"},
    {-EFBIG, -EFBIG, "more than osd_max_object_size"},
    {-ENAMETOOLONG, -ENAMETOOLONG, "the name is too long for the cluster"},
    {-EOPNOTSUPP, -ENOTSUP, "this kind of pool cannot do that"},
    {-EAGAIN, -EAGAIN, "the cluster is busy"},
    {-EBUSY, -EAGAIN, "the cluster is busy"},
    {-ECONNRESET, -ECONNRESET, "the connection to the cluster broke"},
    {-ENOMEM, -ENOMEM, "out of memory"},
    {-ERANGE, -EAGAIN, "it was changed meanwhile"},
    {-EOVERFLOW, -EAGAIN, "it was changed meanwhile"},
    {-ESHUTDOWN, -EIO, "the cluster has shut this client out (blocklisted)"},
};

static bool is_deleted(const struct ceph_pool *pool)
{
    char name[1];
    int r = rados_pool_reverse_lookup(pool->cluster, rados_ioctx_get_id(pool->objects), name, sizeof name);

    return r == -ENOENT;
}

int ceph_fail(const struct ceph_pool *pool, int code)
{
    if (code == -ENOENT && is_deleted(pool))
        return dn_fail(-EIO, "the pool was deleted");
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        if (failures[i].code == code)
            return dn_fail(failures[i].ours, "%s", failures[i].text);
    }
    return dn_fail(-EIO, "%s", strerror(-code));
}

/* ---- the connection ---------------------------------------------------------------------------- */

static int set_text(rados_t cluster, const char *option, const char *text)
{
    int r = rados_conf_set(cluster, option, text);

    return r < 0 ? dn_fail(-EINVAL, "%s = %s: %s", option, text, strerror(-r)) : 0;
}

/* Whole seconds, one at least: librados takes no others, and 0 is for ever. */
static int set_seconds(rados_t cluster, const char *option, double seconds)
{
    char text[32];
    double most = seconds < 1e6 ? seconds : 1e6;
    long whole = (long)most;

    snprintf(text, sizeof text, "%ld", whole + (whole < most || whole == 0));
    return set_text(cluster, option, text);
}

/* What a conffile says of these would make the mount wait for ever, or print. */
static int set_options(rados_t cluster, const struct ceph_options *options)
{
    double limit = options->request_timeout > 0 ? options->request_timeout : REQUEST_TIMEOUT;
    int r = set_seconds(cluster, "client_mount_timeout", options->timeout);

    if (r == 0)
        r = set_seconds(cluster, "rados_mon_op_timeout", limit);
    if (r == 0)
        r = set_seconds(cluster, "rados_osd_op_timeout", limit);
    if (r == 0)
        r = set_text(cluster, "ms_max_backoff", "1"); /* how soon a server that is back is found */
    if (r == 0)
        r = set_text(cluster, "log_to_stderr", "false");
    return r < 0 ? r : set_text(cluster, "err_to_stderr", "false");
}

static int read_conffile(rados_t cluster, const char *conffile)
{
    int r = rados_conf_read_file(cluster, conffile);

    if (r == -ENOENT || r == -EACCES)
        return dn_fail(r, "conffile %s: %s", conffile, strerror(-r));
    return r < 0 ? dn_fail(-EINVAL, "conffile %s is none of Ceph's: %s", conffile, strerror(-r)) : 0;
}

static int create_client(const struct ceph_options *options, rados_t *out)
{
    char name[256];
    int r = snprintf(name, sizeof name, "client.%s", options->client_id ? options->client_id : "admin");

    if (r >= (int)sizeof name)
        return dn_fail(-EINVAL, "client_id is too long");
    r = rados_create2(out, "ceph", name, 0);
    return r < 0 ? dn_fail(-EINVAL, "client_id %s: %s", name + strlen("client."), strerror(-r)) : 0;
}

static int reach_cluster(rados_t cluster, const struct ceph_options *options)
{
    const char *id = options->client_id ? options->client_id : "admin";
    int r = rados_connect(cluster);

    switch (r) {
    case -ENOENT:
        return dn_fail(-EACCES, "no keyring has a key for client.%s", id);
    case -EPERM:
    case -EACCES:
        return dn_fail(-EACCES, "the cluster refuses client.%s or its key", id);
    case -EINVAL:
    case -EIO:
        return dn_fail(-EACCES, "the keyring or key of client.%s is malformed, or no monitor is given", id);
    case -ETIMEDOUT:
        return dn_fail(r, "no monitor answered within %g s", options->timeout);
    default:
        return r < 0 ? dn_fail(-EIO, "connecting to the cluster: %s", strerror(-r)) : 0;
    }
}

/* The cluster's own setting where this client may ask, else what it knows itself. In MiB. */
static uint64_t ask_largest_write(rados_t cluster)
{
    const char *command = "{\"prefix\": \"config get\", \"who\": \"osd.*\", \"key\": \"osd_max_write_size\"}";
    char text[24] = "", *answer = NULL;
    size_t length = 0;

    if (rados_mon_command(cluster, &command, 1, "", 0, &answer, &length, NULL, NULL) == 0)
        snprintf(text, sizeof text, "%.*s", (int)(length < sizeof text ? length : 0), answer);
    else
        rados_conf_get(cluster, "osd_max_write_size", text, sizeof text);
    rados_buffer_free(answer);
    return strtoull(text, NULL, 10) << 20;
}

static int open_pool(struct ceph_pool *pool, const char *name)
{
    int r = rados_ioctx_create(pool->cluster, name, &pool->objects);

    if (r == -ENOENT)
        return dn_fail(r, "there is no such pool");
    if (r < 0)
        return ceph_fail(pool, r);
    r = rados_ioctx_create(pool->cluster, name, &pool->own);
    if (r < 0)
        return ceph_fail(pool, r);
    rados_ioctx_set_namespace(pool->own, CEPH_NAMESPACE);
    rados_set_pool_full_try(pool->objects); /* an error instead of waiting for space */
    rados_set_pool_full_try(pool->own);
    return 0;
}

int ceph_pool_connect(struct ceph_pool *pool, const char *name, const struct ceph_options *options)
{
    int r;

    *pool = (struct ceph_pool){0};
    r = create_client(options, &pool->cluster);
    if (r < 0)
        return r;
    r = set_options(pool->cluster, options);
    if (r == 0)
        r = read_conffile(pool->cluster, options->conffile);
    if (r == 0)
        r = set_options(pool->cluster, options);
    if (r == 0)
        r = reach_cluster(pool->cluster, options);
    if (r == 0)
        r = open_pool(pool, name);
    if (r < 0) {
        ceph_pool_disconnect(pool);
        return r;
    }
    pool->largest_write = ask_largest_write(pool->cluster);
    return 0;
}

void ceph_pool_disconnect(struct ceph_pool *pool)
{
    if (pool->own)
        rados_ioctx_destroy(pool->own);
    if (pool->objects)
        rados_ioctx_destroy(pool->objects);
    rados_shutdown(pool->cluster);
}

/* ---- requests ---------------------------------------------------------------------------------- */

static int await(rados_completion_t done, int submitted, uint64_t *version)
{
    int r = submitted;

    if (r == 0) {
        rados_aio_wait_for_complete(done);
        r = rados_aio_get_return_value(done);
        if (version)
            *version = rados_aio_get_version(done);
    }
    rados_aio_release(done);
    return r < 0 ? r : 0;
}

int ceph_read(rados_ioctx_t io, const char *object, rados_read_op_t op, uint64_t *version)
{
    rados_completion_t done;
    int r = rados_aio_create_completion2(NULL, NULL, &done);

    if (r == 0)
        r = await(done, rados_aio_read_op_operate(op, io, done, object, 0), version);
    rados_release_read_op(op);
    return r;
}

int ceph_write(rados_ioctx_t io, const char *object, rados_write_op_t op, uint64_t *version)
{
    rados_completion_t done;
    int r = rados_aio_create_completion2(NULL, NULL, &done);

    if (r == 0)
        r = await(done, rados_aio_write_op_operate(op, io, done, object, NULL, 0), version);
    rados_release_write_op(op);
    return r;
}

int ceph_each_object(const struct ceph_pool *pool, ceph_object_fn fn, void *arg)
{
    rados_list_ctx_t list;
    const char *object;
    size_t length;
    int r = rados_nobjects_list_open(pool->objects, &list), stop = 0;

    if (r < 0)
        return ceph_fail(pool, r);
    while (stop == 0 &&
           (r = rados_nobjects_list_next2(list, &object, NULL, NULL, &length, NULL, NULL)) == 0) {
        if (strlen(object) == length)
            stop = fn(arg, object);
    }
    rados_nobjects_list_close(list);
    if (stop != 0 || (r == -ENOENT && !is_deleted(pool))) /* which also says "the end" */
        return stop;
    return ceph_fail(pool, r);
}

/* ---- sizes ------------------------------------------------------------------------------------- */

uint64_t ceph_count_objects(const struct ceph_pool *pool)
{
    struct rados_pool_stat_t stat;

    return rados_ioctx_pool_stat(pool->objects, &stat) < 0 ? 0 : stat.num_objects;
}

/* The cluster counts raw bytes. A replicated pool takes them once for each copy. */
int ceph_usage(const struct ceph_pool *pool, uint64_t *total, uint64_t *free)
{
    struct rados_cluster_stat_t cluster;
    struct rados_pool_stat_t stat;
    uint64_t copies = 1;
    int erasure_coded = 1, r = rados_cluster_stat(pool->cluster, &cluster);

    if (r == 0)
        r = rados_ioctx_pool_stat(pool->objects, &stat);
    if (r < 0)
        return ceph_fail(pool, r);
    if (cluster.kb == 0)
        return dn_fail(-ENOTSUP, "the cluster has no statistics");
    if (rados_ioctx_pool_requires_alignment2(pool->objects, &erasure_coded) == 0 && !erasure_coded &&
        stat.num_objects > 0)
        copies = stat.num_object_copies / stat.num_objects;
    copies = copies > 0 ? copies : 1;
    *total = cluster.kb / copies << 10;
    *free = cluster.kb_avail / copies << 10;
    return 0;
}
