// SPDX-License-Identifier: Apache-2.0
#include "prefetch.h"

#include <string.h>

#include "checked.h"

#define MIN_SLACK (256u << 10)
#define MAX_STRIDES 1024 /* looked ahead; many strides share their blocks */
#define STRIDES_PER_STRIDE 4 /* looked ahead for each that was read */

/* Readers arrive out of order and skip a little: that close still continues a stream. */
static uint64_t slack(uint64_t a, uint64_t b)
{
    return max_u64(4 * (b - a), MIN_SLACK);
}

static bool near_offset(uint64_t x, uint64_t y, uint64_t within)
{
    return (x > y ? x - y : y - x) <= within;
}

/* How many strides after the last access [a, b) is; 0: it is not. It need only touch what is expected there: the
 * kernel reads around the page that it wants. It may leave out some: those the kernel has. */
static uint64_t strides_after(const struct stream *s, uint64_t a, uint64_t b)
{
    int64_t far = (int64_t)(a - s->last), half = s->stride / 2, n, off;

    if (s->kind != STREAM_STRIDED || !s->stride)
        return 0;
    n = (far + ((far > 0) == (half > 0) ? half : -half)) / s->stride;
    off = far - n * s->stride;
    if (n < 1 || (uint64_t)n > max_u64(1, s->ahead))
        return 0;
    return off < (int64_t)s->size && -off < (int64_t)(b - a) ? (uint64_t)n : 0;
}

/* Kinds that are established come first: a plane's rows may lie near another reader's position. */
static struct stream *match(struct prefetch *p, uint64_t a, uint64_t b)
{
    uint64_t within = slack(a, b);
    struct stream *best = NULL;

    for (int i = 0; i < PREFETCH_STREAMS; i++) {
        struct stream *s = &p->stream[i];

        if (s->used && strides_after(s, a, b))
            return s;
    }
    for (int i = 0; i < PREFETCH_STREAMS; i++) {
        struct stream *s = &p->stream[i];
        bool fits;

        if (!s->used || s->kind == STREAM_STRIDED)
            continue;
        fits = s->kind == STREAM_BACKWARD ? near_offset(b, s->low, within)
                                          : near_offset(a, s->high, within);
        if (s->kind == STREAM_NEW)
            fits = fits || near_offset(b, s->low, within);
        if (fits && (!best || s->used > best->used))
            best = s;
    }
    return best;
}

/* The lone access that came last. */
static struct stream *newest_lone(struct prefetch *p)
{
    struct stream *newest = NULL;

    for (int i = 0; i < PREFETCH_STREAMS; i++) {
        struct stream *s = &p->stream[i];

        if (s->used && s->kind == STREAM_NEW && (!newest || s->used > newest->used))
            newest = s;
    }
    return newest;
}

/* A lone access at `a` was the first of a stride: nobody goes on from there. */
static void forget_lone(struct prefetch *p, uint64_t a)
{
    for (int i = 0; i < PREFETCH_STREAMS; i++)
        if (p->stream[i].kind == STREAM_NEW && p->stream[i].last == a)
            memset(&p->stream[i], 0, sizeof p->stream[i]);
}

static struct stream *replace_oldest(struct prefetch *p)
{
    struct stream *oldest = &p->stream[0];

    for (int i = 1; i < PREFETCH_STREAMS; i++)
        if (p->stream[i].used < oldest->used)
            oldest = &p->stream[i];
    memset(oldest, 0, sizeof *oldest);
    return oldest;
}

/* A lone access that lies apart from everything: the first of a stream, or the next of a stride. */
static struct stream *begin_or_stride(struct prefetch *p, uint64_t a, uint64_t b)
{
    struct stream *s = newest_lone(p);
    int64_t stride = s ? (int64_t)(a - s->last) : 0;

    if (s && stride == s->stride) {
        forget_lone(p, s->last - (uint64_t)stride);
        s->kind = STREAM_STRIDED;
        s->cursor = a + (uint64_t)stride;
        s->ahead = STRIDES_PER_STRIDE;
        s->last = a;
        s->size = b - a;
        return s;
    }
    s = replace_oldest(p);
    s->low = s->last = a;
    s->high = b;
    s->size = b - a;
    s->stride = stride;
    /* From the very start a file is read to its end more often than not. */
    if (a == 0) {
        s->kind = STREAM_FORWARD;
        s->ahead = 1;
    }
    return s;
}

static void continue_stride(struct stream *s, uint64_t a, uint64_t b)
{
    uint64_t n = strides_after(s, a, b);

    s->ahead = min_u64(s->ahead + n * STRIDES_PER_STRIDE, MAX_STRIDES);
    /* Of a row and what the kernel reads around it, the row is what is wanted of the next, too. */
    if (b - a > s->size) {
        s->last += n * (uint64_t)s->stride;
        return;
    }
    s->last = a;
    s->size = b - a;
}

