// SPDX-License-Identifier: Apache-2.0
#include "arena.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "checked.h"

#define PAGE 4096u
#define HUGE_PAGE (2u << 20)
#define MIN_SIZE PAGE /* smaller ones are malloc's */
#define STEPS 8 /* sizes per power of two */
#define SIZES (64 * STEPS)

/* Buffers of one size: slots of one range of addresses, the first `carved` of them ever used. */
struct size_class {
    unsigned char *base;
    size_t size;
    uint64_t slots, carved;
    uint32_t *kept, *cold; /* stacks of free slots: resident, and given back to the system */
    uint64_t nkept, ncold;
};

struct arena {
    uint64_t limit;
    uint64_t used, kept, charged;
    struct size_class *classes[SIZES];
};

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Which size a request belongs to; *size is what a buffer of it takes. */
static int class_of(size_t want, size_t *size)
{
    size_t unit;
    int octave, step;

    if (want < MIN_SIZE)
        want = MIN_SIZE;
    octave = 63 - __builtin_clzll(want);
    unit = ((size_t)1 << octave) / STEPS;
    step = (int)((want - ((size_t)1 << octave) + unit - 1) / unit);
    if (step == STEPS) {
        octave++;
        step = 0;
        unit *= 2;
    }
    *size = ((size_t)1 << octave) + (size_t)step * unit;
    *size = round_up(*size, PAGE);
    return octave * STEPS + step;
}

int arena_create(uint64_t limit, struct arena **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return -ENOMEM;
    (*out)->limit = limit;
    return 0;
}

static void class_free(struct size_class *class)
{
    if (!class)
        return;
    if (class->base)
        munmap(class->base, class->slots * class->size);
    free(class->kept);
    free(class->cold);
    free(class);
}

void arena_destroy(struct arena *arena)
{
    if (!arena)
        return;
    for (int i = 0; i < SIZES; i++)
        class_free(arena->classes[i]);
    free(arena);
}

/* Huge pages make the first touch cheap. They are asked for only where a slot is large enough that few
   slots share one, so that what is resident stays close to what is counted. */
static struct size_class *class_new(uint64_t limit, size_t size)
{
    struct size_class *class = calloc(1, sizeof *class);

    if (!class)
        return NULL;
    class->size = size;
    class->slots = min_u64(max_u64(limit / size, 1), UINT32_MAX);
    class->kept = malloc(class->slots * sizeof *class->kept);
    class->cold = malloc(class->slots * sizeof *class->cold);
    class->base = mmap(NULL, class->slots * size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (class->base == MAP_FAILED)
        class->base = NULL;
    if (!class->base || !class->kept || !class->cold) {
        class_free(class);
        return NULL;
    }
    madvise(class->base, class->slots * size, MADV_DONTFORK); /* no child of ours looks at chunks */
    if (size >= HUGE_PAGE / 16)
        madvise(class->base, class->slots * size, MADV_HUGEPAGE);
    return class;
}

static void cool_one(struct arena *arena, struct size_class *class)
{
    uint32_t slot = class->kept[--class->nkept];

    madvise(class->base + slot * class->size, class->size, MADV_DONTNEED);
    class->cold[class->ncold++] = slot;
    arena->kept -= class->size;
}

static void cool(struct arena *arena, uint64_t need)
{
    for (int i = SIZES - 1; i >= 0; i--) {
        struct size_class *class = arena->classes[i];

        while (class && class->nkept && arena_held(arena) + need > arena->limit)
            cool_one(arena, class);
    }
}

/* A page is too much for a small chunk. malloc's own bookkeeping counts too. */
static size_t small_size(size_t want)
{
    return round_up(want + 2 * sizeof(void *), 2 * sizeof(void *));
}

static void *take_small(struct arena *arena, size_t want, uint64_t spare)
{
    size_t size = small_size(want);
    void *buffer;

    if (arena->used + arena->charged + size + spare > arena->limit)
        return NULL;
    cool(arena, size);
    buffer = malloc(want);
    if (buffer)
        arena->used += size;
    return buffer;
}

static void *take_slot(struct arena *arena, size_t want, uint64_t spare)
{
    size_t size;
    int index = class_of(want, &size);
    struct size_class *class = arena->classes[index];

    if (arena->used + arena->charged + size + spare > arena->limit)
        return NULL;
    if (!class) {
        class = arena->classes[index] = class_new(arena->limit, size);
        if (!class)
            return NULL;
    }
    if (class->nkept) {
        arena->kept -= size;
        arena->used += size;
        return class->base + class->kept[--class->nkept] * size;
    }
    cool(arena, size);
    if (arena_held(arena) + size > arena->limit)
        return NULL;
    if (!class->ncold && class->carved == class->slots)
        return NULL;
    arena->used += size;
    return class->base + (class->ncold ? class->cold[--class->ncold] : class->carved++) * size;
}

void *arena_take(struct arena *arena, size_t size, uint64_t spare)
{
    return size < PAGE ? take_small(arena, size, spare) : take_slot(arena, size, spare);
}

static void give_slot(struct arena *arena, unsigned char *buffer, size_t want)
{
    size_t size;
    struct size_class *class = arena->classes[class_of(want, &size)];

    class->kept[class->nkept++] = (uint32_t)((buffer - class->base) / size);
    arena->used -= size;
    arena->kept += size;
}

void arena_give(struct arena *arena, void *buffer, size_t size)
{
    if (!buffer)
        return;
    if (size >= PAGE) {
        give_slot(arena, buffer, size);
        return;
    }
    arena->used -= small_size(size);
    free(buffer);
}

void arena_charge(struct arena *arena, int64_t bytes)
{
    arena->charged += (uint64_t)bytes;
    cool(arena, 0);
}

uint64_t arena_used(const struct arena *arena)
{
    return arena->used + arena->charged;
}

uint64_t arena_held(const struct arena *arena)
{
    return arena->used + arena->kept + arena->charged;
}
