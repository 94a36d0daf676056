// SPDX-License-Identifier: Apache-2.0
#include "config_slot.h"

#include "store.h"
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file {
    dn_config *config;
    const char *path;
    FILE *stream;
    int line; /* the last one read */
    int code; /* the first error; nothing is read after it */
};

__attribute__((format(printf, 3, 4))) static void refuse(struct file *file, int code, const char *format, ...)
{
    char why[DN_ERROR_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    file->code = dn_fail(code, "%s:%d: %s", file->path, file->line, why);
}

/** Tells sections apart. *skip: a backend that is not built here. False: no such section. */
static bool find_section(const char *name, const struct dn_backend **backend, bool *skip)
{
    *backend = NULL;
    *skip = false;
    if (strcmp(name, CONFIG_CORE) == 0)
        return true;
    *backend = registry_find(name);
    *skip = !*backend;
    return config_knows(name);
}

/** libinih tells of a section with its first key only: an unknown one without keys is found here. */
static void check_section_line(struct file *file, const char *line)
{
    const struct dn_backend *backend;
    size_t length = strcspn(line + 1, "]");
    char name[64];
    bool skip;

    if (line[0] != '[' || line[1 + length] != ']')
        return;
    snprintf(name, sizeof name, "%.*s", (int)length, line + 1);
    if (length >= sizeof name || !find_section(name, &backend, &skip))
        refuse(file, -EINVAL, "unknown section [%s]", name);
}

/** Append a character to the line. */
static void take_char(struct file *file, char *line, size_t size, size_t *used, int c)
{
    if ((c < ' ' && c != '\t' && c != '\r') || c == 0x7f)
        refuse(file, -EINVAL, "a control character");
    else if (*used + 1 >= size)
        refuse(file, -EINVAL, "the line is too long");
    else
        line[(*used)++] = (char)c;
}

/**
 * libinih's reader: one line, without blanks in front (libinih would take them for a continuation of the
 * line before), comments as an empty line (they may be of any length). Counting lines here is what
 * gives the handler its line number.
 */
static char *read_line(char *line, int size, void *arg)
{
    struct file *file = arg;
    size_t used = 0;
    bool comment = false;
    int c;

    if (file->code != 0)
        return NULL;
    file->line++;
    while ((c = getc(file->stream)) == ' ' || c == '\t')
        ;
    if (c == EOF && !ferror(file->stream))
        return NULL;
    for (; c != EOF && c != '\n' && file->code == 0; c = getc(file->stream)) {
        comment |= used == 0 && (c == '#' || c == ';');
        if (!comment)
            take_char(file, line, (size_t)size, &used, c);
        if (file->line == 1 && used == 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
            used = 0; /* the mark of UTF-8 */
    }
    if (ferror(file->stream))
        refuse(file, -EIO, "cannot read on");
    if (used > 0 && line[used - 1] == '\r')
        used--;
    line[used] = '\0';
    check_section_line(file, line);
    return file->code ? NULL : line;
}

static int take_key(void *arg, const char *section, const char *key, const char *text)
{
    struct file *file = arg;
    const struct dn_backend *backend;
    struct slot *slot;
    bool skip;

    if (!find_section(section, &backend, &skip)) {
        refuse(file, -EINVAL, "'%s' stands in no known section", key);
        return 1;
    }
    if (skip)
        return 1;
    slot = config_find(file->config, backend, key);
    if (!slot) {
        refuse(file, -EINVAL, "unknown key '%s' in section [%s]", key, section);
        return 1;
    }
    int code = slot_check(slot, &text);
    if (code == 0 && slot->from != FROM_USER)
        code = slot_assign(slot, text, FROM_FILE);
    if (code != 0)
        refuse(file, code, "%s", dn_error_text(code));
    return 1;
}

static int read_stream(dn_config *config, const char *path, FILE *stream)
{
    struct file file = { .config = config, .path = path, .stream = stream };
    int bad_line = ini_parse_stream(read_line, &file, take_key, &file);

    if (bad_line < 0)
        return dn_fail(-ENOMEM, "%s: no memory to read it", path);
    if (bad_line > 0 && (file.code == 0 || bad_line < file.line)) {
        file.line = bad_line;
        refuse(&file, -EINVAL, "neither [section] nor key = value");
    }
    return file.code;
}

/** Open and read; a leading "~/" is $HOME's. */
static int read_path(dn_config *config, const char *path)
{
    const char *home = getenv("HOME");
    bool below_home = strncmp(path, "~/", 2) == 0 && home;
    char *full = NULL;
    int code;

    if (asprintf(&full, "%s%s", below_home ? home : "", path + below_home) < 0)
        return dn_fail(-ENOMEM, "%s: no memory to open it", path);
    FILE *stream = fopen(full, "re");
    if (stream) {
        code = read_stream(config, full, stream);
        fclose(stream);
    } else {
        code = -errno;
        dn_fail(code, "%s: %s", full, strerror(-code));
    }
    free(full);
    return code;
}

int dn_config_read(dn_config *config, const char *path)
{
    const char *places[] = { getenv("DOSNAFS_CONF"), "~/.config/dosnafs.conf", "/etc/dosnafs.conf" };

    if (path)
        return read_path(config, path);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (!places[i] || !*places[i])
            continue;
        int code = read_path(config, places[i]);
        if (code != -ENOENT && code != -ENOTDIR)
            return code;
    }
    dn_error_clear();
    return 0;
}
