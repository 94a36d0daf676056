// SPDX-License-Identifier: Apache-2.0
/* Each chunk, on each engine; clones; and teams of processes, of which one may die. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dosna/batch.h>
#include <dosna/team.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS 10
#define COLUMNS 7
#define CHUNKS 12 /* of 3 x 3 */

static const char *const engines[] = {"cpu", "threads"};

static dn_connection *connect_ram(const char *engine)
{
    dn_config *config = dn_config_new();
    dn_connection *conn;

    assert_int_equal(dn_config_set(config, "backend", "ram"), 0);
    assert_int_equal(dn_config_set(config, "engine", engine), 0);
    assert_int_equal(dn_connect(config, "any", &conn), 0);
    dn_config_free(config);
    return conn;
}

static dn_dataset *make(dn_connection *conn, const char *name)
{
    struct dn_desc desc;
    dn_dataset *dataset;

    assert_int_equal(dn_desc_init(&desc, 2, (uint64_t[]){ROWS, COLUMNS}, "<i4", (uint64_t[]){3, 3}, "7"), 0);
    assert_int_equal(dn_create(conn, name, &desc, &dataset), 0);
    dn_desc_clear(&desc);
    return dataset;
}

static void read_all(dn_dataset *dataset, int32_t *values)
{
    assert_int_equal(dn_pread(dataset, values, 4 * ROWS * COLUMNS, 0), 4 * ROWS * COLUMNS);
}

struct work {
    _Atomic unsigned calls;
    uint64_t fails_at;
};

/* Each element becomes its value plus its chunk's number. */
static int add_number(void *arg, const struct dn_part *part, const void *in, void *out)
{
    struct work *work = arg;

    work->calls++;
    if (part->number == work->fails_at)
        return dn_fail(-EDOM, "chunk %llu fails", (unsigned long long)part->number);
    for (size_t i = 0; i < part->nbytes / 4; i++)
        ((int32_t *)out)[i] = ((const int32_t *)in)[i] + (int32_t)part->number;
    return 0;
}

static void test_map(void **state)
{
    int32_t values[ROWS * COLUMNS];
    (void)state;

    for (size_t e = 0; e < 2; e++) {
        dn_connection *conn = connect_ram(engines[e]);
        dn_dataset *from = make(conn, "from"), *to = make(conn, "to");
        struct work work = {.fails_at = UINT64_MAX};
        uint64_t done;

        assert_int_equal(dn_map(from, to, add_number, &work, &done), 0);
        assert_int_equal(done, CHUNKS);
        assert_int_equal(work.calls, CHUNKS);
        read_all(to, values);
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < COLUMNS; j++)
                assert_int_equal(values[i * COLUMNS + j], 7 + i / 3 * 3 + j / 3);
        read_all(from, values);
        assert_int_equal(values[ROWS * COLUMNS - 1], 7);
        dn_close(from);
        dn_close(to);
        dn_disconnect(conn);
    }
}

static void test_failed_apply(void **state)
{
    int32_t values[ROWS * COLUMNS];
    (void)state;

    for (size_t e = 0; e < 2; e++) {
        dn_connection *conn = connect_ram(engines[e]);
        dn_dataset *dataset = make(conn, "set");
        struct work work = {.fails_at = 1};
        uint64_t done;

        assert_int_equal(dn_apply(dataset, add_number, &work, &done), -EDOM);
        assert_string_equal(dn_error_text(-EDOM), "chunk 1 fails");
        assert_in_range(done, 0, CHUNKS - 1);
        read_all(dataset, values);
        assert_int_equal(values[3], 7); /* its first row's part of chunk 1 */
        dn_close(dataset);
        dn_disconnect(conn);
    }
}

struct marks {
    _Atomic unsigned count[100];
    uint64_t fails_at;
};

static int mark(void *arg, uint64_t i)
{
    struct marks *marks = arg;

    marks->count[i]++;
    return i == marks->fails_at ? dn_fail(-EDOM, "number %llu fails", (unsigned long long)i) : 0;
}

static void test_each_number(void **state)
{
    (void)state;
    for (size_t e = 0; e < 2; e++) {
        dn_connection *conn = connect_ram(engines[e]);
        struct marks marks = {.fails_at = 100};

        assert_int_equal(dn_each(conn, 0, mark, &marks), 0);
        assert_int_equal(dn_each(conn, 100, mark, &marks), 0);
        for (int i = 0; i < 100; i++)
            assert_int_equal(marks.count[i], 1);
        marks.fails_at = 50;
        assert_int_equal(dn_each(conn, 100, mark, &marks), -EDOM);
        assert_string_equal(dn_error_text(-EDOM), "number 50 fails");
        dn_disconnect(conn);
    }
}

static bool yes(void *arg)
{
    (void)arg;
    return true;
}

static void test_interrupted(void **state)
{
    (void)state;
    for (size_t e = 0; e < 2; e++) {
        dn_connection *conn = connect_ram(engines[e]);
        dn_dataset *dataset = make(conn, "set");
        struct work work = {0};
        uint64_t done;

        dn_cancel_hook(yes, NULL);
        assert_int_equal(dn_apply(dataset, add_number, &work, &done), -EINTR);
        dn_cancel_hook(NULL, NULL);
        assert_int_equal(work.calls, 0);
        assert_int_equal(done, 0);
        dn_close(dataset);
        dn_disconnect(conn);
    }
}

