// SPDX-License-Identifier: Apache-2.0
#include "torture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MOST_LIVE 65536

static struct {
    bool on;
    int until_failure; /* allocations that still succeed */
    bool failed;
    size_t live;
    void *blocks[MOST_LIVE];
} state;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *block);

static bool fails(void)
{
    if (!state.on || state.until_failure-- != 0)
        return false;
    state.failed = true;
    return true;
}

static void forget(const void *block)
{
    for (size_t i = 0; block && i < state.live; i++) {
        if (state.blocks[i] == block) {
            state.blocks[i] = state.blocks[--state.live];
            return;
        }
    }
}

static void *remember(void *block)
{
    if (state.on && block && state.live < MOST_LIVE)
        state.blocks[state.live++] = block;
    return block;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : remember(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : remember(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    if (fails())
        return NULL;
    forget(block);
    return remember(__real_realloc(block, size));
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : remember(__real_strdup(text));
}

void __wrap_free(void *block)
{
    forget(block);
    __real_free(block);
}

static int run_all(int (*fn)(void *arg), void *arg, bool may_cope)
{
    for (int good = 0;; good++) {
        state.on = true;
        state.until_failure = good;
        state.failed = false;
        state.live = 0;
        int code = fn(arg);
        state.on = false;
        if (!may_cope || code != 0)
            assert_int_equal(code, state.failed ? -ENOMEM : 0);
        assert_int_equal(state.live, 0);
        if (!state.failed)
            return good;
    }
}

int torture(int (*fn)(void *arg), void *arg)
{
    return run_all(fn, arg, false);
}

int torture_coping(int (*fn)(void *arg), void *arg)
{
    return run_all(fn, arg, true);
}
