// SPDX-License-Identifier: Apache-2.0
#include "s3_request.h"

#include "s3_client.h"
#include "s3_xml.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTING_MAX (64u << 20)
#define ERROR_BODY_MAX (64u << 10)
#define CURL_BUFFER (128l << 10)
#define AT_ONCE 16 /* requests of s3_perform_all() */
#define DIGEST_TEXT (2 * EVP_MAX_MD_SIZE + 1)

static int no_memory(void)
{
    return dn_fail(-ENOMEM, "out of memory");
}

/* ---- the headers of a request -------------------------------------------------------------------- */

static bool digest(const EVP_MD *kind, const struct s3_request *request, unsigned char *out, unsigned *length)
{
    return EVP_Digest(request->body ? request->body : "", request->length, out, length, kind, NULL) == 1;
}

static bool sha256_text(const struct s3_request *request, char text[DIGEST_TEXT])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length;
    if (!digest(EVP_sha256(), request, bytes, &length))
        return false;
    for (unsigned i = 0; i < length; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
    return true;
}

static bool md5_base64(const struct s3_request *request, char text[DIGEST_TEXT])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length;
    return digest(EVP_md5(), request, bytes, &length) &&
           EVP_EncodeBlock((unsigned char *)text, bytes, (int)length) > 0;
}

__attribute__((format(printf, 2, 3))) static bool add_header(struct s3_request *request, const char *format, ...)
{
    va_list args;
    char *line;
    va_start(args, format);
    int length = vasprintf(&line, format, args);
    va_end(args);
    if (length < 0)
        return false;
    struct curl_slist *longer = curl_slist_append(request->headers, line);
    free(line);
    if (longer)
        request->headers = longer;
    return longer != NULL;
}

static bool add_body_headers(const struct s3_client *client, struct s3_request *request)
{
    char text[DIGEST_TEXT] = "UNSIGNED-PAYLOAD";
    bool open = strcmp(client->scheme, "https") != 0;
    if ((open || request->length == 0) && !sha256_text(request, text))
        return false;
    if (!add_header(request, "x-amz-content-sha256: %s", text))
        return false;
    if (request->method == S3_POST && !(md5_base64(request, text) && add_header(request, "Content-MD5: %s", text)))
        return false;
    return request->method == S3_GET || request->method == S3_DELETE ||
           add_header(request, "Content-Type: %s",
                      request->method == S3_POST ? "application/xml" : "application/octet-stream");
}

static bool add_object_headers(struct s3_request *request)
{
    const struct dn_version *version = request->version;
    bool ok = true;
    if (request->into && !request->whole)
        ok = add_header(request, "Range: bytes=%llu-%llu", (unsigned long long)request->offset,
                        (unsigned long long)(request->offset + request->room - 1));
    if (ok && request->into && version && version->size > 0)
        ok = add_header(request, "If-None-Match: %.*s", (int)version->size, (const char *)version->bytes);
    if (ok && request->copied_bucket)
        ok = add_header(request, "x-amz-copy-source: /%s/%s", request->copied_bucket, request->key);
    if (ok && request->exclusive)
        ok = add_header(request, "If-None-Match: *");
    for (const struct s3_meta *meta = request->meta; ok && meta && meta->name; meta++)
        ok = add_header(request, "x-amz-meta-%s: %s", meta->name, meta->value);
    return ok;
}

/* ---- what comes in -------------------------------------------------------------------------------- */

