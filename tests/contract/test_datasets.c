// SPDX-License-Identifier: Apache-2.0
/* Datasets by name: create, open, has, list, delete, rename, and which names are refused. */
#include "contract.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void small_desc(struct dn_desc *desc)
{
    describe(desc, 2, (uint64_t[]){7, 5}, "<u2", (uint64_t[]){3, 2}, "7");
}

static int create_small(const char *name)
{
    struct dn_desc desc;
    small_desc(&desc);
    int rc = store_create(contract.store, name, &desc);
    dn_desc_clear(&desc);
    return rc;
}

static void assert_described(const char *name, const struct dn_desc *want)
{
    struct store_dataset *data;
    struct dn_desc have;
    assert_ok(store_open_dataset(contract.store, name, &data, &have));
    assert_true(dn_desc_equal(&have, want));
    store_close_dataset(data);
    dn_desc_clear(&have);
}

static int open_code(const char *name)
{
    struct store_dataset *data;
    struct dn_desc desc;
    int rc = store_open_dataset(contract.store, name, &data, &desc);
    if (rc < 0)
        return rc;
    store_close_dataset(data);
    dn_desc_clear(&desc);
    return 0;
}

static void test_absent(void **state)
{
    (void)state;
    char name[NAME_ROOM];
    fresh_name(name, "", "");
    assert_int_equal(store_has(contract.store, name), 0);
    assert_int_equal(open_code(name), -ENOENT);
    assert_int_equal(store_delete(contract.store, name), -ENOENT);
    assert_int_equal(store_has(contract.store, name), 0);
}

static void test_create_open(void **state)
{
    (void)state;
    char name[NAME_ROOM];
    struct dn_desc desc;
    fresh_name(name, "", "");
    small_desc(&desc);
    assert_ok(store_create(contract.store, name, &desc));
    assert_int_equal(store_has(contract.store, name), 1);
    assert_described(name, &desc);
    assert_described(name, &desc);
    dn_desc_clear(&desc);
    assert_ok(remove_dataset(name));
}

static void test_create_is_exclusive(void **state)
{
    (void)state;
    struct set set;
    struct dn_desc other;
    make(&set);
    assert_ok(put(&set, 4, 1));
    describe(&other, 1, (uint64_t[]){9}, "|u1", NULL, "1");
    assert_int_equal(store_create(contract.store, set.name, &other), -EEXIST);
    assert_int_equal(store_create(contract.store, set.name, &set.desc), -EEXIST);
    assert_described(set.name, &set.desc);
    assert_true(holds(&set, 4, 1));
    dn_desc_clear(&other);
    drop(&set);
}

struct race {
    char name[NAME_ROOM];
    struct dn_desc desc[2];
    int code[2];
};

static void create_one(void *arg, int i)
{
    struct race *race = arg;
    race->code[i] = store_create(contract.store, race->name, &race->desc[i]);
}

static void test_create_race(void **state)
{
    (void)state;
    struct race race;
    describe(&race.desc[0], 1, (uint64_t[]){10}, "<u2", (uint64_t[]){3}, "5");
    describe(&race.desc[1], 2, (uint64_t[]){6, 6}, "<f4", (uint64_t[]){2, 2}, "6");
    for (int round = 0; round < 20; round++) {
        fresh_name(race.name, "", "");
        run_threads(2, create_one, &race);
        int winner = race.code[0] == 0 ? 0 : 1;
        assert_int_equal(race.code[winner], 0);
        assert_int_equal(race.code[!winner], -EEXIST);
        assert_described(race.name, &race.desc[winner]);
        assert_ok(remove_dataset(race.name));
    }
    dn_desc_clear(&race.desc[0]);
    dn_desc_clear(&race.desc[1]);
}

