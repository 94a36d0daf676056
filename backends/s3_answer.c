// SPDX-License-Identifier: Apache-2.0
#include "s3_answer.h"

#include "s3_xml.h"
#include <dosna/error.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { REGION = 1, KEYS = 2 };

/* https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and what other servers add. */
static const struct {
    const char *code;
    int error;
    unsigned about;
    const char *hint;
} known[] = {
    {"NoSuchKey", -ENOENT, 0, "no such object"},
    {"NoSuchBucket", -ENOENT, 0, "no such bucket"},
    {"AccessDenied", -EACCES, 0, "the key has no permission for this"},
    {"AllAccessDisabled", -EACCES, 0, NULL},
    {"AccountProblem", -EACCES, 0, NULL},
    {"InvalidAccessKeyId", -EACCES, KEYS, "the server does not know this access key"},
    {"SignatureDoesNotMatch", -EACCES, KEYS, "the secret key is wrong"},
    {"ExpiredToken", -EACCES, KEYS, "the session token has expired"},
    {"ExpiredTokenException", -EACCES, KEYS, "the session token has expired"},
    {"TokenRefreshRequired", -EACCES, KEYS, "the session token has expired"},
    {"InvalidToken", -EACCES, KEYS, "the session token is wrong"},
    {"RequestTimeTooSkewed", -EACCES, 0, "this machine's clock is not the server's: set it right"},
    {"BucketAlreadyExists", -EEXIST, 0, "somebody else has a bucket of this name"},
    {"BucketAlreadyOwnedByYou", -EEXIST, 0, NULL},
    {"PreconditionFailed", -EEXIST, 0, NULL},
    {"BucketNotEmpty", -ENOTEMPTY, 0, NULL},
    {"InvalidBucketName", -EINVAL, 0, NULL},
    {"MetadataTooLarge", -ENOTSUP, 0, "the description is longer than the store's metadata may be"},
    {"EntityTooLarge", -EFBIG, 0, NULL},
    {"QuotaExceeded", -EDQUOT, 0, NULL},
    {"TooManyBuckets", -EDQUOT, 0, NULL},
    {"XMinioStorageFull", -ENOSPC, 0, NULL},
    {"StorageFull", -ENOSPC, 0, NULL},
    {"InsufficientCapacity", -ENOSPC, 0, NULL},
    {"NotImplemented", -ENOTSUP, 0, NULL},
    {"SlowDown", -EAGAIN, 0, NULL},
    {"ServiceUnavailable", -EAGAIN, 0, NULL},
    {"InternalError", -EAGAIN, 0, NULL},
    {"RequestTimeout", -EAGAIN, 0, NULL},
    {"OperationAborted", -EAGAIN, 0, NULL},
    {"ConditionalRequestConflict", -EAGAIN, 0, NULL},
    {"PermanentRedirect", -EIO, REGION, NULL},
    {"TemporaryRedirect", -EIO, REGION, NULL},
    {"AuthorizationHeaderMalformed", -EIO, REGION, NULL},
    {"IllegalLocationConstraintException", -EIO, REGION, NULL},
    {"InvalidRange", -EIO, 0, "the object is shorter than that"},
};

struct error_body {
    char code[S3_CODE_ROOM];
    char message[160];
    char region[40];
    char endpoint[128];
};

/* A server's text for a log line: no control characters. */
static void copy_plain(char *to, size_t room, const char *text)
{
    snprintf(to, room, "%s", text);
    for (; *to; to++) {
        if ((unsigned char)*to < ' ' || *to == 0x7f)
            *to = '?';
    }
}

static int take_part(void *arg, const char *path, const char *text)
{
    struct error_body *body = arg;
    const struct {
        const char *path;
        char *to;
        size_t room;
    } parts[] = {
        {"Error/Code", body->code, sizeof body->code},
        {"Error/Message", body->message, sizeof body->message},
        {"Error/Region", body->region, sizeof body->region},
        {"Error/Endpoint", body->endpoint, sizeof body->endpoint},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strcmp(path, parts[i].path) == 0)
            copy_plain(parts[i].to, parts[i].room, text);
    }
    return 0;
}

static int status_error(long status)
{
    switch (status) {
    case 401:
    case 403:
        return -EACCES;
    case 408:
    case 429:
        return -EAGAIN;
    case 412:
        return -EEXIST;
    case 413:
        return -EFBIG;
    case 507:
        return -ENOSPC;
    default:
        return status >= 500 && status != 501 ? -EAGAIN : -EIO;
    }
}

static size_t find(const char *code)
{
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(known[i].code, code) != 0)
        i++;
    return i;
}

static bool is_known(size_t i)
{
    return i < sizeof known / sizeof *known;
}

/* "Absent" is believed with the status that says so too. */
static int code_error(size_t i, long status)
{
    return is_known(i) && (known[i].error != -ENOENT || status == 404) ? known[i].error : status_error(status);
}

/* The server that we asked is not the one to ask. */
static int elsewhere(const struct s3_answer *answer, const struct error_body *body)
{
    char region[40];
    copy_plain(region, sizeof region, *body->region || !answer->region ? body->region : answer->region);
    if (*region)
        return dn_fail(-EIO, "%s: %s: this is in region %s; set region=%s", answer->host,
                       *body->code ? body->code : "redirected", region, region);
    if (*body->endpoint)
        return dn_fail(-EIO, "%s: %s: to be asked at %s; set endpoint_url", answer->host, body->code,
                       body->endpoint);
    if (answer->location) {
        char location[200];
        copy_plain(location, sizeof location, answer->location);
        return dn_fail(-EIO, "%s sends us to %s, where it may not: set endpoint_url to the S3 server itself",
                       answer->host, location);
    }
    return dn_fail(-EIO, "%s: %s %s", answer->host, *body->code ? body->code : "redirects us", body->message);
}

int s3_answer_error(const struct s3_answer *answer, char code[S3_CODE_ROOM])
{
    struct error_body body = {0};
    if (s3_xml_each(answer->body, answer->length, take_part, &body) < 0)
        body = (struct error_body){0};
    memcpy(code, body.code, S3_CODE_ROOM);
    size_t i = find(body.code);
    if ((answer->status >= 300 && answer->status < 400) || (is_known(i) && known[i].about == REGION))
        return elsewhere(answer, &body);
    if (!*body.code)
        return dn_fail(status_error(answer->status), "%s answers with HTTP status %ld and no S3 error",
                       answer->host, answer->status);
    const char *hint = is_known(i) && known[i].hint ? known[i].hint : body.message;
    return dn_fail(code_error(i, answer->status), "%s: %s%s%s", answer->host, body.code, *hint ? ": " : "", hint);
}

int s3_code_error(const char *code, const char *message)
{
    char plain[S3_CODE_ROOM], text[160];
    size_t i = find(code);
    copy_plain(plain, sizeof plain, code);
    copy_plain(text, sizeof text, message);
    return dn_fail(is_known(i) ? known[i].error : -EIO, "%s%s%s", plain, *text ? ": " : "", text);
}

bool s3_code_asks_for_keys(const char *code)
{
    size_t i = find(code);
    return is_known(i) && known[i].about == KEYS;
}
