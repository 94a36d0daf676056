// SPDX-License-Identifier: Apache-2.0
/*
 * Who we are, found as the AWS tools do: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the
 * environment, else the profile in the files $AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials) and
 * $AWS_CONFIG_FILE (~/.aws/config). A profile other than "default" is meant: the environment's keys
 * do not count then. For "default", AWS_PROFILE names another one.
 *
 * Keys that come from files are read again when a file changes, and when the server refuses them; what
 * cannot be read leaves the keys as they were. The files are read here and not by libinih, which cuts lines at
 * 200 bytes; session tokens are longer.
 *
 * Any thread may call. Keys appear in no text.
 */
#ifndef DOSNA_S3_CREDENTIALS_H
#define DOSNA_S3_CREDENTIALS_H

#include <stdbool.h>

struct s3_credentials;

struct s3_keys {
    char *access, *secret;
    char *token;         /* NULL: none */
    char *region;        /* of the profile in the config file; NULL: none */
    unsigned generation; /* another one for other keys */
};

/** @return 0; -EACCES: no keys found; -EINVAL: half of them, or no such profile; -ENOMEM */
int s3_credentials_new(const char *profile, struct s3_credentials **out);
void s3_credentials_free(struct s3_credentials *credentials);

/** The keys in force, which stay as they are until s3_credentials_unlock(). */
const struct s3_keys *s3_credentials_lock(struct s3_credentials *credentials);
void s3_credentials_unlock(struct s3_credentials *credentials);

/** The keys of this generation were refused. True: there are others now, so that trying again makes sense. */
bool s3_credentials_renew(struct s3_credentials *credentials, unsigned generation);

#endif
