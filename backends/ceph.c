// SPDX-License-Identifier: Apache-2.0
/*
 * ceph: datasets as objects of a Ceph pool, as DosNa's ceph backend keeps them.
 *
 * A connection is a pool (ceph_pool.h), a dataset an object of its name (ceph_meta.h), and chunk (i, j, k) the object
 * NAME/i.j.k, the chunk's bytes and nothing else. Objects change in one step and are durable when the
 * cluster has answered, so there is nothing to flush. An object's version tells whether it changed. The names
 * are kept in a catalogue (ceph_catalogue.h).
 *
 * Any name will do as an object's. Refused at create are only those that another dataset's chunk may have.
 */
#include "ceph_catalogue.h"
#include "ceph_meta.h"
#include "ceph_pool.h"
#include "chunk_index.h"
#include <dosna/backend.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOOD_READ ((uint64_t)512 << 10)
/* What an OSD takes by default (osd_max_object_name_len). */
#define LONGEST_NAME 2048
#define INDEX_ROOM (DN_MAX_NDIM * 21 + 1)

/* A listing goes through the whole pool: this many objects of it take as long as one request of those
 * that the core has under way at once. */
#define LISTED_PER_REQUEST 16
/* A look for strays may take as long as so many requests, however small the dataset is. */
#define STRAYS_REQUESTS 16384

struct connection {
    struct ceph_pool pool;
    struct ceph_catalogue catalogue;
};

struct dataset {
    const struct ceph_pool *pool;
    struct dn_desc desc;
    uint64_t chunk_nbytes;
    char *name;
};

/* ---- connection -------------------------------------------------------------------------------- */

static int ceph_connect(const char *name, const void *options, void **out)
{
    struct connection *conn = malloc(sizeof *conn);
    int r;

    if (conn == NULL)
        return dn_fail(-ENOMEM, "no memory for a connection");
    r = ceph_pool_connect(&conn->pool, name, options);
    if (r < 0) {
        free(conn);
        return r;
    }
    ceph_catalogue_init(&conn->catalogue, &conn->pool);
    *out = conn;
    return 0;
}

static void ceph_disconnect(void *arg)
{
    struct connection *conn = arg;

    ceph_pool_disconnect(&conn->pool);
    free(conn);
}

static void ceph_limits(void *arg, struct dn_limits *out)
{
    out->good_read = GOOD_READ;
    out->largest_chunk = ((struct connection *)arg)->pool.largest_write;
}

static int ceph_space(void *arg, struct dn_usage *out)
{
    return ceph_usage(&((struct connection *)arg)->pool, &out->total, &out->free);
}

static int ceph_list_datasets(void *arg, dn_name_fn fn, void *fn_arg)
{
    return ceph_catalogue_list(&((struct connection *)arg)->catalogue, fn, fn_arg);
}

static int ceph_rescan(void *arg)
{
    return ceph_catalogue_rescan(&((struct connection *)arg)->catalogue);
}

/* ---- datasets ---------------------------------------------------------------------------------- */

static int check_name(const char *name)
{
    if (*name == '\0')
        return dn_fail(-EINVAL, "a dataset needs a name");
    return strlen(name) <= LONGEST_NAME ? 0 : dn_fail(-ENAMETOOLONG, "longer than %d bytes", LONGEST_NAME);
}

/* The longest name that a chunk of the dataset can have must do, and none may be a dataset's and a chunk's. */
static int check_new_name(const char *name, const struct dn_desc *desc)
{
    const char *slash = strrchr(name, '/');
    int64_t index[DN_MAX_NDIM];
    uint64_t last[DN_MAX_NDIM];
    char text[INDEX_ROOM];
    int ndim;

    if (slash != NULL) {
        const char *rest = chunk_index_parse(slash + 1, '.', index, &ndim);
        if (rest != NULL && *rest == '\0')
            return dn_fail(-EINVAL, "in Ceph a chunk of dataset '%.*s' has that name", (int)(slash - name), name);
    }
    for (int i = 0; i < desc->ndim; i++)
        last[i] = dn_desc_grid(desc, i) - 1;
    dn_vector_format(last, desc->ndim, ".", text, sizeof text);
    if (strlen(name) + 1 + strlen(text) > LONGEST_NAME)
        return dn_fail(-ENAMETOOLONG, "with its chunks' indices the name is longer than %d bytes", LONGEST_NAME);
    return check_name(name);
}

