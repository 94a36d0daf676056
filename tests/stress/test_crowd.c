// SPDX-License-Identifier: Apache-2.0
/*
 * A crowd on few names: threads create, delete, rename, open, read, write, truncate and flush the same three
 * datasets at once, through one connection and through two of one store. No order can be predicted, but each byte
 * is either the fill value or the one value that its place is ever given, and the only errors are those that say
 * that a dataset is (not) there. The sanitizers see the rest.
 *
 * DOSNA_SEED sets the seed, DOSNA_ROUNDS how much each thread does (default 200).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dosna/dosna.h>
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "random.h"

#define THREADS 6
#define FILL 7
#define NBYTES (251 * 80)

static const char *const names[] = {"a", "b", "c"};

struct crowd {
    dn_connection *conn[2];
    int nconns;
    struct dn_desc desc[2]; /* of as many bytes each */
    long rounds;
    atomic_bool failed;
};

struct member {
    struct crowd *crowd;
    unsigned seed;
    unsigned char buffer[NBYTES];
};

static uint64_t draw(struct member *member, uint64_t n)
{
    return (uint64_t)rand_r(&member->seed) % n;
}

static unsigned char value_of(uint64_t offset)
{
    return (unsigned char)(offset % 251);
}

/* Another member may have made, deleted or replaced it. */
static void expect(struct member *member, const char *what, int64_t result)
{
    if (result >= 0 || result == -ENOENT || result == -EEXIST || result == -ESTALE)
        return;
    if (!atomic_exchange(&member->crowd->failed, true))
        print_error("%s: %s\n", what, dn_error_text((int)result));
}

static void read_some(struct member *member, dn_dataset *dataset, uint64_t offset, uint64_t length)
{
    int64_t n = dn_pread(dataset, member->buffer, length, offset);

    expect(member, "read", n);
    for (int64_t i = 0; i < n; i++) {
        unsigned char byte = member->buffer[i];

        if (byte != FILL && byte != value_of(offset + (uint64_t)i) && !atomic_exchange(&member->crowd->failed, true))
            print_error("byte %llu is %u\n", (unsigned long long)(offset + (uint64_t)i), byte);
    }
}

static void write_some(struct member *member, dn_dataset *dataset, uint64_t offset, uint64_t length)
{
    for (uint64_t i = 0; i < length; i++)
        member->buffer[i] = value_of(offset + i);
    expect(member, "write", dn_pwrite(dataset, member->buffer, length, offset));
}

static void use(struct member *member, dn_dataset *dataset)
{
    uint64_t offset = draw(member, NBYTES), length = 1 + draw(member, draw(member, 4) ? 300 : NBYTES);
    uint64_t index[DN_MAX_NDIM];
    const struct dn_desc *desc = dn_describe(dataset);

    if (length > NBYTES - offset)
        length = NBYTES - offset;
    for (int i = 0; i < desc->ndim; i++)
        index[i] = draw(member, dn_desc_grid(desc, i));
    switch (draw(member, 12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        read_some(member, dataset, offset, length);
        break;
    case 4:
    case 5:
    case 6:
        write_some(member, dataset, offset, length);
        break;
    case 7:
        expect(member, "truncate", dn_truncate(dataset, offset));
        break;
    case 8:
        expect(member, "flush", draw(member, 2) ? dn_flush(dataset) : dn_flush_written(dataset));
        break;
    case 9:
        expect(member, "delete a chunk", dn_chunk_del(dataset, index));
        break;
    case 10:
        expect(member, "has", dn_chunk_has(dataset, index));
        break;
    default:
        dn_verify(dataset);
    }
}

static void *live(void *arg)
{
    struct member *member = arg;
    struct crowd *crowd = member->crowd;

    for (long i = 0; i < crowd->rounds && !atomic_load(&crowd->failed); i++) {
        dn_connection *conn = crowd->conn[draw(member, (uint64_t)crowd->nconns)];
        const char *name = names[draw(member, 3)];
        uint64_t what = draw(member, 50);
        dn_dataset *dataset;
        int error;

        if (what == 0)
            expect(member, "delete", dn_delete(conn, name));
        else if (what == 1)
            expect(member, "rename", dn_rename(conn, name, names[draw(member, 3)]));
        else if (what < 7)
            expect(member, "create", dn_create(conn, name, &crowd->desc[draw(member, 2)], NULL));
        else if ((error = dn_open(conn, name, &dataset)))
            expect(member, "open", error);
        else {
            for (uint64_t n = 1 + draw(member, 20); n > 0; n--)
                use(member, dataset);
            expect(member, "close", dn_close(dataset));
        }
    }
    return NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* Two connections to a folder, or one to a store that is each connection's own. */
static void connect_all(struct crowd *crowd, const char *backend, const char *directory, const char *cache)
{
    const char *const settings[][2] = {{"backend", backend}, {"cache_size", "256K"}, {"njobs", "4"}, {"cache", cache},
                                       {"dirty_expire", "0.05"}, {"directory", directory}};
    dn_config *config = dn_config_new();

    assert_non_null(config);
    for (int i = 0; i < (directory ? 6 : 5); i++)
        assert_int_equal(dn_config_set(config, settings[i][0], settings[i][1]), 0);
    crowd->nconns = directory ? 2 : 1;
    for (int i = 0; i < crowd->nconns; i++)
        assert_int_equal(dn_connect(config, "pool", &crowd->conn[i]), 0);
    dn_config_free(config);
}

static void run(const char *backend, const char *directory, const char *cache)
{
    static struct member members[THREADS];
    const uint64_t plane[2] = {80, 251}, pieces[2] = {7, 100}, line[1] = {NBYTES}, parts[1] = {5000};
    const char *rounds = getenv("DOSNA_ROUNDS");
    struct crowd crowd = {.rounds = rounds ? atol(rounds) : 200};
    pthread_t thread[THREADS];

    connect_all(&crowd, backend, directory, cache);
    assert_int_equal(dn_desc_init(&crowd.desc[0], 2, plane, "|u1", pieces, "7"), 0);
    assert_int_equal(dn_desc_init(&crowd.desc[1], 1, line, "|u1", parts, "7"), 0);
    for (int i = 0; i < THREADS; i++) {
        members[i].crowd = &crowd;
        members[i].seed = (unsigned)random_u64();
        assert_int_equal(pthread_create(&thread[i], NULL, live, &members[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < crowd.nconns; i++)
        assert_int_equal(dn_disconnect(crowd.conn[i]), 0);
    for (int i = 0; i < 2; i++)
        dn_desc_clear(&crowd.desc[i]);
    assert_false(atomic_load(&crowd.failed));
}

static void test_one_connection(void **state)
{
    (void)state;
    run("ram", NULL, "auto");
    run("ram", NULL, "never");
}

static void test_two_connections(void **state)
{
    char directory[] = "/tmp/dosna-crowd-XXXXXX", pool[sizeof directory + 5];

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(pool, sizeof pool, "%s/pool", directory);
    assert_int_equal(mkdir(pool, 0700), 0);
    run("hdf5", directory, "auto");
    assert_int_equal(nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_connection), cmocka_unit_test(test_two_connections)};

    random_begin();
    dn_log_level(DN_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
