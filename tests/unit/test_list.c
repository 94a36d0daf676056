// SPDX-License-Identifier: Apache-2.0
/* Which chunks are stored, where the store has no listing or would rather be asked for each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "connection.h"
#include "fault.h"
#include <dosna/batch.h>
#include <errno.h>
#include <stdatomic.h>

#define CHUNKS 3000 /* more than are asked about in one round */

static struct fault_control control;
static dn_connection *conn;
static dn_dataset *set;

static bool is_stored(uint64_t chunk)
{
    return chunk % 7 == 3;
}

static int set_up(void **state)
{
    dn_config *config = dn_config_new();
    struct dn_desc desc;

    (void)state;
    assert_int_equal(fault_control_init(&control), 0);
    fault_attach(&control);
    assert_int_equal(dn_config_set(config, "backend", "fault"), 0);
    assert_int_equal(dn_config_set(config, "retries", "0"), 0);
    assert_int_equal(dn_config_set(config, "njobs", "4"), 0);
    assert_int_equal(dn_connect(config, "any", &conn), 0);
    dn_config_free(config);
    assert_int_equal(dn_desc_init(&desc, 2, (uint64_t[]){2, CHUNKS / 2}, "|u1", (uint64_t[]){1, 1}, NULL), 0);
    assert_int_equal(dn_create(conn, "set", &desc, &set), 0);
    dn_desc_clear(&desc);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        if (is_stored(i))
            assert_int_equal(dn_chunk_set(set, (uint64_t[]){i / (CHUNKS / 2), i % (CHUNKS / 2)}, &i), 0);
    }
    assert_int_equal(dn_flush(set), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(dn_close(set), 0);
    assert_int_equal(dn_disconnect(conn), 0);
    fault_attach(NULL);
    fault_control_destroy(&control);
    return 0;
}

struct seen {
    bool chunk[CHUNKS];
    int count, stop_at, stop;
};

static int see(void *arg, const uint64_t *index, int ndim)
{
    struct seen *seen = arg;
    uint64_t chunk = index[0] * (CHUNKS / 2) + index[1];

    assert_int_equal(ndim, 2);
    assert_in_range(chunk, 0, CHUNKS - 1);
    assert_false(seen->chunk[chunk]);
    seen->chunk[chunk] = true;
    return ++seen->count == seen->stop_at ? seen->stop : 0;
}

static void test_asked_for_each(void **state)
{
    struct seen seen = {0};

    (void)state;
    fault_fail(&control, FAULT_LIST_CHUNKS, 1, 0, -ENOTSUP);
    assert_int_equal(dn_chunk_list(set, see, &seen), 0);
    for (uint64_t i = 0; i < CHUNKS; i++)
        assert_int_equal(seen.chunk[i], is_stored(i));
    assert_int_equal(fault_calls(&control, FAULT_HAS_CHUNK), CHUNKS);
}

static void test_listed(void **state)
{
    struct seen seen = {0};

    (void)state;
    assert_int_equal(dn_chunk_list(set, see, &seen), 0);
    for (uint64_t i = 0; i < CHUNKS; i++)
        assert_int_equal(seen.chunk[i], is_stored(i));
    assert_int_equal(fault_calls(&control, FAULT_HAS_CHUNK), 0);
}

static void test_many_at_once(void **state)
{
    struct seen seen = {0};

    (void)state;
    fault_fail(&control, FAULT_LIST_CHUNKS, 1, 0, -ENOTSUP);
    fault_delay(&control, FAULT_HAS_CHUNK, 0.0001);
    assert_int_equal(dn_chunk_list(set, see, &seen), 0);
    assert_in_range(fault_most_running(&control, FAULT_HAS_CHUNK), 2, 4);
}

static void test_stops(void **state)
{
    static const int stops[] = {1, -EXFULL, -ENOTSUP};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof stops / sizeof *stops; i++) {
        struct seen seen = {.stop_at = 5, .stop = stops[i / 2]};

        fault_fail(&control, FAULT_LIST_CHUNKS, 1, 0, i % 2 ? -ENOTSUP : 0);
        assert_int_equal(dn_chunk_list(set, see, &seen), seen.stop);
        assert_int_equal(seen.count, 5);
    }
    assert_in_range(fault_calls(&control, FAULT_HAS_CHUNK), 5, CHUNKS * 3 / 2);
}

static void test_fails(void **state)
{
    struct seen seen = {0};

    (void)state;
    fault_fail(&control, FAULT_LIST_CHUNKS, 1, 0, -ENOTSUP);
    fault_fail(&control, FAULT_HAS_CHUNK, 2000, 1, -EACCES);
    assert_int_equal(dn_chunk_list(set, see, &seen), -EACCES);
    fault_fail(&control, FAULT_LIST_CHUNKS, 1, 1, -EIO);
    assert_int_equal(dn_chunk_list(set, see, &seen), -EIO);
}

