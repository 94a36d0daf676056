// SPDX-License-Identifier: Apache-2.0
/* One setting of a configuration, for config.c, which keeps all of them, and config_file.c, which reads a file. */
#ifndef DOSNA_CONFIG_SLOT_H
#define DOSNA_CONFIG_SLOT_H

#include <dosna/backend.h>
#include <dosna/dosna.h>
#include <stdbool.h>

/** The section of the core's settings; a backend's has its name. */
#define CONFIG_CORE "dosnafs"

/** One setting of the core or of one backend. */
struct slot {
    const struct dn_backend *backend; /* NULL: the core's */
    const struct dn_option *row;
    char *text;  /* as given; NULL: the default */
    char *shown; /* the value as dn_config_get() gives it */
    enum { FROM_DEFAULT, FROM_FILE, FROM_USER } from;
};

/** The slot of a row of `backend` (NULL: the core), or NULL. */
struct slot *config_find(const dn_config *config, const struct dn_backend *backend, const char *key);

/** Is that a backend's name, of one that is built here or not? */
bool config_knows(const char *backend);

/** Is `text` a value for this setting? NULL: a bare key, and *text becomes what it means. 0 or -EINVAL. */
int slot_check(const struct slot *slot, const char **text);

/** Set a value that was checked; the text is copied. NULL: the default. `from` is the enum's. 0 or -ENOMEM. */
int slot_assign(struct slot *slot, const char *text, int from);

#endif
