// SPDX-License-Identifier: Apache-2.0
/*
 * Read a box of a dataset without mounting anything, and write its raw bytes to standard output:
 *
 *   read_slab [-o KEY=VALUE]... CONNECTION DATASET START:STOP,START:STOP,...
 *
 * One START:STOP for each axis, in elements, as in Python; an axis that is left empty is taken whole:
 *
 *   read_slab -o directory=/data pool volume 36:80,89:90, | od -An -tu2 | head
 */
#include <dosna/dosna.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int usage(void)
{
    fputs("usage: read_slab [-o KEY=VALUE]... CONNECTION DATASET START:STOP,...\n", stderr);
    return 2;
}

/* "key=value" as given to -o; the text is cut at the '='. */
static int set_option(dn_config *config, char *text)
{
    char *value = strchr(text, '=');

    if (value)
        *value++ = '\0';
    return dn_config_set(config, text, value);
}

static int parse_axis(const char *text, uint64_t extent, uint64_t *start, uint64_t *count)
{
    uint64_t stop = extent;
    char extra;

    *start = 0;
    if (*text && sscanf(text, "%" SCNu64 ":%" SCNu64 "%c", start, &stop, &extra) != 2)
        return dn_fail(-EINVAL, "'%s' is not START:STOP", text);
    if (*start >= stop || stop > extent)
        return dn_fail(-EINVAL, "%s is not inside an axis of %" PRIu64, text, extent);
    *count = stop - *start;
    return 0;
}

static int parse_slab(char *text, const struct dn_desc *desc, uint64_t *start, uint64_t *count)
{
    for (int axis = 0; axis < desc->ndim; axis++) {
        char *part = strsep(&text, ",");
        int rc = parse_axis(part ? part : "", desc->shape[axis], &start[axis], &count[axis]);

        if (rc < 0)
            return rc;
    }
    return text ? dn_fail(-EINVAL, "more ranges than the dataset has axes (%d)", desc->ndim) : 0;
}

static int print_slab(dn_dataset *dataset, char *text)
{
    const struct dn_desc *desc = dn_describe(dataset);
    uint64_t start[DN_MAX_NDIM], count[DN_MAX_NDIM];
    uint64_t nbytes = desc->dtype.itemsize;
    unsigned char *buffer;
    int rc = parse_slab(text, desc, start, count);

    if (rc < 0)
        return rc;
    for (int axis = 0; axis < desc->ndim; axis++)
        nbytes *= count[axis]; /* at most the dataset's own bytes, which fit */
    buffer = malloc(nbytes);
    if (!buffer)
        return dn_fail(-ENOMEM, "no memory for a slab of %" PRIu64 " bytes", nbytes);
    rc = dn_read(dataset, start, count, buffer);
    if (rc == 0 && fwrite(buffer, 1, nbytes, stdout) != nbytes)
        rc = dn_fail(-EIO, "cannot write to standard output");
    free(buffer);
    return rc;
}

static int run(dn_config *config, const char *connection, const char *name, char *slab)
{
    dn_connection *conn;
    dn_dataset *dataset;
    int rc = dn_connect(config, connection, &conn);

    if (rc < 0)
        return rc;
    rc = dn_open(conn, name, &dataset);
    if (rc == 0) {
        rc = print_slab(dataset, slab);
        dn_close(dataset); /* nothing was written */
    }
    dn_disconnect(conn);
    return rc;
}

int main(int argc, char **argv)
{
    dn_config *config = dn_config_new();
    int rc = config ? dn_config_read(config, NULL) : -ENOMEM;
    int option;

    while (rc == 0 && (option = getopt(argc, argv, "o:")) != -1)
        rc = option == 'o' ? set_option(config, optarg) : -EINVAL;
    if (rc == 0 && argc - optind != 3)
        return usage();
    if (rc == 0)
        rc = run(config, argv[optind], argv[optind + 1], argv[optind + 2]);
    if (rc < 0)
        fprintf(stderr, "read_slab: %s\n", dn_error_text(rc));
    dn_config_free(config);
    return rc < 0;
}
