// SPDX-License-Identifier: Apache-2.0
/*
 * The ceph backend on the test cluster ($DOSNA_TEST_CEPH), with librados beside it as DosNa, as another
 * client, and as the administrator who deletes a pool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clock.h"
#include "settings.h"
#include "store.h"
#include <dosna/dosna.h>
#include <errno.h>
#include <rados/librados.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SIGNATURE "DosNa Dataset"

static char conffile[512];
static char pool_name[64];
/* Instead of those that are generated: the backend as a whole, linked in, so that its requests can be interrupted. */
extern const struct dn_backend dn_backend_ceph, dn_known_ceph;
static struct dn_backend ceph;
const struct dn_backend *const registry[] = {&ceph, NULL};
const char *const registry_folder = NULL;

static rados_t cluster;
static rados_ioctx_t pool;
static rados_ioctx_t own; /* the catalogue's namespace */
static dn_connection *conn;

/* ---- the stage ---------------------------------------------------------------------------------- */

static int open_cluster(void **state)
{
    (void)state;
    assert_int_equal(rados_create2(&cluster, "ceph", "client.admin", 0), 0);
    assert_int_equal(rados_conf_read_file(cluster, conffile), 0);
    assert_int_equal(rados_connect(cluster), 0);
    return 0;
}

static int close_cluster(void **state)
{
    (void)state;
    rados_shutdown(cluster);
    return 0;
}

static void connect_to(const char *name, dn_connection **out)
{
    dn_config *config = dn_config_new();

    assert_int_equal(dn_config_set(config, "backend", "ceph"), 0);
    assert_int_equal(dn_config_set(config, "conffile", conffile), 0);
    assert_int_equal(dn_connect(config, name, out), 0);
    dn_config_free(config);
}

static int set_up(void **state)
{
    static unsigned count;

    (void)state;
    snprintf(pool_name, sizeof pool_name, "test-ceph-%d-%u", (int)getpid(), ++count);
    assert_int_equal(rados_pool_create(cluster, pool_name), 0);
    assert_int_equal(rados_ioctx_create(cluster, pool_name, &pool), 0);
    assert_int_equal(rados_ioctx_create(cluster, pool_name, &own), 0);
    rados_ioctx_set_namespace(own, "dosnafs");
    connect_to(pool_name, &conn);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(dn_disconnect(conn), 0);
    rados_ioctx_destroy(own);
    rados_ioctx_destroy(pool);
    rados_pool_delete(cluster, pool_name);
    return 0;
}

/* As DosNa makes it: 2-D, <u2, 6 × 4 in chunks of 3 × 2. */
static void plant(const char *name)
{
    static const char *const attributes[][2] = {
        {"shape", "6::4"}, {"dtype", "<u2"}, {"fillvalue", "0"}, {"chunk_grid", "2::2"}, {"chunk_size", "3::2"},
    };

    assert_int_equal(rados_write(pool, name, SIGNATURE, strlen(SIGNATURE), 0), 0);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(rados_setxattr(pool, name, attributes[i][0], attributes[i][1],
                                        strlen(attributes[i][1])), 0);
}

static void describe(struct dn_desc *desc)
{
    assert_int_equal(dn_desc_init(desc, 2, (uint64_t[]){6, 4}, "<u2", (uint64_t[]){3, 2}, NULL), 0);
}

static void create(const char *name)
{
    struct dn_desc desc;

    describe(&desc);
    assert_int_equal(dn_create(conn, name, &desc, NULL), 0);
    dn_desc_clear(&desc);
}

static int count_name(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
    return 0;
}

static int listed(dn_connection *by)
{
    int count = 0;

    assert_int_equal(dn_list(by, count_name, &count), 0);
    return count;
}

static int look_for(void *arg, const char *name)
{
    return strcmp(arg, name) == 0;
}

static bool lists(const char *name)
{
    return dn_list(conn, look_for, (void *)name) == 1;
}

