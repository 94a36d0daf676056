// SPDX-License-Identifier: Apache-2.0
#include "s3_credentials.h"

#include <dosna/error.h>
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOOK_EVERY 1 /* seconds between looks at the files */

enum { SHARED, CONFIG, FILES };

/* What of a file tells that it was changed. */
struct stamp {
    struct timespec mtime;
    ino_t inode;
    off_t size;
};

struct s3_credentials {
    bool watched; /* the keys are from the files */
    char *profile;
    char *path[FILES];

    pthread_mutex_t mutex; /* guards what follows */
    struct s3_keys keys;
    struct stamp stamp[FILES];
    time_t looked;
};

static int no_memory(void)
{
    return dn_fail(-ENOMEM, "out of memory");
}

static void clear_keys(struct s3_keys *keys)
{
    free(keys->access);
    if (keys->secret)
        explicit_bzero(keys->secret, strlen(keys->secret));
    free(keys->secret);
    free(keys->token);
    free(keys->region);
    *keys = (struct s3_keys){0};
}

/* NULL for an unset or empty variable, which the AWS tools take for unset. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool replace(char **value, const char *text)
{
    free(*value);
    *value = strdup(text);
    return *value != NULL;
}

/* ---- the environment --------------------------------------------------------------------------- */

static bool environment_has_keys(void)
{
    return variable("AWS_ACCESS_KEY_ID") || variable("AWS_SECRET_ACCESS_KEY");
}

static int read_environment(struct s3_keys *keys)
{
    const char *access = variable("AWS_ACCESS_KEY_ID"), *secret = variable("AWS_SECRET_ACCESS_KEY");
    const char *token = variable("AWS_SESSION_TOKEN");
    if (!access || !secret)
        return dn_fail(-EINVAL, "%s is set and %s is not",
                       access ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                       access ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    if (!replace(&keys->access, access) || !replace(&keys->secret, secret) ||
        (token && !replace(&keys->token, token)))
        return no_memory();
    return 0;
}

/* ---- the files --------------------------------------------------------------------------------- */

static char *trim(char *text)
{
    text += strspn(text, " \t\r\n");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r\n", text[length - 1]))
        text[--length] = '\0';
    return text;
}

/* Is this the profile's section? The config file says [profile NAME], but [default]. */
static bool is_section(char *line, const char *profile, int file)
{
    char *end = strchr(line, ']');
    if (end)
        *end = '\0';
    char *name = trim(line + 1);
    if (file == CONFIG && strncmp(name, "profile", 7) == 0 && strchr(" \t", name[7]))
        name = trim(name + 7);
    else if (file == CONFIG && strcmp(name, "default") != 0)
        return false;
    return strcmp(name, profile) == 0;
}

static bool take_setting(struct s3_keys *keys, char *line)
{
    const struct {
        const char *name;
        char **value;
    } settings[] = {
        {"aws_access_key_id", &keys->access},
        {"aws_secret_access_key", &keys->secret},
        {"aws_session_token", &keys->token},
        {"region", &keys->region},
    };
    char *value = strchr(line, '=');
    if (!value)
        return true;
    *value++ = '\0';
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (strcmp(trim(line), settings[i].name) == 0 && *trim(value))
            return replace(settings[i].value, trim(value));
    }
    return true;
}

/* 1: the profile is there, 0: it is not (nor perhaps the file), or -ENOMEM. */
static int read_file(const char *path, const char *profile, int file, struct s3_keys *keys)
{
    FILE *stream = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    bool inside = false, found = false, ok = true;
    if (!stream)
        return 0;
    while (ok && getline(&line, &room, stream) >= 0) {
        if (*line == '[')
            found |= inside = is_section(line, profile, file);
        else if (inside && !strchr("#; \t\r\n", *line)) /* an indented line belongs to a setting's own */
            ok = take_setting(keys, line);
    }
    if (line)
        explicit_bzero(line, room);
    free(line);
    fclose(stream);
    return ok ? found : no_memory();
}

static int read_files(const struct s3_credentials *credentials, struct s3_keys *keys)
{
    const char *shared = credentials->path[SHARED], *config = credentials->path[CONFIG];
    int in_config = read_file(config, credentials->profile, CONFIG, keys);
    int in_shared = in_config < 0 ? 0 : read_file(shared, credentials->profile, SHARED, keys);
    if (in_config < 0 || in_shared < 0)
        return -ENOMEM;
    if (keys->access && keys->secret)
        return 0;
    if (keys->access || keys->secret)
        return dn_fail(-EINVAL, "profile %s: %s is missing", credentials->profile,
                       keys->access ? "aws_secret_access_key" : "aws_access_key_id");
    if (strcmp(credentials->profile, "default") != 0 && !in_config && !in_shared)
        return dn_fail(-EINVAL, "there is no profile %s in %s or %s", credentials->profile, shared, config);
    return dn_fail(-EACCES, "no credentials: AWS_ACCESS_KEY_ID is not set, and profile %s has no keys in %s or %s",
                   credentials->profile, shared, config);
}

