// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes from one place to another, piece by piece, with both places busy at once: while one piece is taken in, the one
 * before it is given out.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Fill, or empty, a buffer: bytes [offset, offset + length) of the stream. 0 or an error with its text. */
typedef int (*stream_fn)(void *arg, void *buffer, size_t length, uint64_t offset);

struct stream {
    uint64_t nbytes;
    size_t piece;         /* bytes at a time; the last piece may be shorter */
    stream_fn take, give; /* called for each piece, in order */
    void *arg;
    /** One of the two runs in a thread of its own: that one must not wait for what may never come. NULL: neither. */
    stream_fn apart;
    uint64_t done; /* out: bytes taken and given */
};

/** @return 0; the first error of either; -EINTR: interrupted() (cli.h) */
int stream_run(struct stream *stream);

#endif