static void forget(const char *name)
{
    rados_write_op_t op = rados_create_write_op();
    size_t length = strlen(name);

    rados_write_op_omap_rm_keys2(op, &name, &length, 1);
    assert_int_equal(rados_write_op_operate(op, own, "catalogue", NULL, 0), 0);
    rados_release_write_op(op);
}

/* ---- the catalogue ------------------------------------------------------------------------------- */

static void test_entered_when_opened(void **state)
{
    dn_dataset *set;

    (void)state;
    plant("theirs");
    assert_false(lists("theirs"));
    assert_int_equal(dn_open(conn, "theirs", &set), 0);
    assert_true(lists("theirs"));
    assert_int_equal(dn_close(set), 0);

    /* Deleted by somebody, made again by DosNa: another object, so it is not taken for known. */
    forget("theirs");
    assert_int_equal(rados_remove(pool, "theirs"), 0);
    plant("theirs");
    assert_int_equal(dn_open(conn, "theirs", &set), 0);
    assert_true(lists("theirs"));
    assert_int_equal(dn_close(set), 0);
}

/* An open of what is known to be entered is one request more nowhere. */
static void test_known_is_not_asked_again(void **state)
{
    dn_dataset *set;

    (void)state;
    create("one");
    assert_int_equal(dn_open(conn, "one", &set), 0);
    assert_int_equal(dn_close(set), 0);
    forget("one"); /* which nobody but this test does */
    assert_int_equal(dn_open(conn, "one", &set), 0);
    assert_int_equal(dn_close(set), 0);
    assert_false(lists("one"));
}

static void test_name_too_many_goes(void **state)
{
    dn_dataset *set;

    (void)state;
    create("one");
    create("two");
    assert_int_equal(rados_remove(pool, "one"), 0); /* DosNa's delete */
    assert_int_equal(rados_remove(pool, "two"), 0);
    assert_int_equal(listed(conn), 2);
    assert_int_equal(dn_has(conn, "one"), 0);
    assert_int_equal(listed(conn), 1);
    assert_int_equal(dn_open(conn, "two", &set), -ENOENT);
    assert_int_equal(listed(conn), 0);
}

static void test_failed_create_leaves_no_name(void **state)
{
    struct dn_desc desc;

    (void)state;
    describe(&desc);
    assert_int_equal(rados_write_full(pool, "foreign", "mine", 4), 0);
    assert_int_equal(dn_create(conn, "foreign", &desc, NULL), -EEXIST);
    assert_int_equal(listed(conn), 0);
    create("one");
    assert_int_equal(dn_create(conn, "one", &desc, NULL), -EEXIST);
    assert_int_equal(listed(conn), 1);
    dn_desc_clear(&desc);
}

static void test_pages(void **state)
{
    const char *names[500];
    char text[500][24];
    size_t lengths[500], no_lengths[500] = {0};
    const int rounds = 7; /* more than three pages */

    (void)state;
    for (int round = 0; round < rounds; round++) {
        rados_write_op_t op = rados_create_write_op();
        for (int i = 0; i < 500; i++) {
            lengths[i] = (size_t)snprintf(text[i], sizeof text[i], "name-%d-%d", i, round);
            names[i] = text[i];
        }
        rados_write_op_omap_set2(op, names, names, lengths, no_lengths, 500);
        assert_int_equal(rados_write_op_operate(op, own, "catalogue", NULL, 0), 0);
        rados_release_write_op(op);
    }
    assert_int_equal(listed(conn), rounds * 500);
    assert_true(lists("name-499-6"));
}

static void put_object(const char *name)
{
    assert_int_equal(rados_write_full(pool, name, "0123456789ab", 12), 0);
}

