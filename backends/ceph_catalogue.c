// SPDX-License-Identifier: Apache-2.0
#include "ceph_catalogue.h"

#include "ceph_meta.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 1024 /* the most that an OSD gives at once by default */
#define MARK_SIZE 48

void ceph_catalogue_init(struct ceph_catalogue *catalogue, const struct ceph_pool *pool)
{
    memset(catalogue, 0, sizeof *catalogue);
    catalogue->pool = pool;
}

uint64_t ceph_hash(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash;
}

/* ---- what is known to be there ----------------------------------------------------------------- */

static _Atomic uint64_t *find_slot(struct ceph_catalogue *catalogue, const char *name, uint64_t version,
                                   uint64_t *value)
{
    uint64_t hash = ceph_hash(name);

    *value = hash ^ (version * UINT64_C(0x9e3779b97f4a7c15));
    return &catalogue->seen[hash % CEPH_CATALOGUE_SLOTS];
}

void ceph_catalogue_note(struct ceph_catalogue *catalogue, const char *name, uint64_t version)
{
    uint64_t value;

    atomic_store(find_slot(catalogue, name, version, &value), value);
}

static bool is_noted(struct ceph_catalogue *catalogue, const char *name, uint64_t version)
{
    uint64_t value;

    return atomic_load(find_slot(catalogue, name, version, &value)) == value;
}

/* ---- single names ------------------------------------------------------------------------------ */

/* A client's number is its own for the life of the cluster. */
static void make_mark(struct ceph_catalogue *catalogue, char mark[MARK_SIZE])
{
    snprintf(mark, MARK_SIZE, "%" PRIu64 ".%" PRIu64, rados_get_instance_id(catalogue->pool->cluster),
             atomic_fetch_add(&catalogue->marks, 1));
}

int ceph_catalogue_enter(struct ceph_catalogue *catalogue, const char *const *names, size_t count)
{
    size_t name_lengths[CEPH_CATALOGUE_BATCH], mark_lengths[CEPH_CATALOGUE_BATCH];
    const char *marks[CEPH_CATALOGUE_BATCH];
    char mark[MARK_SIZE];
    rados_write_op_t op = rados_create_write_op();
    int r;

    make_mark(catalogue, mark);
    for (size_t i = 0; i < count; i++) {
        name_lengths[i] = strlen(names[i]);
        marks[i] = mark;
        mark_lengths[i] = strlen(mark);
    }
    rados_write_op_omap_set2(op, names, marks, name_lengths, mark_lengths, count);
    r = ceph_write(catalogue->pool->own, CEPH_CATALOGUE, op, NULL);
    return r < 0 ? ceph_fail(catalogue->pool, r) : 0;
}

/* The name's mark. 1, 0 (it is not there), or negative. */
static int look_up(struct ceph_catalogue *catalogue, const char *name, char mark[MARK_SIZE])
{
    rados_read_op_t op = rados_create_read_op();
    rados_omap_iter_t iter = NULL;
    size_t name_length = strlen(name), length = 0;
    char *key = NULL, *value = NULL;
    int r;

    rados_read_op_omap_get_vals_by_keys2(op, &name, 1, &name_length, &iter, NULL);
    r = ceph_read(catalogue->pool->own, CEPH_CATALOGUE, op, NULL);
    if (r == 0)
        r = rados_omap_get_next2(iter, &key, &value, &name_length, &length);
    if (r == 0 && key != NULL)
        snprintf(mark, MARK_SIZE, "%.*s", (int)(length < MARK_SIZE ? length : 0), value);
    if (iter != NULL)
        rados_omap_get_end(iter);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return key != NULL;
}

void ceph_catalogue_opened(struct ceph_catalogue *catalogue, const char *name, uint64_t version)
{
    char mark[MARK_SIZE];

    if (is_noted(catalogue, name, version))
        return;
    if (look_up(catalogue, name, mark) == 1 || ceph_catalogue_enter(catalogue, &name, 1) == 0)
        ceph_catalogue_note(catalogue, name, version);
}

/* The order is what makes it safe: first the mark, then a look at the object, then "if it is still that mark". */
void ceph_catalogue_settle(struct ceph_catalogue *catalogue, const char *name)
{
    char mark[MARK_SIZE];
    size_t length = strlen(name);
    rados_write_op_t op;

    if (look_up(catalogue, name, mark) != 1 || ceph_meta_is(catalogue->pool, name, NULL) != 0)
        return;
    op = rados_create_write_op();
    rados_write_op_omap_cmp2(op, name, LIBRADOS_CMPXATTR_OP_EQ, mark, length, strlen(mark), NULL);
    rados_write_op_omap_rm_keys2(op, &name, &length, 1);
    ceph_write(catalogue->pool->own, CEPH_CATALOGUE, op, NULL);
}

/* ---- all names --------------------------------------------------------------------------------- */

/* The page after the name `last`. 1: there is more; 0: that was all; or what librados said. */
static int read_page(struct ceph_catalogue *catalogue, const char *last, rados_omap_iter_t *iter)
{
    rados_read_op_t op = rados_create_read_op();
    unsigned char more = 0;
    int r;

    rados_read_op_omap_get_keys2(op, last, PAGE, iter, &more, NULL);
    r = ceph_read(catalogue->pool->own, CEPH_CATALOGUE, op, NULL);
    return r < 0 ? r : more;
}

/* Moves *last on. */
static int pass_page(rados_omap_iter_t iter, char **last, dn_name_fn fn, void *arg)
{
    char *name, *value;
    size_t length, value_length;
    int r = 0;

    while (r == 0 && rados_omap_get_next2(iter, &name, &value, &length, &value_length) == 0 && name != NULL) {
        free(*last);
        *last = strndup(name, length);
        if (*last == NULL)
            return dn_fail(-ENOMEM, "no memory for a name");
        if (**last != '\0' && strlen(*last) == length)
            r = fn(arg, *last);
    }
    return r;
}

/* No catalogue is an empty one, but where the pool could not have one. */
static int no_catalogue(struct ceph_catalogue *catalogue)
{
    int erasure_coded = 0;

    rados_ioctx_pool_requires_alignment2(catalogue->pool->own, &erasure_coded);
    return erasure_coded ? dn_fail(-ENOTSUP, "an erasure-coded pool cannot keep a list of datasets") : 0;
}

int ceph_catalogue_list(struct ceph_catalogue *catalogue, dn_name_fn fn, void *arg)
{
    char *last = strdup("");
    int more, r = last ? 0 : dn_fail(-ENOMEM, "no memory for a name");

    do {
        rados_omap_iter_t iter = NULL;
        more = r == 0 ? read_page(catalogue, last, &iter) : 0;
        if (more < 0)
            r = ceph_fail(catalogue->pool, more);
        else if (iter != NULL)
            r = pass_page(iter, &last, fn, arg);
        if (iter != NULL)
            rados_omap_get_end(iter);
    } while (more > 0 && r == 0);
    free(last);
    return more == -ENOENT && r == -ENOENT ? no_catalogue(catalogue) : r;
}