static void test_delete(void **state)
{
    (void)state;
    struct set gone, stays;
    make(&gone);
    make(&stays);
    for (uint64_t flat = 0; flat < 9; flat++) {
        assert_ok(put(&gone, flat, flat));
        assert_ok(put(&stays, flat, 50 + flat));
    }
    drop(&gone);
    assert_int_equal(store_has(contract.store, gone.name), 0);
    assert_int_equal(open_code(gone.name), -ENOENT);
    assert_int_equal(store_delete(contract.store, gone.name), -ENOENT);
    for (uint64_t flat = 0; flat < 9; flat++)
        assert_true(holds(&stays, flat, 50 + flat));
    drop(&stays);
}

static void test_recreated_is_empty(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    for (uint64_t flat = 0; flat < 9; flat++)
        assert_ok(put(&set, flat, flat));
    drop(&set);
    assert_ok(create_small(set.name));
    assert_ok(store_open_dataset(contract.store, set.name, &set.data, &set.desc));
    for (uint64_t flat = 0; flat < 9; flat++) {
        uint64_t index[DN_MAX_NDIM];
        unsigned char byte;
        struct dn_chunk_id id = chunk_at(&set.desc, flat, index);
        assert_int_equal(store_has_chunk(set.data, &id), 0);
        assert_int_equal(store_read(set.data, &id, 0, &byte, 1, NULL), -ENOENT);
    }
    drop(&set);
}

/* ---- listing ----------------------------------------------------------------------------------- */

struct names {
    char (*name)[NAME_ROOM];
    unsigned *seen;
    size_t count;
};

static int tick_off(void *arg, const char *name)
{
    struct names *names = arg;
    for (size_t i = 0; i < names->count; i++)
        names->seen[i] += strcmp(names->name[i], name) == 0;
    return 0;
}

/* How often the listing has each name. */
static void look_up(struct names *names)
{
    memset(names->seen, 0, names->count * sizeof *names->seen);
    assert_ok(store_list(contract.store, tick_off, names));
}

static void names_init(struct names *names, size_t count)
{
    names->count = count;
    names->name = calloc(count, sizeof *names->name);
    names->seen = calloc(count, sizeof *names->seen);
    assert_non_null(names->name);
    assert_non_null(names->seen);
}

static void names_free(struct names *names)
{
    free(names->name);
    free(names->seen);
}

static int nothing(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return 0;
}

static void skip_without_listing(void)
{
    if (store_list(contract.store, nothing, NULL) == -ENOTSUP)
        skip_because("it keeps no names");
}

static void test_list_many(void **state)
{
    (void)state;
    struct names names;
    skip_without_listing();
    names_init(&names, 300);
    for (size_t i = 0; i < names.count; i++) {
        fresh_name(names.name[i], "", "");
        assert_ok(create_small(names.name[i]));
    }
    look_up(&names);
    for (size_t i = 0; i < names.count; i++)
        assert_int_equal(names.seen[i], 1);
    for (size_t i = 0; i < names.count; i++) {
        if (i % 2 == 0)
            assert_ok(remove_dataset(names.name[i]));
    }
    look_up(&names);
    for (size_t i = 0; i < names.count; i++)
        assert_int_equal(names.seen[i], i % 2);
    for (size_t i = 1; i < names.count; i += 2)
        assert_ok(remove_dataset(names.name[i]));
    names_free(&names);
}

static int stop_at_two(void *arg, const char *name)
{
    (void)name;
    return ++*(int *)arg == 2 ? -EXFULL : 0;
}

static void test_list_stops(void **state)
{
    (void)state;
    struct set a, b, c;
    int calls = 0;
    skip_without_listing();
    make(&a);
    make(&b);
    make(&c);
    assert_int_equal(store_list(contract.store, stop_at_two, &calls), -EXFULL);
    assert_int_equal(calls, 2);
    drop(&a);
    drop(&b);
    drop(&c);
}

