// SPDX-License-Identifier: Apache-2.0
/*
 * What the examples share: options as DosNa's scripts have them, the processes of an engine, the connection.
 *
 * Options are words: `--name`, then its values up to the next `--`. Every example has
 *
 *   --backend --engine --njobs --jlbackend --connection --connection-options KEY=VALUE... --config
 *
 * and rows of its own. With engine=mpi the processes are those of mpiexec, with jlbackend=multiprocessing `njobs`
 * that are forked; in both cases every process runs the whole program, and rank 0 alone prints.
 */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <dosna/batch.h>
#include <dosna/dosna.h>
#include <dosna/team.h>

struct example_option {
    const char *name;  /* without dashes; NULL ends a table */
    const char *value; /* what it takes, as in the help; "N..." takes several; NULL: nothing */
    const char *help;
    const char *const *values; /* what was given, words of argv; before that the default */
    int count;         /* of values; of an option without value: how often it was given */
};

struct example {
    const char *program;
    dn_config *config;
    const char *connection;
    struct dn_team team; /* of size 1 where there is one process */
    enum { EXAMPLE_ALONE, EXAMPLE_FORKED, EXAMPLE_MPI } processes;
    dn_connection *conn;
};

/**
 * The whole of main(): read the options, start the processes, connect, run(), disconnect, and say what failed.
 *
 * @param own  the example's own options, with their defaults; what was given is put there
 * @return the exit status: 0; 1, it failed; 2, it was called the wrong way
 */
int example_main(int argc, char **argv, struct example_option *own, int (*run)(struct example *example));

/* The steps of it, for all_backends, which connects many times. The first returns 0, -1 with --help, or the exit
   status of a wrong call, with everything printed; the others as libdosna does. */
int example_parse(struct example *example, int argc, char **argv, struct example_option *own);
int example_join(struct example *example);
int example_connect(struct example *example);
/** `error` with its text, or what disconnecting says; the same in all processes. */
int example_disconnect(struct example *example, int error);
/** Print the error, if any, let the processes go, free the configuration. Returns the exit status. */
int example_end(struct example *example, int error);

/** What was given to one of the options above, the first word of it; NULL: nothing was. */
const char *example_value(const char *name);

static inline bool example_is_first(const struct example *example)
{
    return example->team.rank == 0;
}

/* Datasets that an example makes, by a list of names that ends with NULL. Collective. */

/** 0; -EEXIST: there is one, which is somebody else's. */
int example_absent(dn_connection *conn, const char *const *names);
/** Delete those that are there. Returns `error` with its text, or what deleting them says. */
int example_delete(dn_connection *conn, const char *const *names, int error);

/** A whole number of at least 1. -EINVAL. */
int example_number(const char *text, uint64_t *out);

/** Describe a cube of `extent` elements along each of three axes, in cubic chunks. Cleared by the caller. */
int example_cube(struct dn_desc *desc, const char *dtype, uint64_t extent, uint64_t chunk_size);

/** The i-th slab of chunks across an axis of an array of three axes. */
void example_slab(const struct dn_desc *desc, int axis, uint64_t i, uint64_t *start, uint64_t *count);

/** Seconds since some moment. */
double example_seconds(void);

/* Numbers whose place can be seen: element (i, j, k) of an array of uint32 is its position in the flat array. */

/** Fill the box of an array of this shape (three axes) that begins at `start`. */
void example_fill(const uint64_t *shape, const uint64_t *start, const uint64_t *count, uint32_t *box);
/** 0; -EIO with a text that names the first element of the box that is not scale · position + offset. */
int example_check(const uint64_t *shape, const uint64_t *start, const uint64_t *count, const uint32_t *box,
                  uint32_t scale, uint32_t offset);

/** A process of mpiexec joins the others; -ENOTSUP where the examples are built without MPI. */
int mpi_team(struct dn_team *out);
void mpi_end(void);

#endif
