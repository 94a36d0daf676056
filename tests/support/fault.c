// SPDX-License-Identifier: Apache-2.0
#include "fault.h"

#include <dosna/backend.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GATE_SECONDS 60
#define WAIT_SECONDS 30
#define HANG_SECONDS 120

/* Of the core: a backend proper has no business with these. */
extern const struct dn_backend *registry_find(const char *name);
extern int registry_load(const struct dn_backend *known, const struct dn_backend **out);
extern const struct dn_option *option_find(const struct dn_option *rows, const char *name);
extern int option_parse(const struct dn_option *row, const char *text, void *base);

/* ---- the control ------------------------------------------------------------------------------- */

struct fault_waiter {
    struct fault_waiter *next;
    enum fault_op op;
    uint64_t flat;
    bool passed;
};

static struct fault_control *_Atomic attached;

static const char *const op_names[] = {
#define X(id, name) name,
    FAULT_OPERATIONS(X)
#undef X
};

int fault_control_init(struct fault_control *control)
{
    *control = (struct fault_control){0};
    int rc = pthread_mutex_init(&control->mutex, NULL);
    if (rc != 0)
        return -rc;
    pthread_condattr_t attr;
    rc = pthread_condattr_init(&attr);
    if (rc == 0) {
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        rc = pthread_cond_init(&control->changed, &attr);
        pthread_condattr_destroy(&attr);
    }
    if (rc != 0)
        pthread_mutex_destroy(&control->mutex);
    return -rc;
}

void fault_control_destroy(struct fault_control *control)
{
    pthread_cond_destroy(&control->changed);
    pthread_mutex_destroy(&control->mutex);
}

void fault_attach(struct fault_control *control)
{
    atomic_store(&attached, control);
}

uint64_t fault_calls(struct fault_control *control, enum fault_op op)
{
    pthread_mutex_lock(&control->mutex);
    uint64_t calls = control->op[op].calls;
    pthread_mutex_unlock(&control->mutex);
    return calls;
}

uint64_t fault_most_running(struct fault_control *control, enum fault_op op)
{
    pthread_mutex_lock(&control->mutex);
    uint64_t most = control->op[op].most_running;
    pthread_mutex_unlock(&control->mutex);
    return most;
}

void fault_reset_counts(struct fault_control *control)
{
    pthread_mutex_lock(&control->mutex);
    for (int op = 0; op < FAULT_OPS; op++) {
        control->op[op].calls = 0;
        control->op[op].most_running = control->op[op].running;
    }
    pthread_mutex_unlock(&control->mutex);
}

static void set_failure(struct fault_control *control, enum fault_op op, uint64_t first, uint64_t count,
                        int code, bool late)
{
    pthread_mutex_lock(&control->mutex);
    control->op[op].skip = first > 0 ? first - 1 : 0;
    control->op[op].left = count > 0 ? count : UINT64_MAX;
    control->op[op].code = code;
    control->op[op].late = late;
    pthread_mutex_unlock(&control->mutex);
}

void fault_fail(struct fault_control *control, enum fault_op op, uint64_t first, uint64_t count, int code)
{
    set_failure(control, op, first, count, code, false);
}

void fault_fail_late(struct fault_control *control, enum fault_op op, uint64_t first, uint64_t count,
                     int code)
{
    set_failure(control, op, first, count, code, true);
}

void fault_delay(struct fault_control *control, enum fault_op op, double seconds)
{
    pthread_mutex_lock(&control->mutex);
    control->op[op].delay = seconds;
    pthread_mutex_unlock(&control->mutex);
}

void fault_close(struct fault_control *control, enum fault_op op)
{
    pthread_mutex_lock(&control->mutex);
    control->op[op].closed = true;
    pthread_mutex_unlock(&control->mutex);
}

void fault_open(struct fault_control *control, enum fault_op op)
{
    pthread_mutex_lock(&control->mutex);
    control->op[op].closed = false;
    for (struct fault_waiter *waiter = control->waiters; waiter; waiter = waiter->next)
        waiter->passed |= waiter->op == op;
    pthread_cond_broadcast(&control->changed);
    pthread_mutex_unlock(&control->mutex);
}

static uint64_t waiting_locked(const struct fault_control *control, enum fault_op op)
{
    uint64_t count = 0;
    for (const struct fault_waiter *waiter = control->waiters; waiter; waiter = waiter->next)
        count += waiter->op == op && !waiter->passed;
    return count;
}