static void test_rescan(void **state)
{
    char name[40];

    (void)state;
    assert_int_equal(dn_rescan(conn), 0);
    assert_int_equal(listed(conn), 0);
    for (int i = 0; i < 150; i++) { /* some batches */
        snprintf(name, sizeof name, i % 2 ? "set-%d" : "group/%d", i);
        plant(name);
        strcat(name, "/1.1");
        put_object(name);
    }
    plant("set-1/7");                                            /* no chunk: set-1 has two axes */
    put_object("set-1/-1.0");                                    /* a stray */
    put_object("orphan/0.0");
    put_object("foreign");
    assert_int_equal(rados_write_full(pool, "longer", SIGNATURE "!", 14), 0);
    assert_int_equal(rados_write_full(pool, "broken", SIGNATURE, 13), 0); /* a dataset, but unreadable */
    assert_int_equal(dn_rescan(conn), 0);
    assert_int_equal(listed(conn), 152);
    assert_true(lists("set-149"));
    assert_true(lists("group/148"));
    assert_true(lists("set-1/7"));
    assert_true(lists("broken"));
    assert_false(lists("longer"));
    assert_int_equal(dn_rescan(conn), 0);
    assert_int_equal(listed(conn), 152);
}

/* ---- two who change the same name ---------------------------------------------------------------- */

/* Before one of the requests of an operation, another one runs from beginning to end, on `other`. */
static struct {
    void (*fn)(dn_connection *by);
    dn_connection *other;
    int after; /* so many requests */
} interruption;

static void interrupt(void)
{
    void (*fn)(dn_connection *by) = interruption.fn;

    if (!fn || interruption.after-- > 0)
        return;
    interruption.fn = NULL;
    fn(interruption.other);
}

int __real_ceph_read(rados_ioctx_t io, const char *object, rados_read_op_t op, uint64_t *version);
int __wrap_ceph_read(rados_ioctx_t io, const char *object, rados_read_op_t op, uint64_t *version);
int __wrap_ceph_read(rados_ioctx_t io, const char *object, rados_read_op_t op, uint64_t *version)
{
    interrupt();
    return __real_ceph_read(io, object, op, version);
}

int __real_ceph_write(rados_ioctx_t io, const char *object, rados_write_op_t op, uint64_t *version);
int __wrap_ceph_write(rados_ioctx_t io, const char *object, rados_write_op_t op, uint64_t *version);
int __wrap_ceph_write(rados_ioctx_t io, const char *object, rados_write_op_t op, uint64_t *version)
{
    interrupt();
    return __real_ceph_write(io, object, op, version);
}

static void make_one(dn_connection *by)
{
    struct dn_desc desc;
    int r;

    describe(&desc);
    r = dn_create(by, "one", &desc, NULL);
    assert_true(r == 0 || r == -EEXIST);
    dn_desc_clear(&desc);
}

static void delete_one(dn_connection *by)
{
    int r = dn_delete(by, "one");

    assert_true(r == 0 || r == -ENOENT);
}

static void look_at_one(dn_connection *by)
{
    assert_true(dn_has(by, "one") >= 0);
}

static void open_one(dn_connection *by)
{
    dn_dataset *set;
    int r = dn_open(by, "one", &set);

    assert_true(r == 0 || r == -ENOENT);
    if (r == 0)
        assert_int_equal(dn_close(set), 0);
}

static bool is_there(void)
{
    uint64_t size;
    time_t changed;

    return rados_stat(pool, "one", &size, &changed) == 0;
}

static void begin_absent(void)
{
    delete_one(conn);
}

static void begin_present(void)
{
    make_one(conn);
}

/* As DosNa leaves it. */
static void begin_name_too_many(void)
{
    make_one(conn);
    assert_int_equal(rados_remove(pool, "one"), 0);
}

/* Whatever the order of their requests, a dataset that is there is listed, and a name too many goes. */
static void test_any_order(void **state)
{
    static void (*const beginnings[])(void) = {begin_absent, begin_present, begin_name_too_many};
    static void (*const operations[])(dn_connection *by) = {make_one, delete_one, look_at_one, open_one};
    int orders = 0;

    (void)state;
    connect_to(pool_name, &interruption.other);
    for (int i = 0; i < 3 * 4 * 2; i++) {
        bool interrupted = true;
        for (int after = 0; interrupted; after++, orders++) {
            beginnings[i / 8]();
            interruption.after = after;
            interruption.fn = operations[i % 2];
            operations[i / 2 % 4](conn);
            interrupted = interruption.fn == NULL;
            interruption.fn = NULL;
            if (is_there() && !lists("one"))
                fail_msg("not listed: beginning %d, operation %d, interrupted by %d after %d requests",
                         i / 8, i / 2 % 4, i % 2, after);
            look_at_one(conn);
            assert_int_equal(lists("one"), is_there());
        }
    }
    assert_true(orders > 60);
    assert_int_equal(dn_disconnect(interruption.other), 0);
}

