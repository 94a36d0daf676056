// SPDX-License-Identifier: Apache-2.0
#include "contract.h"

#include "settings.h"
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SKIPPED 77
#define TMP_MARK "{tmp}"

struct contract contract;

/* Values of options, which the backend's struct points to. */
static char *texts[32];
static size_t text_count;

static const struct store_settings settings = {.retries = 5, .request_timeout = 30};

/* ---- datasets of tests ------------------------------------------------------------------------- */

void fresh_name(char name[NAME_ROOM], const char *prefix, const char *suffix)
{
    static unsigned count;
    snprintf(name, NAME_ROOM, "%sdn-contract-%d-%u%s", prefix, (int)getpid(), ++count, suffix);
}

void describe(struct dn_desc *desc, int ndim, const uint64_t *shape, const char *dtype,
              const uint64_t *chunk, const char *fill)
{
    assert_ok(dn_desc_init(desc, ndim, shape, dtype, chunk, fill));
}

int try_make(struct set *set, int ndim, const uint64_t *shape, const char *dtype, const uint64_t *chunk)
{
    struct dn_desc desc;
    describe(&desc, ndim, shape, dtype, chunk, NULL);
    fresh_name(set->name, "", "");
    int rc = store_create(contract.store, set->name, &desc);
    dn_desc_clear(&desc);
    if (rc < 0)
        return rc;
    assert_ok(store_open_dataset(contract.store, set->name, &set->data, &set->desc));
    set->nbytes = dn_desc_chunk_nbytes(&set->desc);
    return 0;
}

void make(struct set *set)
{
    assert_ok(try_make(set, 2, (uint64_t[]){7, 5}, "<u2", (uint64_t[]){3, 2}));
}

void drop(struct set *set)
{
    store_close_dataset(set->data);
    dn_desc_clear(&set->desc);
    assert_ok(remove_dataset(set->name));
}

struct numbers {
    const struct dn_desc *desc;
    uint64_t *flat;
    size_t count;
};

static int collect_number(void *arg, const uint64_t *index, int ndim)
{
    struct numbers *numbers = arg;
    uint64_t *room = realloc(numbers->flat, (numbers->count + 1) * sizeof *room);
    if (!room)
        return -ENOMEM;
    uint64_t flat = 0;
    for (int axis = 0; axis < ndim; axis++)
        flat = flat * dn_desc_grid(numbers->desc, axis) + index[axis];
    room[numbers->count++] = flat;
    numbers->flat = room;
    return 0;
}

int list_chunks(struct store_dataset *data, const struct dn_desc *desc, dn_chunk_fn fn, void *arg)
{
    int rc = store_list_chunks(data, fn, arg);
    if (rc != -ENOTSUP)
        return rc;
    rc = 0;
    for (uint64_t flat = 0; flat < dn_desc_chunks(desc) && rc == 0; flat++) {
        uint64_t index[DN_MAX_NDIM];
        struct dn_chunk_id id = chunk_at(desc, flat, index);
        rc = store_has_chunk(data, &id);
        if (rc > 0)
            rc = fn(arg, index, desc->ndim);
    }
    return rc;
}

static int remove_chunks(const char *name)
{
    struct store_dataset *data;
    struct dn_desc desc;
    int rc = store_open_dataset(contract.store, name, &data, &desc);
    if (rc < 0)
        return rc;
    struct numbers numbers = {.desc = &desc};
    rc = list_chunks(data, &desc, collect_number, &numbers);
    for (size_t i = 0; i < numbers.count && rc == 0; i++) {
        uint64_t index[DN_MAX_NDIM];
        struct dn_chunk_id id = chunk_at(&desc, numbers.flat[i], index);
        rc = store_delete_chunk(data, &id);
    }
    if (rc == 0)
        rc = store_delete_strays(data);
    free(numbers.flat);
    store_close_dataset(data);
    dn_desc_clear(&desc);
    return rc;
}

