// SPDX-License-Identifier: Apache-2.0
/*
 * The library under random operations from several threads, against arrays in memory.
 *
 * Each thread owns a range of the flat file (or, for slabs, of the first axis), does random reads and
 * writes in it, flushes, and reads everywhere; what it reads of its own range must be what it wrote
 * last. Between rounds, alone, the program compares the whole array, truncates, reopens, deletes chunks, and
 * reconnects where the store survives. Geometry, cache size, engine and mode are drawn at random too.
 *
 * DOSNA_SEED sets the seed, DOSNA_ROUNDS how many connections are made (default 24).
 */
#include <dosna/dosna.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cache.h"
#include "connection.h"

#define THREADS 4
#define OPERATIONS 150

struct model {
    dn_connection *conn;
    dn_dataset *dataset;
    struct dn_desc desc;
    unsigned char *bytes; /* what the array should be */
    uint64_t nbytes, plane; /* of one position along axis 0 */
};

static uint64_t draw(unsigned *seed, uint64_t n)
{
    return (((uint64_t)rand_r(seed) << 31) ^ (uint64_t)rand_r(seed)) % n;
}

static void randomise(unsigned *seed, unsigned char *bytes, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)rand_r(seed);
}

static void set(dn_config *config, const char *key, const char *value)
{
    assert_int_equal(dn_config_set(config, key, value), 0);
}

static dn_config *draw_config(unsigned *seed)
{
    static const char *const sizes[] = {"256K", "1M", "64M"};
    static const char *const modes[] = {"auto", "always", "never"};
    static const char *const engines[] = {"threads", "threads", "cpu"};
    static const char *const expires[] = {"5", "0.05"};
    static const char *const backends[] = {"ram", "fault"};
    dn_config *config = dn_config_new();

    assert_non_null(config);
    set(config, "backend", backends[draw(seed, 2)]);
    set(config, "cache_size", sizes[draw(seed, 3)]);
    set(config, "cache", modes[draw(seed, 3)]);
    set(config, "engine", engines[draw(seed, 3)]);
    set(config, "njobs", draw(seed, 2) ? "4" : "2");
    set(config, "dirty_expire", expires[draw(seed, 2)]);
    return config;
}

static void draw_desc(unsigned *seed, struct dn_desc *desc)
{
    static const char *const dtypes[] = {"|u1", "<u2", "<f4", ">i8", "|S3"};
    uint64_t shape[DN_MAX_NDIM], chunk[DN_MAX_NDIM];
    const char *dtype = dtypes[draw(seed, 5)];
    int ndim = 1 + (int)draw(seed, 4);
    static const uint64_t most[] = {0, 4000, 70, 25, 12};

    for (int i = 0; i < ndim; i++) {
        shape[i] = THREADS + draw(seed, most[ndim]);
        chunk[i] = 1 + draw(seed, shape[i] + 3);
        if (ndim == 1)
            chunk[i] += 50;
    }
    assert_int_equal(dn_desc_init(desc, ndim, shape, dtype, chunk, draw(seed, 2) ? "7" : NULL), 0);
}

static void fill_from(struct model *m, uint64_t offset)
{
    uint32_t itemsize = m->desc.dtype.itemsize;

    for (; offset < m->nbytes; offset++)
        m->bytes[offset] = m->desc.fill ? m->desc.fill[offset % itemsize] : 0;
}

static void check_equal(const struct model *m, const unsigned char *got, uint64_t offset, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (got[i] != m->bytes[offset + i])
            fail_msg("byte %llu of %llu is %u, should be %u", (unsigned long long)(offset + i),
                     (unsigned long long)m->nbytes, got[i], m->bytes[offset + i]);
}

/* ---- one thread's range -------------------------------------------------------------------- */

struct worker {
    pthread_t id;
    struct model *model;
    unsigned seed;
    uint64_t lo, hi; /* positions along axis 0 */
    bool failed;
    char why[DN_ERROR_MAX + 100];
};

static bool wrong(struct worker *w, const char *what, int64_t code)
{
    snprintf(w->why, sizeof w->why, "%s: %s", what, code < 0 ? dn_error_text((int)code) : "wrong bytes");
    return false;
}