/* ---- chunks -------------------------------------------------------------------------------------- */

static struct store_dataset *open_store_of(struct store **store, struct stats *stats, struct dn_desc *desc)
{
    const struct dn_backend *backend = registry_find("ceph");
    struct store_settings settings = {.retries = 0, .request_timeout = 30};
    struct store_dataset *data;
    static unsigned char options[256];

    assert_non_null(backend);
    assert_true(backend->options_size <= sizeof options);
    for (const struct dn_option *row = backend->options; row->name; row++)
        assert_int_equal(option_parse(row, strcmp(row->name, "conffile") ? row->default_text : conffile, options), 0);
    assert_int_equal(store_open(backend, pool_name, options, &settings, stats, store), 0);
    assert_int_equal(store_open_dataset(*store, "one", &data, desc), 0);
    return data;
}

static const uint64_t first[2];
static const struct dn_chunk_id id = {.flat = 0, .index = first, .ndim = 2};

static void test_sizes(void **state)
{
    struct store_dataset *data;
    struct store *store;
    struct stats stats = {0};
    struct dn_desc desc;
    unsigned char bytes[32];

    (void)state;
    plant("one"); /* chunks of 12 bytes */
    data = open_store_of(&store, &stats, &desc);
    assert_int_equal(rados_write_full(pool, "one/0.0", "0123456789", 10), 0);
    assert_int_equal(store_read(data, &id, 0, bytes, 12, NULL), -EIO);
    assert_non_null(strstr(dn_error_text(-EIO), "10 of 12 bytes"));
    assert_int_equal(store_read(data, &id, 10, bytes, 2, NULL), -EIO);
    assert_int_equal(store_read(data, &id, 8, bytes, 2, NULL), 0);
    assert_memory_equal(bytes, "89", 2);
    assert_int_equal(store_write(data, &id, 11, "x", 1, NULL), -EIO); /* no zeros in between */
    assert_int_equal(store_write(data, &id, 0, "x", 1, NULL), -EIO);
    assert_int_equal(rados_read(pool, "one/0.0", (char *)bytes, sizeof bytes, 0), 10);
    assert_memory_equal(bytes, "0123456789", 10);

    assert_int_equal(rados_write_full(pool, "one/0.0", "0123456789abcdefgh", 18), 0);
    assert_int_equal(store_read(data, &id, 0, bytes, 12, NULL), 0);
    assert_memory_equal(bytes, "0123456789ab", 12);
    assert_int_equal(store_write(data, &id, 11, "x", 1, NULL), 0);
    assert_int_equal(store_read(data, &id, 10, bytes, 2, NULL), 0);
    assert_memory_equal(bytes, "ax", 2);
    assert_int_equal(store_write(data, &id, 0, "ABCDEFGHIJKL", 12, NULL), 0);
    assert_int_equal(rados_read(pool, "one/0.0", (char *)bytes, sizeof bytes, 0), 12); /* cut, too */

    assert_int_equal(rados_write_full(pool, "one/0.0", "", 0), 0);
    assert_int_equal(store_read(data, &id, 0, bytes, 1, NULL), -EIO);
    assert_int_equal(store_has_chunk(data, &id), 1);
    store_close_dataset(data);
    dn_desc_clear(&desc);
    store_close(store);
}

/* librados then says "no such object" to everything, at first even before it has heard of the deletion. */
static int read_deleted(struct store_dataset *data, unsigned char *byte)
{
    int64_t deadline = clock_now() + clock_ns(30);
    int r;

    do
        r = store_read(data, &id, 0, byte, 1, NULL);
    while (r == -ENOENT && clock_now() < deadline);
    return r;
}