/* Deleting asks for nothing first: every chunk of the grid is deleted, many at once. */
static void test_deleted(void **state)
{
    (void)state;
    fault_fail(&control, FAULT_LIST_CHUNKS, 1, 0, -ENOTSUP);
    fault_delay(&control, FAULT_DELETE_CHUNK, 0.0001);
    assert_int_equal(dn_clear(set), 0);
    assert_int_equal(fault_calls(&control, FAULT_HAS_CHUNK), 0);
    assert_int_equal(fault_calls(&control, FAULT_DELETE_CHUNK), CHUNKS);
    assert_in_range(fault_most_running(&control, FAULT_DELETE_CHUNK), 2, 4);
}

/* With memory for `room` numbers at a time. */
static void list_all(size_t room)
{
    uint64_t numbers[CHUNKS + 1], from = 0, expected = 0;
    size_t count, listings = 0;

    for (; from != UINT64_MAX; listings++) {
        uint64_t before = from;

        assert_int_equal(cache_list_from(set->cached, before, UINT64_MAX, numbers, room, &count, &from), 0);
        assert_true(from == UINT64_MAX || count >= room / 2);
        for (size_t i = 0; i < count; i++, expected++) {
            while (!is_stored(expected))
                expected++;
            assert_int_equal(numbers[i], expected);
            assert_in_range(numbers[i], before, from - 1);
        }
    }
    while (expected < CHUNKS && !is_stored(expected))
        expected++;
    assert_int_equal(expected, CHUNKS);
    assert_int_equal(fault_calls(&control, FAULT_LIST_CHUNKS), listings);
    fault_reset_counts(&control);
}

static void test_listed_in_order(void **state)
{
    static const size_t rooms[] = {2, 3, 100, 428, 429, 430, CHUNKS + 1};

    (void)state;
    fault_reset_counts(&control);
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        list_all(rooms[i]);
}

static bool yes(void *arg)
{
    (void)arg;
    return true;
}

static void test_interrupted(void **state)
{
    uint64_t numbers[CHUNKS], next;
    size_t count;

    (void)state;
    dn_cancel_hook(yes, NULL);
    assert_int_equal(cache_list_from(set->cached, 0, UINT64_MAX, numbers, CHUNKS, &count, &next), -EINTR);
    dn_cancel_hook(NULL, NULL);
}

struct done {
    _Atomic int count[CHUNKS];
};

static int count_part(void *arg, const struct dn_part *part)
{
    struct done *done = arg;

    done->count[part->number]++;
    return 0;
}

static void test_each_stored(void **state)
{
    struct done listed = {0}, unlisted = {0};

    (void)state;
    assert_int_equal(dn_chunk_set(set, (uint64_t[]){0, 0}, "x"), 0); /* still dirty */
    assert_int_equal(dn_each_stored(set, count_part, &listed), 0);
    assert_int_equal(fault_calls(&control, FAULT_HAS_CHUNK), 0);
    fault_fail(&control, FAULT_LIST_CHUNKS, 1, 0, -ENOTSUP);
    assert_int_equal(dn_each_stored(set, count_part, &unlisted), 0);
    for (uint64_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(listed.count[i], i == 0 || is_stored(i));
        assert_int_equal(unlisted.count[i], 1);
    }
    fault_fail(&control, FAULT_LIST_CHUNKS, 1, 0, -EACCES);
    assert_int_equal(dn_each_stored(set, count_part, &listed), -EACCES);
}

/* One request for each chunk of the grid, not two. */
static void test_clone_without_listing(void **state)
{
    uint64_t copied, stored = 0;

    (void)state;
    for (uint64_t i = 0; i < CHUNKS; i++)
        stored += is_stored(i);
    fault_fail(&control, FAULT_LIST_CHUNKS, 1, 0, -ENOTSUP);
    assert_int_equal(dn_clone(conn, "set", "clone", true, &copied), 0);
    assert_int_equal(copied, stored);
    assert_int_equal(fault_calls(&control, FAULT_COPY), CHUNKS);
    assert_int_equal(fault_calls(&control, FAULT_HAS_CHUNK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_asked_for_each), TEST(test_listed), TEST(test_many_at_once), TEST(test_stops),
        TEST(test_fails), TEST(test_deleted), TEST(test_listed_in_order), TEST(test_interrupted),
        TEST(test_each_stored), TEST(test_clone_without_listing),
    };

    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
