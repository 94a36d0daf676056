// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include "ops.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- help ----------------------------------------------------------------------------------- */

static const char usage_text[] =
    "usage: dosnafs [-c FILE] [-f] [-d] [-o OPT[,OPT...]] CONNECTION MOUNTPOINT\n"
    "       mount.dosnafs CONNECTION MOUNTPOINT [-sfnv] [-o OPTS]\n";

static void print_row(void *arg, const char *section, const struct dn_option *row, const char *value)
{
    const char **last = arg;

    if (!*last || strcmp(*last, section) != 0)
        printf("\n[%s]\n", section);
    *last = section;
    printf("  %-20s %s (default: %s)\n", row->name, row->help, value && *value ? value : "none");
}

static void print_help(void)
{
    const char *section = NULL;

    printf("%s\nMount the DosNa connection CONNECTION as plain files at MOUNTPOINT.\n\n", usage_text);
    printf("  -c FILE   settings; else $DOSNAFS_CONF, ~/.config/dosnafs.conf or /etc/dosnafs.conf\n"
           "  -f        stay in the foreground, log to standard error\n"
           "  -d        as -f, with a trace of every request\n"
           "  -o OPTS   settings and mount options; a comma in a value is written \\,\n"
           "  -V        print the version\n"
           "  -h        print this\n\n"
           "Settings, as key=value after -o and as 'key = value' in the file:\n");
    dn_config_each_default(print_row, &section);
}

/* ---- arguments ------------------------------------------------------------------------------ */

static int usage_error(int *status, const char *what, const char *which)
{
    fprintf(stderr, "dosnafs: %s%s%s; -h shows how to call it\n", what, which ? " " : "", which ? which : "");
    *status = EXIT_USAGE;
    return 1;
}

static int add_text(struct options *options, char *text)
{
    char **texts = reallocarray(options->texts, options->text_count + 1, sizeof *texts);

    if (!texts)
        return -ENOMEM;
    options->texts = texts;
    texts[options->text_count++] = text;
    return 0;
}

static int take_option(struct options *options, int letter, int *status)
{
    char shown[3] = { '-', (char)optopt, '\0' };

    switch (letter) {
    case 'c':
        options->file = optarg;
        return 0;
    case 'f':
        options->foreground = true;
        return 0;
    case 'd':
        options->debug = options->foreground = true;
        return 0;
    case 'o':
        return add_text(options, optarg) == 0 ? 0 : usage_error(status, "no memory", NULL);
    case 'h':
        print_help();
        *status = 0;
        return 1;
    case 'V':
        printf("dosnafs %s, libfuse %s\n", DN_VERSION, fuse_pkgversion());
        *status = 0;
        return 1;
    case ':':
        return usage_error(status, "an argument is missing after", shown);
    default:
        return usage_error(status, "unknown option", shown);
    }
}

static int take_helper_option(struct options *options, int letter, int *status)
{
    switch (letter) {
    case 's':
        options->sloppy = true;
        return 0;
    case 'f':
        options->fake = true;
        return 0;
    case 'n': /* mtab, verbose, type, namespace: nothing to do */
    case 'v':
    case 't':
        return 0;
    default:
        return take_option(options, letter, status);
    }
}

int options_parse(struct options *options, int argc, char **argv, int *status)
{
    static const struct option long_options[] = {
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { 0 },
    };
    const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    int letter;

    *options = (struct options){ .helper = strncmp(name, "mount.", 6) == 0 };
    opterr = 0;
    while ((letter = getopt_long(argc, argv, options->helper ? ":sfnvt:o:hV" : ":c:fdo:hV", long_options,
                                 NULL)) != -1) {
        if ((options->helper ? take_helper_option : take_option)(options, letter, status) != 0)
            return 1;
    }
    if (argc - optind != 2)
        return usage_error(status,
                           argc - optind < 2 ? "CONNECTION and MOUNTPOINT are needed" : "too many arguments:",
                           argc - optind < 2 ? NULL : argv[optind + 2]);
    options->connection = argv[optind];
    options->mountpoint = argv[optind + 1];
    return 0;
}

void options_clear(struct options *options)
{
    free(options->texts);
    free(options->kernel);
}

/* ---- -o ------------------------------------------------------------------------------------- */