static const char *const odd_prefixes[] = {".", " ", "-", "~", "#", "%2F", "..."};
static const char *const odd_suffixes[] = {
    " two words", "\xc3\xbcml\xc3\xa4ut", "\xe6\x95\xb0\xe6\x8d\xae", "%41%", "100%", "a=b", "a:b", "'\"", "\\", "$HOME",
    "*?[0]", "trailing ", "trailing.", "\ttab", "new\nline", "\xff\xfe", ".h5", ",", ";", "UPPER",
};

/* The listing has the name as it was; or, in a store that folds case, in small letters, and those open it too. */
static void assert_listed(const char *name)
{
    struct names names;
    names_init(&names, 2);
    snprintf(names.name[0], NAME_ROOM, "%s", name);
    for (size_t i = 0; i < NAME_ROOM; i++)
        names.name[1][i] = (char)tolower((unsigned char)names.name[0][i]);
    look_up(&names);
    if (names.seen[0] == 0)
        assert_int_equal(store_has(contract.store, names.name[1]), 1);
    assert_int_equal(names.seen[names.seen[0] == 0], 1);
    names_free(&names);
}

/* An odd name is refused, or it works as any other and comes back. */
static void check_odd_name(const char *name)
{
    struct set set;
    int rc = create_small(name);
    if (rc == -EINVAL)
        return;
    assert_ok(rc);
    snprintf(set.name, sizeof set.name, "%s", name);
    assert_ok(store_open_dataset(contract.store, name, &set.data, &set.desc));
    set.nbytes = dn_desc_chunk_nbytes(&set.desc);
    assert_ok(put(&set, 0, 3));
    assert_true(holds(&set, 0, 3));
    assert_int_equal(store_has(contract.store, name), 1);
    if (store_list(contract.store, nothing, NULL) != -ENOTSUP)
        assert_listed(name);
    drop(&set);
    assert_int_equal(store_has(contract.store, name), 0);
}

static void test_odd_names(void **state)
{
    (void)state;
    char name[NAME_ROOM];
    for (size_t i = 0; i < sizeof odd_prefixes / sizeof *odd_prefixes; i++) {
        fresh_name(name, odd_prefixes[i], "");
        check_odd_name(name);
    }
    for (size_t i = 0; i < sizeof odd_suffixes / sizeof *odd_suffixes; i++) {
        fresh_name(name, "", odd_suffixes[i]);
        check_odd_name(name);
    }
}

/* ---- names that lead elsewhere ----------------------------------------------------------------- */

static size_t entries_beside_pool(void)
{
    size_t count = 0;
    DIR *dir = opendir(contract.tmp);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 3; /* ".", ".." and the pool */
}

static void test_names_stay_inside(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "", ".", "..", "../x", "/", "/dosna-contract-escape", "a/../../x", "./x", "x/", "x/..", "//x", "../../x", "x/../x",
    };
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        int rc = create_small(hostile[i]);
        if (rc == 0)
            assert_ok(remove_dataset(hostile[i]));
        else
            assert_int_equal(rc, -EINVAL);
        rc = open_code(hostile[i]);
        assert_true(rc == -ENOENT || rc == -EINVAL);
        rc = store_has(contract.store, hostile[i]);
        assert_true(rc == 0 || rc == -EINVAL);
        rc = store_delete(contract.store, hostile[i]);
        assert_true(rc == -ENOENT || rc == -EINVAL);
    }
    assert_int_equal(create_small(""), -EINVAL);
    if (contract.tmp)
        assert_int_equal(entries_beside_pool(), 0);
}

/* A way out of the connection and back in reaches nothing. */
static void test_detours(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    assert_ok(put(&set, 0, 8));
    static const struct {
        const char *before;
        bool connection;
        const char *after;
    } forms[] = {
        {"../", true, ""}, {"./", false, ""}, {"x/../", false, ""},
        {"", false, "/"},  {"", false, "/."}, {"/", true, ""},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char name[512];
        snprintf(name, sizeof name, "%s%s%s%s%s", forms[i].before,
                 forms[i].connection ? contract.connection : "", forms[i].connection ? "/" : "",
                 set.name, forms[i].after);
        int rc = open_code(name);
        assert_true(rc == -ENOENT || rc == -EINVAL);
        rc = store_delete(contract.store, name);
        assert_true(rc == -ENOENT || rc == -EINVAL);
    }
    assert_true(holds(&set, 0, 8));
    drop(&set);
}