uint64_t fault_waiting(struct fault_control *control, enum fault_op op)
{
    pthread_mutex_lock(&control->mutex);
    uint64_t count = waiting_locked(control, op);
    pthread_mutex_unlock(&control->mutex);
    return count;
}

static struct timespec seconds_from_now(int seconds)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += seconds;
    return time;
}

int fault_wait_for(struct fault_control *control, enum fault_op op, uint64_t count)
{
    struct timespec deadline = seconds_from_now(WAIT_SECONDS);
    int rc = 0;
    pthread_mutex_lock(&control->mutex);
    while (rc == 0 && waiting_locked(control, op) < count)
        rc = pthread_cond_timedwait(&control->changed, &control->mutex, &deadline);
    pthread_mutex_unlock(&control->mutex);
    return -rc;
}

bool fault_pass(struct fault_control *control, enum fault_op op, uint64_t flat)
{
    pthread_mutex_lock(&control->mutex);
    struct fault_waiter *waiter = control->waiters;
    while (waiter && (waiter->op != op || waiter->passed || (flat != FAULT_ANY && waiter->flat != flat)))
        waiter = waiter->next;
    if (waiter)
        waiter->passed = true;
    pthread_cond_broadcast(&control->changed);
    pthread_mutex_unlock(&control->mutex);
    return waiter != NULL;
}

static int wait_at_gate_locked(struct fault_control *control, enum fault_op op, uint64_t flat)
{
    struct fault_waiter waiter = {.op = op, .flat = flat}, **link = &control->waiters;
    struct timespec deadline = seconds_from_now(GATE_SECONDS);
    int rc = 0;
    while (*link)
        link = &(*link)->next;
    *link = &waiter;
    pthread_cond_broadcast(&control->changed);
    while (!waiter.passed && rc == 0)
        rc = pthread_cond_timedwait(&control->changed, &control->mutex, &deadline);
    for (link = &control->waiters; *link != &waiter;)
        link = &(*link)->next;
    *link = waiter.next;
    return waiter.passed ? 0 : -ETIMEDOUT;
}

/* ---- the connection ---------------------------------------------------------------------------- */

#define ROW(key, kind, text, about, ...)                                                             \
    {.name = #key, .type = DN_OPT_##kind, .default_text = text,                                      \
     .offset = offsetof(struct fault_options, key), .help = about, __VA_ARGS__}

static const struct dn_option rows[] = {
    ROW(inner, STRING, "ram", "the backend behind this one", .min = 0),
    ROW(inner_options, STRING, NULL, "that backend's options, KEY=VALUE;KEY=VALUE", .min = 0),
    ROW(delay, SECONDS, "0", "seconds added to each chunk request", .min = 0),
    ROW(delay_meta, SECONDS, "0", "seconds added to each other request", .min = 0),
    ROW(fail_op, STRING, NULL, "operations that fail, joined by +", .min = 0),
    ROW(fail_after, INT, "1", "which of these calls is the first to fail", .min = 1, .max = INT64_MAX),
    ROW(fail_count, INT, "0", "how many of them fail; 0 is all", .min = 0, .max = INT64_MAX),
    ROW(fail_errno, STRING, "EIO", "what they fail with, name or number", .min = 0),
    ROW(fail_late, BOOL, "false", "the operation is done before it fails", .min = 0),
    ROW(fail_file, STRING, NULL, "delays and failures only while this file exists", .min = 0),
    ROW(hang_file, STRING, NULL, "chunk requests wait while this file exists", .min = 0),
    ROW(max_calls, INT, "0", "calls at once; 0 is the inner backend's limit", .min = 0, .max = 1024),
    ROW(lacks, STRING, NULL, "abilities to hide, joined by +", .min = 0),
    {.name = NULL},
};

struct fault {
    const struct dn_backend *inner;
    void *conn;         /* of the inner backend */
    void *options;      /* of the inner backend, as its rows filled it */
    char *options_text; /* what the strings in there point to */
    unsigned lacks;
    unsigned max_calls;
    const char *fail_file, *hang_file;
    struct fault_control *control; /* the attached one or `own` */
    struct fault_control own;
};

struct fault_dataset {
    struct fault *fault;
    void *handle;
};

