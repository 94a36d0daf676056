// SPDX-License-Identifier: Apache-2.0
#include "s3_client.h"

#include <dosna/error.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static int no_memory(void)
{
    return dn_fail(-ENOMEM, "out of memory");
}

/* ---- handles -------------------------------------------------------------------------------------- */

CURL *s3_client_take(struct s3_client *client)
{
    CURL *easy = NULL;
    pthread_mutex_lock(&client->mutex);
    if (client->idle_count > 0)
        easy = client->idle[--client->idle_count];
    pthread_mutex_unlock(&client->mutex);
    return easy ? easy : curl_easy_init();
}

void s3_client_give(struct s3_client *client, CURL *easy)
{
    pthread_mutex_lock(&client->mutex);
    if (client->idle_count == client->idle_room) {
        size_t room = 2 * client->idle_room + 16;
        CURL **idle = realloc(client->idle, room * sizeof *idle);
        if (idle) {
            client->idle = idle;
            client->idle_room = room;
        }
    }
    if (client->idle_count < client->idle_room) {
        client->idle[client->idle_count++] = easy;
        easy = NULL;
    }
    pthread_mutex_unlock(&client->mutex);
    curl_easy_cleanup(easy);
}

/* ---- where the server is ----------------------------------------------------------------------------- */

static char *choose_region(const struct s3_settings *settings, struct s3_credentials *credentials)
{
    const char *const names[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
    const char *region = settings->region;
    for (int i = 0; i < 2 && !(region && *region); i++)
        region = getenv(names[i]);
    const struct s3_keys *keys = s3_credentials_lock(credentials);
    char *copy = strdup(region && *region ? region : keys->region ? keys->region : "us-east-1");
    s3_credentials_unlock(credentials);
    return copy;
}

/* It becomes a part of a host's name and of the signature. */
static int check_region(const char *region)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    if (strlen(region) > 40 || region[strspn(region, allowed)])
        return dn_fail(-EINVAL, "region = %.40s: not the name of a region", region);
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK && *text;
    curl_free(text);
    return has;
}

/* scheme://host[:port], and nothing more but a slash. */
static int split_url(CURLU *url, const char *text, struct s3_client *client)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
    int rc = dn_fail(-EINVAL, "endpoint_url = %.200s: wanted is http://HOST:PORT or https://HOST:PORT", text);
    if (curl_url_set(url, CURLUPART_URL, text, CURLU_DEFAULT_SCHEME) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK)
        goto out;
    curl_url_get(url, CURLUPART_PORT, &port, 0);
    if ((strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) || strcmp(path, "/") != 0 ||
        has_part(url, CURLUPART_QUERY) || has_part(url, CURLUPART_FRAGMENT))
        goto out;
    client->is_aws = ends_with(host, ".amazonaws.com") || ends_with(host, ".amazonaws.com.cn");
    client->scheme = strdup(scheme);
    if (asprintf(&client->host, "%s%s%s", host, port ? ":" : "", port ? port : "") < 0)
        client->host = NULL;
    rc = client->scheme && client->host ? 0 : no_memory();
out:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    return rc;
}

static int set_endpoint(struct s3_client *client, const char *endpoint)
{
    char text[256];
    const char *region = client->region;
    CURLU *url = curl_url();
    int rc;
    if (!url)
        return no_memory();
    snprintf(text, sizeof text, "https://s3.%s.amazonaws.com%s", region,
             strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
    if (endpoint && strchr(endpoint, '@'))
        rc = dn_fail(-EINVAL, "endpoint_url: credentials have no place there");
    else
        rc = split_url(url, endpoint ? endpoint : text, client);
    curl_url_cleanup(url);
    return rc;
}

char *s3_client_url(const struct s3_client *client, const char *bucket, const char *key, const char *query)
{
    const char *mark = query ? "?" : "";
    bucket = bucket ? bucket : "";
    key = key ? key : "";
    query = query ? query : "";
    /* As the AWS tools do: a name with dots does not fit AWS's certificate. */
    bool in_host = client->is_aws && *bucket && !strchr(bucket, '.');
    char *url;
    int length;
    if (in_host)
        length = asprintf(&url, "%s://%s.%s/%s%s%s", client->scheme, bucket, client->host, key, mark, query);
    else
        length = asprintf(&url, "%s://%s/%s%s%s%s%s", client->scheme, client->host, bucket, *key ? "/" : "", key,
                          mark, query);
    return length < 0 ? NULL : url;
}

/* ---- a client ------------------------------------------------------------------------------------- */

static int set_verify(struct s3_client *client, const char *verify)
{
    struct stat st;
    client->verify = true;
    if (!verify || strcasecmp(verify, "true") == 0)
        return 0;
    if (strcasecmp(verify, "false") == 0) {
        client->verify = false;
        return 0;
    }
    if (stat(verify, &st) != 0 || access(verify, R_OK) != 0)
        return dn_fail(-EINVAL, "verify = %.200s: neither true nor false nor a file of certificates: %s", verify,
                       strerror(errno));
    if (S_ISDIR(st.st_mode))
        client->ca_folder = verify;
    else
        client->ca_file = verify;
    return 0;
}

static int configure(struct s3_client *client, const struct s3_settings *settings)
{
    double seconds = settings->request_timeout > 0 ? settings->request_timeout : 30;
    client->timeout_ms = seconds < 1e6 ? (long)(seconds * 1000) + 1 : 1000000000;
    int rc = s3_credentials_new(settings->profile_name, &client->credentials);
    if (rc < 0)
        return rc;
    client->region = choose_region(settings, client->credentials);
    if (!client->region)
        return no_memory();
    rc = check_region(client->region);
    if (rc == 0 && asprintf(&client->signing, "aws:amz:%s:s3", client->region) < 0) {
        client->signing = NULL;
        rc = no_memory();
    }
    if (rc == 0)
        rc = set_endpoint(client, settings->endpoint_url);
    return rc < 0 ? rc : set_verify(client, settings->verify);
}

static void free_client(struct s3_client *client)
{
    while (client->idle_count > 0)
        curl_easy_cleanup(client->idle[--client->idle_count]);
    free(client->idle);
    curl_multi_cleanup(client->multi);
    s3_credentials_free(client->credentials);
    free(client->scheme);
    free(client->host);
    free(client->region);
    free(client->signing);
    free(client);
}

int s3_client_new(const struct s3_settings *settings, struct s3_client **out)
{
    struct s3_client *client = calloc(1, sizeof *client);
    if (!client)
        return no_memory();
    client->multi = curl_multi_init();
    int rc = client->multi ? configure(client, settings) : no_memory();
    if (rc == 0)
        rc = -pthread_mutex_init(&client->mutex, NULL);
    if (rc == 0) {
        rc = -pthread_mutex_init(&client->multi_mutex, NULL);
        if (rc < 0)
            pthread_mutex_destroy(&client->mutex);
    }
    if (rc < 0)
        free_client(client);
    else
        *out = client;
    return rc;
}

void s3_client_free(struct s3_client *client)
{
    if (!client)
        return;
    pthread_mutex_destroy(&client->mutex);
    pthread_mutex_destroy(&client->multi_mutex);
    free_client(client);
}

const char *s3_client_location(const struct s3_client *client)
{
    return client->is_aws && strcmp(client->region, "us-east-1") != 0 ? client->region : NULL;
}