/* A name whose dataset turned out not to be there goes from the catalogue. Returns the failure. */
static int settle(struct connection *conn, const char *name, int code)
{
    char why[DN_ERROR_MAX];

    strcpy(why, dn_error_text(code));
    ceph_catalogue_settle(&conn->catalogue, name);
    return dn_fail(code, "%s", why);
}

static int ceph_create_dataset(void *arg, const char *name, const struct dn_desc *desc)
{
    struct connection *conn = arg;
    uint64_t version;
    int r = check_new_name(name, desc);

    if (r == 0)
        r = ceph_catalogue_enter(&conn->catalogue, &name, 1);
    if (r < 0 && r != -EACCES && r != -ENOTSUP)
        return r;
    r = ceph_meta_create(&conn->pool, name, desc, &version);
    if (r == -ETIMEDOUT)
        return r; /* nobody can tell whether it is there */
    if (r < 0)
        return settle(conn, name, r);
    if (ceph_catalogue_enter(&conn->catalogue, &name, 1) == 0)
        ceph_catalogue_note(&conn->catalogue, name, version);
    return 0;
}

static void free_dataset(struct dataset *dataset)
{
    dn_desc_clear(&dataset->desc);
    free(dataset->name);
    free(dataset);
}

static int ceph_open_dataset(void *arg, const char *name, void **out, struct dn_desc *desc)
{
    struct connection *conn = arg;
    struct dataset *dataset = calloc(1, sizeof *dataset);
    uint64_t version;
    int r = check_name(name);

    if (dataset == NULL || (dataset->name = strdup(name)) == NULL) {
        r = dn_fail(-ENOMEM, "no memory for a dataset");
        goto out;
    }
    if (r == 0)
        r = ceph_meta_read(&conn->pool, name, desc, &version);
    if (r == -ENOENT)
        r = settle(conn, name, r);
    if (r == 0)
        r = dn_desc_copy(&dataset->desc, desc);
    if (r < 0)
        goto out;
    ceph_catalogue_opened(&conn->catalogue, name, version);
    dataset->pool = &conn->pool;
    dataset->chunk_nbytes = dn_desc_chunk_nbytes(desc);
    *out = dataset;
    return 0;
out:
    if (dataset != NULL)
        free_dataset(dataset);
    return r;
}

static void ceph_close_dataset(void *arg)
{
    free_dataset(arg);
}

static int ceph_has_dataset(void *arg, const char *name)
{
    struct connection *conn = arg;
    int r = check_name(name);

    if (r == 0)
        r = ceph_meta_is(&conn->pool, name, NULL);
    if (r == 0)
        ceph_catalogue_settle(&conn->catalogue, name);
    return r;
}

static int ceph_delete_dataset(void *arg, const char *name)
{
    struct connection *conn = arg;
    rados_write_op_t op;
    uint64_t version;
    int r = check_name(name);

    if (r == 0)
        r = ceph_meta_is(&conn->pool, name, &version);
    if (r < 0)
        return r;
    if (r == 0)
        return settle(conn, name, dn_fail(-ENOENT, "no such dataset"));
    op = rados_create_write_op();
    rados_write_op_assert_version(op, version); /* nothing else that got its name meanwhile */
    rados_write_op_remove(op);
    r = ceph_write(conn->pool.objects, name, op, NULL);
    if (r < 0)
        return ceph_fail(&conn->pool, r);
    ceph_catalogue_settle(&conn->catalogue, name);
    return 0;
}

/* ---- chunks ------------------------------------------------------------------------------------ */

#define OBJECT_ROOM (LONGEST_NAME + 1 + INDEX_ROOM)

static void name_chunk(const struct dataset *dataset, const struct dn_chunk_id *id, char object[OBJECT_ROOM])
{
    int length = snprintf(object, OBJECT_ROOM, "%s/", dataset->name);

    dn_vector_format(id->index, id->ndim, ".", object + length, (size_t)(OBJECT_ROOM - length));
}

static void set_mark(struct dn_version *mark, uint64_t version)
{
    if (mark == NULL)
        return;
    mark->size = sizeof version;
    memcpy(mark->bytes, &version, sizeof version);
}

static int ceph_stat(const struct ceph_pool *pool, const char *object, uint64_t *size, uint64_t *version)
{
    rados_read_op_t op = rados_create_read_op();
    int r;

    rados_read_op_stat(op, size, NULL, NULL);
    r = ceph_read(pool->objects, object, op, version);
    return r < 0 ? ceph_fail(pool, r) : 0;
}