static bool is_refusal(int code)
{
    return code == -EINVAL || code == -ENAMETOOLONG;
}

static void test_long_names(void **state)
{
    (void)state;
    char name[5001];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_true(is_refusal(create_small(name)));
    int rc = open_code(name);
    assert_true(rc == -ENOENT || is_refusal(rc));
    rc = store_has(contract.store, name);
    assert_true(rc == 0 || is_refusal(rc));
}

/* ---- renaming ---------------------------------------------------------------------------------- */

static void test_rename(void **state)
{
    (void)state;
    struct set set;
    char to[NAME_ROOM];
    make(&set);
    fresh_name(to, "", "");
    assert_ok(put(&set, 4, 1));
    assert_ok(put(&set, 8, 2));
    int rc = store_rename(contract.store, set.name, to);
    if (rc == -EXDEV) {
        drop(&set);
        skip_because("it cannot rename");
    }
    assert_ok(rc);
    assert_int_equal(store_has(contract.store, set.name), 0);
    assert_int_equal(store_has(contract.store, to), 1);
    assert_described(to, &set.desc);
    if (rc == 1) {
        assert_true(holds(&set, 4, 1));
        assert_ok(put(&set, 0, 3));
    }
    store_close_dataset(set.data);
    dn_desc_clear(&set.desc);
    snprintf(set.name, sizeof set.name, "%s", to);
    assert_ok(store_open_dataset(contract.store, to, &set.data, &set.desc));
    assert_true(holds(&set, 4, 1));
    assert_true(holds(&set, 8, 2));
    assert_true(rc == 0 || holds(&set, 0, 3));
    drop(&set);
}

/* Is an older handle the dataset that its name stands for now? If it says so, what is stored there is what it reads. */
static bool is_current(struct set *old)
{
    struct set now = {.nbytes = old->nbytes};
    assert_ok(store_open_dataset(contract.store, old->name, &now.data, &now.desc));
    assert_ok(put(&now, 4, 2));
    bool same = store_same_dataset(old->data, now.data);
    assert_true(!same || holds(old, 4, 2));
    store_close_dataset(now.data);
    dn_desc_clear(&now.desc);
    return same;
}

static void test_replaced_by_its_like(void **state)
{
    (void)state;
    struct set set;
    make(&set);
    assert_ok(put(&set, 4, 1));
    assert_true(is_current(&set));
    assert_ok(remove_dataset(set.name));
    assert_ok(store_create(contract.store, set.name, &set.desc));
    is_current(&set);
    drop(&set);
}

static void test_replaced_by_renaming(void **state)
{
    (void)state;
    struct set a, b;
    char aside[NAME_ROOM];
    make(&a);
    make(&b);
    assert_ok(put(&a, 4, 1));
    fresh_name(aside, "", "");
    int rc = store_rename(contract.store, a.name, aside);
    if (rc >= 0) {
        assert_ok(store_rename(contract.store, b.name, a.name));
        is_current(&a);
        memcpy(b.name, aside, NAME_ROOM);
    }
    drop(&a);
    drop(&b);
    if (rc < 0)
        skip_because("it cannot rename");
}

static void test_rename_refused(void **state)
{
    (void)state;
    struct set a, b;
    char absent[NAME_ROOM], other[NAME_ROOM];
    make(&a);
    make(&b);
    assert_ok(put(&a, 0, 1));
    assert_ok(put(&b, 0, 2));
    fresh_name(absent, "", "");
    fresh_name(other, "", "");
    int rc = store_rename(contract.store, a.name, b.name);
    if (rc != -EXDEV) {
        assert_int_equal(rc, -EEXIST);
        assert_int_equal(store_rename(contract.store, absent, other), -ENOENT);
        assert_int_equal(store_rename(contract.store, a.name, ""), -EINVAL);
        assert_int_equal(store_has(contract.store, other), 0);
    }
    assert_true(holds(&a, 0, 1));
    assert_true(holds(&b, 0, 2));
    drop(&a);
    drop(&b);
}

