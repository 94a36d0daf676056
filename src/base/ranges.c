// SPDX-License-Identifier: Apache-2.0
#include "ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct range *items(const struct ranges *set)
{
    return set->room ? set->heap : (struct range *)set->small;
}

static int reserve(struct ranges *set, size_t count)
{
    if (count <= (set->room ? set->room : RANGES_INLINE))
        return 0;

    size_t room = 2 * count;
    struct range *heap = realloc(set->heap, room * sizeof *heap);
    if (!heap)
        return -ENOMEM;
    if (!set->room)
        memcpy(heap, set->small, sizeof set->small);
    set->heap = heap;
    set->room = room;
    return 0;
}

/** The first interval that ends at or after `at`. */
static size_t first_reaching(const struct ranges *set, uint64_t at)
{
    const struct range *list = items(set);
    size_t lo = 0, hi = set->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (list[mid].hi < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/** The first interval that holds a number above `at`. */
static size_t first_beyond(const struct ranges *set, uint64_t at)
{
    size_t i = first_reaching(set, at);

    return i < set->count && items(set)[i].hi == at ? i + 1 : i;
}

/** Put `count` intervals in the place of those from `from` up to `to`. */
static int splice(struct ranges *set, size_t from, size_t to, const struct range *with, size_t count)
{
    size_t total = set->count - (to - from) + count;
    int code = reserve(set, total);

    if (code != 0)
        return code;
    struct range *list = items(set);
    memmove(list + from + count, list + to, (set->count - to) * sizeof *list);
    if (count > 0)
        memcpy(list + from, with, count * sizeof *list);
    set->count = total;
    return 0;
}

void ranges_clear(struct ranges *set)
{
    free(set->heap);
    *set = (struct ranges){ 0 };
}

int ranges_add(struct ranges *set, uint64_t lo, uint64_t hi)
{
    if (lo >= hi)
        return 0;

    const struct range *list = items(set);
    size_t from = first_reaching(set, lo), to = from;
    struct range sum = { lo, hi };
    for (; to < set->count && list[to].lo <= hi; to++) {
        sum.lo = list[to].lo < sum.lo ? list[to].lo : sum.lo;
        sum.hi = list[to].hi > sum.hi ? list[to].hi : sum.hi;
    }
    return splice(set, from, to, &sum, 1);
}

int ranges_remove(struct ranges *set, uint64_t lo, uint64_t hi)
{
    if (lo >= hi)
        return 0;

    const struct range *list = items(set);
    size_t from = first_beyond(set, lo), to = from, count = 0;
    struct range rest[2];
    for (; to < set->count && list[to].lo < hi; to++) {
        if (list[to].lo < lo)
            rest[count++] = (struct range){ list[to].lo, lo };
        if (list[to].hi > hi)
            rest[count++] = (struct range){ hi, list[to].hi };
    }
    return splice(set, from, to, rest, count);
}

void ranges_set(struct ranges *set, uint64_t lo, uint64_t hi)
{
    set->count = lo < hi;
    items(set)[0] = (struct range){ lo, hi };
}

void ranges_cut(struct ranges *set, uint64_t lo)
{
    struct range *list = items(set);

    while (set->count > 0 && list[set->count - 1].lo >= lo)
        set->count--;
    if (set->count > 0 && list[set->count - 1].hi > lo)
        list[set->count - 1].hi = lo;
}

bool ranges_cover(const struct ranges *set, uint64_t lo, uint64_t hi)
{
    struct range gap;

    return !ranges_gap(set, lo, hi, &gap);
}

bool ranges_touch(const struct ranges *set, uint64_t lo, uint64_t hi)
{
    size_t i = first_beyond(set, lo);

    return lo < hi && i < set->count && items(set)[i].lo < hi;
}

bool ranges_gap(const struct ranges *set, uint64_t lo, uint64_t hi, struct range *gap)
{
    size_t i = first_beyond(set, lo);
    const struct range *list = items(set);

    if (i < set->count && list[i].lo <= lo)
        lo = list[i++].hi;
    if (lo >= hi)
        return false;
    gap->lo = lo;
    gap->hi = i < set->count && list[i].lo < hi ? list[i].lo : hi;
    return true;
}

struct range ranges_at(const struct ranges *set, size_t i)
{
    return items(set)[i];
}

uint64_t ranges_total(const struct ranges *set)
{
    uint64_t total = 0;

    for (size_t i = 0; i < set->count; i++)
        total += items(set)[i].hi - items(set)[i].lo;
    return total;
}
