// SPDX-License-Identifier: Apache-2.0
/* The chunks of a dataset in a Ceph pool by librados alone; each thread waits for its request. See chunks.h. */
#include "chunks.h"

#include <errno.h>
#include <rados/librados.h>
#include <stdio.h>
#include <string.h>

static rados_t cluster;
static rados_ioctx_t pool;
static const char *dataset;

static int check(const char *what, int code)
{
    if (code < 0)
        fprintf(stderr, "rados_threads: %s: %s\n", what, strerror(-code));
    return code < 0 ? -1 : 0;
}

static int connect_pool(char **where)
{
    dataset = where[2];
    if (check("client", rados_create(&cluster, NULL)) != 0)
        return -1;
    if (check(where[0], rados_conf_read_file(cluster, where[0])) == 0 && check(where[0], rados_connect(cluster)) == 0 &&
        check(where[1], rados_ioctx_create(cluster, where[1], &pool)) == 0)
        return 0;
    rados_shutdown(cluster);
    return -1;
}

static void disconnect_pool(void)
{
    rados_ioctx_destroy(pool);
    rados_shutdown(cluster);
}

/* librados is safe for threads: they share one context. */
static void *open_thread(void)
{
    return pool;
}

static void close_thread(void *thread)
{
    (void)thread;
}

static int transfer(void *thread, bool put, const char *key, char *data, size_t length)
{
    char object[1024];

    if (snprintf(object, sizeof object, "%s/%s", dataset, key) >= (int)sizeof object)
        return check(dataset, -ENAMETOOLONG);
    if (put)
        return check(object, rados_write_full(thread, object, data, length));
    int got = rados_read(thread, object, data, length, 0);
    return check(object, got < 0 || (size_t)got == length ? got : -EIO);
}

int main(int argc, char **argv)
{
    static const struct chunk_client client = {
        .where = "CONFFILE POOL DATASET",
        .where_count = 3,
        .connect = connect_pool,
        .disconnect = disconnect_pool,
        .open = open_thread,
        .close = close_thread,
        .transfer = transfer,
    };

    return chunks_main(argc, argv, &client);
}
