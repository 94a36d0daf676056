// SPDX-License-Identifier: Apache-2.0
#include "config.h"
#include "config_slot.h"

#include "store.h"
#include <dosna/team.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sections that a file may have although their backend is not built here. */
static const char *const known_backends[] = { "ram", "hdf5", "ceph", "s3", "sage" };

struct dn_config {
    size_t count;
    struct slot *slots; /* the core's first, then each backend's, in the registry's order */
    const struct dn_team *team; /* the caller's; NULL: none */

    /* filled by config_resolve() */
    struct settings settings;
    const struct dn_backend *backend;
    void *options;
};

/* ---- one setting ---------------------------------------------------------------------------- */

static const char *section_of(const struct slot *slot)
{
    return slot->backend ? slot->backend->name : CONFIG_CORE;
}

/** The value in force; NULL: the zero value. */
static const char *text_of(const struct slot *slot)
{
    return slot->text ? slot->text : slot->row->default_text;
}

bool config_knows(const char *backend)
{
    for (size_t i = 0; i < sizeof known_backends / sizeof *known_backends; i++) {
        if (strcmp(backend, known_backends[i]) == 0)
            return true;
    }
    return registry_find(backend) != NULL;
}

/** Room for any one value, so that a row can be used without its owner's struct. */
union value {
    const char *string;
    int64_t integer;
    double seconds;
};

static int parse_alone(const struct dn_option *row, const char *text, union value *out)
{
    struct dn_option alone = *row;

    alone.offset = 0;
    *out = (union value){ 0 };
    return text ? option_parse(&alone, text, out) : 0;
}

static void format_alone(const struct dn_option *row, const union value *value, char *text, size_t size)
{
    struct dn_option alone = *row;

    alone.offset = 0;
    option_format(&alone, value, text, size);
}

int slot_check(const struct slot *slot, const char **text)
{
    const struct dn_option *row = slot->row;
    union value value;

    if (!*text && row->type != DN_OPT_BOOL)
        return dn_fail(-EINVAL, "option '%s' needs a value", row->name);
    if (!*text)
        *text = "true";
    for (const char *c = *text; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return dn_fail(-EINVAL, "%s: control characters in the value", row->name);
    }
    if (!slot->backend && strcmp(row->name, "backend") == 0 && !config_knows(*text))
        return dn_fail(-EINVAL, "there is no backend '%s'", *text);
    return parse_alone(row, *text, &value);
}

/** The value as it is shown: in plain numbers, no secrets. */
static char *render(const struct dn_option *row, const char *text)
{
    size_t size = (text ? strlen(text) : 0) + 64;
    char *shown = malloc(size);
    union value value;

    if (!shown)
        return NULL;
    if (parse_alone(row, text, &value) != 0)
        snprintf(shown, size, "%s", text); /* another backend's of the same name */
    else
        format_alone(row, &value, shown, size);
    if (row->secret && text && *text)
        snprintf(shown, size, "***");
    return shown;
}

int slot_assign(struct slot *slot, const char *text, int from)
{
    char *copy = text ? strdup(text) : NULL;
    char *shown = render(slot->row, text ? text : slot->row->default_text);

    if (!shown || (text && !copy)) {
        free(copy);
        free(shown);
        return dn_fail(-ENOMEM, "no memory for the setting %s", slot->row->name);
    }
    free(slot->text);
    free(slot->shown);
    slot->text = copy;
    slot->shown = shown;
    slot->from = from;
    return 0;
}

struct slot *config_find(const dn_config *config, const struct dn_backend *backend, const char *key)
{
    for (size_t i = 0; i < config->count; i++) {
        struct slot *slot = &config->slots[i];
        if (slot->backend == backend && strcmp(slot->row->name, key) == 0)
            return slot;
    }
    return NULL;
}

static const struct dn_backend *chosen(const dn_config *config)
{
    return registry_find(text_of(config_find(config, NULL, "backend")));
}

/* ---- making --------------------------------------------------------------------------------- */

/** Append a table's rows, or with `slots` NULL count them. */
static void append(struct slot *slots, size_t *count, const struct dn_backend *backend,
                   const struct dn_option *rows)
{
    for (; rows && rows->name; rows++) {
        if (slots)
            slots[*count] = (struct slot){ .backend = backend, .row = rows };
        ++*count;
    }
}

static size_t append_all(struct slot *slots)
{
    size_t count = 0;

    append(slots, &count, NULL, settings_rows);
    for (const struct dn_backend *const *backend = registry; *backend; backend++)
        append(slots, &count, *backend, (*backend)->options);
    return count;
}

dn_config *dn_config_new(void)
{
    dn_config *config = calloc(1, sizeof *config);

    if (!config)
        return NULL;
    config->count = append_all(NULL);
    config->slots = calloc(config->count, sizeof *config->slots);
    if (!config->slots)
        goto out;
    append_all(config->slots);
    for (size_t i = 0; i < config->count; i++) {
        if (slot_assign(&config->slots[i], NULL, FROM_DEFAULT) != 0)
            goto out;
    }
    return config;
out:
    dn_config_free(config);
    return NULL;
}

void dn_config_free(dn_config *config)
{
    if (!config)
        return;
    for (size_t i = 0; config->slots && i < config->count; i++) {
        free(config->slots[i].text);
        free(config->slots[i].shown);
    }
    free(config->slots);
    free(config->options);
    free(config);
}

int config_copy(const dn_config *config, dn_config **out)
{
    dn_config *copy = dn_config_new();
    int code = copy ? 0 : dn_fail(-ENOMEM, "no memory for a configuration");

    for (size_t i = 0; code == 0 && i < config->count; i++) {
        const struct slot *slot = &config->slots[i];
        if (slot->text)
            code = slot_assign(&copy->slots[i], slot->text, (int)slot->from);
    }
    if (code != 0) {
        dn_config_free(copy);
        return code;
    }
    copy->team = config->team;
    *out = copy;
    return 0;
}

