// SPDX-License-Identifier: Apache-2.0
/*
 * The core's settings as one struct, filled from the rows of settings_rows[]; and the typed table parser
 * that the configuration and the backends' rows share.
 */
#ifndef DOSNA_SETTINGS_H
#define DOSNA_SETTINGS_H

#include <dosna/option.h>
#include <stdbool.h>
#include <stdint.h>

/* In the order of the `choices` in settings.c. */
enum engine_kind { ENGINE_CPU, ENGINE_THREADS, ENGINE_MPI };
enum job_kind { JOBS_THREADING, JOBS_MULTIPROCESSING };
enum cache_mode { CACHE_AUTO, CACHE_ALWAYS, CACHE_NEVER };

struct settings {
    const char *backend;
    int engine;     /* enum engine_kind */
    int64_t njobs;
    int jlbackend;  /* enum job_kind */
    uint64_t cache_size;
    int64_t prefetch; /* as the row says; see settings_prefetch() */
    int cache;        /* enum cache_mode */
    int64_t dirty_max; /* bytes; percentages are resolved by settings_dirty_max() */
    double dirty_expire;
    int64_t retries;
    double request_timeout;
    int64_t uid, gid; /* -1: the mounting user's */
    int64_t umask;
    bool ro, allow_other, default_permissions;
    const char *views;
    int log_level; /* enum dn_log_level */
};

/** The rows, in the order of the documentation; ends with a NULL name. */
extern const struct dn_option settings_rows[];

/** dirty_max in bytes. */
uint64_t settings_dirty_max(const struct settings *settings);

/** prefetch in bytes, or DN_SIZE_AUTO. */
int64_t settings_prefetch(const struct settings *settings);

/**
 * Parse `text` as `row` asks and store it at base + row->offset. A string is stored as `text` itself,
 * which must live as long as the struct. A bad value leaves the struct as it was.
 * @return 0, or -EINVAL with a text that names key and value and what is wanted
 */
int option_parse(const struct dn_option *row, const char *text, void *base);

/** Give the value at base + row->offset as text, in plain numbers. `text` has `size` bytes. */
void option_format(const struct dn_option *row, const void *base, char *text, size_t size);

/** The row called `name` or NULL. */
const struct dn_option *option_find(const struct dn_option *rows, const char *name);

#endif
