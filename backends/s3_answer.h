// SPDX-License-Identifier: Apache-2.0
/*
 * What a server's refusal means: from the HTTP status and the XML error in the body to one errno and one text.
 *
 * "Absent" is a 404 that an S3 server signs with NoSuchKey or NoSuchBucket, and nothing else: a 404 of
 * whatever stands at a mistyped address is -EIO.
 */
#ifndef DOSNA_S3_ANSWER_H
#define DOSNA_S3_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

struct s3_answer {
    const char *host; /* for the text */
    long status;
    const char *body; /* may hold anything */
    size_t length;
    const char *region;   /* of the header x-amz-bucket-region; NULL: none */
    const char *location; /* where a redirect leads; NULL: none */
};

/** Room for S3's name of an error, with its NUL. */
#define S3_CODE_ROOM 64

/**
 * @param code  the error's name, or "" where the answer is not S3's; S3_CODE_ROOM bytes
 * @return -ENOENT, -EACCES, -EAGAIN, -EEXIST, -EDQUOT, -ENOSPC, -EFBIG, -EINVAL, -ENOTSUP, -ENOTEMPTY or -EIO
 */
int s3_answer_error(const struct s3_answer *answer, char code[S3_CODE_ROOM]);

/** The errno for S3's name of an error, with that name and `message` as the text. */
int s3_code_error(const char *code, const char *message);

/** The keys that we have are refused; others may be found. */
bool s3_code_asks_for_keys(const char *code);

#endif