static void test_deleted_pool(void **state)
{
    struct store_dataset *data;
    struct store *store;
    struct stats stats = {0};
    struct dn_desc desc;
    unsigned char bytes[12];

    (void)state;
    plant("one");
    data = open_store_of(&store, &stats, &desc);
    assert_int_equal(store_read(data, &id, 0, bytes, 12, NULL), -ENOENT);
    assert_int_equal(rados_pool_delete(cluster, pool_name), 0);
    assert_int_equal(read_deleted(data, bytes), -EIO);
    assert_int_equal(store_has_chunk(data, &id), -EIO);
    assert_int_equal(store_has(store, "one"), -EIO);
    assert_int_equal(store_list(store, count_name, NULL), -EIO);
    assert_true(store_write(data, &id, 0, bytes, 12, NULL) < 0);
    assert_true(store_delete_chunk(data, &id) != -ENOENT);
    store_close_dataset(data);
    dn_desc_clear(&desc);
    store_close(store);
}

static void test_largest_chunk(void **state)
{
    const uint64_t most = 90 << 20; /* osd_max_write_size by default */
    struct dn_desc desc;
    dn_dataset *set;
    char *bytes = calloc(1, most);

    (void)state;
    assert_non_null(bytes);
    assert_int_equal(dn_desc_init(&desc, 1, (uint64_t[]){most + 1}, "|u1", NULL, NULL), 0);
    assert_int_equal(dn_create(conn, "large", &desc, NULL), -EFBIG);
    assert_non_null(strstr(dn_error_text(-EFBIG), "94371840"));
    dn_desc_clear(&desc);
    assert_int_equal(dn_desc_init(&desc, 1, (uint64_t[]){most}, "|u1", NULL, NULL), 0);
    assert_int_equal(dn_create(conn, "large", &desc, &set), 0);
    assert_int_equal(dn_chunk_set(set, first, bytes), 0);
    assert_int_equal(dn_close(set), 0);
    assert_int_equal(dn_delete(conn, "large"), 0);
    dn_desc_clear(&desc);
    free(bytes);
}

static void test_names(void **state)
{
    static const char *const refused[] = {"a/0", "a/0.0", "a/b/12.3.4", "a/-1", "/0", ""};
    static const char *const taken[] = {"a", "a/", "a/b", "a/0.", "a/0.0.x", "a/00", "0.0", "a/0.0/b", "..", "catalogue"};
    struct dn_desc desc;
    char name[2060];

    (void)state;
    describe(&desc);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_int_equal(dn_create(conn, refused[i], &desc, NULL), -EINVAL);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        assert_int_equal(dn_create(conn, taken[i], &desc, NULL), 0);
    memset(name, 'n', sizeof name);
    name[2045] = '\0';
    assert_int_equal(dn_create(conn, name, &desc, NULL), -ENAMETOOLONG); /* with "/1.1" */
    name[2044] = '\0';
    assert_int_equal(dn_create(conn, name, &desc, NULL), 0);
    dn_desc_clear(&desc);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_entered_when_opened), TEST(test_known_is_not_asked_again), TEST(test_name_too_many_goes),
        TEST(test_failed_create_leaves_no_name), TEST(test_pages), TEST(test_rescan), TEST(test_any_order),
        TEST(test_sizes), TEST(test_deleted_pool), TEST(test_largest_chunk), TEST(test_names),
    };
    const char *folder = getenv("DOSNA_TEST_CEPH");

    ceph = dn_backend_ceph;
    ceph.options = dn_known_ceph.options;
    ceph.request_timeout = dn_known_ceph.request_timeout;
    snprintf(conffile, sizeof conffile, "%s/ceph.conf", folder ? folder : "");
    if (!folder || access(conffile, R_OK) != 0) {
        fprintf(stderr, "no test cluster at DOSNA_TEST_CEPH\n");
        return 77;
    }
    return cmocka_run_group_tests_name("ceph", tests, open_cluster, close_cluster);
}
