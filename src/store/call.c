// SPDX-License-Identifier: Apache-2.0
#include "call.h"

#include "checked.h"
#include "clock.h"
#include "log.h"
#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    enum stat_id counter;
    unsigned flags;
} rules[] = {
    [OP_LIST] = {"list_datasets", STAT_LISTS, 0},
    [OP_RESCAN] = {"rescan", STAT_LISTS, 0},
    [OP_CREATE] = {"create_dataset", STAT_META_REQUESTS, NOT_TWICE},
    [OP_OPEN] = {"open_dataset", STAT_META_REQUESTS, MAY_BE_ABSENT},
    [OP_HAS] = {"has_dataset", STAT_META_REQUESTS, MAY_BE_ONE},
    [OP_DELETE] = {"delete_dataset", STAT_META_REQUESTS, MAY_BE_ABSENT | GONE_IS_DONE},
    [OP_RENAME] = {"rename_dataset", STAT_META_REQUESTS, MAY_BE_ABSENT | MAY_BE_ONE | NOT_TWICE},
    [OP_USAGE] = {"usage", STAT_META_REQUESTS, 0},
    [OP_READ] = {"read_chunk", STAT_CHUNK_GETS, MAY_BE_ABSENT},
    [OP_WRITE] = {"write_chunk", STAT_CHUNK_PUTS, 0},
    [OP_DELETE_CHUNK] = {"delete_chunk", STAT_CHUNK_DELETES, MAY_BE_ABSENT | GONE_IS_DONE},
    [OP_DELETE_CHUNKS] = {"delete_chunks", STAT_CHUNK_DELETES, 0},
    [OP_HAS_CHUNK] = {"has_chunk", STAT_CHUNK_HAS, MAY_BE_ONE},
    [OP_LENGTH] = {"chunk_length", STAT_CHUNK_HAS, MAY_BE_ABSENT},
    [OP_LIST_CHUNKS] = {"list_chunks", STAT_LISTS, 0},
    [OP_COPY] = {"copy_chunk", STAT_CHUNK_COPIES, MAY_BE_ABSENT},
    [OP_LIST_STRAYS] = {"list_strays", STAT_LISTS, 0},
    [OP_STRAYS] = {"delete_strays", STAT_LISTS, 0},
    [OP_FLUSH] = {"flush", STAT_FLUSHES, 0},
};

struct call call_on_store(struct store *store, enum op op, const char *name)
{
    return (struct call){.store = store, .op = op, .flags = rules[op].flags, .name = name};
}

struct call call_on_dataset(struct store_dataset *dataset, enum op op, const struct dn_chunk_id *id)
{
    struct call call = call_on_store(dataset->store, op, dataset->name);
    call.id = id;
    return call;
}

const char *call_what(const struct call *call)
{
    return rules[call->op].name;
}

static int take_turn(struct store *store)
{
    unsigned most = store->limits.max_calls;
    if (most == 0)
        return 0;
    int64_t limit = clock_ns(store->settings.request_timeout), now = clock_now();
    int64_t deadline = limit > INT64_MAX - now ? INT64_MAX : now + limit;
    int rc = 0;
    pthread_mutex_lock(&store->mutex);
    while (store->calls >= most && rc == 0)
        rc = clock_wait(&store->turn, &store->mutex, deadline);
    if (store->calls < most) {
        store->calls++;
        rc = 0;
    }
    pthread_mutex_unlock(&store->mutex);
    if (rc == -ETIMEDOUT)
        return dn_fail(rc, "the store is busy: no call was free within %g s",
                       store->settings.request_timeout);
    return rc < 0 ? dn_fail(rc, "interrupted while waiting for the store") : 0;
}

static void give_turn(struct store *store)
{
    if (store->limits.max_calls == 0)
        return;
    pthread_mutex_lock(&store->mutex);
    store->calls--;
    pthread_cond_signal(&store->turn);
    pthread_mutex_unlock(&store->mutex);
}

static bool may_have_happened(int code)
{
    return code == -ETIMEDOUT || code == -ECONNRESET;
}

static bool worth_repeating(const struct call *call)
{
    if (call->result != -EAGAIN && !may_have_happened(call->result))
        return false;
    if ((call->flags & NOT_TWICE) && call->result != -EAGAIN)
        return false;
    return call->tries <= call->store->settings.retries;
}