int remove_dataset(const char *name)
{
    int rc = store_can(contract.store, DN_DELETES_CHUNKS) ? 0 : remove_chunks(name);
    return rc < 0 ? rc : store_delete(contract.store, name);
}

struct dn_chunk_id chunk_at(const struct dn_desc *desc, uint64_t flat, uint64_t index[DN_MAX_NDIM])
{
    uint64_t rest = flat;
    for (int axis = desc->ndim - 1; axis >= 0; axis--) {
        index[axis] = rest % dn_desc_grid(desc, axis);
        rest /= dn_desc_grid(desc, axis);
    }
    return (struct dn_chunk_id){.flat = flat, .index = index, .ndim = desc->ndim};
}

static uint64_t scramble(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t next_random(void)
{
    static uint64_t count;
    return scramble(contract.seed + ++count * UINT64_C(0x9e3779b97f4a7c15));
}

unsigned char *pattern(size_t nbytes, uint64_t seed)
{
    unsigned char *bytes = malloc(nbytes);
    for (size_t i = 0; bytes && i < nbytes; i++)
        bytes[i] = (unsigned char)scramble(seed * 1000003 + i);
    return bytes;
}

int put(struct set *set, uint64_t flat, uint64_t seed)
{
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = chunk_at(&set->desc, flat, index);
    unsigned char *bytes = pattern(set->nbytes, seed);
    int rc = bytes ? store_write(set->data, &id, 0, bytes, set->nbytes, NULL) : -ENOMEM;
    free(bytes);
    return rc;
}

bool holds(struct set *set, uint64_t flat, uint64_t seed)
{
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = chunk_at(&set->desc, flat, index);
    unsigned char *want = pattern(set->nbytes, seed), *have = malloc(set->nbytes);
    bool same = want && have && store_read(set->data, &id, 0, have, set->nbytes, NULL) == 0 &&
                memcmp(want, have, set->nbytes) == 0;
    free(want);
    free(have);
    return same;
}

/* ---- threads ----------------------------------------------------------------------------------- */

struct start {
    pthread_barrier_t *barrier;
    void (*fn)(void *arg, int i);
    void *arg;
    int i;
    int entered;
};

static void *run_one(void *arg)
{
    struct start *start = arg;
    start->entered = store_thread_enter(contract.store);
    pthread_barrier_wait(start->barrier);
    if (start->entered == 0) {
        start->fn(start->arg, start->i);
        store_thread_leave(contract.store);
    }
    return NULL;
}

void run_threads(int count, void (*fn)(void *arg, int i), void *arg)
{
    pthread_t threads[16];
    struct start starts[16];
    pthread_barrier_t barrier;
    assert_in_range(count, 1, 16);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, (unsigned)count), 0);
    for (int i = 0; i < count; i++) {
        starts[i] = (struct start){&barrier, fn, arg, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, run_one, &starts[i]), 0);
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    for (int i = 0; i < count; i++)
        assert_int_equal(starts[i].entered, 0);
}

/* ---- the program ------------------------------------------------------------------------------- */

struct store *connect_again(void)
{
    struct store *store;
    assert_ok(store_open(contract.backend, contract.connection, contract.options, &settings,
                         &contract.stats, &store));
    return store;
}

static int connect_once(void **state)
{
    (void)state;
    int rc = store_open(contract.backend, contract.connection, contract.options, &settings,
                        &contract.stats, &contract.store);
    if (rc == 0)
        rc = store_thread_enter(contract.store);
    if (rc < 0)
        fprintf(stderr, "contract: %s\n", dn_error_text(rc));
    return rc;
}

