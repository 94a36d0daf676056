// SPDX-License-Identifier: Apache-2.0
/*
 * All chunks of a dataset, each once, by a number of threads: what rados_threads and curl_threads share.
 *
 *   PROGRAM get|put THREADS BYTES GRID WHERE...
 *
 * GRID is the number of chunks along each axis: 8,16,16 has the keys 0.0.0 to 7.15.15, asked for in this order. A chunk
 * has BYTES bytes. Each thread has one buffer, which every chunk that it gets goes into, as dd does; what it puts is
 * noise. Prints the seconds from the start of the threads to the end of the last one.
 */
#ifndef BENCH_CHUNKS_H
#define BENCH_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>

struct chunk_client {
    const char *where; /* the arguments WHERE, for the usage */
    int where_count;

    /** Once, before the time begins. These say themselves what failed; 0 or -1. */
    int (*connect)(char **where);
    void (*disconnect)(void);
    /** Each thread's own, before its first chunk. NULL: it failed. */
    void *(*open)(void);
    void (*close)(void *thread);
    /** Exactly `length` bytes, or -1. */
    int (*transfer)(void *thread, bool put, const char *key, char *data, size_t length);
};

/** A main(): its exit status. */
int chunks_main(int argc, char **argv, const struct chunk_client *client);

#endif
