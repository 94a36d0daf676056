// SPDX-License-Identifier: Apache-2.0
/*
 * Teams: several processes that run the same program on the same connection, each on its share.
 *
 * A team is what engine=mpi and jlbackend=multiprocessing have in common. Each process has a rank, from 0 to
 * size - 1; all make the same calls in the same order, and a few of those are *collective*: they return in
 * every process with the same result once all have called them. With a team, dn_create(), dn_delete() and
 * dn_clear() are collective and done by rank 0; dn_each_chunk() and what stands beside it in
 * <dosna/batch.h> give chunk i to rank i modulo size.
 *
 * libdosna knows no MPI: a program that runs under mpiexec fills a struct dn_team with functions of its own.
 * Collective calls and everything in this header belong to one thread of each process.
 */
#ifndef DOSNA_TEAM_H
#define DOSNA_TEAM_H

#include <dosna/dosna.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dn_team {
    unsigned rank, size;
    /**
     * Wait for all, then return the same everywhere: 0, or the error of the lowest rank that has one, with
     * its text by dn_fail(). `sum`, if not NULL (in all or in none): in, this rank's number; out, all of them.
     */
    int (*agree)(void *arg, int error, uint64_t *sum);
    /** Tell the others, without waiting, that their work is in vain; until the next agree(). Optional. */
    void (*stop)(void *arg);
    /** Has another rank said so? Asked between chunks. Optional. */
    bool (*stopped)(void *arg);
    void *arg;
};

/** Let connections of this configuration be part of a team, which has to outlive them. NULL: of none.
 *  engine=mpi asks for one, be it of one process. */
DN_API void dn_config_team(dn_config *config, const struct dn_team *team);

/** The team's agree(), or `error` itself and `sum` as it is where there is no team. */
DN_API int dn_agree(dn_connection *conn, int error, uint64_t *sum);

/**
 * Become a team of `size` processes by fork(): the caller is rank 0, and size - 1 children return from this
 * call too. To be called while the process has one thread, so before the first dn_connect(). A
 * process that dies makes the next agree() of the others fail with -EPIPE; nobody waits for it.
 *
 * @return 0 and a team to be ended with dn_team_end(); -EAGAIN, -ENOMEM, … with no child left
 */
DN_API int dn_team_fork(unsigned size, struct dn_team *out);

/** Rank 0: wait for the children to end. A child: nothing more than letting go; its caller ends the process. */
DN_API void dn_team_end(struct dn_team *team);

#ifdef __cplusplus
}
#endif
#endif