static const struct {
    const char *name;
    enum dn_ability ability;
} abilities[] = {
    {"read_range", DN_CAN_READ_RANGE},
    {"write_range", DN_CAN_WRITE_RANGE},
    {"compare", DN_CAN_COMPARE},
    {"deletes_chunks", DN_DELETES_CHUNKS},
};

/* Is `word` one of those in `list`, which are joined by '+'? */
static bool listed(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; at && *at; at += strcspn(at, "+"), at += *at == '+') {
        if (strcspn(at, "+") == length && strncmp(at, word, length) == 0)
            return true;
    }
    return false;
}

static unsigned words_in(const char *list)
{
    unsigned count = list && *list ? 1 : 0;
    for (; list && *list; list++)
        count += *list == '+';
    return count;
}

static int errno_of(const char *text)
{
    int number = atoi(text);
    for (int code = 1; code < 200 && number == 0; code++) {
        const char *name = strerrorname_np(code);
        if (name && strcmp(name, text) == 0)
            number = code;
    }
    return number;
}

static bool is_chunk_op(enum fault_op op)
{
    return op == FAULT_READ || op == FAULT_WRITE || op == FAULT_DELETE_CHUNK || op == FAULT_HAS_CHUNK;
}

static bool can_be_late(enum fault_op op)
{
    return op == FAULT_CREATE || op == FAULT_DELETE || op == FAULT_RENAME || op == FAULT_WRITE ||
           op == FAULT_DELETE_CHUNK || op == FAULT_FLUSH;
}

static int program_failures(struct fault *fault, const struct fault_options *options)
{
    unsigned found = 0;
    int code = errno_of(options->fail_errno ? options->fail_errno : "EIO");
    if (code <= 0)
        return dn_fail(-EINVAL, "fail_errno: %s is no errno", options->fail_errno);
    for (int op = 0; op < FAULT_OPS; op++) {
        double delay = is_chunk_op(op) ? options->delay : options->delay_meta;
        if (delay > 0)
            fault_delay(fault->control, op, delay);
        if (!listed(options->fail_op, op_names[op]))
            continue;
        set_failure(fault->control, op, (uint64_t)options->fail_after, (uint64_t)options->fail_count,
                    -code, options->fail_late);
        found++;
    }
    if (found != words_in(options->fail_op))
        return dn_fail(-EINVAL, "fail_op: unknown operation in %s", options->fail_op);
    return 0;
}

static int hide_abilities(struct fault *fault, const struct fault_options *options)
{
    unsigned found = 0;
    fault->lacks = ~fault->inner->abilities;
    for (size_t i = 0; i < sizeof abilities / sizeof *abilities; i++) {
        if (!listed(options->lacks, abilities[i].name))
            continue;
        fault->lacks |= abilities[i].ability;
        found++;
    }
    if (found != words_in(options->lacks))
        return dn_fail(-EINVAL, "lacks: unknown ability in %s", options->lacks);
    return 0;
}

static int set_inner_option(struct fault *fault, const struct dn_backend *known, char *pair)
{
    char *value = strchr(pair, '=');
    if (value)
        *value++ = '\0';
    const struct dn_option *row = option_find(known->options, pair);
    if (!row || !value)
        return dn_fail(-EINVAL, "inner_options: %s has no option %s, or it lacks a value", known->name, pair);
    return option_parse(row, value, fault->options);
}

static int fill_inner_options(struct fault *fault, const struct dn_backend *known, const char *text)
{
    int rc = 0;
    fault->options = calloc(1, known->options_size + 1);
    fault->options_text = strdup(text ? text : "");
    if (!fault->options || !fault->options_text)
        return dn_fail(-ENOMEM, "out of memory");
    for (const struct dn_option *row = known->options; row && row->name && rc == 0; row++)
        rc = row->default_text ? option_parse(row, row->default_text, fault->options) : 0;
    char *rest = fault->options_text, *pair;
    while (rc == 0 && (pair = strsep(&rest, ";"))) {
        if (*pair)
            rc = set_inner_option(fault, known, pair);
    }
    return rc;
}

/* ---- what happens to a call -------------------------------------------------------------------- */

static void sleep_seconds(double seconds)
{
    struct timespec time = {.tv_sec = (time_t)seconds};
    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    while (nanosleep(&time, &time) < 0 && errno == EINTR)
        ;
}

