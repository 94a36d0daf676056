// SPDX-License-Identifier: Apache-2.0
/*
 * The client of an S3 server: where it is, how it is trusted, who we are, and connections that are kept open.
 *
 * Addresses are as the AWS tools make them. AWS's own servers are asked by https://BUCKET.s3.REGION.amazonaws.com,
 * where the bucket's name has no dots; any other server by its endpoint_url with the bucket first in the path.
 */
#ifndef DOSNA_S3_CLIENT_H
#define DOSNA_S3_CLIENT_H

#include "s3_credentials.h"
#include "s3_options.h"
#include <curl/curl.h>
#include <pthread.h>
#include <stddef.h>

struct s3_client {
    struct s3_credentials *credentials;
    char *scheme, *host; /* the host with its port */
    char *region;
    char *signing;        /* what CURLOPT_AWS_SIGV4 wants */
    const char *ca_file;   /* in the settings; NULL: the system's */
    const char *ca_folder; /* the same */
    bool verify, is_aws;
    long timeout_ms;

    pthread_mutex_t mutex; /* guards the handles that nobody uses */
    CURL **idle;
    size_t idle_count, idle_room;

    pthread_mutex_t multi_mutex; /* one s3_perform_all() after the other */
    CURLM *multi;
};

/** No request is made yet. `settings` stays until s3_client_free().
 *  @return 0; -EINVAL; -EACCES: no credentials; -ENOMEM */
int s3_client_new(const struct s3_settings *settings, struct s3_client **out);
/** No request is in flight. NULL is allowed. */
void s3_client_free(struct s3_client *client);

/** The region that a bucket is to be made in, where a request has to say so; else NULL. */
const char *s3_client_location(const struct s3_client *client);

/** The address of an object (of a bucket, of the service: with NULL for what is not there), for the caller to
 *  free(). NULL: no memory. */
char *s3_client_url(const struct s3_client *client, const char *bucket, const char *key, const char *query);

/** A handle that nobody else uses, the one used last: its connection is most likely open. NULL: no memory. */
CURL *s3_client_take(struct s3_client *client);
void s3_client_give(struct s3_client *client, CURL *easy);

#endif
