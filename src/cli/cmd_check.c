// SPDX-License-Identifier: Apache-2.0
/* check: is every stored chunk there to be read, and does nothing else lie about? */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

struct findings {
    struct cli *cli;
    dn_dataset *dataset;
    struct progress *progress;
    pthread_mutex_t lock; /* guards what follows, and the output */
    uint64_t stored, missing, damaged, strays;
    uint64_t lines;
};

static void report_line(struct findings *findings, const char *kind, const char *where, const char *why)
{
    if (findings->cli->json) {
        fputs(findings->lines ? ", {\"kind\": " : "{\"kind\": ", stdout);
        json_string(kind);
        fputs(", \"chunk\": ", stdout);
        json_string(where);
        fputs(", \"why\": ", stdout);
        json_string(why);
        putchar('}');
    } else {
        printf("%s: %s%s%s\n", kind, where, *why ? ": " : "", why);
    }
    findings->lines++;
}

/* Damage is a finding, not the end; a store that gives no answer is. */
static int check_part(void *arg, const struct dn_part *part)
{
    struct findings *findings = arg;
    char index[DN_VECTOR_TEXT];
    void *buffer = malloc(part->nbytes);
    int there, error = 0;

    if (!buffer)
        return no_memory();
    there = dn_chunk_has(findings->dataset, part->index);
    if (there > 0)
        error = dn_read(findings->dataset, part->start, part->count, buffer);
    free(buffer);
    progress_add(findings->progress, part->nbytes);
    if (there < 0 || (error && error != -EIO))
        return there < 0 ? there : error;
    pthread_mutex_lock(&findings->lock);
    findings->stored += there == 1;
    findings->missing += there == 0;
    findings->damaged += error != 0;
    if (error)
        report_line(findings, "damaged", part_text(part, index), dn_error_text(error));
    pthread_mutex_unlock(&findings->lock);
    return 0;
}

static int note_stray(void *arg, const char *name)
{
    struct findings *findings = arg;

    findings->strays++;
    report_line(findings, "stray", name, has_option(findings->cli, OPT_REPAIR) ? "removed" : "");
    return 0;
}

static int check_strays(struct findings *findings)
{
    bool repair = has_option(findings->cli, OPT_REPAIR);
    int error = dn_strays(findings->dataset, note_stray, findings);

    if (error == -ENOTSUP)
        error = 0;
    return error || !repair ? error : dn_delete_strays(findings->dataset);
}

static int summarise(const struct findings *findings)
{
    bool repaired = has_option(findings->cli, OPT_REPAIR);
    uint64_t bad = findings->damaged + (repaired ? 0 : findings->strays);

    if (findings->cli->json)
        printf("], \"stored\": %" PRIu64 ", \"missing\": %" PRIu64 ", \"damaged\": %" PRIu64 ", \"strays\": %" PRIu64 "}\n",
               findings->stored, findings->missing, findings->damaged, findings->strays);
    else
        printf("%" PRIu64 " chunks stored, %" PRIu64 " missing (they read as the fill value), %" PRIu64
               " damaged, %" PRIu64 " strays\n",
               findings->stored, findings->missing, findings->damaged, findings->strays);
    return bad ? dn_fail(-EIO, "%s has %" PRIu64 " damaged and stray chunks", dn_name(findings->dataset), bad) : 0;
}

int cmd_check(struct cli *cli)
{
    struct findings findings = {.cli = cli, .lock = PTHREAD_MUTEX_INITIALIZER};
    int error = dn_open(cli->conn, cli->operand[0], &findings.dataset);

    if (error)
        return error;
    if (cli->json)
        fputs("{\"findings\": [", stdout);
    findings.progress = progress_start(cli, "check", dn_desc_nbytes(dn_describe(findings.dataset)));
    error = dn_each_chunk(findings.dataset, check_part, &findings, NULL);
    progress_end(findings.progress);
    if (!error)
        error = check_strays(&findings);
    if (!error)
        error = summarise(&findings);
    return finish_dataset(findings.dataset, error);
}