static void continue_stream(struct stream *s, uint64_t a, uint64_t b, uint64_t budget)
{
    if (s->kind == STREAM_NEW && a < s->last) {
        s->kind = STREAM_BACKWARD;
        s->cursor = UINT64_MAX;
    } else if (s->kind == STREAM_NEW || (s->kind == STREAM_BACKWARD && a >= s->high)) {
        /* Or the first two came out of order. */
        s->kind = STREAM_FORWARD;
        s->cursor = 0;
    }
    if (s->kind == STREAM_FORWARD) {
        s->high = max_u64(s->high, b);
        s->low = a;
    } else if (s->kind == STREAM_BACKWARD) {
        s->low = min_u64(s->low, a);
    }
    s->ahead = s->ahead ? min_u64(s->ahead * 2, budget) : 1;
    s->last = a;
    s->size = b - a;
}

static uint64_t flat_start(const struct grid *grid, uint64_t number)
{
    struct block_box block;
    uint64_t offset = 0;

    grid_block(grid, number, &block);
    for (int i = 0; i < grid->ndim; i++)
        offset += block.start[i] * grid->stride[i];
    return offset;
}

/* Blocks that a forward reader whose last byte is in block `here` has a use for: the slab rule of the header. */
static uint64_t forward_target(const struct grid *grid, uint64_t b, uint64_t here, uint64_t lead)
{
    uint64_t in_slab = grid_slab_blocks(grid);
    uint64_t slab = here / in_slab;
    double read = (double)(b - flat_start(grid, slab * in_slab)) / (double)grid_slab_bytes(grid);

    return (slab + 1) * in_slab + (uint64_t)(read * (double)in_slab) + lead;
}

static struct prefetch_plan plan_forward(struct stream *s, const struct grid *grid, uint64_t lead)
{
    struct prefetch_plan plan = {.stream = s};
    uint64_t here = grid_block_at(grid, s->high - 1);

    plan.first = max_u64(s->cursor, here + 1);
    plan.last = min_u64(forward_target(grid, s->high, here, lead), here + 1 + s->ahead);
    plan.last = min_u64(plan.last, grid_block_count(grid));
    if (plan.first >= plan.last)
        plan.stream = NULL;
    return plan;
}

static struct prefetch_plan plan_backward(struct stream *s, const struct grid *grid, uint64_t lead)
{
    struct prefetch_plan plan = {.stream = s, .down = true};
    uint64_t here = grid_block_at(grid, s->low);
    uint64_t reach = min_u64(s->ahead, 2 * grid_slab_blocks(grid) + lead);

    plan.last = min_u64(s->cursor, here);
    plan.first = here > reach ? here - reach : 0;
    if (plan.first >= plan.last)
        plan.stream = NULL;
    return plan;
}

/* Strides that stay inside the array, from the cursor to `ahead` strides past the last access. */
static struct prefetch_plan plan_strided(struct stream *s, const struct grid *grid)
{
    struct prefetch_plan plan = {.stream = s, .strided = true, .stride = s->stride, .size = s->size};
    uint64_t step = s->stride > 0 ? (uint64_t)s->stride : -(uint64_t)s->stride;
    int64_t beyond = (int64_t)(s->cursor - s->last); /* the cursor may have passed either end of the array */
    uint64_t room = (s->stride > 0 ? grid->nbytes - 1 - s->last : s->last) / step, issued;

    if (s->stride < 0)
        beyond = -beyond;
    issued = beyond > 0 ? (uint64_t)beyond / step : 1;
    room = min_u64(room, s->ahead);
    if (issued > room) {
        plan.stream = NULL;
        return plan;
    }
    plan.offset = s->last + issued * (uint64_t)s->stride;
    plan.count = room - issued + 1;
    return plan;
}

static struct prefetch_plan make_plan(struct stream *s, const struct grid *grid, uint64_t lead)
{
    switch (s->kind) {
    case STREAM_FORWARD:
        return plan_forward(s, grid, lead);
    case STREAM_BACKWARD:
        return plan_backward(s, grid, lead);
    case STREAM_STRIDED:
        return plan_strided(s, grid);
    case STREAM_NEW:
        break;
    }
    return (struct prefetch_plan){0};
}

struct prefetch_plan prefetch_decide(struct prefetch *prefetch, const struct grid *grid, uint64_t a,
                                     uint64_t b, uint64_t lead, uint64_t budget)
{
    struct stream *s = match(prefetch, a, b);
    struct prefetch_plan plan = {0};

    prefetch->accesses++;
    if (s && s->kind == STREAM_STRIDED)
        continue_stride(s, a, b);
    else if (s)
        continue_stream(s, a, b, budget);
    else
        s = begin_or_stride(prefetch, a, b);
    s->used = prefetch->accesses;
    if (s->ahead && budget)
        plan = make_plan(s, grid, lead);
    plan.known = s->kind != STREAM_NEW;
    return plan;
}

void prefetch_issued(struct prefetch_plan *plan, uint64_t next)
{
    plan->stream->cursor = next;
}

void prefetch_wasted(struct prefetch *prefetch)
{
    for (int i = 0; i < PREFETCH_STREAMS; i++)
        prefetch->stream[i].ahead = (prefetch->stream[i].ahead + 1) / 2;
}