static bool flat_write(struct worker *w, unsigned char *buffer, uint64_t offset, uint64_t n)
{
    struct model *m = w->model;

    int64_t done;

    randomise(&w->seed, buffer, n);
    memcpy(m->bytes + offset, buffer, n);
    done = dn_pwrite(m->dataset, buffer, n, offset);
    return done == (int64_t)n || wrong(w, "dn_pwrite", done);
}

static bool flat_read(struct worker *w, unsigned char *buffer, uint64_t offset, uint64_t n)
{
    struct model *m = w->model;

    int64_t done = dn_pread(m->dataset, buffer, n, offset);

    if (done != (int64_t)n)
        return wrong(w, "dn_pread", done);
    return memcmp(buffer, m->bytes + offset, n) == 0 || wrong(w, "dn_pread", 0);
}

/* A random slab inside the worker's range; the model's copy of it is read or written element by element. */
static uint64_t draw_slab(struct worker *w, uint64_t *start, uint64_t *count)
{
    const struct dn_desc *desc = &w->model->desc;
    uint64_t n = desc->dtype.itemsize;

    for (int i = 0; i < desc->ndim; i++) {
        uint64_t lo = i ? 0 : w->lo, hi = i ? desc->shape[i] : w->hi;

        start[i] = lo + draw(&w->seed, hi - lo);
        count[i] = 1 + draw(&w->seed, hi - start[i]);
        n *= count[i];
    }
    return n;
}

static uint64_t element_offset(const struct dn_desc *desc, const uint64_t *start, const uint64_t *count,
                               uint64_t element)
{
    uint64_t offset = 0, stride = desc->dtype.itemsize;

    for (int i = desc->ndim - 1; i >= 0; i--) {
        offset += (start[i] + element % count[i]) * stride;
        element /= count[i];
        stride *= desc->shape[i];
    }
    return offset;
}

static bool slab_operation(struct worker *w, unsigned char *buffer, bool writing)
{
    struct model *m = w->model;
    uint64_t start[DN_MAX_NDIM], count[DN_MAX_NDIM], n = draw_slab(w, start, count);
    uint32_t itemsize = m->desc.dtype.itemsize;
    int error;

    if (writing)
        randomise(&w->seed, buffer, n);
    error = writing ? dn_write(m->dataset, start, count, buffer) : dn_read(m->dataset, start, count, buffer);
    if (error)
        return wrong(w, writing ? "dn_write" : "dn_read", error);
    for (uint64_t i = 0; i < n / itemsize; i++) {
        unsigned char *model = m->bytes + element_offset(&m->desc, start, count, i);

        if (writing)
            memcpy(model, buffer + i * itemsize, itemsize);
        else if (memcmp(model, buffer + i * itemsize, itemsize))
            return wrong(w, "dn_read", 0);
    }
    return true;
}