static int disconnect(void **state)
{
    (void)state;
    store_thread_leave(contract.store);
    store_close(contract.store);
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int make_tmp(void)
{
    char pool[512];
    const char *base = getenv("TMPDIR");
    if (asprintf(&contract.tmp, "%s/dosna-contract-XXXXXX", base ? base : P_tmpdir) < 0 ||
        !mkdtemp(contract.tmp))
        return -1;
    snprintf(pool, sizeof pool, "%s/%s", contract.tmp, contract.connection);
    return mkdir(pool, 0700);
}

/* The value with {tmp} replaced. NULL: no memory or no folder. */
static char *expand(const char *value)
{
    const char *mark = strstr(value, TMP_MARK);
    char *text;
    if (!mark)
        return strdup(value);
    if (!contract.tmp && make_tmp() < 0)
        return NULL;
    if (asprintf(&text, "%.*s%s%s", (int)(mark - value), value, contract.tmp,
                 mark + strlen(TMP_MARK)) < 0)
        return NULL;
    return text;
}

static int set_option(char *pair)
{
    char *value = strchr(pair, '=');
    if (value)
        *value++ = '\0';
    if (option_find(settings_rows, pair))
        return 0; /* one of the core's, which is not here */
    const struct dn_option *row = option_find(contract.backend->options, pair);
    if (!row || !value || text_count == sizeof texts / sizeof *texts)
        return dn_fail(-EINVAL, "%s: unknown, without a value, or too many", pair);
    char *text = texts[text_count++] = expand(value);
    if (!text)
        return dn_fail(-errno, "%s: cannot make a temporary folder", pair);
    return option_parse(row, text, contract.options);
}

static int set_defaults(void)
{
    const struct dn_option *row = contract.backend->options;
    int rc = 0;
    contract.options = calloc(1, contract.backend->options_size + 1);
    if (!contract.options)
        return -ENOMEM;
    for (; row && row->name && rc == 0; row++)
        rc = row->default_text ? option_parse(row, row->default_text, contract.options) : 0;
    return rc;
}

static int parse(char **arg)
{
    const char *backend = NULL;
    char **pairs = NULL;
    for (; *arg; arg++) {
        if (strcmp(*arg, "--shared") == 0)
            contract.shared = true;
        else if (strcmp(*arg, "--backend") == 0 && arg[1])
            backend = *++arg;
        else if (strcmp(*arg, "--connection") == 0 && arg[1])
            contract.connection = *++arg;
        else if (strcmp(*arg, "--connection-options") == 0)
            pairs = arg + 1;
        else if (!pairs || strncmp(*arg, "--", 2) == 0)
            return dn_fail(-EINVAL, "%s: not understood", *arg);
    }
    if (!backend || !contract.connection)
        return dn_fail(-EINVAL, "--backend and --connection are needed");
    contract.backend = registry_find(backend);
    if (!contract.backend)
        return dn_fail(-ENOENT, "backend %s is not built", backend);
    int rc = set_defaults();
    for (; pairs && *pairs && strncmp(*pairs, "--", 2) != 0 && rc == 0; pairs++)
        rc = set_option(*pairs);
    return rc;
}

static int run(void)
{
    size_t count = dataset_test_count + chunk_test_count + type_test_count;
    struct CMUnitTest *all = calloc(count, sizeof *all);
    if (!all)
        return 1;
    memcpy(all, dataset_tests, dataset_test_count * sizeof *all);
    memcpy(all + dataset_test_count, chunk_tests, chunk_test_count * sizeof *all);
    memcpy(all + dataset_test_count + chunk_test_count, type_tests, type_test_count * sizeof *all);
    int failed = _cmocka_run_group_tests("contract", all, count, connect_once, disconnect);
    free(all);
    return failed;
}

int main(int argc, char **argv)
{
    (void)argc;
    int rc = parse(argv + 1);
    if (rc < 0) {
        fprintf(stderr, "contract: %s\n", dn_error_text(rc));
        return rc == -ENOENT ? SKIPPED : 2;
    }
    const char *seed = getenv("DOSNA_SEED");
    contract.seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
    int failed = run();
    if (failed)
        fprintf(stderr, "contract: DOSNA_SEED=%" PRIu64 "\n", contract.seed);
    if (contract.tmp)
        nftw(contract.tmp, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(contract.tmp);
    free(contract.options);
    while (text_count > 0)
        free(texts[--text_count]);
    return failed != 0;
}
