// SPDX-License-Identifier: Apache-2.0
#include "ceph_meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEPARATOR "::"
/* The repr of the largest element, with every byte as \xNN. */
#define LONGEST_ATTRIBUTE ((size_t)4 * DN_ITEMSIZE_MAX + 64)

bool ceph_head_is_dataset(const char *head, size_t length)
{
    return length == CEPH_SIGNATURE_NBYTES && memcmp(head, CEPH_SIGNATURE, CEPH_SIGNATURE_NBYTES) == 0;
}

int ceph_meta_is(const struct ceph_pool *pool, const char *name, uint64_t *version)
{
    rados_read_op_t op = rados_create_read_op();
    char head[CEPH_HEAD_NBYTES];
    size_t length = 0;
    int r;

    rados_read_op_read(op, 0, sizeof head, head, &length, NULL);
    r = ceph_read(pool->objects, name, op, version);
    if (r < 0) {
        r = ceph_fail(pool, r);
        return r == -ENOENT ? 0 : r;
    }
    return ceph_head_is_dataset(head, length);
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void set_vector(rados_write_op_t op, const char *attribute, const uint64_t *values, int count)
{
    char text[DN_VECTOR_TEXT];

    dn_vector_format(values, count, SEPARATOR, text, sizeof text);
    rados_write_op_setxattr(op, attribute, text, strlen(text));
}

static void describe(rados_write_op_t op, const struct dn_desc *desc, const char *fill)
{
    uint64_t grid[DN_MAX_NDIM];
    char dtype[DN_DTYPE_TEXT];

    for (int i = 0; i < desc->ndim; i++)
        grid[i] = dn_desc_grid(desc, i);
    dn_dtype_format(&desc->dtype, dtype);
    set_vector(op, "shape", desc->shape, desc->ndim);
    rados_write_op_setxattr(op, "dtype", dtype, strlen(dtype));
    rados_write_op_setxattr(op, "fillvalue", fill, strlen(fill));
    set_vector(op, "chunk_grid", grid, desc->ndim);
    set_vector(op, "chunk_size", desc->chunk_size, desc->ndim);
}

int ceph_meta_create(const struct ceph_pool *pool, const char *name, const struct dn_desc *desc,
                     uint64_t *version)
{
    size_t size = (size_t)4 * desc->dtype.itemsize + 64;
    char *fill = malloc(size);
    rados_write_op_t op;
    int r;

    if (fill == NULL)
        return dn_fail(-ENOMEM, "no memory for a fill value");
    r = dn_fill_format(&desc->dtype, desc->fill, true, fill, size);
    if (r < 0)
        goto out;
    op = rados_create_write_op();
    rados_write_op_create(op, LIBRADOS_CREATE_EXCLUSIVE, NULL);
    rados_write_op_write_full(op, CEPH_SIGNATURE, CEPH_SIGNATURE_NBYTES);
    describe(op, desc, fill);
    r = ceph_write(pool->objects, name, op, version);
    if (r == -E2BIG || r == -EFBIG)
        r = dn_fail(-ENOTSUP, "the cluster takes no attribute as long as this fill value");
    else if (r < 0)
        r = ceph_fail(pool, r);
out:
    free(fill);
    return r;
}

/* ---- reading ----------------------------------------------------------------------------------- */

enum { SHAPE, DTYPE, FILLVALUE, CHUNK_SIZE, ATTRIBUTES };
static const char *const names[ATTRIBUTES] = {"shape", "dtype", "fillvalue", "chunk_size"};

static void free_texts(char *texts[ATTRIBUTES])
{
    for (int i = 0; i < ATTRIBUTES; i++)
        free(texts[i]);
}

static int keep_text(char *texts[ATTRIBUTES], const char *name, const char *value, size_t length)
{
    for (int i = 0; i < ATTRIBUTES; i++) {
        if (strcmp(name, names[i]) != 0 || texts[i] != NULL)
            continue;
        if (length == 0) /* then there is no value */
            value = "";
        if (length > LONGEST_ATTRIBUTE || memchr(value, '\0', length) != NULL)
            return dn_fail(-EPROTO, "bad metadata: %s is no text", name);
        texts[i] = strndup(value, length);
        if (texts[i] == NULL)
            return dn_fail(-ENOMEM, "no memory for metadata");
    }
    return 0;
}

/* What of the attributes describes the dataset, as strings: the caller's to free, also after a failure. */
static int collect_texts(rados_xattrs_iter_t iter, char *texts[ATTRIBUTES])
{
    const char *name, *value;
    size_t length;
    int r = 0;

    while (r == 0 && rados_getxattrs_next(iter, &name, &value, &length) == 0 && name != NULL)
        r = keep_text(texts, name, value, length);
    for (int i = 0; i < ATTRIBUTES && r == 0; i++) {
        if (texts[i] == NULL)
            r = dn_fail(-EPROTO, "bad metadata: there is no %s", names[i]);
    }
    return r;
}

static int parse(char *const texts[ATTRIBUTES], struct dn_desc *desc)
{
    uint64_t shape[DN_MAX_NDIM], chunk_size[DN_MAX_NDIM];
    int ndim = dn_vector_parse(texts[SHAPE], SEPARATOR, shape, DN_MAX_NDIM);
    int r = ndim < 0 ? ndim : dn_vector_parse(texts[CHUNK_SIZE], SEPARATOR, chunk_size, DN_MAX_NDIM);
    char why[DN_ERROR_MAX];

    if (r >= 0 && r != ndim)
        return dn_fail(-EPROTO, "bad metadata: %d axes in shape, %d in chunk_size", ndim, r);
    if (r >= 0)
        r = dn_desc_init(desc, ndim, shape, texts[DTYPE], chunk_size, texts[FILLVALUE]);
    if (r >= 0 || r == -ENOMEM)
        return r < 0 ? r : 0;
    strcpy(why, dn_error_text(r));
    return dn_fail(-EPROTO, "bad metadata: %.400s", why);
}

int ceph_meta_read(const struct ceph_pool *pool, const char *name, struct dn_desc *desc, uint64_t *version)
{
    rados_read_op_t op = rados_create_read_op();
    rados_xattrs_iter_t iter = NULL;
    char head[CEPH_HEAD_NBYTES], *texts[ATTRIBUTES] = {NULL};
    size_t length = 0;
    int r;

    rados_read_op_read(op, 0, sizeof head, head, &length, NULL);
    rados_read_op_getxattrs(op, &iter, NULL);
    r = ceph_read(pool->objects, name, op, version);
    if (r < 0)
        r = ceph_fail(pool, r);
    else if (!ceph_head_is_dataset(head, length))
        r = dn_fail(-ENOENT, "the object of that name is no dataset");
    else
        r = collect_texts(iter, texts);
    if (r == 0)
        r = parse(texts, desc);
    if (iter != NULL)
        rados_getxattrs_end(iter);
    free_texts(texts);
    return r;
}
