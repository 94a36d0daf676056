// SPDX-License-Identifier: Apache-2.0
/* .dosnafs/stats and .dosnafs/config: text that is made when the file is opened. */
#include "files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int take_text(struct handle *handle, char *text)
{
    if (!text)
        return dn_fail(-ENOMEM, "no memory");
    handle->text = text;
    handle->length = strlen(text);
    handle->direct_io = true; /* its size is not known to stat() */
    return 0;
}

static int open_stats(struct fs *fs, struct handle *handle)
{
    return take_text(handle, dn_stats_text(fs->conn));
}

struct writer {
    FILE *out;
    const char *section;
};

static void write_setting(void *arg, const char *section, const struct dn_option *row, const char *value)
{
    struct writer *writer = arg;

    if (!writer->section || strcmp(section, writer->section) != 0)
        fprintf(writer->out, "%s[%s]\n", writer->section ? "\n" : "", section);
    writer->section = section;
    fprintf(writer->out, "%s = %s\n", row->name, value ? value : "");
}

static int open_config(struct fs *fs, struct handle *handle)
{
    char *text = NULL;
    size_t size;
    struct writer writer = { .out = open_memstream(&text, &size) };

    if (!writer.out)
        return dn_fail(-ENOMEM, "no memory");
    dn_config_each(fs->config, write_setting, &writer);
    if (fclose(writer.out) != 0) {
        free(text);
        text = NULL;
    }
    return take_text(handle, text);
}

static int64_t read_text(struct fs *fs, struct handle *handle, char *buffer, size_t size, uint64_t offset)
{
    (void)fs;
    return files_read_text(handle->text, handle->length, buffer, size, offset);
}

static void release_text(struct fs *fs, struct handle *handle)
{
    (void)fs;
    free(handle->text);
}

const struct file_type file_stats = { .open = open_stats, .read = read_text, .release = release_text };
const struct file_type file_config = { .open = open_config, .read = read_text, .release = release_text };
