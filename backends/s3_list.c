// SPDX-License-Identifier: Apache-2.0
/* Listings, which come in pages, and what is made of them: datasets, chunks, and the deletion of many. */
#include "s3.h"

#include "chunk_index.h"
#include "s3_xml.h"
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Else uthash ends the program when memory runs out. So a failed HASH_ADD leaves hh.tbl NULL. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION HASH_FNV /* the default one trips -Wimplicit-fallthrough */
#include <uthash.h>

#define ROOTS_AT_A_TIME 256
#define REMEMBERED 10 /* seconds */
#define KEY_ROOM 1025 /* of the longest key that S3 allows */

static int no_memory(void)
{
    return dn_fail(-ENOMEM, "out of memory");
}

/* ---- texts, one after the other -------------------------------------------------------------------- */

struct texts {
    char **text;
    size_t count, room;
};

static int add_text(struct texts *texts, const char *text)
{
    if (texts->count == texts->room) {
        size_t room = 2 * texts->room + 64;
        char **longer = realloc(texts->text, room * sizeof *longer);
        if (!longer)
            return no_memory();
        texts->text = longer;
        texts->room = room;
    }
    texts->text[texts->count] = strdup(text);
    if (!texts->text[texts->count])
        return no_memory();
    texts->count++;
    return 0;
}

static void clear_texts(struct texts *texts)
{
    while (texts->count > 0)
        free(texts->text[--texts->count]);
    free(texts->text);
    *texts = (struct texts){0};
}

/* ---- pages ------------------------------------------------------------------------------------------ */

struct page {
    const char *root, *item, *next; /* paths of the elements */
    bool valid, truncated;
    struct texts items;
    char *token; /* of the next page; NULL: there is none */
};

static int take_element(void *arg, const char *path, const char *text)
{
    struct page *page = arg;
    size_t root = strlen(page->root);
    if (strcmp(path, page->item) == 0)
        return add_text(&page->items, text);
    if (strcmp(path, page->next) == 0 && *text) {
        free(page->token);
        page->token = strdup(text);
        return page->token ? 0 : no_memory();
    }
    if (strcmp(path, page->root) == 0)
        page->valid = true;
    else if (strncmp(path, page->root, root) == 0 && strcmp(path + root, "/IsTruncated") == 0)
        page->truncated = strcmp(text, "true") == 0;
    return 0;
}

static void clear_page(struct page *page)
{
    clear_texts(&page->items);
    free(page->token);
    page->token = NULL;
    page->valid = page->truncated = false;
}

/* Keys come percent-encoded, because XML cannot hold every character that they can. */
static int decode(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        char *text = texts->text[i], *plain = curl_easy_unescape(NULL, text, 0, NULL);
        if (!plain)
            return no_memory();
        memcpy(text, plain, strlen(plain) + 1);
        curl_free(plain);
    }
    return 0;
}

static char *make_query(const char *bucket, const char *token, unsigned most)
{
    char *query, *encoded = curl_easy_escape(NULL, token ? token : "", 0);
    const char *name = token ? "continuation-token=" : "", *and = token ? "&" : "";
    int length = -1;
    if (encoded && bucket)
        length = asprintf(&query, "%s%s%sencoding-type=url&list-type=2&max-keys=%u", name, encoded, and, most);
    else if (encoded)
        length = asprintf(&query, "%s%s%smax-buckets=%u", name, encoded, and, most);
    curl_free(encoded);
    return length < 0 ? NULL : query;
}

/* Replace `page` by the one after it, of at most `most` items. bucket NULL: of the list of buckets. */
static int next_page(struct s3 *s3, const char *bucket, unsigned most, struct page *page)
{
    char *query = make_query(bucket, page->token, most);
    if (!query)
        return no_memory();
    clear_page(page);
    page->root = bucket ? "ListBucketResult" : "ListAllMyBucketsResult";
    page->item = bucket ? "ListBucketResult/Contents/Key" : "ListAllMyBucketsResult/Buckets/Bucket/Name";
    page->next = bucket ? "ListBucketResult/NextContinuationToken" : "ListAllMyBucketsResult/ContinuationToken";
    struct s3_request request = {.method = S3_GET, .bucket = bucket, .query = query};
    int rc = s3_perform(s3->client, &request);
    if (rc == 0) {
        rc = s3_xml_each(request.text ? request.text : "", request.text_length, take_element, page);
        if (rc == -EPROTO || (rc == 0 && !page->valid))
            rc = dn_fail(-EIO, "the answer is no listing of an S3 server%s%s", rc < 0 ? ": " : "",
                         rc < 0 ? dn_error_text(rc) : "");
    }
    if (rc == 0 && bucket && page->truncated && !page->token)
        rc = dn_fail(-EIO, "the listing breaks off");
    if (rc == 0 && bucket)
        rc = decode(&page->items);
    s3_request_clear(&request);
    free(query);
    return rc;
}