static struct stamp stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return (struct stamp){0};
    return (struct stamp){st.st_mtim, st.st_ino, st.st_size};
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
           a->inode == b->inode && a->size == b->size;
}

/* Note how the files look now; true if that is new. */
static bool look(struct s3_credentials *credentials)
{
    bool changed = false;
    for (int i = 0; i < FILES; i++) {
        struct stamp now = stamp_of(credentials->path[i]);
        changed |= !same_stamp(&now, &credentials->stamp[i]);
        credentials->stamp[i] = now;
    }
    return changed;
}

/* ---- the keys in force -------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Read the files again. A file that somebody is just writing leaves the keys as they are. */
static void reload_locked(struct s3_credentials *credentials)
{
    struct s3_keys *old = &credentials->keys, fresh = {.generation = old->generation + 1};
    if (read_files(credentials, &fresh) < 0 ||
        (same_text(fresh.access, old->access) && same_text(fresh.secret, old->secret) &&
         same_text(fresh.token, old->token))) {
        clear_keys(&fresh);
        return;
    }
    clear_keys(old);
    *old = fresh;
}

const struct s3_keys *s3_credentials_lock(struct s3_credentials *credentials)
{
    pthread_mutex_lock(&credentials->mutex);
    time_t now = time(NULL);
    if (credentials->watched && now - credentials->looked >= LOOK_EVERY) {
        credentials->looked = now;
        if (look(credentials))
            reload_locked(credentials);
    }
    return &credentials->keys;
}

void s3_credentials_unlock(struct s3_credentials *credentials)
{
    pthread_mutex_unlock(&credentials->mutex);
}

bool s3_credentials_renew(struct s3_credentials *credentials, unsigned generation)
{
    pthread_mutex_lock(&credentials->mutex);
    if (credentials->watched && credentials->keys.generation == generation)
        reload_locked(credentials);
    bool renewed = credentials->keys.generation != generation;
    pthread_mutex_unlock(&credentials->mutex);
    return renewed;
}

/* ---- a new one ---------------------------------------------------------------------------------- */

static char *file_path(const char *name, const char *below_home)
{
    const char *given = variable(name), *home = variable("HOME");
    char *path, room[1024];
    struct passwd entry, *found = NULL;
    if (given)
        return strdup(given);
    if (!home && getpwuid_r(getuid(), &entry, room, sizeof room, &found) == 0 && found)
        home = found->pw_dir;
    return asprintf(&path, "%s/%s", home ? home : "", below_home) < 0 ? NULL : path;
}

static int find_files(struct s3_credentials *credentials, const char *profile)
{
    credentials->profile = strdup(profile);
    credentials->path[SHARED] = file_path("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
    credentials->path[CONFIG] = file_path("AWS_CONFIG_FILE", ".aws/config");
    if (!credentials->profile || !credentials->path[SHARED] || !credentials->path[CONFIG])
        return no_memory();
    look(credentials);
    return 0;
}

/* The environment's keys, with the region that the profile has. */
static int take_environment(struct s3_credentials *credentials)
{
    struct s3_keys profile = {0};
    int rc = read_file(credentials->path[CONFIG], credentials->profile, CONFIG, &profile);
    if (rc >= 0)
        rc = read_environment(&credentials->keys);
    if (rc >= 0) {
        credentials->keys.region = profile.region;
        profile.region = NULL;
    }
    clear_keys(&profile);
    return rc;
}

int s3_credentials_new(const char *profile, struct s3_credentials **out)
{
    struct s3_credentials *credentials = calloc(1, sizeof *credentials);
    bool is_default = !profile || strcmp(profile, "default") == 0;
    const char *other = is_default ? variable("AWS_PROFILE") : profile;
    if (!credentials)
        return no_memory();
    int rc = -pthread_mutex_init(&credentials->mutex, NULL);
    if (rc < 0) {
        free(credentials);
        return dn_fail(rc, "cannot make a mutex");
    }
    credentials->watched = !is_default || !environment_has_keys();
    rc = find_files(credentials, other ? other : "default");
    if (rc == 0)
        rc = credentials->watched ? read_files(credentials, &credentials->keys)
                                  : take_environment(credentials);
    if (rc < 0)
        s3_credentials_free(credentials);
    else
        *out = credentials;
    return rc;
}

void s3_credentials_free(struct s3_credentials *credentials)
{
    if (!credentials)
        return;
    clear_keys(&credentials->keys);
    free(credentials->profile);
    for (int i = 0; i < FILES; i++)
        free(credentials->path[i]);
    pthread_mutex_destroy(&credentials->mutex);
    free(credentials);
}
