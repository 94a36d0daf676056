// SPDX-License-Identifier: Apache-2.0
/* Which buckets are datasets: those whose roots say so, which are asked many at once, and remembered. */
#include "s3_pages.h"

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

static int no_memory(void)
{
    return dn_fail(-ENOMEM, "out of memory");
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
static int take_buckets(void *arg, const struct s3_texts *items)
{
    struct s3_texts *buckets = arg;
    char folded[S3_BUCKET_ROOM];
    int rc = 0;
    for (size_t i = 0; i < items->count && rc == 0; i++) {
        if (s3_bucket_name(items->text[i], folded) == 0 && strcmp(folded, items->text[i]) == 0)
            rc = s3_add_text(buckets, folded);
    }
    return rc;
}

/* What a root's answer says. A bucket that we may not look into, or that is in another region, is not shown;
 * a failure that may pass fails the listing. */
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
    struct s3_texts buckets;
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
    int rc = s3_each_page(conn, NULL, take_buckets, &listing->buckets);
    if (rc == 0) {
        listing->states = calloc(listing->buckets.count + 1, sizeof *listing->states);
        rc = listing->states ? find_states(listing) : no_memory();
    }
    for (size_t i = 0; i < listing->buckets.count && rc == 0; i++) {
        if (listing->states[i] == S3_DATASET)
            rc = fn(arg, listing->buckets.text[i]);
    }
    s3_clear_texts(&listing->buckets);
    free(listing->states);
    free(listing);
    return rc;
}