/* S3 lists in the order of the bytes. A page that does not go on from the last one would be one without an end. */
static int check_order(const struct page *page, const char *last)
{
    size_t count = page->items.count;
    if (page->token && (count == 0 || strcmp(page->items.text[count - 1], last) <= 0))
        return dn_fail(-EIO, "the listing goes round in a circle");
    return 0;
}

typedef int (*page_fn)(void *arg, const struct texts *items);

static int each_page(struct s3 *s3, const char *bucket, page_fn fn, void *arg)
{
    struct page page = {0};
    char last[KEY_ROOM] = "";
    int rc;
    do {
        rc = next_page(s3, bucket, 1000, &page);
        if (rc == 0)
            rc = check_order(&page, last);
        if (rc == 0 && page.token)
            snprintf(last, sizeof last, "%s", page.items.text[page.items.count - 1]);
        if (rc == 0)
            rc = fn(arg, &page.items);
    } while (rc == 0 && page.token);
    clear_page(&page);
    return rc;
}

int s3_first_key(struct s3 *s3, const char *bucket, char *key, size_t room)
{
    struct page page = {0};
    int rc = next_page(s3, bucket, 1, &page);
    if (rc == 0 && page.items.count > 0) {
        snprintf(key, room, "%s", page.items.text[0]);
        rc = 1;
    }
    clear_page(&page);
    return rc;
}

/* ---- what is remembered ----------------------------------------------------------------------------- */

struct s3_known {
    char bucket[S3_BUCKET_ROOM];
    enum s3_state state;
    time_t until;
    UT_hash_handle hh;
};

static time_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

static struct s3_known *find_locked(struct s3 *s3, const char *bucket)
{
    struct s3_known *known;
    HASH_FIND_STR(s3->known, bucket, known);
    return known;
}

static void forget_locked(struct s3 *s3, struct s3_known *known)
{
    HASH_DEL(s3->known, known);
    free(known);
}

static struct s3_known *add_locked(struct s3 *s3, const char *bucket)
{
    struct s3_known *known = calloc(1, sizeof *known);
    if (!known)
        return NULL;
    snprintf(known->bucket, sizeof known->bucket, "%s", bucket);
    HASH_ADD_STR(s3->known, bucket, known);
    if (known->hh.tbl)
        return known;
    free(known);
    return NULL;
}

/* Without memory nothing is remembered, and asked again. */
void s3_remember(struct s3 *s3, const char *bucket, enum s3_state state)
{
    pthread_mutex_lock(&s3->mutex);
    struct s3_known *known = find_locked(s3, bucket);
    if (state == S3_UNKNOWN) {
        if (known)
            forget_locked(s3, known);
    } else if (known || (known = add_locked(s3, bucket))) {
        known->state = state;
        known->until = now() + REMEMBERED;
    }
    pthread_mutex_unlock(&s3->mutex);
}

enum s3_state s3_recall(struct s3 *s3, const char *bucket)
{
    pthread_mutex_lock(&s3->mutex);
    struct s3_known *known = find_locked(s3, bucket);
    enum s3_state state = known && known->until > now() ? known->state : S3_UNKNOWN;
    pthread_mutex_unlock(&s3->mutex);
    return state;
}

static void forget_old(struct s3 *s3, time_t before)
{
    struct s3_known *known, *next;
    pthread_mutex_lock(&s3->mutex);
    HASH_ITER (hh, s3->known, known, next) {
        if (known->until <= before)
            forget_locked(s3, known);
    }
    pthread_mutex_unlock(&s3->mutex);
}

void s3_forget_all(struct s3 *s3)
{
    forget_old(s3, now() + 2 * REMEMBERED);
}

/* ---- datasets ---------------------------------------------------------------------------------------- */

/* A bucket that DosNa's mapping cannot lead to is no dataset. */
static int take_buckets(void *arg, const struct texts *items)
{
    struct texts *buckets = arg;
    char folded[S3_BUCKET_ROOM];
    int rc = 0;
    for (size_t i = 0; i < items->count && rc == 0; i++) {
        if (s3_bucket_name(items->text[i], folded) == 0 && strcmp(folded, items->text[i]) == 0)
            rc = add_text(buckets, folded);
    }
    return rc;
}

/* What a root's answer says. A bucket that we may not look into, or that is in another region, is not shown; a
 * failure that may pass fails the listing. */