static void test_other_chunks(void **state)
{
    dn_connection *conn = connect_ram("cpu");
    dn_dataset *from = make(conn, "from"), *to;
    struct dn_desc desc;
    (void)state;

    assert_int_equal(dn_desc_init(&desc, 2, (uint64_t[]){ROWS, COLUMNS}, "<i4", NULL, "7"), 0);
    assert_int_equal(dn_create(conn, "to", &desc, &to), 0);
    dn_desc_clear(&desc);
    assert_int_equal(dn_map(from, to, add_number, NULL, NULL), -EINVAL);
    dn_close(from);
    dn_close(to);
    dn_disconnect(conn);
}

static void test_clone(void **state)
{
    int32_t values[ROWS * COLUMNS];
    (void)state;

    for (size_t e = 0; e < 2; e++) {
        dn_connection *conn = connect_ram(engines[e]);
        dn_dataset *from = make(conn, "from"), *to;
        uint64_t done;
        int32_t five = 5;

        assert_int_equal(dn_pwrite(from, &five, 4, 0), 4); /* still dirty when the clone begins */
        assert_int_equal(dn_clone(conn, "from", "data", true, &done), 0);
        assert_int_equal(done, 1);
        assert_int_equal(dn_clone(conn, "from", "shape", false, &done), 0);
        assert_int_equal(dn_clone(conn, "from", "data", true, &done), -EEXIST);
        assert_int_equal(dn_clone(conn, "nothing", "other", true, &done), -ENOENT);
        assert_int_equal(dn_has(conn, "other"), 0);
        assert_int_equal(dn_open(conn, "data", &to), 0);
        read_all(to, values);
        assert_int_equal(values[0], 5);
        assert_int_equal(values[1], 7);
        dn_close(to);
        assert_int_equal(dn_open(conn, "shape", &to), 0);
        read_all(to, values);
        assert_int_equal(values[0], 7);
        dn_close(to);
        dn_close(from);
        dn_disconnect(conn);
    }
}

/* ---- teams ------------------------------------------------------------------------------------------ */

/* In a child of the test, so that what the team forks is not cmocka's. */
static int in_child(int (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(fn());
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* Every rank ends here; rank 0's status is the test's. */
static int leave(struct dn_team *team, bool good)
{
    unsigned rank = team->rank;

    dn_team_end(team);
    if (rank)
        _exit(0);
    return good ? 0 : 1;
}

static int agree_on_sums(void)
{
    struct dn_team team;
    bool good = dn_team_fork(4, &team) == 0;

    for (uint64_t round = 1; round <= 50 && good; round++) {
        uint64_t sum = round * team.rank;
        good = team.agree(team.arg, 0, &sum) == 0 && sum == 6 * round;
    }
    return leave(&team, good);
}

static int agree_on_error(void)
{
    struct dn_team team;
    int error;
    bool good = dn_team_fork(4, &team) == 0;

    error = team.rank < 2 ? 0 : dn_fail(-EDOM, "rank %u is out", team.rank);
    if (error)
        team.stop(team.arg);
    error = team.agree(team.arg, error, NULL);
    good = good && error == -EDOM && strcmp(dn_error_text(error), "rank 2 is out") == 0;
    return leave(&team, good);
}

static int lose_one(void)
{
    struct dn_team team;
    int error;
    bool good = dn_team_fork(4, &team) == 0;

    if (team.rank == 2)
        raise(SIGKILL);
    while (!team.stopped(team.arg)) /* rank 0 sees that one is gone and tells the others */
        usleep(1000);
    error = team.agree(team.arg, 0, NULL);
    good = good && error == -EPIPE && strstr(dn_error_text(error), "process 2 was killed by signal 9");
    error = team.agree(team.arg, 0, NULL);
    return leave(&team, good && error == -EPIPE);
}

static int lose_first(void)
{
    struct dn_team team;
    int error;

    if (fork() == 0) { /* so that the one who dies is not the one who tells */
        if (dn_team_fork(2, &team) != 0)
            _exit(1);
        if (team.rank == 0)
            raise(SIGKILL);
        error = team.agree(team.arg, 0, NULL);
        _exit(error == -EPIPE ? 0 : 1);
    }
    wait(NULL);
    return 0;
}

static int refuse_ram(void)
{
    struct dn_team team;
    dn_config *config = dn_config_new();
    dn_connection *conn;
    bool good = dn_team_fork(2, &team) == 0;

    dn_config_team(config, &team);
    good = good && dn_config_set(config, "backend", "ram") == 0;
    good = good && dn_connect(config, "any", &conn) == -EINVAL;
    dn_config_free(config);
    return leave(&team, good);
}

static void test_teams(void **state)
{
    (void)state;
    assert_int_equal(in_child(agree_on_sums), 0);
    assert_int_equal(in_child(agree_on_error), 0);
    assert_int_equal(in_child(lose_one), 0);
    assert_int_equal(in_child(lose_first), 0);
    assert_int_equal(in_child(refuse_ram), 0);
}

static void test_mpi_wants_a_team(void **state)
{
    static const struct dn_team alone = {.size = 1};
    dn_config *config = dn_config_new();
    dn_connection *conn;
    (void)state;

    assert_int_equal(dn_config_set(config, "engine", "mpi"), 0);
    assert_int_equal(dn_connect(config, "any", &conn), -EINVAL);
    dn_config_team(config, &alone);
    assert_int_equal(dn_config_set(config, "backend", "ram"), 0);
    assert_int_equal(dn_connect(config, "any", &conn), -EINVAL);
    assert_non_null(strstr(dn_error_text(-EINVAL), "a store of its own"));
    dn_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),          cmocka_unit_test(test_failed_apply),
        cmocka_unit_test(test_interrupted),  cmocka_unit_test(test_other_chunks),
        cmocka_unit_test(test_clone),        cmocka_unit_test(test_teams),
        cmocka_unit_test(test_each_number),  cmocka_unit_test(test_mpi_wants_a_team),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
