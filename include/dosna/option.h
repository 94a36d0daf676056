// SPDX-License-Identifier: Apache-2.0
/*
 * Option rows: one table per owner (the core, each backend), from which parsing, checking, --help, the
 * sample file and the documentation are made.
 *
 * A row says where in the owner's plain struct the value goes. Strings are owned by the struct's owner
 * (the configuration) and live until it is freed; NULL stands for "none".
 */
#ifndef DOSNA_OPTION_H
#define DOSNA_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dn_option_type {
    DN_OPT_STRING,   /* const char *; "" and "none" (or the word in `choices`) give NULL */
    DN_OPT_BOOL,     /* bool; true false yes no on off 1 0; a bare key on the command line is true */
    DN_OPT_INT,      /* int64_t, within [min, max] */
    DN_OPT_OCTAL,    /* int64_t, written in octal: a umask */
    DN_OPT_SIZE,     /* uint64_t bytes; K, M, G, T are binary */
    DN_OPT_SIZE_PCT, /* int64_t: bytes, or -n for "n% of cache_size"; -1000 for "auto" */
    DN_OPT_SECONDS,  /* double; a suffix "s" or "ms" is allowed */
    DN_OPT_CHOICE    /* int: position of the value in `choices` ("a|b|c"; "b=a" makes b an alias of a) */
};

/** "auto" for a DN_OPT_SIZE_PCT value. */
#define DN_SIZE_AUTO (-1000)

/** One row. A table ends with a row whose name is NULL. */
struct dn_option {
    const char *name;          /* the key in the file, in -o and in --connection-options */
    enum dn_option_type type;
    const char *default_text;  /* as a user would write it; NULL: the zero value */
    size_t offset;             /* of the value in the owner's struct */
    const char *help;          /* one line, no full stop */
    int64_t min, max;          /* DN_OPT_INT and _OCTAL; both 0: no bound */
    const char *choices;       /* DN_OPT_CHOICE; DN_OPT_STRING: the word for NULL */
    bool secret;               /* shown as *** everywhere */
};

#ifdef __cplusplus
}
#endif
#endif