static int judge(const struct s3_request *request, enum s3_state *state)
{
    int is_dataset = s3_judge_root(request);
    switch (is_dataset) {
    case -EAGAIN:
    case -ETIMEDOUT:
    case -ECONNRESET:
    case -ENOMEM:
        return dn_fail(is_dataset, "%s", request->why);
    default:
        *state = is_dataset > 0 ? S3_DATASET : S3_OTHER;
        return 0;
    }
}

struct listing {
    struct s3 *s3;
    struct texts buckets;
    enum s3_state *states;
    size_t asked[ROOTS_AT_A_TIME]; /* numbers of buckets */
    struct s3_request requests[ROOTS_AT_A_TIME];
    char roots[ROOTS_AT_A_TIME][S3_ROOT_ROOM];
};

static int ask(struct listing *listing, size_t count)
{
    struct s3_request *requests = listing->requests;
    for (size_t i = 0; i < count; i++)
        requests[i] = s3_ask_root(listing->buckets.text[listing->asked[i]], listing->roots[i]);
    int rc = s3_perform_all(listing->s3->client, requests, count);
    for (size_t i = 0; i < count; i++) {
        enum s3_state *state = &listing->states[listing->asked[i]];
        if (rc == 0)
            rc = judge(&requests[i], state);
        if (rc == 0)
            s3_remember(listing->s3, requests[i].bucket, *state);
        s3_request_clear(&requests[i]);
    }
    return rc;
}

static int find_states(struct listing *listing)
{
    size_t count = 0;
    int rc = 0;
    for (size_t i = 0; i < listing->buckets.count && rc == 0; i++) {
        listing->states[i] = s3_recall(listing->s3, listing->buckets.text[i]);
        if (listing->states[i] == S3_UNKNOWN)
            listing->asked[count++] = i;
        if (count == ROOTS_AT_A_TIME) {
            rc = ask(listing, count);
            count = 0;
        }
    }
    return rc < 0 || count == 0 ? rc : ask(listing, count);
}

int s3_list_datasets(void *conn, dn_name_fn fn, void *arg)
{
    struct listing *listing = calloc(1, sizeof *listing);
    if (!listing)
        return no_memory();
    listing->s3 = conn;
    forget_old(conn, now());
    int rc = each_page(conn, NULL, take_buckets, &listing->buckets);
    if (rc == 0) {
        listing->states = calloc(listing->buckets.count + 1, sizeof *listing->states);
        rc = listing->states ? find_states(listing) : no_memory();
    }
    for (size_t i = 0; i < listing->buckets.count && rc == 0; i++) {
        if (listing->states[i] == S3_DATASET)
            rc = fn(arg, listing->buckets.text[i]);
    }
    clear_texts(&listing->buckets);
    free(listing->states);
    free(listing);
    return rc;
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

struct chunk_listing {
    const struct s3_dataset *dataset;
    dn_chunk_fn fn;
    void *arg;
};

static int pass_chunks(void *arg, const struct texts *items)
{
    struct chunk_listing *listing = arg;
    int64_t index[DN_MAX_NDIM];
    int rc = 0;
    for (size_t i = 0; i < items->count && rc == 0; i++) {
        if (kind_of(listing->dataset, items->text[i], index) == CHUNK)
            rc = listing->fn(listing->arg, (const uint64_t *)index, listing->dataset->desc.ndim);
    }
    return rc;
}

int s3_list_chunks(void *handle, dn_chunk_fn fn, void *arg)
{
    struct s3_dataset *dataset = handle;
    struct chunk_listing listing = {dataset, fn, arg};
    return gone_is_stale(each_page(dataset->s3, dataset->bucket, pass_chunks, &listing));
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
static int delete_keys(struct s3_dataset *dataset, const struct texts *keys)
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

static int delete_page(void *arg, const struct texts *items)
{
    struct deletion *deletion = arg;
    struct texts keys = {0};
    int64_t index[DN_MAX_NDIM];
    int rc = 0;
    for (size_t i = 0; i < items->count && rc == 0; i++) {
        enum kind kind = kind_of(deletion->dataset, items->text[i], index);
        if (kind == STRAY || (kind == CHUNK && deletion->chunks_too))
            rc = add_text(&keys, items->text[i]);
    }
    if (rc == 0)
        rc = delete_keys(deletion->dataset, &keys);
    clear_texts(&keys);
    return rc;
}

static int delete_listed(struct s3_dataset *dataset, bool chunks_too)
{
    struct deletion deletion = {dataset, chunks_too};
    return gone_is_stale(each_page(dataset->s3, dataset->bucket, delete_page, &deletion));
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
    struct texts keys = {0};
    char key[DN_VECTOR_TEXT];
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        dn_vector_format(ids[i].index, ids[i].ndim, ".", key, sizeof key);
        rc = add_text(&keys, key);
    }
    if (rc == 0)
        rc = delete_keys(handle, &keys);
    clear_texts(&keys);
    return rc;
}
