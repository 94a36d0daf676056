// SPDX-License-Identifier: Apache-2.0
#include "chunks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_NDIM = 32, MAX_THREADS = 1024, KEY_ROOM = 21 * MAX_NDIM };

static const struct chunk_client *client;
static bool put;
static size_t chunk_nbytes;
static uint64_t grid[MAX_NDIM], chunk_count;
static int ndim;
static atomic_uint_fast64_t next_chunk;
static atomic_bool failed;

static void format_key(uint64_t chunk, char key[KEY_ROOM])
{
    uint64_t index[MAX_NDIM];
    int length = 0;

    for (int i = ndim; i-- > 0; chunk /= grid[i])
        index[i] = chunk % grid[i];
    for (int i = 0; i < ndim; i++)
        length += sprintf(key + length, "%s%llu", i ? "." : "", (unsigned long long)index[i]);
}

static char *new_buffer(void)
{
    uint64_t state = 1;
    char *data = malloc(chunk_nbytes);

    for (size_t i = 0; data && i < chunk_nbytes; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        data[i] = (char)(state >> 56);
    }
    return data;
}

static void *run(void *data)
{
    void *thread = client->open();
    char key[KEY_ROOM];

    if (!thread)
        failed = true;
    for (uint64_t chunk; !failed && (chunk = next_chunk++) < chunk_count;) {
        format_key(chunk, key);
        if (client->transfer(thread, put, key, data, chunk_nbytes) != 0)
            failed = true;
    }
    if (thread)
        client->close(thread);
    return NULL;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void run_all(int count)
{
    static char *buffers[MAX_THREADS];
    static pthread_t threads[MAX_THREADS];
    int started = 0;

    for (int i = 0; i < count; i++) {
        buffers[i] = new_buffer();
        if (!buffers[i])
            failed = true;
    }
    double begin = now();
    while (!failed && started < count && pthread_create(&threads[started], NULL, run, buffers[started]) == 0)
        started++;
    if (started < count) {
        fprintf(stderr, "%d of %d threads\n", started, count);
        failed = true;
    }
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (!failed)
        printf("%.6f\n", now() - begin);
    for (int i = 0; i < count; i++)
        free(buffers[i]);
}

static bool parse_grid(char *text)
{
    chunk_count = 1;
    for (char *part = strtok(text, ","); part; part = strtok(NULL, ",")) {
        if (ndim == MAX_NDIM || (grid[ndim] = strtoull(part, NULL, 10)) == 0)
            return false;
        chunk_count *= grid[ndim++];
    }
    return ndim > 0;
}

int chunks_main(int argc, char **argv, const struct chunk_client *with)
{
    int threads = argc > 2 ? atoi(argv[2]) : 0;

    client = with;
    chunk_nbytes = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    put = argc > 1 && strcmp(argv[1], "put") == 0;
    if (argc != 5 + client->where_count || (!put && strcmp(argv[1], "get") != 0) || threads < 1 ||
        threads > MAX_THREADS || chunk_nbytes == 0 || !parse_grid(argv[4])) {
        fprintf(stderr, "usage: %s get|put THREADS BYTES GRID %s\n", argv[0], client->where);
        return 2;
    }
    if (client->connect(argv + 5) != 0)
        return 1;
    run_all(threads);
    client->disconnect();
    return failed;
}
