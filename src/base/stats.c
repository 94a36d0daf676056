// SPDX-License-Identifier: Apache-2.0
#include "stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *kind, *help;
} rows[STAT_COUNT] = {
#define STAT(id, kind, name, help) { name, #kind, help },
#include "stats.def"
#undef STAT
};

char *stats_text(const struct stats *stats)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (!stream)
        return NULL;
    for (int id = 0; id < STAT_COUNT; id++) {
        fprintf(stream, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", rows[id].name, rows[id].help,
                rows[id].name, rows[id].kind, rows[id].name, stats_get(stats, id));
    }
    int failed = ferror(stream);
    if (fclose(stream) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

uint64_t stats_by_name(const struct stats *stats, const char *name)
{
    for (int id = 0; id < STAT_COUNT; id++) {
        if (strcmp(rows[id].name, name) == 0)
            return stats_get(stats, id);
    }
    return 0;
}