static int too_short(uint64_t size, const struct dataset *dataset)
{
    return dn_fail(-EIO, "the object has %" PRIu64 " of %" PRIu64 " bytes", size, dataset->chunk_nbytes);
}

/* An OSD can be told to answer if a version is the same, but not if it is another: so it is asked first. */
static int is_unchanged(const struct dataset *dataset, const char *object, const struct dn_version *mark)
{
    struct dn_version now = {0};
    uint64_t size, version;
    int r;

    if (mark == NULL || mark->size == 0)
        return 0;
    r = ceph_stat(dataset->pool, object, &size, &version);
    if (r < 0)
        return r;
    set_mark(&now, version);
    return now.size == mark->size && memcmp(now.bytes, mark->bytes, now.size) == 0;
}

static int ceph_read_chunk(void *arg, const struct dn_chunk_id *id, uint64_t offset, void *buffer,
                           size_t length, struct dn_version *mark)
{
    const struct dataset *dataset = arg;
    char object[OBJECT_ROOM];
    rados_read_op_t op;
    uint64_t version;
    size_t got = 0;
    int r;

    name_chunk(dataset, id, object);
    r = is_unchanged(dataset, object, mark);
    if (r != 0)
        return r < 0 ? r : DN_UNCHANGED;
    op = rados_create_read_op();
    rados_read_op_read(op, offset, length, buffer, &got, NULL);
    r = ceph_read(dataset->pool->objects, object, op, &version);
    if (r < 0)
        return ceph_fail(dataset->pool, r);
    if (got < length)
        return too_short(got > 0 ? offset + got : 0, dataset);
    set_mark(mark, version);
    return 0;
}

/* A part of an object that is too short would turn what is missing of it into zeros. */
static int begin_part(const struct dataset *dataset, const char *object, rados_write_op_t op)
{
    uint64_t size, version;
    int r = ceph_stat(dataset->pool, object, &size, &version);

    if (r < 0)
        return r;
    if (size < dataset->chunk_nbytes)
        return too_short(size, dataset);
    rados_write_op_assert_version(op, version);
    return 0;
}

static int ceph_write_chunk(void *arg, const struct dn_chunk_id *id, uint64_t offset, const void *buffer,
                            size_t length, struct dn_version *mark)
{
    const struct dataset *dataset = arg;
    rados_write_op_t op = rados_create_write_op();
    char object[OBJECT_ROOM];
    uint64_t version;
    int r = 0;

    name_chunk(dataset, id, object);
    if (length == dataset->chunk_nbytes)
        rados_write_op_write_full(op, buffer, length);
    else if ((r = begin_part(dataset, object, op)) == 0)
        rados_write_op_write(op, buffer, length, offset);
    if (r < 0) {
        rados_release_write_op(op);
        return r;
    }
    r = ceph_write(dataset->pool->objects, object, op, &version);
    if (r < 0)
        return ceph_fail(dataset->pool, r);
    set_mark(mark, version);
    return 0;
}

static int ceph_delete_chunk(void *arg, const struct dn_chunk_id *id)
{
    const struct dataset *dataset = arg;
    char object[OBJECT_ROOM];
    int r;

    name_chunk(dataset, id, object);
    r = rados_remove(dataset->pool->objects, object);
    return r < 0 ? ceph_fail(dataset->pool, r) : 0;
}

