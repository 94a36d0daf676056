// SPDX-License-Identifier: Apache-2.0
#include "s3_pages.h"

#include "s3_xml.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(void)
{
    return dn_fail(-ENOMEM, "out of memory");
}

/* ---- texts, one after the other -------------------------------------------------------------------- */

int s3_add_text(struct s3_texts *texts, const char *text)
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

void s3_clear_texts(struct s3_texts *texts)
{
    while (texts->count > 0)
        free(texts->text[--texts->count]);
    free(texts->text);
    *texts = (struct s3_texts){0};
}

/* ---- pages ------------------------------------------------------------------------------------------ */

struct page {
    const char *root, *item, *next; /* paths of the elements */
    bool valid, truncated;
    struct s3_texts items;
    char *token; /* of the next page; NULL: there is none */
};

static int take_element(void *arg, const char *path, const char *text)
{
    struct page *page = arg;
    size_t root = strlen(page->root);
    if (strcmp(path, page->item) == 0)
        return s3_add_text(&page->items, text);
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
    s3_clear_texts(&page->items);
    free(page->token);
    page->token = NULL;
    page->valid = page->truncated = false;
}

/* Keys come as in a form, because XML cannot hold every character that they can. One with a NUL, which no string here
 * can hold, stays encoded: like that it is nobody's chunk. */
static int decode(struct s3_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        char *text = texts->text[i];
        for (char *plus = text; (plus = strchr(plus, '+'));)
            *plus = ' ';
        int length;
        char *plain = curl_easy_unescape(NULL, text, 0, &length);
        if (!plain)
            return no_memory();
        if (strlen(plain) == (size_t)length)
            memcpy(text, plain, (size_t)length + 1);
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
    if (page->token && (count == 0 || (last && strcmp(page->items.text[count - 1], last) <= 0)))
        return dn_fail(-EIO, "the listing goes round in a circle");
    return 0;
}

int s3_each_page(struct s3 *s3, const char *bucket, s3_page_fn fn, void *arg)
{
    struct page page = {0};
    char *last = NULL;
    int rc;
    do {
        rc = next_page(s3, bucket, 1000, &page);
        if (rc == 0)
            rc = check_order(&page, last);
        if (rc == 0)
            rc = fn(arg, &page.items);
        if (rc == 0 && page.token) {
            free(last);
            last = page.items.text[--page.items.count];
        }
    } while (rc == 0 && page.token);
    free(last);
    clear_page(&page);
    return rc;
}

int s3_first_key(struct s3 *s3, const char *bucket, char *key, size_t room)
{
    struct page page = {0};
    int rc = next_page(s3, bucket, 1, &page);
    if (rc == 0)
        rc = check_order(&page, NULL);
    if (rc == 0 && page.items.count > 0) {
        snprintf(key, room, "%s", page.items.text[0]);
        rc = 1;
    }
    clear_page(&page);
    return rc;
}
