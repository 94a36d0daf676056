// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

int cmd_create(struct cli *cli)
{
    struct dn_desc desc = {0};
    uint64_t shape[DN_MAX_NDIM];
    int ndim, error;

    if (!has_option(cli, OPT_SHAPE) || !has_option(cli, OPT_DTYPE))
        return usage_fail("--shape and --dtype are needed");
    ndim = parse_extents("--shape", cli->value[OPT_SHAPE], shape);
    if (ndim < 0)
        return ndim;
    error = usage_error(dn_desc_init(&desc, ndim, shape, cli->value[OPT_DTYPE], NULL, cli->value[OPT_FILLVALUE]));
    if (!error)
        error = choose_chunk_size(cli, &desc, NULL);
    if (!error)
        error = usage_error(dn_desc_check(&desc));
    if (!error)
        error = dn_create(cli->conn, cli->operand[0], &desc, NULL);
    dn_desc_clear(&desc);
    return error;
}
