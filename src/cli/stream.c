// SPDX-License-Identifier: Apache-2.0
#include "stream.h"

#include "cli.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS 2

struct slot {
    void *buffer;
    bool full;
};

struct belt {
    struct stream *stream;
    struct slot slot[SLOTS];
    pthread_mutex_t lock; /* guards `full`, `ended` and what follows */
    pthread_cond_t changed;
    bool ended; /* one side has given up */
    int error;  /* of the side that runs apart */
    char text[DN_ERROR_MAX];
};

static size_t length_at(const struct stream *stream, uint64_t offset)
{
    return stream->nbytes - offset < stream->piece ? (size_t)(stream->nbytes - offset) : stream->piece;
}

/* Until the slot is as `fn` wants it. False: the other side has given up. */
static bool await(struct belt *belt, struct slot *slot, stream_fn fn)
{
    bool wanted = fn == belt->stream->give, ready;

    pthread_mutex_lock(&belt->lock);
    while (!belt->ended && slot->full != wanted) {
        struct timespec soon;

        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_sec++; /* to see a signal that came just before the wait */
        pthread_cond_timedwait(&belt->changed, &belt->lock, &soon);
        if (fn != belt->stream->apart && interrupted())
            break;
    }
    ready = slot->full == wanted;
    pthread_mutex_unlock(&belt->lock);
    return ready;
}

static void pass(struct belt *belt, struct slot *slot, stream_fn fn)
{
    pthread_mutex_lock(&belt->lock);
    slot->full = fn == belt->stream->take;
    pthread_cond_signal(&belt->changed);
    pthread_mutex_unlock(&belt->lock);
}

static void end(struct belt *belt, int error)
{
    pthread_mutex_lock(&belt->lock);
    belt->ended = true;
    belt->error = error;
    if (error)
        snprintf(belt->text, sizeof belt->text, "%s", dn_error_text(error));
    pthread_cond_signal(&belt->changed);
    pthread_mutex_unlock(&belt->lock);
}

static int run_side(struct belt *belt, stream_fn fn)
{
    struct stream *stream = belt->stream;
    uint64_t offset = 0;
    int error = 0;

    for (unsigned i = 0; offset < stream->nbytes && !error; i = (i + 1) % SLOTS) {
        struct slot *slot = &belt->slot[i];
        size_t length = length_at(stream, offset);

        if (!await(belt, slot, fn))
            break;
        error = fn(stream->arg, slot->buffer, length, offset);
        if (!error)
            pass(belt, slot, fn);
        offset += length;
        if (!error && fn == stream->give)
            stream->done = offset;
    }
    return error;
}

static void *run_apart(void *arg)
{
    struct belt *belt = arg;
    int error = run_side(belt, belt->stream->apart);

    if (error)
        end(belt, error);
    return NULL;
}

static int run_both(struct belt *belt)
{
    struct stream *stream = belt->stream;
    pthread_t thread;
    int error = -pthread_create(&thread, NULL, run_apart, belt);

    if (error)
        return dn_fail(error, "no thread: %s", strerror(-error));
    error = run_side(belt, stream->apart == stream->take ? stream->give : stream->take);
    if (error || interrupted())
        end(belt, 0);
    pthread_join(thread, NULL);
    return error ? error : belt->error ? dn_fail(belt->error, "%s", belt->text) : 0;
}

static int run_alone(struct belt *belt)
{
    struct stream *stream = belt->stream;
    int error = 0;

    while (stream->done < stream->nbytes && !error && !interrupted()) {
        size_t length = length_at(stream, stream->done);

        error = stream->take(stream->arg, belt->slot[0].buffer, length, stream->done);
        if (!error)
            error = stream->give(stream->arg, belt->slot[0].buffer, length, stream->done);
        if (!error)
            stream->done += length;
    }
    return error;
}

int stream_run(struct stream *stream)
{
    struct belt belt = {.stream = stream};
    unsigned slots = stream->apart ? SLOTS : 1;
    int error = 0;

    stream->done = 0;
    pthread_mutex_init(&belt.lock, NULL);
    pthread_cond_init(&belt.changed, NULL);
    for (unsigned i = 0; i < slots && !error; i++) {
        belt.slot[i].buffer = malloc(stream->piece);
        error = belt.slot[i].buffer ? 0 : no_memory();
    }
    if (!error)
        error = stream->apart ? run_both(&belt) : run_alone(&belt);
    if (!error && stream->done < stream->nbytes)
        error = dn_fail(-EINTR, "interrupted");
    for (unsigned i = 0; i < SLOTS; i++)
        free(belt.slot[i].buffer);
    pthread_cond_destroy(&belt.changed);
    pthread_mutex_destroy(&belt.lock);
    return error;
}
