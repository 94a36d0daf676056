// SPDX-License-Identifier: Apache-2.0
/*
 * One request to an S3 server, from its parts to its outcome.
 *
 * Requests are signed by libcurl (AWS Signature Version 4). It takes the query as it stands, so that parameters
 * are sorted by name and percent-encoded by the caller; names of buckets and keys hold nothing that needs
 * encoding. Bodies are signed over http, and not over https, which protects them already.
 *
 * Every request has limits: request_timeout for all of it, a third of that for connecting and for a silence in
 * the middle. Nothing is tried again here. Redirects are errors. No answer takes memory without bound, and none
 * is believed that is not S3's: an object comes and goes with an ETag, a listing is XML.
 *
 * Any thread may call; a request is one thread's.
 */
#ifndef DOSNA_S3_REQUEST_H
#define DOSNA_S3_REQUEST_H

#include "s3_answer.h"
#include <dosna/backend.h>

struct s3_client;

/** A header x-amz-meta-NAME. */
struct s3_meta {
    const char *name;
    char *value; /* the owner's; NULL: not there */
};

#define S3_NOT_SAID UINT64_MAX

enum s3_method { S3_GET, S3_PUT, S3_DELETE, S3_POST };

struct s3_request {
    /* What is asked. Strings and buffers are the caller's and stay until the answer is there. */
    enum s3_method method;
    const char *bucket; /* NULL: the service as a whole */
    const char *key;    /* NULL: the bucket */
    const char *query;  /* NULL: none */
    const void *body;   /* PUT and POST */
    size_t length;
    bool exclusive;             /* PUT: only where nothing is yet */
    const struct s3_meta *meta; /* PUT: sent; ends with a row without name */
    const char *copied_bucket;  /* PUT: what that one has under `key`, in place of a body; NULL: no copy */

    /* GET of an object: `room` bytes from `offset`, all of them or an error. With `version`, only if it is not
     * that mark's state any more; the mark of what was read comes back. */
    void *into; /* NULL: the body comes as `text` */
    size_t room;
    uint64_t offset;
    bool whole;                 /* an object of `room` bytes, or the beginning of a longer one, by no range: radosgw
                                 * reads an object for a range by one request more */
    bool short_is_fine;         /* an object that ends before is read up to there */
    struct dn_version *version; /* PUT: the mark of what was stored comes back */

    /* GET: headers that are wanted; values that are found are the caller's to free. */
    struct s3_meta *wanted;

    /* The answer. */
    int result;              /* 0, DN_UNCHANGED, or negative; -ENOENT only for one of S3's codes */
    char why[DN_ERROR_MAX];  /* the text of a negative result */
    char code[S3_CODE_ROOM]; /* S3's name of the error; "" if it gave none */
    size_t received;         /* bytes in `into` */
    uint64_t total;          /* bytes of the object that `into` is a part of; S3_NOT_SAID */
    char *text;              /* ends with a NUL; s3_request_clear() frees it */
    size_t text_length;

    /* The client's own, during the request. */
    size_t text_room;
    void *easy, *headers;
    unsigned generation;
    int refused; /* we broke the answer off: what it is worth */
    char error[256];
};

/** One request; its result. */
int s3_perform(struct s3_client *client, struct s3_request *request);

/** Several at once, each with a result. 0; or -ENOMEM or -EIO, when they could not all be made. */
int s3_perform_all(struct s3_client *client, struct s3_request *requests, size_t count);

void s3_request_clear(struct s3_request *request);

#endif