static bool exists(const char *path)
{
    return path && access(path, F_OK) == 0;
}

static int hang(const struct fault *fault)
{
    for (int i = 0; exists(fault->hang_file); i++) {
        if (i == HANG_SECONDS * 100)
            return -ETIMEDOUT;
        sleep_seconds(0.01);
    }
    return 0;
}

struct visit {
    struct fault *fault;
    enum fault_op op;
    int code; /* what to fail with */
    bool late;
};

/* The failure that is due for this call, and its delay. */
static double next_fault_locked(struct visit *visit)
{
    struct fault_control *control = visit->fault->control;
    enum fault_op op = visit->op;
    if (visit->fault->fail_file && !exists(visit->fault->fail_file))
        return 0;
    if (control->op[op].code != 0 && visit->code == 0) {
        if (control->op[op].skip > 0) {
            control->op[op].skip--;
        } else if (control->op[op].left > 0) {
            if (control->op[op].left != UINT64_MAX)
                control->op[op].left--;
            visit->code = control->op[op].code;
            visit->late = control->op[op].late && can_be_late(op);
        }
    }
    return control->op[op].delay;
}

/* True: make the inner call. Every begin has its end. */
static bool begin(struct visit *visit, struct fault *fault, enum fault_op op, uint64_t flat)
{
    struct fault_control *control = fault->control;
    *visit = (struct visit){.fault = fault, .op = op};
    pthread_mutex_lock(&control->mutex);
    control->op[op].calls++;
    if (++control->op[op].running > control->op[op].most_running)
        control->op[op].most_running = control->op[op].running;
    pthread_mutex_unlock(&control->mutex);

    if (is_chunk_op(op))
        visit->code = hang(fault);
    pthread_mutex_lock(&control->mutex);
    if (control->op[op].closed && visit->code == 0)
        visit->code = wait_at_gate_locked(control, op, flat);
    double delay = next_fault_locked(visit);
    pthread_mutex_unlock(&control->mutex);
    if (delay > 0)
        sleep_seconds(delay);
    return visit->code == 0 || visit->late;
}

static int end(struct visit *visit, int rc)
{
    struct fault_control *control = visit->fault->control;
    pthread_mutex_lock(&control->mutex);
    control->op[visit->op].running--;
    pthread_mutex_unlock(&control->mutex);
    if (visit->code != 0)
        return dn_fail(visit->code, "injected fault");
    return rc;
}

/* ---- the backend: each operation is the inner one's, or that one's absence --------------------- */

static void free_fault(struct fault *fault)
{
    fault_control_destroy(&fault->own);
    free(fault->options);
    free(fault->options_text);
    free(fault);
}

static int prepare(struct fault *fault, const struct fault_options *options)
{
    fault->control = atomic_load(&attached);
    if (!fault->control)
        fault->control = &fault->own;
    const struct dn_backend *known = registry_find(options->inner ? options->inner : "ram");
    if (!known)
        return dn_fail(-EINVAL, "inner: there is no backend %s", options->inner);
    fault->fail_file = options->fail_file;
    fault->hang_file = options->hang_file;
    fault->max_calls = (unsigned)options->max_calls;
    int rc = registry_load(known, &fault->inner);
    if (rc == 0)
        rc = program_failures(fault, options);
    if (rc == 0)
        rc = hide_abilities(fault, options);
    if (rc == 0)
        rc = fill_inner_options(fault, known, options->inner_options);
    return rc;
}

static int fault_connect(const char *connection, const void *options, void **conn)
{
    static const struct fault_options none;
    struct fault *fault = calloc(1, sizeof *fault);
    if (!fault)
        return dn_fail(-ENOMEM, "out of memory");
    int rc = fault_control_init(&fault->own);
    if (rc < 0) {
        free(fault);
        return rc;
    }
    rc = prepare(fault, options ? options : &none);
    if (rc == 0) {
        struct visit visit;
        if (begin(&visit, fault, FAULT_CONNECT, FAULT_ANY))
            rc = fault->inner->connect(connection, fault->options, &fault->conn);
        rc = end(&visit, rc);
    }
    if (rc < 0)
        free_fault(fault);
    else
        *conn = fault;
    return rc;
}

