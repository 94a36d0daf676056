// SPDX-License-Identifier: Apache-2.0
/* The objects of a dataset's bucket: which are chunks, and the deletion of many by one request. */
#include "s3_pages.h"

#include "chunk_index.h"
#include "s3_xml.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(void)
{
    return dn_fail(-ENOMEM, "out of memory");
}

/* ---- chunks ------------------------------------------------------------------------------------------ */

enum kind {
    FOREIGN,
    STRAY, /* a chunk's name, outside the grid */
    CHUNK,
};

/* Of a dataset whose description is unreadable every number of axes will do. */
static enum kind kind_of(const struct s3_dataset *dataset, const char *key, int64_t index[DN_MAX_NDIM])
{
    int ndim;
    const char *end = chunk_index_parse(key, '.', index, &ndim);
    if (!end || *end || (dataset->desc.ndim > 0 && ndim != dataset->desc.ndim))
        return FOREIGN;
    return chunk_index_is_inside(&dataset->desc, ndim, index) ? CHUNK : STRAY;
}

/* The bucket of a dataset that is open: it can only have been deleted. */
static int gone_is_stale(int rc)
{
    return rc == -ENOENT ? dn_fail(-ESTALE, "the dataset was deleted") : rc;
}

/* Of one kind of objects; the other function is NULL. */
struct listing {
    const struct s3_dataset *dataset;
    dn_chunk_fn chunk_fn;
    dn_name_fn stray_fn;
    void *arg;
};

static int pass_page(void *arg, const struct s3_texts *items)
{
    struct listing *listing = arg;
    int64_t index[DN_MAX_NDIM];
    int rc = 0;
    for (size_t i = 0; i < items->count && rc == 0; i++) {
        enum kind kind = kind_of(listing->dataset, items->text[i], index);
        if (kind == CHUNK && listing->chunk_fn)
            rc = listing->chunk_fn(listing->arg, (const uint64_t *)index, listing->dataset->desc.ndim);
        if (kind == STRAY && listing->stray_fn)
            rc = listing->stray_fn(listing->arg, items->text[i]);
    }
    return rc;
}

int s3_list_chunks(void *handle, dn_chunk_fn fn, void *arg)
{
    struct s3_dataset *dataset = handle;
    struct listing listing = {dataset, .chunk_fn = fn, .arg = arg};
    return gone_is_stale(s3_each_page(dataset->s3, dataset->bucket, pass_page, &listing));
}

int s3_list_strays(void *handle, dn_name_fn fn, void *arg)
{
    struct s3_dataset *dataset = handle;
    struct listing listing = {dataset, .stray_fn = fn, .arg = arg};
    return gone_is_stale(s3_each_page(dataset->s3, dataset->bucket, pass_page, &listing));
}

/* ---- deleting many ----------------------------------------------------------------------------------- */

struct deleted {
    bool valid; /* it is such an answer */
    char code[S3_CODE_ROOM], message[160];
};

static int take_deleted(void *arg, const char *path, const char *text)
{
    struct deleted *deleted = arg;
    if (strcmp(path, "DeleteResult") == 0)
        deleted->valid = true;
    if (strcmp(path, "DeleteResult/Error/Code") == 0)
        snprintf(deleted->code, sizeof deleted->code, "%s", text);
    if (strcmp(path, "DeleteResult/Error/Message") == 0)
        snprintf(deleted->message, sizeof deleted->message, "%s", text);
    if (strcmp(path, "DeleteResult/Error") != 0 || strcmp(deleted->code, "NoSuchKey") == 0)
        return 0;
    return s3_code_error(deleted->code, deleted->message);
}

static int send_deletion(struct s3_dataset *dataset, const char *body, size_t length)
{
    struct deleted deleted = {0};
    struct s3_request request = {
        .method = S3_POST, .bucket = dataset->bucket, .query = "delete=", .body = body, .length = length};
    int rc = s3_perform(dataset->s3->client, &request);
    if (rc == 0) {
        rc = s3_xml_each(request.text ? request.text : "", request.text_length, take_deleted, &deleted);
        if (rc == -EPROTO || (rc == 0 && !deleted.valid))
            rc = dn_fail(-EIO, "the answer to a deletion is none of an S3 server");
    }
    s3_request_clear(&request);
    return gone_is_stale(rc);
}

/* Names of chunks, which hold nothing that XML would trip over. */
static int delete_keys(struct s3_dataset *dataset, const struct s3_texts *keys)
{
    char *body = NULL;
    size_t length = 0;
    FILE *stream = keys->count ? open_memstream(&body, &length) : NULL;
    if (!stream)
        return keys->count ? no_memory() : 0;
    fputs("<Delete><Quiet>true</Quiet>", stream);
    for (size_t i = 0; i < keys->count; i++)
        fprintf(stream, "<Object><Key>%s</Key></Object>", keys->text[i]);
    fputs("</Delete>", stream);
    int rc = fclose(stream) == 0 ? send_deletion(dataset, body, length) : no_memory();
    free(body);
    return rc;
}

struct deletion {
    struct s3_dataset *dataset;
    bool chunks_too; /* and not only strays */
};

static int delete_page(void *arg, const struct s3_texts *items)
{
    struct deletion *deletion = arg;
    struct s3_texts keys = {0};
    int64_t index[DN_MAX_NDIM];
    int rc = 0;
    for (size_t i = 0; i < items->count && rc == 0; i++) {
        enum kind kind = kind_of(deletion->dataset, items->text[i], index);
        if (kind == STRAY || (kind == CHUNK && deletion->chunks_too))
            rc = s3_add_text(&keys, items->text[i]);
    }
    if (rc == 0)
        rc = delete_keys(deletion->dataset, &keys);
    s3_clear_texts(&keys);
    return rc;
}

static int delete_listed(struct s3_dataset *dataset, bool chunks_too)
{
    struct deletion deletion = {dataset, chunks_too};
    return gone_is_stale(s3_each_page(dataset->s3, dataset->bucket, delete_page, &deletion));
}

int s3_delete_all_chunks(struct s3_dataset *dataset)
{
    return delete_listed(dataset, true);
}

int s3_delete_strays(void *handle)
{
    return delete_listed(handle, false);
}

int s3_delete_chunks(void *handle, const struct dn_chunk_id *ids, size_t count)
{
    struct s3_texts keys = {0};
    char key[DN_VECTOR_TEXT];
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        dn_vector_format(ids[i].index, ids[i].ndim, ".", key, sizeof key);
        rc = s3_add_text(&keys, key);
    }
    if (rc == 0)
        rc = delete_keys(handle, &keys);
    s3_clear_texts(&keys);
    return rc;
}
