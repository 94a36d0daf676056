// SPDX-License-Identifier: Apache-2.0
/*
 * The command line: of `dosnafs`, and of `mount.dosnafs` as mount(8) calls it. They are one program that
 * looks at the name it was started by.
 */
#ifndef DOSNAFS_OPTIONS_H
#define DOSNAFS_OPTIONS_H

#include <dosna/dosna.h>
#include <stdbool.h>
#include <stddef.h>

#define EXIT_USAGE 2

struct options {
    bool helper;     /* started as mount.dosnafs (or mount.fuse.dosnafs) */
    bool foreground;
    bool debug;      /* libfuse's trace; in the foreground */
    bool fake;       /* mount -f: check everything, mount nothing */
    bool sloppy;     /* mount -s: unknown options are ignored */
    const char *file; /* -c, or NULL */
    const char *connection, *mountpoint;
    char **texts; /* the -o arguments, in order */
    size_t text_count;
    char *kernel; /* mount options for the kernel, separated by commas */
};

/** 0: go on; else the program ends with `*status` after what was printed. */
int options_parse(struct options *options, int argc, char **argv, int *status);
void options_clear(struct options *options);

/**
 * Make the configuration: defaults, the file, then every -o, and check it. Options for the kernel are
 * kept apart.
 * @return 0; a negative errno with a text that names the option, or file and line
 */
int options_config(struct options *options, dn_config **out);

#endif
