// SPDX-License-Identifier: Apache-2.0
#include "s3_pages.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHAPE, DTYPE, FILLVALUE, CHUNK_GRID, CHUNK_SIZE, META_COUNT };

struct root {
    struct s3_meta meta[META_COUNT + 1];
};

static int no_memory(void)
{
    return dn_fail(-ENOMEM, "out of memory");
}

static struct root empty_root(void)
{
    return (struct root){{
        [SHAPE] = {"shape", NULL},
        [DTYPE] = {"dtype", NULL},
        [FILLVALUE] = {"fillvalue", NULL},
        [CHUNK_GRID] = {"chunk-grid", NULL},
        [CHUNK_SIZE] = {"chunk-size", NULL},
    }};
}

static void clear_root(struct root *root)
{
    for (int i = 0; i < META_COUNT; i++) {
        free(root->meta[i].value);
        root->meta[i].value = NULL;
    }
}

/* ---- names -------------------------------------------------------------------------------------- */

/* https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html */
static bool is_bucket(const char *name, size_t length)
{
    static const char inside[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";
    return length >= 3 && name[strspn(name, inside)] == '\0' && isalnum((unsigned char)*name) &&
           isalnum((unsigned char)name[length - 1]) && !strstr(name, "..") &&
           name[strspn(name, "0123456789.")] != '\0';
}

int s3_bucket_name(const char *name, char bucket[S3_BUCKET_ROOM])
{
    size_t length = strlen(name);
    if (length >= S3_BUCKET_ROOM)
        return dn_fail(-ENAMETOOLONG, "the name of a bucket has %d characters at most", S3_BUCKET_ROOM - 1);
    for (size_t i = 0; i <= length; i++)
        bucket[i] = name[i] == '_' ? '-' : name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    if (!is_bucket(bucket, length))
        return dn_fail(-EINVAL, "no bucket can have this name: 3 to 63 letters, digits, - and ., with a letter or "
                                "digit at both ends");
    return 0;
}

/* ---- the root object: what a dataset is ---------------------------------------------------------- */

struct s3_request s3_ask_root(const char *bucket, char *buffer)
{
    return (struct s3_request){
        .method = S3_GET,
        .bucket = bucket,
        .key = S3_ROOT,
        .into = buffer,
        .room = S3_ROOT_ROOM,
        .short_is_fine = true,
    };
}

int s3_judge_root(const struct s3_request *request)
{
    if (request->result == -ENOENT || strcmp(request->code, "InvalidRange") == 0)
        return 0;
    if (request->result < 0)
        return request->result;
    return request->received == strlen(S3_SIGNATURE) &&
           memcmp(request->into, S3_SIGNATURE, request->received) == 0;
}

/* The root's metadata. 0; -ENOENT: the bucket is no dataset. */
static int read_root(struct s3 *s3, const char *bucket, struct root *root)
{
    char buffer[S3_ROOT_ROOM];
    struct s3_request request = s3_ask_root(bucket, buffer);
    *root = empty_root();
    request.wanted = root->meta;
    s3_perform(s3->client, &request);
    int is_dataset = s3_judge_root(&request);
    s3_request_clear(&request);
    if (is_dataset > 0)
        return 0;
    clear_root(root);
    return is_dataset < 0 ? is_dataset : dn_fail(-ENOENT, "no such dataset");
}

static int read_vector(const struct s3_meta *meta, uint64_t *vector)
{
    int count = dn_vector_parse(meta->value, "::", vector, DN_MAX_NDIM);
    if (count <= 0)
        return dn_fail(-EPROTO, "bad metadata: %s: %.100s", meta->name, meta->value);
    return count;
}

static int describe(const struct root *root, struct dn_desc *desc)
{
    const struct s3_meta *meta = root->meta;
    uint64_t shape[DN_MAX_NDIM], chunk_size[DN_MAX_NDIM];
    for (int i = 0; i < META_COUNT; i++) {
        if (!meta[i].value)
            return dn_fail(-EPROTO, "bad metadata: there is no %s", meta[i].name);
    }
    int ndim = read_vector(&meta[SHAPE], shape);
    int same = ndim < 0 ? ndim : read_vector(&meta[CHUNK_SIZE], chunk_size);
    if (same < 0)
        return same;
    if (same != ndim)
        return dn_fail(-EPROTO, "bad metadata: %d axes in shape, %d in chunk-size", ndim, same);
    int rc = dn_desc_init(desc, ndim, shape, meta[DTYPE].value, chunk_size, meta[FILLVALUE].value);
    return rc < 0 && rc != -ENOMEM ? dn_fail(-EPROTO, "bad metadata: %s", dn_error_text(rc)) : rc;
}

static int fill_text(const struct dn_desc *desc, char **text)
{
    size_t size = 4 * (size_t)desc->dtype.itemsize + 64;
    *text = malloc(size);
    return *text ? dn_fill_format(&desc->dtype, desc->fill, true, *text, size) : no_memory();
}

static int vector_text(const uint64_t *vector, int ndim, char **text)
{
    *text = malloc(DN_VECTOR_TEXT);
    return *text ? dn_vector_format(vector, ndim, "::", *text, DN_VECTOR_TEXT) : no_memory();
}

static int make_root(const struct dn_desc *desc, struct root *root)
{
    uint64_t grid[DN_MAX_NDIM];
    char dtype[DN_DTYPE_TEXT];
    struct s3_meta *meta = root->meta;
    *root = empty_root();
    for (int i = 0; i < desc->ndim; i++)
        grid[i] = dn_desc_grid(desc, i);
    dn_dtype_format(&desc->dtype, dtype);
    int rc = vector_text(desc->shape, desc->ndim, &meta[SHAPE].value);
    if (rc == 0)
        rc = vector_text(grid, desc->ndim, &meta[CHUNK_GRID].value);
    if (rc == 0)
        rc = vector_text(desc->chunk_size, desc->ndim, &meta[CHUNK_SIZE].value);
    if (rc == 0)
        rc = fill_text(desc, &meta[FILLVALUE].value);
    if (rc == 0 && !(meta[DTYPE].value = strdup(dtype)))
        rc = no_memory();
    if (rc < 0)
        clear_root(root);
    return rc;
}

/* ---- creating ----------------------------------------------------------------------------------- */

/* 1: there is a bucket, and nothing in it; 0: there is none; -EEXIST: there is something. */
static int look_for_bucket(struct s3 *s3, const char *bucket)
{
    char key[64];
    int rc = s3_first_key(s3, bucket, key, sizeof key);
    if (rc == -ENOENT)
        return 0;
    if (rc > 0)
        return dn_fail(-EEXIST, "bucket %s exists already, with %.60s in it", bucket, key);
    return rc < 0 ? rc : 1;
}

static int make_bucket(struct s3 *s3, const char *bucket)
{
    char body[256] = "";
    const char *location = s3_client_location(s3->client);
    if (location)
        snprintf(body, sizeof body,
                 "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                 "<LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>",
                 location);
    struct s3_request request = {.method = S3_PUT, .bucket = bucket, .body = body, .length = strlen(body)};
    int rc = s3_perform(s3->client, &request);
    s3_request_clear(&request);
    /* Somebody who creates the same dataset was faster; the root decides. */
    return strcmp(request.code, "BucketAlreadyOwnedByYou") == 0 ? 0 : rc;
}

static int put_root(struct s3 *s3, const char *bucket, const struct root *root)
{
    struct s3_request request = {
        .method = S3_PUT,
        .bucket = bucket,
        .key = S3_ROOT,
        .body = S3_SIGNATURE,
        .length = strlen(S3_SIGNATURE),
        .meta = root->meta,
        .exclusive = true,
    };
    int rc = s3_perform(s3->client, &request);
    s3_request_clear(&request);
    if (rc == -EEXIST)
        return dn_fail(-EEXIST, "bucket %s exists already: somebody else creates the same dataset", bucket);
    if (rc == -ENOENT) /* who lost such a race has removed the bucket again */
        return dn_fail(-EAGAIN, "bucket %s has vanished", bucket);
    return rc;
}

/* 0, also when the bucket is gone already or holds what is not ours. */
static int remove_bucket(struct s3 *s3, const char *bucket)
{
    struct s3_request request = {.method = S3_DELETE, .bucket = bucket};
    int rc = s3_perform(s3->client, &request);
    s3_request_clear(&request);
    return rc == -ENOENT || rc == -ENOTEMPTY ? 0 : rc;
}

/* Take the bucket back, and fail with what went wrong before that. */
static int give_up(struct s3 *s3, const char *bucket, int rc)
{
    char why[DN_ERROR_MAX];
    snprintf(why, sizeof why, "%s", dn_error_text(rc));
    double pause = dn_retry_pause();
    remove_bucket(s3, bucket);
    dn_retry_after(pause);
    return dn_fail(rc, "%s", why);
}

int s3_create_dataset(void *conn, const char *name, const struct dn_desc *desc)
{
    struct s3 *s3 = conn;
    char bucket[S3_BUCKET_ROOM];
    struct root root;
    int rc = s3_bucket_name(name, bucket);
    if (rc < 0)
        return rc;
    rc = make_root(desc, &root);
    if (rc < 0)
        return rc;
    rc = look_for_bucket(s3, bucket);
    if (rc == 0)
        rc = make_bucket(s3, bucket);
    if (rc >= 0) {
        rc = put_root(s3, bucket, &root);
        if (rc < 0 && rc != -EEXIST)
            rc = give_up(s3, bucket, rc);
    }
    if (rc == 0)
        s3_remember(s3, bucket, S3_DATASET);
    clear_root(&root);
    return rc;
}

/* ---- opening ------------------------------------------------------------------------------------- */

int s3_open_dataset(void *conn, const char *name, void **handle, struct dn_desc *desc)
{
    struct root root;
    struct s3_dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset)
        return no_memory();
    dataset->s3 = conn;
    int rc = s3_bucket_name(name, dataset->bucket);
    if (rc == 0)
        rc = read_root(conn, dataset->bucket, &root);
    if (rc == 0) {
        rc = describe(&root, desc);
        clear_root(&root);
    }
    if (rc < 0) {
        free(dataset);
        return rc;
    }
    dataset->desc = *desc;
    dataset->desc.fill = NULL;
    *handle = dataset;
    return 0;
}