static void swap_names(void *arg, int i)
{
    char (*names)[NAME_ROOM] = arg;
    for (int round = 0; round < 50; round++)
        store_rename(contract.store, names[(round + i) % 2], names[(round + i + 1) % 2]);
}

/* Two who rename back and forth: there is always one dataset, under one of the names. */
static void test_rename_race(void **state)
{
    (void)state;
    struct set set;
    char names[2][NAME_ROOM];
    make(&set);
    assert_ok(put(&set, 0, 6));
    fresh_name(names[0], "", "");
    fresh_name(names[1], "", "");
    store_close_dataset(set.data);
    int rc = store_rename(contract.store, set.name, names[0]);
    if (rc < 0) {
        dn_desc_clear(&set.desc);
        assert_ok(remove_dataset(set.name));
        assert_int_equal(rc, -EXDEV);
        skip_because("it cannot rename");
    }
    run_threads(2, swap_names, names);
    int first = store_has(contract.store, names[0]), second = store_has(contract.store, names[1]);
    assert_int_equal(first + second, 1);
    dn_desc_clear(&set.desc);
    memcpy(set.name, names[second], NAME_ROOM);
    assert_ok(store_open_dataset(contract.store, set.name, &set.data, &set.desc));
    assert_true(holds(&set, 0, 6));
    drop(&set);
}

/* ---- the store as a whole ---------------------------------------------------------------------- */

static void test_usage(void **state)
{
    (void)state;
    struct dn_usage usage;
    int rc = store_usage(contract.store, &usage);
    if (rc == -ENOTSUP)
        skip_because("it does not know its space");
    assert_ok(rc);
    assert_true(usage.total > 0);
    assert_true(usage.free <= usage.total);
}

static void test_second_connection(void **state)
{
    (void)state;
    struct set set;
    if (!contract.shared)
        skip_because("nothing it stores is seen by a second connection");
    make(&set);
    assert_ok(put(&set, 4, 9));
    assert_ok(store_flush(set.data));

    struct store *first = contract.store, *second = connect_again();
    struct set same = {.nbytes = set.nbytes};
    assert_ok(store_open_dataset(second, set.name, &same.data, &same.desc));
    assert_true(dn_desc_equal(&same.desc, &set.desc));
    assert_true(holds(&same, 4, 9));
    contract.store = second;
    assert_ok(put(&same, 4, 10));
    contract.store = first;
    assert_true(holds(&set, 4, 10));
    store_close_dataset(same.data);
    dn_desc_clear(&same.desc);
    store_close(second);
    drop(&set);
}

const struct CMUnitTest dataset_tests[] = {
    cmocka_unit_test(test_absent),
    cmocka_unit_test(test_create_open),
    cmocka_unit_test(test_create_is_exclusive),
    cmocka_unit_test(test_create_race),
    cmocka_unit_test(test_delete),
    cmocka_unit_test(test_recreated_is_empty),
    cmocka_unit_test(test_list_many),
    cmocka_unit_test(test_list_stops),
    cmocka_unit_test(test_odd_names),
    cmocka_unit_test(test_names_stay_inside),
    cmocka_unit_test(test_detours),
    cmocka_unit_test(test_long_names),
    cmocka_unit_test(test_rename),
    cmocka_unit_test(test_replaced_by_its_like),
    cmocka_unit_test(test_replaced_by_renaming),
    cmocka_unit_test(test_rename_refused),
    cmocka_unit_test(test_rename_race),
    cmocka_unit_test(test_usage),
    cmocka_unit_test(test_second_connection),
};
const size_t dataset_test_count = sizeof dataset_tests / sizeof *dataset_tests;
