// SPDX-License-Identifier: Apache-2.0
/*
 * A dataset's object: 13 bytes that say what it is, and its description as extended attributes.
 *
 * The writer leaves what DosNa leaves: vectors as decimals joined with "::", the dtype as numpy's typestr, the
 * fill value as a plain integer where it is one (DosNa reopens no other) and else as Python's repr.
 * The reader trusts shape, chunk_size, dtype and fillvalue, and ignores chunk_grid, which follows from them.
 */
#ifndef DOSNA_CEPH_META_H
#define DOSNA_CEPH_META_H

#include "ceph_pool.h"
#include <dosna/dtype.h>

#define CEPH_SIGNATURE "DosNa Dataset"
#define CEPH_SIGNATURE_NBYTES (sizeof CEPH_SIGNATURE - 1)

/** One byte more than a signature, so that a longer object tells itself. */
#define CEPH_HEAD_NBYTES (CEPH_SIGNATURE_NBYTES + 1)
/** Is an object that begins with these bytes, of CEPH_HEAD_NBYTES asked for, a dataset? */
bool ceph_head_is_dataset(const char *head, size_t length);

/** One request. 1, 0 (also where there is nothing), or negative. `version` may be NULL. */
int ceph_meta_is(const struct ceph_pool *pool, const char *name, uint64_t *version);

/** One request, all or nothing. -EEXIST: there is an object of that name. -ENOTSUP: the cluster takes no such fill
 *  value. */
int ceph_meta_create(const struct ceph_pool *pool, const char *name, const struct dn_desc *desc,
                     uint64_t *version);

/** One request. -ENOENT: no object, or no dataset; -EPROTO: a dataset without a readable description. */
int ceph_meta_read(const struct ceph_pool *pool, const char *name, struct dn_desc *desc, uint64_t *version);

#endif