/* What the store asked for: for no longer than a request may take, as those who wait count with. */
static int64_t asked_pause(const struct store *store)
{
    return (int64_t)min_u64((uint64_t)clock_ns(dn_retry_pause()),
                            (uint64_t)clock_ns(store->settings.request_timeout));
}

/* Half of the wait is fixed, half is chance, so that threads that failed together come back apart. */
static int back_off(struct call *call)
{
    int64_t wait = clock_ns(STORE_LONGEST_PAUSE);
    if (call->tries <= 7)
        wait = min_u64((uint64_t)wait, (uint64_t)clock_ns(STORE_FIRST_PAUSE) << (call->tries - 1));
    wait = wait / 2 + clock_now() % (wait / 2 + 1);
    if (wait < asked_pause(call->store))
        wait = asked_pause(call->store);
    log_debug("%s of %.200s: %s; trying again", call_what(call), call->name,
              dn_error_text(call->result));
    stats_add(call->store->stats, STAT_RETRIES, 1);
    return clock_sleep(wait) < 0 ? dn_fail(-EINTR, "interrupted while waiting to try again") : 0;
}

/* Answers that tell about the dataset or the store's nature, not about its health. */
static bool is_answer(int code)
{
    switch (code) {
    case -ENOENT:
    case -EEXIST:
    case -EINVAL:
    case -ENAMETOOLONG:
    case -ENOTSUP:
    case -EROFS:
    case -EXDEV:
    case -EINTR:
        return true;
    default:
        return code >= 0;
    }
}

/* The outcome is final: count a failure and put what it is about in front of its text. */
static void conclude(struct call *call)
{
    if (call->result >= 0)
        return;
    char index[DN_VECTOR_TEXT] = "";
    const char *why = dn_error_text(call->result);
    if (!is_answer(call->result))
        stats_add(call->store->stats, STAT_BACKEND_ERRORS, 1);
    if (call->result == -EAGAIN || call->result == -ECONNRESET)
        call->result = -EIO;
    if (call->id)
        dn_vector_format(call->id->index, call->id->ndim, ".", index, sizeof index);
    else if (strncmp(why, call->name, strlen(call->name)) == 0 && why[strlen(call->name)] == ':') {
        dn_fail(call->result, "%s", why); /* the backend has said what it is about */
        return;
    }
    dn_fail(call->result, "%.200s%s%s: %s", call->name, call->id ? " chunk " : "", index, why);
}

bool call_attempt(struct call *call)
{
    int rc = 0;
    if (call->tries > 0) {
        if (!worth_repeating(call)) {
            conclude(call);
            return false;
        }
        rc = back_off(call);
    }
    if (rc == 0)
        rc = take_turn(call->store);
    if (rc < 0) {
        call->result = rc;
        conclude(call);
        return false;
    }
    call->tries++;
    stats_add(call->store->stats, rules[call->op].counter, 1);
    dn_error_clear();
    return true;
}

/* What the backend said, if it may say that; else -EIO with a text. */
static int checked_result(const struct call *call, int rc)
{
    const char *what = call_what(call);
    if (rc > 0 && !(rc == 1 && (call->flags & MAY_BE_ONE)))
        return dn_fail(-EIO, "backend %s: %s returned %d", call->store->backend->name, what, rc);
    if (rc < -4095)
        return dn_fail(-EIO, "backend %s: %s returned %d, which is no errno",
                       call->store->backend->name, what, rc);
    if (rc == -ENOENT && !(call->flags & MAY_BE_ABSENT))
        return dn_fail(-EIO, "backend %s: %s says \"absent\", which it may not",
                       call->store->backend->name, what);
    return rc;
}

void call_finish(struct call *call, int rc)
{
    give_turn(call->store);
    if (rc == -ENOENT && call->unsure && (call->flags & GONE_IS_DONE))
        rc = 0;
    call->result = checked_result(call, rc);
    call->unsure |= may_have_happened(call->result);
}

int call_init_turns(struct store *store)
{
    int rc = clock_cond_init(&store->turn);
    if (rc < 0)
        return rc;
    rc = pthread_mutex_init(&store->mutex, NULL);
    if (rc != 0)
        pthread_cond_destroy(&store->turn);
    return -rc;
}

void call_free_turns(struct store *store)
{
    pthread_mutex_destroy(&store->mutex);
    pthread_cond_destroy(&store->turn);
}