enum meaning {
    IGNORED, /* for mount(8) and systemd */
    KERNEL,  /* passed on */
    WRITABLE /* rw: the setting ro is false */
};

static const struct mount_option {
    const char *name; /* a trailing '*' stands for anything */
    enum meaning meaning;
} mount_options[] = {
    { "rw", WRITABLE },           { "suid", KERNEL },           { "nosuid", KERNEL },
    { "dev", KERNEL },            { "nodev", KERNEL },          { "exec", KERNEL },
    { "noexec", KERNEL },         { "atime", KERNEL },          { "noatime", KERNEL },
    { "sync", KERNEL },           { "async", KERNEL },          { "dirsync", KERNEL },
    { "diratime", IGNORED },      { "nodiratime", IGNORED },    { "relatime", IGNORED },
    { "norelatime", IGNORED },    { "strictatime", IGNORED },   { "nostrictatime", IGNORED },
    { "lazytime", IGNORED },      { "nolazytime", IGNORED },    { "defaults", IGNORED },
    { "_netdev", IGNORED },       { "noauto", IGNORED },        { "auto", IGNORED },
    { "nofail", IGNORED },        { "user", IGNORED },          { "nouser", IGNORED },
    { "user=*", IGNORED },        { "users", IGNORED },         { "nousers", IGNORED },
    { "owner", IGNORED },         { "noowner", IGNORED },       { "group", IGNORED },
    { "nogroup", IGNORED },       { "silent", IGNORED },        { "loud", IGNORED },
    { "comment=*", IGNORED },     { "x-*", IGNORED },           { "X-*", IGNORED },
};

static const struct mount_option *find_mount_option(const char *text)
{
    for (size_t i = 0; i < sizeof mount_options / sizeof *mount_options; i++) {
        const char *name = mount_options[i].name;
        size_t length = strlen(name);

        if (name[length - 1] == '*' ? strncmp(text, name, length - 1) == 0 : strcmp(text, name) == 0)
            return &mount_options[i];
    }
    return NULL;
}

static int add_kernel_option(struct options *options, const char *text)
{
    char *joined;

    const char *before = options->kernel ? options->kernel : "";

    if (asprintf(&joined, "%s%s%s", before, *before ? "," : "", text) < 0)
        return dn_fail(-ENOMEM, "no memory");
    free(options->kernel);
    options->kernel = joined;
    return 0;
}

/** One option, its escapes resolved. */
static int apply(struct options *options, dn_config *config, char *text)
{
    const struct mount_option *known = find_mount_option(text);
    char *value = strchr(text, '=');
    int err;

    if (known && known->meaning == IGNORED)
        return 0;
    if (known && known->meaning == KERNEL)
        return add_kernel_option(options, text);
    if (known)
        return dn_config_set(config, "ro", "false");
    if (value)
        *value++ = '\0';
    err = dn_config_set(config, text, value);
    if (err == -ENOENT && options->sloppy)
        return 0;
    return err == -ENOENT ? dn_fail(-EINVAL, "unknown option '%s'", text) : err;
}

/** Every option of one -o argument. A backslash takes the next character as it is. */
static int apply_all(struct options *options, dn_config *config, const char *text)
{
    char *one = malloc(strlen(text) + 1);
    int err = 0;

    if (!one)
        return dn_fail(-ENOMEM, "no memory");
    while (err == 0 && *text) {
        size_t length = 0;

        for (; *text && *text != ','; text++) {
            if (*text == '\\' && text[1])
                text++;
            one[length++] = *text;
        }
        one[length] = '\0';
        text += *text == ',';
        if (length)
            err = apply(options, config, one);
    }
    free(one);
    return err;
}

int options_config(struct options *options, dn_config **out)
{
    dn_config *config = dn_config_new();
    int err;

    if (!config)
        return dn_fail(-ENOMEM, "no memory");
    free(options->kernel);
    options->kernel = NULL;
    err = dn_config_read(config, options->file);
    for (size_t i = 0; err == 0 && i < options->text_count; i++)
        err = apply_all(options, config, options->texts[i]);
    if (err == 0)
        err = dn_config_check(config);
    if (err)
        dn_config_free(config);
    else
        *out = config;
    return err;
}