static int ceph_has_chunk(void *arg, const struct dn_chunk_id *id)
{
    const struct dataset *dataset = arg;
    char object[OBJECT_ROOM];
    uint64_t size;
    int r;

    name_chunk(dataset, id, object);
    r = ceph_stat(dataset->pool, object, &size, NULL);
    return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

static int ceph_chunk_length(void *arg, const struct dn_chunk_id *id, uint64_t *nbytes)
{
    const struct dataset *dataset = arg;
    char object[OBJECT_ROOM];

    name_chunk(dataset, id, object);
    return ceph_stat(dataset->pool, object, nbytes, NULL);
}

/* ---- all chunks -------------------------------------------------------------------------------- */

/* Nothing lists the objects of one dataset: the pool's are all there is to go through. */
static int check_listing(const struct dataset *dataset, uint64_t requests)
{
    return ceph_count_objects(dataset->pool) / LISTED_PER_REQUEST <= requests
               ? 0
               : dn_fail(-ENOTSUP, "the pool holds too many objects to go through");
}

struct listing {
    const struct dataset *dataset;
    size_t name_length;
    dn_chunk_fn fn;
    dn_name_fn stray_fn;
    void *arg;
};

/* The number of positions behind the dataset's name; 0: the object is no chunk of it. */
static int parse_chunk(const struct listing *listing, const char *object, int64_t index[DN_MAX_NDIM])
{
    const char *rest;
    int ndim;

    if (strncmp(object, listing->dataset->name, listing->name_length) != 0 || object[listing->name_length] != '/')
        return 0;
    rest = chunk_index_parse(object + listing->name_length + 1, '.', index, &ndim);
    return rest != NULL && *rest == '\0' ? ndim : 0;
}

static int list_chunk(void *arg, const char *object)
{
    const struct listing *listing = arg;
    int64_t index[DN_MAX_NDIM];
    uint64_t position[DN_MAX_NDIM];
    int ndim = parse_chunk(listing, object, index);

    if (!chunk_index_is_inside(&listing->dataset->desc, ndim, index))
        return 0;
    for (int i = 0; i < ndim; i++)
        position[i] = (uint64_t)index[i];
    return listing->fn(listing->arg, position, ndim);
}

static int ceph_list_chunks(void *arg, dn_chunk_fn fn, void *fn_arg)
{
    struct dataset *dataset = arg;
    struct listing listing = {dataset, strlen(dataset->name), .fn = fn, .arg = fn_arg};
    int r = check_listing(dataset, dn_desc_chunks(&dataset->desc));

    return r < 0 ? r : ceph_each_object(dataset->pool, list_chunk, &listing);
}

/* DosNa lets a dataset have the name of another one's chunk, which then is no stray. */
static int take_stray(void *arg, const char *object)
{
    const struct listing *listing = arg;
    const struct dataset *dataset = listing->dataset;
    int64_t index[DN_MAX_NDIM];
    int ndim = parse_chunk(listing, object, index), r;

    if (ndim == 0 || chunk_index_is_inside(&dataset->desc, ndim, index))
        return 0;
    r = ceph_meta_is(dataset->pool, object, NULL);
    if (r != 0)
        return r < 0 ? r : 0;
    return listing->stray_fn(listing->arg, object);
}

/* -ENOTSUP: the pool is too large to look. */
static int each_stray(const struct dataset *dataset, dn_name_fn fn, void *arg)
{
    struct listing listing = {dataset, strlen(dataset->name), .stray_fn = fn, .arg = arg};
    int r = check_listing(dataset, dn_desc_chunks(&dataset->desc) + STRAYS_REQUESTS);

    return r < 0 ? r : ceph_each_object(dataset->pool, take_stray, &listing);
}

static int ceph_list_strays(void *arg, dn_name_fn fn, void *fn_arg)
{
    return each_stray(arg, fn, fn_arg);
}

static int delete_stray(void *arg, const char *object)
{
    const struct ceph_pool *pool = arg;
    int r = rados_remove(pool->objects, object);

    return r < 0 && r != -ENOENT ? ceph_fail(pool, r) : 0;
}

static int ceph_delete_strays(void *arg)
{
    const struct dataset *dataset = arg;
    int r = each_stray(dataset, delete_stray, (void *)dataset->pool);

    return r == -ENOTSUP ? 0 : r;
}

extern DN_API const struct dn_backend dn_backend_ceph;
const struct dn_backend dn_backend_ceph = {
    .abi = DN_BACKEND_ABI,
    .name = "ceph",
    .options_size = sizeof(struct ceph_options),
    .abilities = DN_CAN_READ_RANGE | DN_CAN_WRITE_RANGE | DN_CAN_COMPARE,
    .connect = ceph_connect,
    .disconnect = ceph_disconnect,
    .limits = ceph_limits,
    .list_datasets = ceph_list_datasets,
    .rescan = ceph_rescan,
    .create_dataset = ceph_create_dataset,
    .open_dataset = ceph_open_dataset,
    .has_dataset = ceph_has_dataset,
    .close_dataset = ceph_close_dataset,
    .delete_dataset = ceph_delete_dataset,
    .read_chunk = ceph_read_chunk,
    .write_chunk = ceph_write_chunk,
    .delete_chunk = ceph_delete_chunk,
    .has_chunk = ceph_has_chunk,
    .chunk_length = ceph_chunk_length,
    .list_chunks = ceph_list_chunks,
    .list_strays = ceph_list_strays,
    .delete_strays = ceph_delete_strays,
    .usage = ceph_space,
};