/* ---- the command line ----------------------------------------------------------------------- */

/** May a backend have this key with this value? */
static int check_in_backends(const dn_config *config, const char *key, const char *value)
{
    int code = -ENOENT;

    for (size_t i = 0; i < config->count && code != 0; i++) {
        const struct slot *slot = &config->slots[i];
        const char *text = value;
        if (slot->backend && strcmp(slot->row->name, key) == 0)
            code = slot_check(slot, &text);
    }
    return code == -ENOENT ? dn_fail(code, "unknown option '%s'", key) : code;
}

/** Set a key in every backend that has it: which one is in force may not be said yet. */
static int set_in_backends(dn_config *config, const char *key, const char *value)
{
    int code = check_in_backends(config, key, value);

    for (size_t i = 0; code == 0 && i < config->count; i++) {
        struct slot *slot = &config->slots[i];
        if (slot->backend && strcmp(slot->row->name, key) == 0)
            code = slot_assign(slot, value ? value : "true", FROM_USER);
    }
    return code;
}

int dn_config_set(dn_config *config, const char *key, const char *value)
{
    struct slot *slot = config_find(config, NULL, key);

    if (!slot)
        return set_in_backends(config, key, value);
    int code = slot_check(slot, &value);
    return code ? code : slot_assign(slot, value, FROM_USER);
}

/* ---- what is in force ----------------------------------------------------------------------- */

/** Options of the command line that no one in force knows. */
static int check_strangers(const dn_config *config, const struct dn_backend *backend)
{
    for (size_t i = 0; i < config->count; i++) {
        const struct slot *slot = &config->slots[i];
        if (slot->from == FROM_USER && slot->backend && slot->backend != backend &&
            !option_find(backend->options, slot->row->name))
            return dn_fail(-EINVAL, "option '%s' is not known to backend '%s'", slot->row->name,
                           backend->name);
    }
    return 0;
}

static void pass_timeout(dn_config *config, const struct dn_backend *backend)
{
    if (backend->request_timeout)
        *(double *)((char *)config->options + backend->request_timeout) = config->settings.request_timeout;
}

int config_resolve(dn_config *config)
{
    const struct dn_backend *backend = chosen(config);
    int code;

    if (!backend)
        return dn_fail(-EINVAL, "backend '%s' is not built into this program",
                       text_of(config_find(config, NULL, "backend")));
    code = registry_load(backend, &config->backend);
    if (code != 0)
        return code;
    free(config->options);
    config->options = calloc(1, backend->options_size + 1);
    if (!config->options)
        return dn_fail(-ENOMEM, "no memory for the options of backend '%s'", backend->name);
    code = check_strangers(config, backend);
    for (size_t i = 0; code == 0 && i < config->count; i++) {
        const struct slot *slot = &config->slots[i];
        if (text_of(slot) && (!slot->backend || slot->backend == backend))
            code = option_parse(slot->row, text_of(slot),
                                slot->backend ? config->options : (void *)&config->settings);
    }
    if (code == 0)
        pass_timeout(config, backend);
    return code;
}

int dn_config_check(const dn_config *config)
{
    dn_config *copy;
    int code = config_copy(config, &copy);

    if (code != 0)
        return code;
    code = config_resolve(copy);
    dn_config_free(copy);
    return code;
}

void dn_config_team(dn_config *config, const struct dn_team *team)
{
    config->team = team;
}

const struct dn_team *config_team(const dn_config *config)
{
    return config->team;
}

const struct settings *config_settings(const dn_config *config)
{
    return &config->settings;
}

const struct dn_backend *config_backend(const dn_config *config)
{
    return config->backend;
}

const void *config_options(const dn_config *config)
{
    return config->options;
}

const char *dn_config_get(const dn_config *config, const char *key)
{
    const struct dn_backend *backend = chosen(config);
    const struct slot *slot = config_find(config, NULL, key);

    if (!slot && backend)
        slot = config_find(config, backend, key);
    return slot ? slot->shown : NULL;
}

void dn_config_each(const dn_config *config,
                    void (*fn)(void *arg, const char *section, const struct dn_option *row,
                               const char *value),
                    void *arg)
{
    const struct dn_backend *backend = chosen(config);

    for (size_t i = 0; i < config->count; i++) {
        const struct slot *slot = &config->slots[i];
        if (!slot->backend || slot->backend == backend)
            fn(arg, section_of(slot), slot->row, slot->shown);
    }
}

static void each_default(const char *section, const struct dn_option *rows,
                         void (*fn)(void *arg, const char *section, const struct dn_option *row,
                                    const char *value),
                         void *arg)
{
    const union value zero = { 0 };
    char text[64];

    for (; rows && rows->name; rows++) {
        format_alone(rows, &zero, text, sizeof text);
        fn(arg, section, rows, rows->default_text ? rows->default_text : text);
    }
}

void dn_config_each_default(void (*fn)(void *arg, const char *section, const struct dn_option *row,
                                       const char *value),
                            void *arg)
{
    each_default(CONFIG_CORE, settings_rows, fn, arg);
    for (const struct dn_backend *const *backend = registry; *backend; backend++)
        each_default((*backend)->name, (*backend)->options, fn, arg);
}

void dn_each_backend(void (*fn)(void *arg, const char *name, const char *summary), void *arg)
{
    for (const struct dn_backend *const *backend = registry; *backend; backend++)
        fn(arg, (*backend)->name, (*backend)->summary);
}
