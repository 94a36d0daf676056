// SPDX-License-Identifier: Apache-2.0
/*
 * The contract suite: one program that asks of any backend what include/dosna/backend.h promises.
 *
 *   contract --backend NAME --connection NAME [--shared] [--connection-options KEY=VALUE…]
 *
 * `{tmp}` in a value stands for a fresh folder, with a folder of the connection's name inside; both are
 * removed at the end. --shared: the store outlives a connection, so that a second one sees its data.
 * Tests go through the strict door (src/store), which turns what a backend must not answer into -EIO, and
 * leave nothing behind: names begin with a prefix of this process, and every dataset is deleted.
 */
#ifndef CONTRACT_H
#define CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store.h"

struct contract {
    const struct dn_backend *backend;
    const char *connection;
    void *options;
    bool shared;
    char *tmp; /* NULL: no {tmp} in the options */
    struct stats stats;
    struct store *store;
    uint64_t seed;
};
extern struct contract contract;

#define NAME_ROOM 128

/** A dataset of a test: made, open, and deleted at the end. */
struct set {
    char name[NAME_ROOM];
    struct dn_desc desc;
    struct store_dataset *data;
    size_t nbytes; /* of a chunk */
};

/** A second connection, to be closed with store_close(). */
struct store *connect_again(void);

/** `prefix` + a part that no other test or process uses + `suffix`. */
void fresh_name(char name[NAME_ROOM], const char *prefix, const char *suffix);

/** A description that the test owns. */
void describe(struct dn_desc *desc, int ndim, const uint64_t *shape, const char *dtype,
              const uint64_t *chunk, const char *fill);

/** Create and open under a fresh name; the code of create, with nothing left to drop if it is negative. */
int try_make(struct set *set, int ndim, const uint64_t *shape, const char *dtype, const uint64_t *chunk);
/** The same for a 2-D <u2 of 7 × 5 in chunks of 3 × 2: 3 × 3 chunks, edges padded. Must work. */
void make(struct set *set);
void drop(struct set *set);

/** Chunks, strays, description, as the core deletes them. 0 or negative. */
int remove_dataset(const char *name);

/** Every stored chunk, as the core finds them: by the listing, or by asking for each. */
int list_chunks(struct store_dataset *data, const struct dn_desc *desc, dn_chunk_fn fn, void *arg);

/** The chunk's number as both of its names; `index` is the room. */
struct dn_chunk_id chunk_at(const struct dn_desc *desc, uint64_t flat, uint64_t index[DN_MAX_NDIM]);

/** A chunk's bytes that depend on `seed` alone. Freed by the caller. */
unsigned char *pattern(size_t nbytes, uint64_t seed);

/** Write pattern(seed) as the whole chunk; is that what is stored? */
int put(struct set *set, uint64_t flat, uint64_t seed);
bool holds(struct set *set, uint64_t flat, uint64_t seed);

/** Numbers that depend on the run's seed, which is printed when the suite fails. */
uint64_t next_random(void);

/** Run fn(arg, 0 … count − 1) on threads of their own, begun together. No assertions inside. */
void run_threads(int count, void (*fn)(void *arg, int i), void *arg);

/** 0 or more, else the test fails with the error's text. */
#define assert_ok(expression)                                                                        \
    do {                                                                                             \
        int64_t code_ = (expression);                                                                \
        if (code_ < 0)                                                                               \
            fail_msg("%s: %s", #expression, dn_error_text((int)code_));                              \
    } while (0)

extern const struct CMUnitTest dataset_tests[], chunk_tests[], type_tests[];
extern const size_t dataset_test_count, chunk_test_count, type_test_count;

/** Skip the test that runs; the summary of run_tests.sh shows why. */
#define skip_because(why)                                                                                             \
    do {                                                                                                              \
        print_message("skipped: %s\n", why);                                                                          \
        skip();                                                                                                       \
    } while (0)

#endif
