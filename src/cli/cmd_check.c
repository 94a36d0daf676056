// SPDX-License-Identifier: Apache-2.0
/* check: is every stored chunk whole and there to be read, and does nothing else lie about? */
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
    uint64_t stored, wrong_length, damaged, strays;
    bool strays_unknown;
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

/* 0 and *nbytes, -ENOENT, or the failure of reading it. */
static int read_stored(dn_dataset *dataset, const uint64_t *index, uint64_t *nbytes)
{
    uint64_t wanted = dn_desc_chunk_nbytes(dn_describe(dataset));
    int error = dn_chunk_length(dataset, index, nbytes);
    void *buffer;

    if (error || *nbytes != wanted)
        return error;
    buffer = malloc(wanted);
    if (!buffer)
        return no_memory();
    error = dn_chunk_stored(dataset, index, 0, buffer, wanted);
    free(buffer);
    return error;
}

/* A store that is out of reach fails like a damaged chunk, but then it answers nothing else either. */
static int store_answers(dn_dataset *dataset, dn_connection *conn)
{
    int there = dn_has(conn, dn_name(dataset));

    return there < 0 ? there : there ? 0 : dn_fail(-ESTALE, "%s was deleted meanwhile", dn_name(dataset));
}

static void note_part(struct findings *findings, const struct dn_part *part, int error, uint64_t nbytes, const char *why)
{
    uint64_t wanted = dn_desc_chunk_nbytes(dn_describe(findings->dataset));
    char index[DN_VECTOR_TEXT], text[64];

    pthread_mutex_lock(&findings->lock);
    findings->stored += error != -ENOENT;
    findings->damaged += error == -EIO;
    if (error == -EIO)
        report_line(findings, "damaged", part_text(part, index), why);
    if (!error && nbytes != wanted) {
        findings->wrong_length++;
        snprintf(text, sizeof text, "%" PRIu64 " bytes, not %" PRIu64, nbytes, wanted);
        report_line(findings, "wrong length", part_text(part, index), text);
    }
    pthread_mutex_unlock(&findings->lock);
}

/* Damage is a finding, not the end; a store that gives no answer is. */
static int check_part(void *arg, const struct dn_part *part)
{
    struct findings *findings = arg;
    char why[DN_ERROR_MAX];
    uint64_t nbytes = 0;
    int failed, error = read_stored(findings->dataset, part->index, &nbytes);

    snprintf(why, sizeof why, "%s", dn_error_text(error));
    progress_add(findings->progress, part->nbytes);
    if (error && error != -ENOENT && error != -EIO)
        return error;
    failed = error == -EIO ? store_answers(findings->dataset, findings->cli->conn) : 0;
    if (!failed)
        note_part(findings, part, error, nbytes, why);
    return failed;
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

    if (error == -ENOTSUP) {
        findings->strays_unknown = true;
        return 0;
    }
    return error || !repair ? error : dn_delete_strays(findings->dataset);
}

static int summarise(const struct findings *findings)
{
    bool repaired = has_option(findings->cli, OPT_REPAIR);
    uint64_t bad = findings->damaged + findings->wrong_length + (repaired ? 0 : findings->strays);
    uint64_t missing = dn_desc_chunks(dn_describe(findings->dataset)) - findings->stored;
    char strays[24];

    snprintf(strays, sizeof strays, "%" PRIu64, findings->strays);
    if (findings->cli->json)
        printf("], \"stored\": %" PRIu64 ", \"missing\": %" PRIu64 ", \"wrong_length\": %" PRIu64
               ", \"damaged\": %" PRIu64 ", \"strays\": %s}\n",
               findings->stored, missing, findings->wrong_length, findings->damaged,
               findings->strays_unknown ? "null" : strays);
    else
        printf("%" PRIu64 " chunks stored, %" PRIu64 " missing (they read as the fill value), %" PRIu64
               " of wrong length, %" PRIu64 " damaged, %s strays\n",
               findings->stored, missing, findings->wrong_length, findings->damaged,
               findings->strays_unknown ? "an unknown number of" : strays);
    return bad ? dn_fail(-EIO, "%s has %" PRIu64 " bad or stray chunks", dn_name(findings->dataset), bad) : 0;
}

/* What was found so far stays a whole JSON value. */
static void give_up(const struct findings *findings, int error)
{
    if (!findings->cli->json)
        return;
    fputs("], \"error\": ", stdout);
    json_string(dn_error_text(error));
    puts("}");
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
    error = dn_each_stored(findings.dataset, check_part, &findings);
    progress_end(findings.progress);
    if (!error)
        error = check_strays(&findings);
    if (error)
        give_up(&findings, error);
    else
        error = summarise(&findings);
    return finish_dataset(findings.dataset, error);
}
