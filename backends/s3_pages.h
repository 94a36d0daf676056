// SPDX-License-Identifier: Apache-2.0
/* Listings of buckets and of objects, which come in pages. */
#ifndef DOSNA_S3_PAGES_H
#define DOSNA_S3_PAGES_H

#include "s3.h"

/** Texts that grow; each and the array are owned. A zeroed struct has none. */
struct s3_texts {
    char **text;
    size_t count, room;
};
/** A copy of `text` at the end. 0 or -ENOMEM. */
int s3_add_text(struct s3_texts *texts, const char *text);
void s3_clear_texts(struct s3_texts *texts);

/** The names on one page, at most a thousand. A non-zero stops. */
typedef int (*s3_page_fn)(void *arg, const struct s3_texts *items);

/**
 * Every page of a listing: of the objects in `bucket`, or of our buckets (NULL). `fn` may make requests.
 *
 * @return 0; what `fn` stopped with; -ENOENT: no such bucket; -EIO: no listing, or one that has no end; …
 */
int s3_each_page(struct s3 *s3, const char *bucket, s3_page_fn fn, void *arg);

/** The first object in a bucket, which is copied to `key`: 1, 0: it is empty, or negative; -ENOENT: no bucket. */
int s3_first_key(struct s3 *s3, const char *bucket, char *key, size_t room);

#endif