static void fault_disconnect(void *conn)
{
    struct fault *fault = conn;
    fault->inner->disconnect(fault->conn);
    free_fault(fault);
}

#define FAR_GOOD_READ (1u << 20) /* of a store that takes its time */

static void fault_limits(void *conn, struct dn_limits *out)
{
    struct fault *fault = conn;
    if (fault->inner->limits)
        fault->inner->limits(fault->conn, out);
    if (fault->max_calls > 0)
        out->max_calls = fault->max_calls;
    out->lacks |= fault->lacks;
    if (fault->control->op[FAULT_READ].delay > 0 && out->good_read < FAR_GOOD_READ)
        out->good_read = FAR_GOOD_READ;
}

static int fault_thread_enter(void *conn)
{
    struct fault *fault = conn;
    return fault->inner->thread_enter ? fault->inner->thread_enter(fault->conn) : 0;
}

static void fault_thread_leave(void *conn)
{
    struct fault *fault = conn;
    if (fault->inner->thread_leave)
        fault->inner->thread_leave(fault->conn);
}

static int missing(int code)
{
    return code < 0 ? dn_fail(code, "the inner backend lacks this operation") : code;
}

/* An operation on the connection, on a dataset, on a chunk: `absent` is what its absence means. */
#define ON_CONNECTION(OP, operation, absent, ...)                                                    \
    struct fault *fault = conn;                                                                      \
    struct visit visit;                                                                              \
    int rc = 0;                                                                                      \
    if (begin(&visit, fault, OP, FAULT_ANY))                                                         \
        rc = fault->inner->operation ? fault->inner->operation(fault->conn, __VA_ARGS__)             \
                                     : missing(absent);                                              \
    return end(&visit, rc)

#define ON_DATASET(OP, operation, absent, flat, ...)                                                 \
    struct fault_dataset *dataset = handle;                                                          \
    const struct dn_backend *inner = dataset->fault->inner;                                          \
    struct visit visit;                                                                              \
    int rc = 0;                                                                                      \
    if (begin(&visit, dataset->fault, OP, flat))                                                     \
        rc = inner->operation ? inner->operation(dataset->handle __VA_OPT__(, ) __VA_ARGS__)         \
                              : missing(absent);                                                     \
    return end(&visit, rc)

static int fault_list_datasets(void *conn, dn_name_fn fn, void *arg)
{
    ON_CONNECTION(FAULT_LIST, list_datasets, -ENOTSUP, fn, arg);
}

static int fault_rescan(void *conn)
{
    struct fault *fault = conn;
    return fault->inner->rescan ? fault->inner->rescan(fault->conn) : 0;
}

static int fault_create_dataset(void *conn, const char *name, const struct dn_desc *desc)
{
    ON_CONNECTION(FAULT_CREATE, create_dataset, -EROFS, name, desc);
}

static int fault_open_dataset(void *conn, const char *name, void **handle, struct dn_desc *desc)
{
    struct fault *fault = conn;
    struct visit visit;
    struct fault_dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset)
        return dn_fail(-ENOMEM, "out of memory");
    dataset->fault = fault;
    int rc = 0;
    if (begin(&visit, fault, FAULT_OPEN, FAULT_ANY))
        rc = fault->inner->open_dataset(fault->conn, name, &dataset->handle, desc);
    rc = end(&visit, rc);
    if (rc < 0)
        free(dataset);
    else
        *handle = dataset;
    return rc;
}

static bool fault_same_dataset(void *handle, void *fresh)
{
    struct fault_dataset *dataset = handle;
    const struct dn_backend *inner = dataset->fault->inner;
    return !inner->same_dataset || inner->same_dataset(dataset->handle, ((struct fault_dataset *)fresh)->handle);
}

static int fault_has_dataset(void *conn, const char *name)
{
    ON_CONNECTION(FAULT_HAS, has_dataset, -ENOTSUP, name);
}

static void fault_close_dataset(void *handle)
{
    struct fault_dataset *dataset = handle;
    dataset->fault->inner->close_dataset(dataset->handle);
    free(dataset);
}

static int fault_delete_dataset(void *conn, const char *name)
{
    ON_CONNECTION(FAULT_DELETE, delete_dataset, -EROFS, name);
}

static int fault_rename_dataset(void *conn, const char *from, const char *to)
{
    ON_CONNECTION(FAULT_RENAME, rename_dataset, -EXDEV, from, to);
}