static bool one_operation(struct worker *w, unsigned char *buffer)
{
    struct model *m = w->model;
    uint64_t lo = w->lo * m->plane, hi = w->hi * m->plane;
    uint64_t offset = lo + draw(&w->seed, hi - lo), n = 1 + draw(&w->seed, hi - offset);
    int64_t done;

    if (draw(&w->seed, 3))
        n = 1 + n % 300 % (hi - offset);
    switch (draw(&w->seed, 8)) {
    case 0:
    case 1:
        return flat_write(w, buffer, offset, n);
    case 2:
    case 3:
        return flat_read(w, buffer, offset, n);
    case 4:
        return slab_operation(w, buffer, true);
    case 5:
        return slab_operation(w, buffer, false);
    case 6: /* somebody else's range: any bytes, no error */
        offset = draw(&w->seed, m->nbytes);
        done = dn_pread(m->dataset, buffer, n, offset);
        return done >= 0 || wrong(w, "dn_pread elsewhere", done);
    default:
        if (draw(&w->seed, 8))
            return flat_read(w, buffer, lo, hi - lo);
        done = dn_flush(m->dataset);
        return done == 0 || wrong(w, "dn_flush", done);
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    unsigned char *buffer = malloc(w->model->nbytes);

    for (int i = 0; i < OPERATIONS && buffer && !w->failed; i++)
        w->failed = !one_operation(w, buffer);
    if (w->failed)
        fprintf(stderr, "%s\n", w->why);
    free(buffer);
    return NULL;
}

static void run_workers(struct model *m, unsigned *seed)
{
    struct worker w[THREADS];
    bool failed = false;

    for (unsigned i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.model = m, .seed = (unsigned)rand_r(seed)};
        w[i].lo = m->desc.shape[0] * i / THREADS;
        w[i].hi = m->desc.shape[0] * (i + 1) / THREADS;
        assert_int_equal(pthread_create(&w[i].id, NULL, work, &w[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(w[i].id, NULL);
        failed = failed || w[i].failed;
    }
    assert_false(failed);
}

/* ---- alone ----------------------------------------------------------------------------------- */

static void check_whole(struct model *m)
{
    unsigned char *all = malloc(m->nbytes);

    assert_non_null(all);
    assert_int_equal(dn_pread(m->dataset, all, m->nbytes, 0), m->nbytes);
    check_equal(m, all, 0, m->nbytes);
    free(all);
}

static void truncate_somewhere(struct model *m, unsigned *seed)
{
    uint64_t length = draw(seed, m->nbytes + 1);

    if (draw(seed, 4) == 0)
        length = 0;
    assert_int_equal(dn_truncate(m->dataset, length), 0);
    fill_from(m, length);
}

static void clear_chunk(struct model *m, unsigned *seed)
{
    uint64_t index[DN_MAX_NDIM], start[DN_MAX_NDIM], count[DN_MAX_NDIM], n = 1;
    uint32_t itemsize = m->desc.dtype.itemsize;
    int error;

    for (int i = 0; i < m->desc.ndim; i++) {
        index[i] = draw(seed, dn_desc_grid(&m->desc, i));
        start[i] = index[i] * m->desc.chunk_size[i];
        count[i] = m->desc.chunk_size[i];
        if (count[i] > m->desc.shape[i] - start[i])
            count[i] = m->desc.shape[i] - start[i];
        n *= count[i];
    }
    error = dn_chunk_del(m->dataset, index);
    assert_true(error == 0 || error == -ENOENT);
    assert_int_equal(dn_chunk_has(m->dataset, index), 0);
    for (uint64_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < itemsize; j++)
            m->bytes[element_offset(&m->desc, start, count, i) + j] = m->desc.fill ? m->desc.fill[j] : 0;
}

static void reopen(struct model *m)
{
    assert_int_equal(dn_close(m->dataset), 0);
    assert_int_equal(dn_stat(m->conn, "dosnafs_cache_dirty_bytes"), 0);
    assert_int_equal(dn_open(m->conn, "model", &m->dataset), 0);
}

static void one_connection(unsigned seed)
{
    struct model m = {0};
    dn_config *config = draw_config(&seed);

    draw_desc(&seed, &m.desc);
    m.nbytes = dn_desc_nbytes(&m.desc);
    m.plane = m.nbytes / m.desc.shape[0];
    m.bytes = malloc(m.nbytes);
    assert_non_null(m.bytes);
    fill_from(&m, 0);

    assert_int_equal(dn_connect(config, "model", &m.conn), 0);
    m.conn->cache->good_read = draw(&seed, 2) * 64; /* chunks are small here: readers get parts of them, or not */
    assert_int_equal(dn_create(m.conn, "model", &m.desc, &m.dataset), 0);
    for (int round = 0; round < 6; round++) {
        run_workers(&m, &seed);
        check_whole(&m);
        switch (draw(&seed, 5)) {
        case 0:
        case 1:
            truncate_somewhere(&m, &seed);
            break;
        case 2:
            clear_chunk(&m, &seed);
            break;
        case 3:
            reopen(&m);
            break;
        default:
            assert_int_equal(dn_flush(m.dataset), 0);
        }
        check_whole(&m);
    }
    reopen(&m);
    check_whole(&m);
    assert_int_equal(dn_close(m.dataset), 0);
    assert_int_equal(dn_delete(m.conn, "model"), 0);
    assert_int_equal(dn_disconnect(m.conn), 0);
    dn_config_free(config);
    dn_desc_clear(&m.desc);
    free(m.bytes);
}

static void test_model(void **state)
{
    const char *text = getenv("DOSNA_SEED"), *rounds = getenv("DOSNA_ROUNDS");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
    int n = rounds ? atoi(rounds) : 24;

    (void)state;
    for (int i = 0; i < n; i++) {
        print_message("DOSNA_SEED=%u\n", seed);
        one_connection(seed);
        seed++;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
