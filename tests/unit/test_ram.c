// SPDX-License-Identifier: Apache-2.0
/* The ram backend when memory runs out: every allocation of a short life fails once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store.h"
#include "torture.h"
#include <string.h>

#define CHUNKS 40 /* enough for the table of chunks to grow */

static struct stats stats;

static int count_name(void *arg, const char *name)
{
    *(int *)arg += strlen(name) > 0;
    return 0;
}

static int count_chunk(void *arg, const uint64_t *index, int ndim)
{
    *(int *)arg += ndim == 1 && index[0] < CHUNKS;
    return 0;
}

static int use_chunks(struct store_dataset *data)
{
    unsigned char bytes[4] = {1, 2, 3, 4};
    int count = 0, rc = 0;
    for (uint64_t i = 0; i < CHUNKS && rc == 0; i++) {
        struct dn_chunk_id id = {.flat = i, .index = &i, .ndim = 1};
        rc = store_write(data, &id, 0, bytes, 4, NULL);
        if (rc == 0)
            rc = store_write(data, &id, 1, bytes, 2, NULL);
        if (rc == 0)
            rc = store_read(data, &id, 0, bytes, 4, NULL);
    }
    if (rc == 0)
        rc = store_list_chunks(data, count_chunk, &count);
    if (rc == 0)
        assert_int_equal(count, CHUNKS);
    return rc;
}

static int use_dataset(struct store *store)
{
    struct store_dataset *data;
    struct dn_desc desc;
    int count = 0, rc = store_open_dataset(store, "a", &data, &desc);
    if (rc < 0)
        return rc;
    rc = use_chunks(data);
    if (rc == 0) {
        rc = store_rename(store, "a", "b");
        assert_int_equal(store_has(store, rc < 0 ? "a" : "b"), 1);
    }
    if (rc == 1)
        rc = store_list(store, count_name, &count);
    if (rc == 0) {
        assert_int_equal(count, 1);
        rc = store_delete(store, "b");
    }
    store_close_dataset(data);
    dn_desc_clear(&desc);
    return rc;
}

static int live(void *arg)
{
    (void)arg;
    const struct store_settings settings = {.retries = 0, .request_timeout = 1};
    struct store *store;
    struct dn_desc desc;
    int rc = dn_desc_init(&desc, 1, (uint64_t[]){CHUNKS}, "<u4", (uint64_t[]){1}, "7");
    if (rc < 0)
        return rc;
    rc = store_open(registry_find("ram"), "any", NULL, &settings, &stats, &store);
    if (rc == 0) {
        rc = store_create(store, "a", &desc);
        if (rc == 0)
            rc = use_dataset(store);
        store_close(store);
    }
    dn_desc_clear(&desc);
    return rc;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(torture(live, NULL) > 2 * CHUNKS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("ram", tests, NULL, NULL);
}
