// SPDX-License-Identifier: Apache-2.0
/*
 * A process of its own for what libhdf5 reads.
 *
 * libhdf5 trusts the files that it opens: a few changed bytes make it read and write past its buffers, or
 * loop. So whatever somebody else stored is read in a child process, which is told to run a function on
 * an open file and sends back what that found. When it crashes, spends too much processor time, or wants more
 * memory than its task is worth, that file is damaged and nothing else is; the next request starts a new child.
 * After any failure the child is replaced too, as nobody knows what is left of its memory.
 *
 * The child is forked, not executed: a function and what it needs are named by address. It leaves when
 * its parent is gone. A process forked from the parent gets a child of its own.
 *
 * One request at a time; any thread may call.
 */
#ifndef DOSNA_HDF5_HELPER_H
#define DOSNA_HDF5_HELPER_H

#include <stddef.h>
#include <sys/types.h>

/**
 * What the child runs, with libhdf5 to itself: no lock is to be taken.
 * @param arg     what the caller gave, a copy
 * @param result  for the caller, of the size that it wants
 * @param data    room for `length` bytes
 * @return how many bytes of data are for the caller; or a negative errno with a text
 */
typedef ssize_t (*hdf5_task)(int fd, const void *arg, void *result, void *data, size_t length);

struct hdf5_job {
    hdf5_task task;
    int fd;          /* the file, open for reading */
    int crash;       /* the error if the child breaks down on it */
    const void *arg;
    size_t arg_size;
    void *result;    /* out: values to be doubted */
    size_t result_size;
    void *data;      /* out */
    size_t length;
    size_t converted; /* bytes that the task may have to read to get at these; 0: none */
};

/** Run a task. As the task; job->crash; -ETIMEDOUT if the child doesn't answer; -ENOMEM if there is none. */
ssize_t hdf5_helper_run(const struct hdf5_job *job);

/** For each connection: the first start forks the child while memory is still small, the last stop ends it. */
int hdf5_helper_start(void);
void hdf5_helper_stop(void);

#endif
