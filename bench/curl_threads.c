// SPDX-License-Identifier: Apache-2.0
/*
 * The chunks of a bucket by libcurl alone, each thread with one connection: see chunks.h.
 *
 * Signed as the s3 backend signs over http, bodies included. Keys: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
 */
#include "chunks.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define BUFFER (128l << 10)

static const char *bucket, *access_key, *secret_key;

struct answer {
    char *data;
    size_t length, room;
};

static int connect_server(char **where)
{
    bucket = where[0];
    access_key = getenv("AWS_ACCESS_KEY_ID");
    secret_key = getenv("AWS_SECRET_ACCESS_KEY");
    if (access_key && secret_key && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        return 0;
    fputs("curl_threads: no keys in the environment\n", stderr);
    return -1;
}

/* A body that is too long ends the request as an error. */
static size_t take(char *data, size_t size, size_t count, void *arg)
{
    struct answer *answer = arg;
    size_t length = size * count;

    if (length > answer->room - answer->length)
        return 0;
    memcpy(answer->data + answer->length, data, length);
    answer->length += length;
    return length;
}

static void *open_thread(void)
{
    CURL *easy = curl_easy_init();

    if (!easy)
        return NULL;
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1l);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER);
    curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, "aws:amz:us-east-1:s3");
    curl_easy_setopt(easy, CURLOPT_USERNAME, access_key);
    curl_easy_setopt(easy, CURLOPT_PASSWORD, secret_key);
    curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1l);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
    return easy;
}

static void sha256_header(char header[128], const char *data, size_t length)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned count = 0;
    int at = sprintf(header, "x-amz-content-sha256: ");

    EVP_Digest(data, length, bytes, &count, EVP_sha256(), NULL);
    for (unsigned i = 0; i < count; i++)
        at += sprintf(header + at, "%02x", bytes[i]);
}

static int perform(CURL *easy, const char *header, struct answer *answer, const char *key)
{
    struct curl_slist *headers = curl_slist_append(NULL, header);
    char url[2048];
    CURLcode code = CURLE_OUT_OF_MEMORY;

    if (headers) {
        snprintf(url, sizeof url, "%s/%s", bucket, key);
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
        code = curl_easy_perform(easy);
    }
    curl_slist_free_all(headers);
    if (code != CURLE_OK)
        fprintf(stderr, "curl_threads: %s/%s: %s\n", bucket, key, curl_easy_strerror(code));
    return code == CURLE_OK ? 0 : -1;
}

static int transfer(void *thread, bool put, const char *key, char *data, size_t length)
{
    struct answer answer = {.data = data, .room = put ? 0 : length};
    char header[128] = "x-amz-content-sha256: " EMPTY_SHA256;

    if (put) {
        sha256_header(header, data, length);
        curl_easy_setopt(thread, CURLOPT_CUSTOMREQUEST, "PUT");
        curl_easy_setopt(thread, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
        curl_easy_setopt(thread, CURLOPT_POSTFIELDS, data);
    }
    if (perform(thread, header, &answer, key) != 0)
        return -1;
    if (answer.length == answer.room)
        return 0;
    fprintf(stderr, "curl_threads: %s/%s: %zu bytes\n", bucket, key, answer.length);
    return -1;
}

int main(int argc, char **argv)
{
    static const struct chunk_client client = {
        .where = "URL_OF_BUCKET",
        .where_count = 1,
        .connect = connect_server,
        .disconnect = curl_global_cleanup,
        .open = open_thread,
        .close = curl_easy_cleanup,
        .transfer = transfer,
    };

    return chunks_main(argc, argv, &client);
}