void s3_close_dataset(void *handle)
{
    free(handle);
}

int s3_has_dataset(void *conn, const char *name)
{
    char bucket[S3_BUCKET_ROOM];
    struct root root;
    if (s3_bucket_name(name, bucket) < 0)
        return 0;
    int rc = read_root(conn, bucket, &root);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    clear_root(&root);
    return 1;
}

/* ---- deleting ------------------------------------------------------------------------------------ */

static int remove_root(struct s3 *s3, const char *bucket)
{
    struct s3_request request = {.method = S3_DELETE, .bucket = bucket, .key = S3_ROOT};
    int rc = s3_perform(s3->client, &request);
    s3_request_clear(&request);
    return rc == -ENOENT ? 0 : rc;
}

/* Chunks and root. Without a readable description, whatever has the name of a chunk goes. */
static int remove_objects(struct s3 *s3, const char *bucket)
{
    struct s3_dataset dataset = {.s3 = s3};
    struct root root;
    int rc = read_root(s3, bucket, &root);
    if (rc < 0)
        return rc;
    memcpy(dataset.bucket, bucket, S3_BUCKET_ROOM);
    describe(&root, &dataset.desc);
    clear_root(&root);
    rc = s3_delete_all_chunks(&dataset);
    dn_desc_clear(&dataset.desc);
    return rc < 0 ? rc : remove_root(s3, bucket);
}

int s3_delete_dataset(void *conn, const char *name)
{
    struct s3 *s3 = conn;
    char bucket[S3_BUCKET_ROOM];
    int rc = s3_bucket_name(name, bucket);
    if (rc < 0)
        return rc;
    rc = remove_objects(s3, bucket);
    if (rc < 0 && !(rc == -ENOENT && s3_recall(s3, bucket) == S3_LEFT_OVER))
        return rc;
    s3_remember(s3, bucket, S3_LEFT_OVER); /* so that the next try goes on from here */
    rc = remove_bucket(s3, bucket);
    if (rc == 0)
        s3_remember(s3, bucket, S3_UNKNOWN);
    return rc;
}
