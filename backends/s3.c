// SPDX-License-Identifier: Apache-2.0
#include "s3.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- connection ----------------------------------------------------------------------------------- */

/* Do we reach an S3 server that knows us? Who may not list buckets may still use some. */
static int try_server(struct s3 *s3)
{
    struct s3_request request = {.method = S3_GET, .query = "max-buckets=1"};
    int rc = s3_perform(s3->client, &request);
    bool is_listing = rc == 0 && request.text && strstr(request.text, "ListAllMyBucketsResult");
    s3_request_clear(&request);
    if (rc == -EACCES && strcmp(request.code, "AccessDenied") == 0)
        return 0;
    if (rc == 0 && !is_listing)
        return dn_fail(-EIO, "what answers at endpoint_url is no S3 server");
    /* Connecting is not tried again, so that nothing is to be said of trying. */
    return rc == -EAGAIN || rc == -ENOENT ? dn_fail(-EIO, "%s", request.why) : rc;
}

static int s3_connect(const char *connection, const void *options, void **conn)
{
    (void)connection;
    struct s3 *s3 = calloc(1, sizeof *s3);
    if (!s3 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(s3);
        return dn_fail(-ENOMEM, "out of memory");
    }
    int rc = -pthread_mutex_init(&s3->mutex, NULL);
    if (rc == 0) {
        rc = s3_client_new(options, &s3->client);
        if (rc == 0)
            rc = try_server(s3);
        if (rc < 0) {
            s3_client_free(s3->client);
            pthread_mutex_destroy(&s3->mutex);
        }
    }
    if (rc < 0) {
        curl_global_cleanup();
        free(s3);
        return rc;
    }
    *conn = s3;
    return 0;
}

static void s3_disconnect(void *conn)
{
    struct s3 *s3 = conn;
    s3_forget_all(s3);
    s3_client_free(s3->client);
    pthread_mutex_destroy(&s3->mutex);
    curl_global_cleanup();
    free(s3);
}

static void s3_limits(void *conn, struct dn_limits *out)
{
    (void)conn;
    out->good_read = 1 << 20;
    out->largest_chunk = UINT64_C(5) << 30; /* of one PUT */
}

/* ---- chunks --------------------------------------------------------------------------------------- */

/* The bucket of a dataset that is open can only have gone with the dataset. */
static int checked(const struct s3_request *request)
{
    if (request->result == -ENOENT && strcmp(request->code, "NoSuchBucket") == 0)
        return dn_fail(-ESTALE, "the dataset was deleted");
    return request->result == -ENOENT ? dn_fail(-ENOENT, "not stored") : request->result;
}

static int ask(struct s3_dataset *dataset, const struct dn_chunk_id *id, struct s3_request *request)
{
    char key[DN_VECTOR_TEXT];
    dn_vector_format(id->index, id->ndim, ".", key, sizeof key);
    request->bucket = dataset->bucket;
    request->key = key;
    s3_perform(dataset->s3->client, request);
    s3_request_clear(request);
    return checked(request);
}

static int s3_read_chunk(void *handle, const struct dn_chunk_id *id, uint64_t offset, void *buffer, size_t length,
                         struct dn_version *version)
{
    struct s3_dataset *dataset = handle;
    struct s3_request request = {.method = S3_GET,
                                 .into = buffer,
                                 .room = length,
                                 .offset = offset,
                                 .whole = length == dn_desc_chunk_nbytes(&dataset->desc),
                                 .version = version};
    return ask(dataset, id, &request);
}

static int s3_write_chunk(void *handle, const struct dn_chunk_id *id, uint64_t offset, const void *buffer,
                          size_t length, struct dn_version *version)
{
    (void)offset;
    struct s3_request request = {.method = S3_PUT, .body = buffer, .length = length, .version = version};
    int rc = ask(handle, id, &request);
    return rc == -ENOENT ? dn_fail(-EIO, "the server finds nowhere to store it") : rc;
}

/* Reading a byte tells more than HEAD: the answer has a body that says what is absent, and who says so. */
static int s3_has_chunk(void *handle, const struct dn_chunk_id *id)
{
    unsigned char byte;
    struct s3_request request = {.method = S3_GET, .into = &byte, .room = 1};
    int rc = ask(handle, id, &request);
    if (rc == -ENOENT)
        return 0;
    return rc == 0 || strcmp(request.code, "InvalidRange") == 0 ? 1 : rc;
}

/* InvalidRange: nothing is stored, not even the byte that was asked for. */
static int s3_chunk_length(void *handle, const struct dn_chunk_id *id, uint64_t *nbytes)
{
    unsigned char byte;
    struct s3_request request = {.method = S3_GET, .into = &byte, .room = 1};
    int rc = ask(handle, id, &request);
    *nbytes = request.total;
    if (strcmp(request.code, "InvalidRange") == 0)
        return *nbytes = 0;
    return rc == 0 && request.total == S3_NOT_SAID ? dn_fail(-ENOTSUP, "the server does not say") : rc;
}

static int s3_copy_chunk(void *from, void *to, const struct dn_chunk_id *id)
{
    struct s3_request request = {.method = S3_PUT, .copied_bucket = ((struct s3_dataset *)from)->bucket};
    return ask(to, id, &request);
}

/* S3 deletes what is absent with the same answer. */
static int s3_delete_chunk(void *handle, const struct dn_chunk_id *id)
{
    struct s3_request request = {.method = S3_DELETE};
    int rc = s3_has_chunk(handle, id);
    if (rc <= 0)
        return rc < 0 ? rc : dn_fail(-ENOENT, "not stored");
    return ask(handle, id, &request);
}

extern DN_API const struct dn_backend dn_backend_s3;
const struct dn_backend dn_backend_s3 = {
    .abi = DN_BACKEND_ABI,
    .name = "s3",
    .options_size = sizeof(struct s3_settings),
    .abilities = DN_CAN_READ_RANGE | DN_CAN_COMPARE | DN_DELETES_CHUNKS,
    .connect = s3_connect,
    .disconnect = s3_disconnect,
    .limits = s3_limits,
    .list_datasets = s3_list_datasets,
    .create_dataset = s3_create_dataset,
    .open_dataset = s3_open_dataset,
    .has_dataset = s3_has_dataset,
    .close_dataset = s3_close_dataset,
    .delete_dataset = s3_delete_dataset,
    .read_chunk = s3_read_chunk,
    .write_chunk = s3_write_chunk,
    .delete_chunk = s3_delete_chunk,
    .delete_chunks = s3_delete_chunks,
    .has_chunk = s3_has_chunk,
    .chunk_length = s3_chunk_length,
    .list_chunks = s3_list_chunks,
    .copy_chunk = s3_copy_chunk,
    .list_strays = s3_list_strays,
    .delete_strays = s3_delete_strays,
};
