// SPDX-License-Identifier: Apache-2.0
/*
 * s3: datasets in an S3 server, as DosNa lays them out.
 *
 *   a dataset   a bucket: its name in lower case, with - for _
 *   what it is  the object `dataset_root` in it: a signature, and x-amz-meta-shape, -dtype, -fillvalue,
 *               -chunk-grid and -chunk-size
 *   chunk i, j  the object `i.j`, the chunk's plain bytes
 *
 * The name of the connection plays no part. Spellings that fold to one bucket name one dataset: any of them
 * opens it, a second one cannot be created, and the listing shows the bucket's name, because no other is
 * stored. Two spellings in use at the same time are as two mounts. A name that no bucket can have is refused.
 *
 * A bucket without a good `dataset_root` is no dataset and is never touched, but for one thing: creating a
 * dataset takes over a bucket of ours that is empty, which is what a creation that failed half way leaves
 * behind. Creation is exclusive by If-None-Match on the root. Deleting a dataset removes its chunks, inside the
 * grid and outside, then the root, then the bucket; with anything else in it, the bucket stays.
 */
#ifndef DOSNA_S3_H
#define DOSNA_S3_H

#include "s3_client.h"
#include "s3_request.h"
#include <pthread.h>

#define S3_ROOT "dataset_root"
#define S3_SIGNATURE "DosNa Dataset"
/** Room for a bucket's name, with its NUL. */
#define S3_BUCKET_ROOM 64

struct s3_known;

struct s3 {
    struct s3_client *client;
    pthread_mutex_t mutex;  /* guards `known` */
    struct s3_known *known; /* what is remembered of buckets */
};

struct s3_dataset {
    struct s3 *s3;
    char bucket[S3_BUCKET_ROOM];
    struct dn_desc desc; /* without its fill value; no axes: it was unreadable */
};

/* ---- s3_dataset.c ---- */

/** The bucket of a dataset's name. @return 0; -EINVAL or -ENAMETOOLONG: no bucket can have it */
int s3_bucket_name(const char *name, char bucket[S3_BUCKET_ROOM]);

/** A request for a bucket's root, into S3_ROOT_ROOM bytes of `buffer`; and whether its answer is a dataset's:
 *  1, 0, or negative. */
#define S3_ROOT_ROOM sizeof S3_SIGNATURE
struct s3_request s3_ask_root(const char *bucket, char *buffer);
int s3_judge_root(const struct s3_request *request);

int s3_create_dataset(void *conn, const char *name, const struct dn_desc *desc);
int s3_open_dataset(void *conn, const char *name, void **handle, struct dn_desc *desc);
int s3_has_dataset(void *conn, const char *name);
void s3_close_dataset(void *handle);
int s3_delete_dataset(void *conn, const char *name);

/* ---- s3_list.c ---- */

/** What a listing may rely on for a while. */
enum s3_state {
    S3_UNKNOWN,
    S3_DATASET,
    S3_OTHER,
    S3_LEFT_OVER, /* we removed the root and then failed to remove the bucket */
};
void s3_remember(struct s3 *s3, const char *bucket, enum s3_state state);
enum s3_state s3_recall(struct s3 *s3, const char *bucket);
void s3_forget_all(struct s3 *s3);

int s3_list_datasets(void *conn, dn_name_fn fn, void *arg);

/* ---- s3_keys.c ---- */

int s3_list_chunks(void *handle, dn_chunk_fn fn, void *arg);

int s3_list_strays(void *handle, dn_name_fn fn, void *arg);
int s3_delete_chunks(void *handle, const struct dn_chunk_id *ids, size_t count);
int s3_delete_strays(void *handle);
/** Everything that has the name of a chunk, strays too. */
int s3_delete_all_chunks(struct s3_dataset *dataset);

#endif