static long status_of(const struct s3_request *request)
{
    long status = 0;
    curl_easy_getinfo((CURL *)request->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* A header of the answer, or NULL. */
static const char *header(const struct s3_request *request, const char *name)
{
    struct curl_header *found;
    if (curl_easy_header((CURL *)request->easy, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
        return NULL;
    return found->value;
}

__attribute__((format(printf, 2, 3))) static size_t refuse(struct s3_request *request, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(request->why, sizeof request->why, format, args);
    va_end(args);
    request->refused = -EIO;
    return 0;
}

/* Is this answer, before its first byte, the range that was asked for? 0 if not. */
static size_t check_range(struct s3_request *request)
{
    const char *range = header(request, "Content-Range");
    unsigned long long first, last, total;
    int read = range ? sscanf(range, "bytes %llu-%llu/%llu", &first, &last, &total) : 0;
    if (status_of(request) != 206 || read < 2)
        return refuse(request, "the answer is no range of an object: no S3 server, or one that ignores ranges");
    if (first != request->offset || last < first || last - first >= request->room)
        return refuse(request, "the answer is another range than the one asked for");
    request->total = read == 3 ? total : S3_NOT_SAID;
    return 1;
}

static size_t check_whole(struct s3_request *request)
{
    curl_off_t length = -1;
    curl_easy_getinfo((CURL *)request->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (status_of(request) != 200 || length < 0)
        return refuse(request, "the answer is no whole object: no S3 server");
    return 1;
}

static size_t check_object(struct s3_request *request)
{
    return request->whole ? check_whole(request) : check_range(request);
}

/* A whole object that is longer is broken off. */
static size_t take_object(struct s3_request *request, const char *data, size_t length)
{
    size_t space = request->room - request->received;
    if (request->received == 0 && !check_object(request))
        return 0;
    if (length > space && !request->whole)
        return refuse(request, "the answer is longer than what was asked for");
    length = length < space ? length : space;
    memcpy((char *)request->into + request->received, data, length);
    request->received += length;
    return length;
}

static size_t take_text(struct s3_request *request, const char *data, size_t length, bool good)
{
    size_t most = good ? LISTING_MAX : ERROR_BODY_MAX;
    if (length > most - request->text_length)
        return good ? refuse(request, "the answer does not end") : 0;
    if (request->text_length + length >= request->text_room) {
        size_t text_room = 2 * (request->text_length + length) + 1;
        char *text = realloc(request->text, text_room);
        if (!text)
            return 0;
        request->text = text;
        request->text_room = text_room;
    }
    memcpy(request->text + request->text_length, data, length);
    request->text_length += length;
    request->text[request->text_length] = '\0';
    return length;
}

static size_t take(char *data, size_t size, size_t count, void *arg)
{
    struct s3_request *request = arg;
    bool good = status_of(request) / 100 == 2;
    if (good && request->into)
        return take_object(request, data, size * count);
    return take_text(request, data, size * count, good);
}

/* ---- a request made ready ------------------------------------------------------------------------- */

/* curl_easy_setopt() fails for want of memory alone: these options are all known to it. */
#define SET(option, value) ok = ok && curl_easy_setopt(easy, CURLOPT_##option, value) == CURLE_OK

static bool set_connection(const struct s3_client *client, CURL *easy)
{
    bool ok = true;
    SET(NOSIGNAL, 1l);
    SET(PROTOCOLS_STR, "http,https");
    SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(USERAGENT, "dosnafs");
    SET(TCP_KEEPALIVE, 1l);
    SET(BUFFERSIZE, CURL_BUFFER);
    SET(UPLOAD_BUFFERSIZE, CURL_BUFFER);
    SET(TIMEOUT_MS, client->timeout_ms);
    SET(CONNECTTIMEOUT_MS, client->timeout_ms / 3);
    SET(LOW_SPEED_LIMIT, 1l);
    SET(LOW_SPEED_TIME, client->timeout_ms / 3000 + 1);
    SET(SSL_VERIFYPEER, client->verify ? 1l : 0l);
    SET(SSL_VERIFYHOST, client->verify ? 2l : 0l);
    if (client->ca_file || client->ca_folder) { /* and not the system's beside it */
        SET(CAINFO, client->ca_file);
        SET(CAPATH, client->ca_folder);
    }
    return ok;
}

static bool set_method(struct s3_request *request, CURL *easy)
{
    static const char *const names[] = {
        [S3_GET] = "GET", [S3_PUT] = "PUT", [S3_DELETE] = "DELETE", [S3_POST] = "POST"};
    bool ok = true;
    SET(CUSTOMREQUEST, names[request->method]);
    if (request->method == S3_PUT || request->method == S3_POST) {
        SET(POSTFIELDSIZE_LARGE, (curl_off_t)request->length);
        SET(POSTFIELDS, request->body ? request->body : "");
    }
    SET(WRITEFUNCTION, take);
    SET(WRITEDATA, request);
    SET(ERRORBUFFER, request->error);
    SET(PRIVATE, request);
    return ok;
}

static bool set_keys(struct s3_client *client, struct s3_request *request, CURL *easy)
{
    bool ok = true;
    const struct s3_keys *keys = s3_credentials_lock(client->credentials);
    request->generation = keys->generation;
    SET(USERNAME, keys->access);
    SET(PASSWORD, keys->secret);
    if (keys->token)
        ok = ok && add_header(request, "x-amz-security-token: %s", keys->token);
    s3_credentials_unlock(client->credentials);
    SET(AWS_SIGV4, client->signing);
    return ok;
}

static bool prepare(struct s3_client *client, struct s3_request *request, CURL *easy)
{
    char *url = s3_client_url(client, request->bucket, request->key, request->query);
    bool ok = url != NULL;
    request->easy = easy;
    curl_easy_reset(easy);
    SET(URL, url);
    free(url);
    ok = ok && set_connection(client, easy) && set_method(request, easy) && add_body_headers(client, request) &&
         add_object_headers(request) && set_keys(client, request, easy);
    SET(HTTPHEADER, request->headers);
    return ok;
}

/* ---- the outcome ---------------------------------------------------------------------------------- */

static int transport_error(const struct s3_client *client, const struct s3_request *request, CURLcode code)
{
    const char *text = *request->error ? request->error : curl_easy_strerror(code);
    int error = -EIO;
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT: /* the text says whether in all, or too slow */
        return dn_fail(-ETIMEDOUT, "%s: not done in time: %s", client->host, text);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT: /* no byte was sent */
    case CURLE_SSL_CONNECT_ERROR:
        error = -EAGAIN;
        break;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        error = -ECONNRESET;
        break;
    case CURLE_OUT_OF_MEMORY:
        return no_memory();
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return dn_fail(-EIO, "%s: what answers there is no S3 server: %s", client->host, text);
    case CURLE_PEER_FAILED_VERIFICATION:
        return dn_fail(-EIO, "%s: its certificate is not trusted: %s; verify=FILE names the one to trust",
                       client->host, text);
    default:
        break;
    }
    return dn_fail(error, "%s: %s", client->host, text);
}

static bool is_mark(const struct dn_version *version, const char *etag)
{
    return strlen(etag) == version->size && memcmp(etag, version->bytes, version->size) == 0;
}

static void set_mark(struct dn_version *version, const char *etag)
{
    size_t length = strlen(etag);
    version->size = length <= sizeof version->bytes ? (uint8_t)length : 0;
    memcpy(version->bytes, etag, version->size);
}

static int take_wanted(struct s3_request *request)
{
    for (struct s3_meta *meta = request->wanted; meta && meta->name; meta++) {
        char name[64];
        snprintf(name, sizeof name, "x-amz-meta-%s", meta->name);
        const char *value = header(request, name);
        if (value && !(meta->value = strdup(value)))
            return no_memory();
    }
    return 0;
}

static int not_s3(const struct s3_client *client, const struct s3_request *request)
{
    return dn_fail(-EIO, "%s: what answers there is no S3 server: HTTP status %ld without what S3 sends with it",
                   client->host, status_of(request));
}

struct copied {
    bool valid;
    char code[S3_CODE_ROOM], message[160];
};

static int take_copied(void *arg, const char *path, const char *text)
{
    struct copied *copied = arg;
    if (strcmp(path, "CopyObjectResult/ETag") == 0)
        copied->valid = true;
    if (strcmp(path, "Error/Code") == 0)
        snprintf(copied->code, sizeof copied->code, "%s", text);
    if (strcmp(path, "Error/Message") == 0)
        snprintf(copied->message, sizeof copied->message, "%s", text);
    return 0;
}

/* A copy that failed after it had begun is a good answer with an error in its body. */
static int copy_answer(const struct s3_client *client, const struct s3_request *request)
{
    struct copied copied = {0};
    int rc = s3_xml_each(request->text ? request->text : "", request->text_length, take_copied, &copied);
    if (rc < 0 && rc != -EPROTO)
        return rc;
    if (*copied.code)
        return s3_code_error(copied.code, copied.message);
    return copied.valid && rc == 0 ? 0 : not_s3(client, request);
}

static int good_answer(const struct s3_client *client, struct s3_request *request)
{
    const char *etag = header(request, "ETag");
    if (request->method == S3_DELETE)
        return status_of(request) == 204 || status_of(request) == 200 ? 0 : not_s3(client, request);
    if (!request->key)
        return 0;
    if (request->copied_bucket)
        return copy_answer(client, request);
    if (!etag)
        return not_s3(client, request);
    if (request->into && request->received == 0 && !check_object(request))
        return dn_fail(request->refused, "%s", request->why);
    if (request->into && request->received < request->room && !request->short_is_fine)
        return dn_fail(-EIO, "the object is shorter than a chunk: it ends at byte %llu",
                       (unsigned long long)(request->offset + request->received));
    if (request->version)
        set_mark(request->version, etag);
    return take_wanted(request);
}

static int unchanged(const struct s3_client *client, const struct s3_request *request)
{
    const char *etag = header(request, "ETag");
    if (!request->into || !request->version || request->version->size == 0)
        return not_s3(client, request);
    if (etag && !is_mark(request->version, etag))
        return dn_fail(-EIO, "%s says \"unchanged\" of another ETag than the one asked about", client->host);
    return DN_UNCHANGED;
}

static int bad_answer(struct s3_client *client, struct s3_request *request)
{
    curl_off_t pause = 0;
    struct s3_answer answer = {
        .host = client->host,
        .status = status_of(request),
        .body = request->text ? request->text : "",
        .length = request->text_length,
        .region = header(request, "x-amz-bucket-region"),
        .location = header(request, "Location"),
    };
    int error = s3_answer_error(&answer, request->code);
    if (s3_code_asks_for_keys(request->code) && s3_credentials_renew(client->credentials, request->generation))
        return dn_fail(-EAGAIN, "%s: %s; there are new keys", client->host, request->code);
    if (error == -EAGAIN && curl_easy_getinfo((CURL *)request->easy, CURLINFO_RETRY_AFTER, &pause) == CURLE_OK)
        dn_retry_after((double)pause);
    return error;
}

static int outcome(struct s3_client *client, struct s3_request *request, CURLcode code)
{
    long status = status_of(request);
    if (request->refused)
        return dn_fail(request->refused, "%s: %.400s", client->host, request->why);
    if (code == CURLE_WRITE_ERROR && request->whole && request->received == request->room)
        code = CURLE_OK;
    if (code == CURLE_WRITE_ERROR && status / 100 == 2)
        return no_memory();
    /* An error's body may break off: its status is there. */
    if (code != CURLE_OK && (code != CURLE_WRITE_ERROR || status == 0))
        return transport_error(client, request, code);
    if (status == 304)
        return unchanged(client, request);
    return status / 100 == 2 ? good_answer(client, request) : bad_answer(client, request);
}

static int finish(struct s3_client *client, struct s3_request *request, CURLcode code)
{
    request->result = outcome(client, request, code);
    if (request->result < 0)
        snprintf(request->why, sizeof request->why, "%s", dn_error_text(request->result));
    curl_slist_free_all(request->headers);
    request->headers = NULL;
    return request->result;
}

int s3_perform(struct s3_client *client, struct s3_request *request)
{
    CURL *easy = s3_client_take(client);
    if (!easy)
        return request->result = no_memory();
    CURLcode code = prepare(client, request, easy) ? curl_easy_perform(easy) : CURLE_OUT_OF_MEMORY;
    finish(client, request, code);
    request->easy = NULL;
    s3_client_give(client, easy);
    return request->result;
}

void s3_request_clear(struct s3_request *request)
{
    free(request->text);
    request->text = NULL;
    request->text_length = request->text_room = 0;
}

/* ---- several at once ------------------------------------------------------------------------------ */

static int start(struct s3_client *client, struct s3_request *request)
{
    CURL *easy = curl_easy_init();
    if (!easy)
        return no_memory();
    if (prepare(client, request, easy) && curl_multi_add_handle(client->multi, easy) == CURLM_OK)
        return 0;
    finish(client, request, CURLE_OUT_OF_MEMORY);
    curl_easy_cleanup(easy);
    request->easy = NULL;
    return request->result;
}

static void end(struct s3_client *client, struct s3_request *request, CURLcode code)
{
    CURL *easy = request->easy;
    finish(client, request, code);
    curl_multi_remove_handle(client->multi, easy);
    curl_easy_cleanup(easy);
    request->easy = NULL;
}

/* End those that are answered. */
static int collect(struct s3_client *client)
{
    int left, ended = 0;
    CURLMsg *message;
    while ((message = curl_multi_info_read(client->multi, &left))) {
        struct s3_request *request = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request);
        end(client, request, message->data.result);
        ended++;
    }
    return ended;
}

static int run_locked(struct s3_client *client, struct s3_request *requests, size_t count)
{
    size_t next = 0, running = 0;
    int active, rc = 0;
    while (rc == 0 && (next < count || running > 0)) {
        while (rc == 0 && next < count && running < AT_ONCE) {
            rc = start(client, &requests[next++]);
            running += rc == 0;
        }
        if (curl_multi_perform(client->multi, &active) != CURLM_OK ||
            ((size_t)active == running && curl_multi_poll(client->multi, NULL, 0, 1000, NULL) != CURLM_OK))
            rc = dn_fail(-EIO, "libcurl cannot make several requests at once");
        running -= (size_t)collect(client);
    }
    for (size_t i = 0; i < count; i++) {
        if (requests[i].easy)
            end(client, &requests[i], CURLE_ABORTED_BY_CALLBACK);
    }
    return rc;
}

int s3_perform_all(struct s3_client *client, struct s3_request *requests, size_t count)
{
    pthread_mutex_lock(&client->multi_mutex);
    int rc = run_locked(client, requests, count);
    pthread_mutex_unlock(&client->multi_mutex);
    return rc;
}
