// SPDX-License-Identifier: Apache-2.0
/*
 * The team of engine=mpi. Only the thread that called mpi_team() talks to MPI: with a team chunks are done one
 * after the other.
 *
 * A rank that gives up tells the others by an empty message, which they look for between chunks; agreeing takes
 * up those that nobody has looked at, so that none is left for the next piece of work.
 */
#include "cli.h"

#include <errno.h>

#ifdef DOSNA_MPI
#include <mpi.h>
#include <string.h>

#define STOP_TAG 1

static struct {
    int rank, size;
    int told;  /* 1: this rank has told the others to stop */
} self;

static void stop(void *arg)
{
    (void)arg;
    if (self.told)
        return;
    self.told = 1;
    for (int rank = 0; rank < self.size; rank++) {
        MPI_Request request;
        if (rank != self.rank) {
            MPI_Isend(NULL, 0, MPI_BYTE, rank, STOP_TAG, MPI_COMM_WORLD, &request);
            MPI_Request_free(&request);
        }
    }
}

static bool stopped(void *arg)
{
    int there = 0;

    (void)arg;
    MPI_Iprobe(MPI_ANY_SOURCE, STOP_TAG, MPI_COMM_WORLD, &there, MPI_STATUS_IGNORE);
    return there;
}

static void take_up_messages(void)
{
    int told = 0;

    MPI_Allreduce(&self.told, &told, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < told - self.told; i++)
        MPI_Recv(NULL, 0, MPI_BYTE, MPI_ANY_SOURCE, STOP_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    self.told = 0;
}

static int agree(void *arg, int error, uint64_t *sum)
{
    struct { int code, rank; } mine = {error ? 0 : 1, self.rank}, first;
    char text[DN_ERROR_MAX] = "";
    uint64_t number = sum ? *sum : 0, total = 0;

    (void)arg;
    MPI_Allreduce(&number, &total, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    if (sum)
        *sum = total;
    take_up_messages();
    MPI_Allreduce(&mine, &first, 1, MPI_2INT, MPI_MINLOC, MPI_COMM_WORLD); /* the lowest rank with an error */
    if (first.code == 1)
        return 0;
    if (self.rank == first.rank)
        snprintf(text, sizeof text, "%s", dn_error_text(error));
    MPI_Bcast(&error, 1, MPI_INT, first.rank, MPI_COMM_WORLD);
    MPI_Bcast(text, sizeof text, MPI_CHAR, first.rank, MPI_COMM_WORLD);
    return dn_fail(error, "%s", text);
}

int mpi_team(struct dn_team *out)
{
    int level;

    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS)
        return dn_fail(-EIO, "MPI does not start");
    MPI_Comm_rank(MPI_COMM_WORLD, &self.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &self.size);
    *out = (struct dn_team){.rank = (unsigned)self.rank, .size = (unsigned)self.size, .agree = agree,
                            .stop = stop, .stopped = stopped};
    return 0;
}

void mpi_end(void)
{
    MPI_Finalize();
}

#else

int mpi_team(struct dn_team *out)
{
    (void)out;
    return dn_fail(-ENOTSUP, "engine=mpi: this program is built without MPI");
}

void mpi_end(void)
{
}

#endif