static int fault_usage(void *conn, struct dn_usage *out)
{
    ON_CONNECTION(FAULT_USAGE, usage, -ENOTSUP, out);
}

static int fault_read_chunk(void *handle, const struct dn_chunk_id *id, uint64_t offset, void *buffer,
                            size_t length, struct dn_version *version)
{
    ON_DATASET(FAULT_READ, read_chunk, -EIO, id->flat, id, offset, buffer, length, version);
}

static int fault_write_chunk(void *handle, const struct dn_chunk_id *id, uint64_t offset,
                             const void *buffer, size_t length, struct dn_version *version)
{
    ON_DATASET(FAULT_WRITE, write_chunk, -EROFS, id->flat, id, offset, buffer, length, version);
}

static int fault_delete_chunk(void *handle, const struct dn_chunk_id *id)
{
    ON_DATASET(FAULT_DELETE_CHUNK, delete_chunk, -EROFS, id->flat, id);
}

static int fault_has_chunk(void *handle, const struct dn_chunk_id *id)
{
    ON_DATASET(FAULT_HAS_CHUNK, has_chunk, -ENOTSUP, id->flat, id);
}

static int fault_chunk_length(void *handle, const struct dn_chunk_id *id, uint64_t *nbytes)
{
    ON_DATASET(FAULT_LENGTH, chunk_length, -ENOTSUP, id->flat, id, nbytes);
}

static int fault_list_chunks(void *handle, dn_chunk_fn fn, void *arg)
{
    ON_DATASET(FAULT_LIST_CHUNKS, list_chunks, -ENOTSUP, FAULT_ANY, fn, arg);
}

static int fault_copy_chunk(void *from, void *handle, const struct dn_chunk_id *id)
{
    void *source = ((struct fault_dataset *)from)->handle;
    struct fault_dataset *dataset = handle;
    const struct dn_backend *inner = dataset->fault->inner;
    struct visit visit;
    int rc = 0;
    if (begin(&visit, dataset->fault, FAULT_COPY, id->flat))
        rc = inner->copy_chunk ? inner->copy_chunk(source, dataset->handle, id) : missing(-ENOTSUP);
    return end(&visit, rc);
}

static int fault_list_strays(void *handle, dn_name_fn fn, void *arg)
{
    ON_DATASET(FAULT_LIST_STRAYS, list_strays, inner->delete_strays ? -ENOTSUP : 0, FAULT_ANY, fn, arg);
}

static int fault_delete_strays(void *handle)
{
    ON_DATASET(FAULT_STRAYS, delete_strays, 0, FAULT_ANY);
}

static int fault_flush(void *handle)
{
    ON_DATASET(FAULT_FLUSH, flush, 0, FAULT_ANY);
}

extern const struct dn_backend dn_backend_fault;
const struct dn_backend dn_backend_fault = {
    .name = "fault",
    .summary = "another backend that fails on demand, for tests",
    .options = rows,
    .options_size = sizeof(struct fault_options),
    .abilities = DN_CAN_READ_RANGE | DN_CAN_WRITE_RANGE | DN_CAN_COMPARE | DN_DELETES_CHUNKS | DN_IS_PRIVATE,
    .connect = fault_connect,
    .disconnect = fault_disconnect,
    .limits = fault_limits,
    .thread_enter = fault_thread_enter,
    .thread_leave = fault_thread_leave,
    .list_datasets = fault_list_datasets,
    .rescan = fault_rescan,
    .create_dataset = fault_create_dataset,
    .open_dataset = fault_open_dataset,
    .same_dataset = fault_same_dataset,
    .has_dataset = fault_has_dataset,
    .close_dataset = fault_close_dataset,
    .delete_dataset = fault_delete_dataset,
    .rename_dataset = fault_rename_dataset,
    .read_chunk = fault_read_chunk,
    .write_chunk = fault_write_chunk,
    .delete_chunk = fault_delete_chunk,
    .has_chunk = fault_has_chunk,
    .chunk_length = fault_chunk_length,
    .list_chunks = fault_list_chunks,
    .copy_chunk = fault_copy_chunk,
    .list_strays = fault_list_strays,
    .delete_strays = fault_delete_strays,
    .flush = fault_flush,
    .usage = fault_usage,
};
