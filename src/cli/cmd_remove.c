// SPDX-License-Identifier: Apache-2.0
/* clear, rm and clone: commands that are one call of libdosna. */
#include "cli.h"

#include <errno.h>
#include <unistd.h>

/* With a team rank 0 asks, and the others do as it was told. */
static int confirm(struct cli *cli, const char *what, const char *name)
{
    char question[DN_ERROR_MAX];
    bool yes;

    snprintf(question, sizeof question, "%s %s?", what, name);
    yes = !is_first(cli) || confirmed(cli, question);
    if (interrupted())
        return dn_agree(cli->conn, dn_fail(-EINTR, "interrupted before %s", name), NULL);
    return dn_agree(cli->conn, yes ? 0 : dn_fail(-ECANCELED, "%s: left as it is", name), NULL);
}

int cmd_clear(struct cli *cli)
{
    dn_dataset *dataset = NULL;
    int error = dn_agree(cli->conn, dn_open(cli->conn, cli->operand[0], &dataset), NULL);

    if (!error)
        error = confirm(cli, "Delete all chunks of", cli->operand[0]);
    if (!error)
        error = dn_clear(dataset);
    if (dataset)
        dn_close(dataset);
    return error;
}

/* Every name that is there, also behind one that fails. The last failure is left to who prints what is returned. */
int cmd_rm(struct cli *cli)
{
    char text[DN_ERROR_MAX] = "";
    int error = 0;

    for (int i = 0; i < cli->operands && error != -EINTR; i++) {
        int failed = confirm(cli, "Delete", cli->operand[i]);
        if (!failed)
            failed = dn_delete(cli->conn, cli->operand[i]);
        if (!failed)
            continue;
        if (error && is_first(cli))
            print_error(cli, text);
        error = failed;
        snprintf(text, sizeof text, "%s", dn_error_text(error));
    }
    return error ? dn_fail(error, "%s", text) : 0;
}

int cmd_clone(struct cli *cli)
{
    const char *from = cli->operand[0], *to = cli->operand[1];
    double begin = seconds_now();
    dn_dataset *dataset;
    uint64_t done, bytes;
    int error = dn_clone(cli->conn, from, to, has_option(cli, OPT_DATA), &done);

    if (error == -EINTR)
        return dn_fail(error, "interrupted after %llu chunks; %s was removed", (unsigned long long)done, to);
    if (error)
        return error;
    error = dn_open(cli->conn, to, &dataset);
    if (error)
        return error;
    bytes = done * dn_desc_chunk_nbytes(dn_describe(dataset));
    report_done(cli, "clone", done, bytes, seconds_now() - begin);
    return dn_close(dataset);
}
