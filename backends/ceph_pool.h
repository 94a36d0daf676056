// SPDX-License-Identifier: Apache-2.0
/*
 * A Ceph pool: the connection to it, and single requests, each with one time limit and one outcome.
 *
 * Datasets and chunks are objects of the pool's default namespace, where DosNa keeps them. What is ours
 * alone (ceph_catalogue.h) stands in a namespace of its own, where no dataset's name can lead.
 *
 * librados is safe for threads. Every request here waits for its own completion, which is what tells the
 * version that it saw: a context's "last version" would be another thread's.
 */
#ifndef DOSNA_CEPH_POOL_H
#define DOSNA_CEPH_POOL_H

#include "ceph_options.h"
#include <dosna/error.h>
#include <rados/librados.h>
#include <stdint.h>

#define CEPH_NAMESPACE "dosnafs"

struct ceph_pool {
    rados_t cluster;
    rados_ioctx_t objects; /* default namespace */
    rados_ioctx_t own;     /* CEPH_NAMESPACE */
    uint64_t largest_write; /* bytes that an OSD takes at once; 0: not known */
};

/** -ENOENT: no such pool, or no such conffile; -EACCES; -ETIMEDOUT; -EINVAL: the conffile is none. */
int ceph_pool_connect(struct ceph_pool *pool, const char *name, const struct ceph_options *options);
void ceph_pool_disconnect(struct ceph_pool *pool);

/**
 * Run a compound operation and release it.
 * @param version  out, the object's version that was read or made; NULL: not wanted
 * @return what librados said, 0 or a negative code of its own: for ceph_fail()
 */
int ceph_read(rados_ioctx_t io, const char *object, rados_read_op_t op, uint64_t *version);
int ceph_write(rados_ioctx_t io, const char *object, rados_write_op_t op, uint64_t *version);

/**
 * A code of librados as the backend contract has it, with a text.
 *
 * librados says -ENOENT for every object of a pool that was deleted; here that is -EIO, so that no chunk
 * is taken for absent once the client has heard of the deletion. (It costs a look at its map, which a failed request
 * brings up to date, mostly before it fails.)
 */
int ceph_fail(const struct ceph_pool *pool, int code);

/** Each object of the default namespace, in any order. A non-zero from `fn`, which may use the pool, stops and is
 *  returned. */
typedef int (*ceph_object_fn)(void *arg, const char *object);
int ceph_each_object(const struct ceph_pool *pool, ceph_object_fn fn, void *arg);

/** Objects in the pool as far as the cluster has counted them; 0: not known. */
uint64_t ceph_count_objects(const struct ceph_pool *pool);

/** Space that is left for data, copies not counted. -ENOTSUP: the cluster doesn't say. */
int ceph_usage(const struct ceph_pool *pool, uint64_t *total, uint64_t *free);

#endif
