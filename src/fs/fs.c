// SPDX-License-Identifier: Apache-2.0
#include "fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_AUTO 1.0
#define TIMEOUT_ALWAYS 3600.0

static long number(const dn_config *config, const char *key, int base)
{
    const char *text = dn_config_get(config, key);

    return text ? strtol(text, NULL, base) : 0;
}

int fs_init(struct fs *fs, const dn_config *config)
{
    const char *cache = dn_config_get(config, "cache");
    const char *views = dn_config_get(config, "views");
    long uid = number(config, "uid", 10);
    long gid = number(config, "gid", 10);

    *fs = (struct fs){
        .config = config,
        .uid = uid < 0 ? getuid() : (uid_t)uid,
        .gid = gid < 0 ? getgid() : (gid_t)gid,
        .umask = (mode_t)number(config, "umask", 8),
        .cache = CACHE_AUTO,
        .timeout = TIMEOUT_AUTO,
    };
    if (cache && strcmp(cache, "always") == 0) {
        fs->cache = CACHE_ALWAYS;
        fs->timeout = TIMEOUT_ALWAYS;
    } else if (cache && strcmp(cache, "never") == 0) {
        fs->cache = CACHE_NEVER;
        fs->timeout = 0;
    }
    if (views && strcmp(views, "off") != 0 && *views) {
        if (strchr(views, '/') || strcmp(views, ".") == 0 || strcmp(views, "..") == 0)
            return dn_fail(-EINVAL, "views: '%s' cannot be the name of a directory", views);
        fs->views = strdup(views);
        if (!fs->views)
            return dn_fail(-ENOMEM, "no memory");
    }
    clock_gettime(CLOCK_REALTIME, &fs->started);
    pusher_init(&fs->pusher);
    return tree_init(&fs->tree);
}

void fs_clear(struct fs *fs)
{
    tree_clear(&fs->tree);
    pusher_clear(&fs->pusher);
    free((char *)fs->views);
}
