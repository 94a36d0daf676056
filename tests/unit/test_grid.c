// SPDX-License-Identifier: Apache-2.0
/*
 * Geometry against a model that looks at every byte of small random arrays; then arrays near the
 * limits, for which there are only the laws that bind the functions to each other.
 *
 * The model knows the definition alone: a block is what lies between two starts of pieces in a
 * chunk's bytes, and blocks are numbered as a reader of the flat file first meets them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "box.h"
#include "grid.h"
#include "random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES 4096
#define NEVER     UINT64_MAX

/* --- the model ---------------------------------------------------------------------- */

struct place {
    uint64_t chunk, piece; /* which block */
    uint64_t number;       /* its number */
    uint64_t offset;       /* in the block */
};

struct model {
    const struct grid *grid;
    struct place at[MAX_BYTES]; /* of each byte of the flat file */
    uint64_t *piece_of;         /* of each byte of a chunk, and where that piece starts */
    uint64_t *piece_start;
    uint64_t pieces, largest;
    uint64_t *number; /* of each piece of each chunk; NEVER: in the padding */
    uint64_t blocks;
    uint64_t first[MAX_BYTES], last[MAX_BYTES],
        bytes[MAX_BYTES];       /* of each block: flat offsets, how many */
    uint64_t nbytes[MAX_BYTES]; /* in memory */
};

static void position(int ndim, const uint64_t *extent, uint64_t flat, uint64_t *x)
{
    for (int i = ndim - 1; i >= 0; i--) {
        x[i] = flat % extent[i];
        flat /= extent[i];
    }
}

static void model_chunk(struct model *model, int axis, uint64_t step)
{
    const struct grid *grid = model->grid;
    uint64_t start = 0, x[DN_MAX_NDIM];

    model->pieces = model->largest = 0;
    for (uint64_t o = 0; o < grid->chunk_nbytes; o++) {
        bool begins = true;

        position(grid->ndim, grid->chunk, o, x);
        for (int i = axis; i < grid->ndim; i++)
            begins = begins && (i == axis ? x[i] % step : x[i]) == 0;
        if (begins) {
            start = o;
            model->pieces++;
        }
        model->piece_of[o] = model->pieces - 1;
        model->piece_start[o] = start;
        if (o - start + 1 > model->largest)
            model->largest = o - start + 1;
    }
}

static uint64_t piece_nbytes(const struct model *model, uint64_t piece)
{
    uint64_t n = 0;

    for (uint64_t o = 0; o < model->grid->chunk_nbytes; o++)
        n += model->piece_of[o] == piece;
    return n;
}

static void model_place(struct model *model, uint64_t flat)
{
    const struct grid *grid = model->grid;
    struct place *at = &model->at[flat];
    uint64_t x[DN_MAX_NDIM], inner = 0, *number;

    position(grid->ndim, grid->shape, flat, x);
    at->chunk = 0;
    for (int i = 0; i < grid->ndim; i++) {
        uint64_t chunks = (grid->shape[i] + grid->chunk[i] - 1) / grid->chunk[i];

        at->chunk = at->chunk * chunks + x[i] / grid->chunk[i];
        inner = inner * grid->chunk[i] + x[i] % grid->chunk[i];
    }
    at->piece = model->piece_of[inner];
    at->offset = inner - model->piece_start[inner];
    number = &model->number[at->chunk * model->pieces + at->piece];
    if (*number == NEVER) {
        *number = model->blocks++;
        model->first[*number] = flat;
        model->bytes[*number] = 0;
        model->nbytes[*number] = piece_nbytes(model, at->piece);
    }
    at->number = *number;
    model->last[*number] = flat;
    model->bytes[*number]++;
}

static void model_clear(struct model *model)
{
    free(model->piece_of);
    free(model->piece_start);
    free(model->number);
}

static void model_make(struct model *model, const struct grid *grid, int axis, uint64_t step)
{
    model->grid = grid;
    model->piece_of = calloc(grid->chunk_nbytes, sizeof(uint64_t));
    model->piece_start = calloc(grid->chunk_nbytes, sizeof(uint64_t));
    assert_non_null(model->piece_of);
    assert_non_null(model->piece_start);
    model_chunk(model, axis, step);
    model->number = malloc(grid->nchunks * model->pieces * sizeof(uint64_t));
    assert_non_null(model->number);
    memset(model->number, 0xff, grid->nchunks * model->pieces * sizeof(uint64_t));
    model->blocks = 0;
    for (uint64_t f = 0; f < grid->nbytes; f++)
        model_place(model, f);
}

/* The fewest blocks from the first on that are one range of the flat file; that range, and their
 * memory. */
static uint64_t model_slab(const struct model *model, uint64_t *bytes, uint64_t *memory)
{
    uint64_t end = 0, n = 0;

    *bytes = *memory = 0;
    do {
        *bytes += model->bytes[n];
        *memory += model->nbytes[n];
        if (model->last[n] + 1 > end)
            end = model->last[n] + 1;
        n++;
    } while (end != *bytes);
    return n;
}

/* --- checks of one array ------------------------------------------------------------ */

static void assert_same_block(const struct grid *grid, const struct block_box *a,
                              const struct block_box *b)
{
    size_t size = (size_t)grid->ndim * sizeof(uint64_t);

    assert_int_equal(a->chunk, b->chunk);
    assert_int_equal(a->piece, b->piece);
    assert_int_equal(a->chunk_offset, b->chunk_offset);
    assert_int_equal(a->nbytes, b->nbytes);
    assert_memory_equal(a->start, b->start, size);
    assert_memory_equal(a->extent, b->extent, size);
    assert_memory_equal(a->inside, b->inside, size);
}

static bool inside(const struct grid *grid, const uint64_t *start, const uint64_t *count,
                   const uint64_t *x)
{
    for (int i = 0; i < grid->ndim; i++)
        if (x[i] < start[i] || x[i] - start[i] >= count[i])
            return false;
    return true;
}

static uint64_t product(int ndim, const uint64_t *x)
{
    uint64_t n = 1;

    for (int i = 0; i < ndim; i++)
        n *= x[i];
    return n;
}

static void check_blocks(const struct model *model)
{
    const struct grid *grid = model->grid;
    struct block_box block, same;
    uint64_t x[DN_MAX_NDIM], seen = 0;

    assert_int_equal(grid_block_count(grid), model->blocks);
    assert_int_equal(grid->blocks_per_chunk, model->pieces);
    assert_int_equal(grid->block_nbytes, model->largest);
    for (uint64_t n = 0; n < model->blocks; n++) {
        const struct place *at = &model->at[model->first[n]];

        grid_block(grid, n, &block);
        assert_int_equal(block.chunk, at->chunk);
        assert_int_equal(block.piece, at->piece);
        assert_int_equal(block.nbytes, model->nbytes[n]);
        assert_int_equal(block.nbytes, product(grid->ndim, block.extent));
        assert_int_equal(model->piece_start[block.chunk_offset], block.chunk_offset);
        assert_int_equal(model->piece_of[block.chunk_offset], block.piece);
        assert_int_equal(product(grid->ndim, block.inside), model->bytes[n]);
        seen += model->bytes[n];
    }
    assert_int_equal(seen, grid->nbytes);
    for (uint64_t f = 0; f < grid->nbytes; f++) {
        assert_int_equal(grid_block_at(grid, f), model->at[f].number);
        grid_block(grid, model->at[f].number, &block);
        position(grid->ndim, grid->shape, f, x);
        assert_true(inside(grid, block.start, block.inside, x));
        assert_int_equal(grid_block_offset(grid, &block, x), model->at[f].offset);
    }
    for (uint64_t i = 0; i < grid->nchunks * model->pieces; i++) {
        bool real = model->number[i] != NEVER;

        assert_int_equal(grid_chunk_block(grid, i / model->pieces, i % model->pieces, &same), real);
        if (real) {
            grid_block(grid, model->number[i], &block);
            assert_same_block(grid, &block, &same);
        }
    }
    for (uint64_t c = 0; c < grid->nchunks; c++) {
        grid_chunk_index(grid, c, x);
        assert_int_equal(grid_chunk_number(grid, x), c);
    }
}

static void check_slab(const struct model *model)
{
    uint64_t bytes, memory;

    assert_int_equal(grid_slab_blocks(model->grid), model_slab(model, &bytes, &memory));
    assert_int_equal(grid_slab_bytes(model->grid), bytes);
    assert_int_equal(grid_slab_memory(model->grid), memory);
}

/* Every offset, against its own block, its neighbours and some others. */
static void check_lower(const struct model *model)
{
    const struct grid *grid = model->grid;
    uint64_t lower[MAX_BYTES];

    for (uint64_t n = 0; n < model->blocks; n++)
        lower[n] = model->nbytes[n];
    for (uint64_t f = grid->nbytes;; f--) {
        struct block_box block;
        uint64_t own = model->at[f < grid->nbytes ? f : f - 1].number;

        if (f < grid->nbytes)
            lower[own] = model->at[f].offset;
        for (int i = -1; i < 6; i++) {
            uint64_t n = i < 2 ? own + (uint64_t)i : between_u64(0, model->blocks - 1);

            if (n >= model->blocks)
                continue;
            grid_block(grid, n, &block);
            assert_int_equal(grid_block_lower(grid, &block, f), lower[n]);
        }
        if (f == 0)
            break;
    }
}

static void check_flat_boxes(const struct grid *grid, uint64_t offset, uint64_t length)
{
    struct slab_box boxes[GRID_MAX_BOXES];
    int n = grid_flat_boxes(grid, offset, length, boxes);
    uint64_t f = offset;

    assert_true(n <= 2 * grid->ndim - 1);
    for (int b = 0; b < n; b++) {
        uint64_t volume = product(grid->ndim, boxes[b].count), x[DN_MAX_NDIM];

        assert_true(volume > 0);
        for (uint64_t v = 0; v < volume; v++, f++) {
            uint64_t flat = 0;

            position(grid->ndim, boxes[b].count, v, x);
            for (int i = 0; i < grid->ndim; i++)
                flat = flat * grid->shape[i] + boxes[b].start[i] + x[i];
            assert_int_equal(flat, f);
        }
    }
    assert_int_equal(f, offset + length);
}

/* A part of a block: its range, and the bytes of that range that it does not hold. */
static void check_part_range(const struct model *model, const struct grid_walk *walk,
                             uint64_t number)
{
    const struct grid *grid = model->grid;
    uint64_t lo, hi, want_lo = NEVER, want_hi = model->nbytes[number], last = 0, others = 0,
                     x[DN_MAX_NDIM];
    bool exact;

    grid_part_range(grid, &walk->block, &walk->part, &lo, &hi, &exact);
    for (uint64_t f = model->first[number]; f <= model->last[number]; f++) {
        position(grid->ndim, grid->shape, f, x);
        if (model->at[f].number != number || !inside(grid, walk->part.start, walk->part.count, x))
            continue;
        if (want_lo == NEVER)
            want_lo = model->at[f].offset;
        last = f;
    }
    for (uint64_t f = model->last[number]; f > last; f--)
        if (model->at[f].number == number)
            want_hi = model->at[f].offset;
    for (uint64_t f = model->first[number]; f <= model->last[number]; f++) {
        position(grid->ndim, grid->shape, f, x);
        others += model->at[f].number == number && model->at[f].offset >= want_lo &&
                  model->at[f].offset < want_hi &&
                  !inside(grid, walk->part.start, walk->part.count, x);
    }
    assert_int_equal(lo, want_lo);
    assert_int_equal(hi, want_hi);
    assert_int_equal(exact, others == 0);
}

static void check_walk(const struct model *model, const struct slab_box *box)
{
    const struct grid *grid = model->grid;
    struct grid_walk walk = {.ready = false};
    struct block_box block;
    uint64_t walked = 0, held = 0, next = 0;

    while (grid_walk_next(grid, box, &walk)) {
        uint64_t flat = 0, number;

        for (int i = 0; i < grid->ndim; i++)
            flat = flat * grid->shape[i] + walk.part.start[i];
        number = model->at[flat].number;
        assert_true(number >= next);
        next = number + 1;
        grid_block(grid, number, &block);
        assert_same_block(grid, &walk.block, &block);
        for (int i = 0; i < grid->ndim; i++) {
            assert_true(walk.part.count[i] > 0);
            assert_true(walk.part.start[i] >= box->start[i] &&
                        walk.part.start[i] >= block.start[i]);
            assert_true(walk.part.start[i] + walk.part.count[i] <= box->start[i] + box->count[i]);
            assert_true(walk.part.start[i] + walk.part.count[i] <=
                        block.start[i] + block.inside[i]);
        }
        held += product(grid->ndim, walk.part.count);
        check_part_range(model, &walk, number);
        walked++;
    }
    /* Disjoint blocks, parts inside box and block: with the volumes equal they are the box. */
    assert_int_equal(held, product(grid->ndim, box->count));
    assert_int_equal(walked, grid_box_blocks(grid, box));
}

static void random_box(const struct grid *grid, struct slab_box *box)
{
    for (int i = 0; i < grid->ndim; i++) {
        box->start[i] = between_u64(0, grid->shape[i] - 1);
        box->count[i] = between_u64(1, grid->shape[i] - box->start[i]);
        if (between_u64(0, 3) == 0) {
            box->start[i] = 0;
            box->count[i] = grid->shape[i];
        }
    }
}

static void check_array(const struct grid *grid)
{
    static struct model model;
    struct slab_box box;

    assert_true(grid->nbytes <= MAX_BYTES);
    model_make(&model, grid, grid->axis, grid->step);
    check_blocks(&model);
    check_slab(&model);
    check_lower(&model);
    check_flat_boxes(grid, 0, 0);
    check_flat_boxes(grid, 0, grid->nbytes);
    for (int i = 0; i < 30; i++) {
        uint64_t offset = between_u64(0, grid->nbytes - 1);

        check_flat_boxes(grid, offset, between_u64(1, grid->nbytes - offset));
    }
    for (int i = 0; i < 6; i++) {
        random_box(grid, &box);
        check_walk(&model, &box);
    }
    model_clear(&model);
}

/* Would a cut in pieces of `step` along `axis` keep to the bounds? */
static bool cut_fits(const struct grid *grid, int axis, uint64_t step, uint64_t budget,
                     uint64_t largest)
{
    static struct model model;
    uint64_t bytes, memory;
    bool fits;

    model_make(&model, grid, axis, step);
    model_slab(&model, &bytes, &memory);
    fits = memory <= budget && model.largest <= largest;
    model_clear(&model);
    return fits;
}

static void check_cut(const struct grid *grid, uint64_t budget, uint64_t largest)
{
    int last = grid->ndim - 1;
    uint64_t unit = grid->axis == last ? grid->itemsize : 1;
    uint64_t extent = grid->chunk[grid->axis] / unit;
    uint64_t pieces = (grid->chunk[grid->axis] + grid->step - 1) / grid->step;

    assert_in_range(grid->step, unit, grid->chunk[grid->axis]);
    assert_int_equal(grid->step % unit, 0);
    for (int i = 0; i < grid->axis; i++)
        assert_false(cut_fits(grid, i, 1, budget, largest));
    if (budget < grid->itemsize || largest < grid->itemsize) {
        assert_int_equal(grid->axis, last);
        assert_true(grid->step == grid->itemsize || grid->step <= largest);
        return;
    }
    assert_true(cut_fits(grid, grid->axis, grid->step, budget, largest));
    if (pieces > 1) /* fewer pieces would not have done */
        assert_false(cut_fits(grid, grid->axis, (extent + pieces - 2) / (pieces - 1) * unit, budget,
                              largest));
}

/* --- random arrays ------------------------------------------------------------------ */

static void random_desc(struct dn_desc *desc)
{
    static const uint32_t sizes[] = {1, 1, 2, 3, 4, 8};
    uint64_t room, chunk_room;

    memset(desc, 0, sizeof(*desc));
    desc->ndim = (int)between_u64(1, 6);
    desc->dtype.itemsize = sizes[between_u64(0, 5)];
    room = between_u64(desc->dtype.itemsize, 1500) / desc->dtype.itemsize;
    chunk_room = 6000 / desc->dtype.itemsize;
    for (int k = 0, i = (int)between_u64(0, 5); k < desc->ndim; k++, i++) {
        int axis = i % desc->ndim;
        uint64_t n = between_u64(1, room < 12 ? room : between_u64(12, room)), c = n;

        switch (between_u64(0, 4)) {
        case 0:
            break;
        case 1:
            c = n + between_u64(1, 4);
            break;
        case 2:
            c = 1;
            break;
        default:
            c = between_u64(1, n);
        }
        c = c < chunk_room ? c : chunk_room;
        desc->shape[axis] = n;
        desc->chunk_size[axis] = c;
        room /= n;
        chunk_room /= c;
    }
}

static void print_case(const struct dn_desc *desc, uint64_t budget, uint64_t largest)
{
    print_message("seed %llu, itemsize %u, budget %llu, largest %llu, shape/chunk",
                  (unsigned long long)random_seed, desc->dtype.itemsize, (unsigned long long)budget,
                  (unsigned long long)largest);
    for (int i = 0; i < desc->ndim; i++)
        print_message(" %llu/%llu", (unsigned long long)desc->shape[i],
                      (unsigned long long)desc->chunk_size[i]);
    print_message("\n");
}

static void check_one(const struct dn_desc *desc, uint64_t budget, uint64_t largest)
{
    struct grid grid;

    grid_init(&grid, desc);
    if (budget != NEVER || largest != NEVER) {
        grid_cut(&grid, budget, largest);
        check_cut(&grid, budget, largest);
    }
    check_array(&grid);
}

static struct {
    bool running;
    struct dn_desc desc;
    uint64_t budget, largest;
} now;

/* cmocka leaves a failed test by longjmp: the teardown tells which case it was. */
static int tell_case(void **test_state)
{
    (void)test_state;
    if (now.running)
        print_case(&now.desc, now.budget, now.largest);
    now.running = false;
    return 0;
}

static void run_case(const struct dn_desc *desc, uint64_t budget, uint64_t largest)
{
    now.desc = *desc;
    now.budget = budget;
    now.largest = largest;
    now.running = true;
    check_one(desc, budget, largest);
    now.running = false;
}

static void random_arrays(void **test_state)
{
    (void)test_state;
    for (int i = 0; i < 150; i++) {
        struct dn_desc desc;
        uint64_t budget = NEVER, largest = NEVER;

        random_desc(&desc);
        if (between_u64(0, 3) > 0)
            budget = between_u64(0, between_u64(1, 3000));
        if (between_u64(0, 2) == 0)
            largest = between_u64(0, between_u64(1, 1000));
        run_case(&desc, budget, largest);
    }
}

/* --- named small arrays ------------------------------------------------------------- */

static void special_arrays(void **test_state)
{
    static const struct {
        struct dn_desc desc;
        uint64_t budget, largest;
    } cases[] = {
        /* one element; a chunk far larger than the array */
        {{.ndim = 1, .shape = {1}, .chunk_size = {1}, .dtype = {.itemsize = 8}}, NEVER, NEVER},
        {{.ndim = 1, .shape = {1}, .chunk_size = {100}, .dtype = {.itemsize = 2}}, 50, NEVER},
        {{.ndim = 2, .shape = {3, 3}, .chunk_size = {8, 8}, .dtype = {.itemsize = 2}}, 40, 16},
        /* 1-D, cut in pieces that do not divide the chunk, nor the chunk the array */
        {{.ndim = 1, .shape = {100}, .chunk_size = {31}, .dtype = {.itemsize = 4}}, 40, NEVER},
        {{.ndim = 1, .shape = {100}, .chunk_size = {31}, .dtype = {.itemsize = 3}}, NEVER, 29},
        /* leading axes of extent 1, with chunks of 1 and of more */
        {{.ndim = 4, .shape = {1, 1, 9, 7}, .chunk_size = {1, 1, 4, 3}, .dtype = {.itemsize = 2}},
         60,
         NEVER},
        {{.ndim = 4, .shape = {1, 1, 9, 7}, .chunk_size = {2, 3, 4, 3}, .dtype = {.itemsize = 2}},
         120,
         NEVER},
        {{.ndim = 3, .shape = {5, 1, 9}, .chunk_size = {3, 2, 2}, .dtype = {.itemsize = 1}},
         21,
         NEVER},
        /* the bound on a block cuts further than the budget */
        {{.ndim = 3, .shape = {7, 8, 9}, .chunk_size = {5, 4, 4}, .dtype = {.itemsize = 2}},
         NEVER,
         10},
        {{.ndim = 3, .shape = {7, 8, 9}, .chunk_size = {5, 4, 4}, .dtype = {.itemsize = 2}},
         500,
         5},
        /* nothing achieves it */
        {{.ndim = 2, .shape = {4, 9}, .chunk_size = {2, 4}, .dtype = {.itemsize = 8}}, 7, 25},
        {{.ndim = 2, .shape = {4, 9}, .chunk_size = {2, 4}, .dtype = {.itemsize = 8}}, 0, 0},
    };
    struct dn_desc many = {.ndim = DN_MAX_NDIM, .dtype = {.itemsize = 2}};

    (void)test_state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        run_case(&cases[i].desc, cases[i].budget, cases[i].largest);

    for (int i = 0; i < DN_MAX_NDIM; i++) {
        many.shape[i] = i % 4 == 3 ? 2 : 1;
        many.chunk_size[i] = i % 8 == 3 ? 2 : 1;
    }
    run_case(&many, NEVER, NEVER);
    run_case(&many, 5, NEVER);
    run_case(&many, NEVER, 2);
    many.chunk_size[0] = many.chunk_size[31] = 3;
    run_case(&many, 17, NEVER);
}

/* --- where a volume of real size is cut --------------------------------------------- */

static void cut_of_a_volume(void **test_state)
{
    enum { M = 1 << 20 };
    static const struct {
        uint64_t budget, largest;
        int axis;
        uint64_t step, slab_blocks, slab_memory, slab_bytes;
    } cases[] = {
        {1024 * M, NEVER, 0, 64, 1360, 680 * M, 64ull * 2160 * 5120}, /* as it is: whole chunks */
        {100 * M, NEVER, 0, 8, 1360, 85 * M, 8 * 2160 * 5120}, /* 9 fit, 8 is as many pieces */
        {12 * M, NEVER, 0, 1, 40, 40 * 8192, 64 * 5120},       /* one plane: one row of chunks */
        {40 * 8192, NEVER, 0, 1, 40, 40 * 8192, 64 * 5120},
        {40 * 8192 - 1, NEVER, 1, 32, 40, 40 * 4096, 32 * 5120},
        {40 * 128, NEVER, 1, 1, 1, 128, 128}, /* a row of a chunk needs no neighbour */
        {127, NEVER, 2, 64, 1, 64, 64},
        {1, NEVER, 2, 128, 1, 128, 128},
        {1024 * M, 100000, 0, 11, 1360, 1360 * 90112, 11 * 2160 * 5120},
        {1024 * M, 8191, 1, 32, 40, 40 * 4096, 32 * 5120},
        {1, 31, 2, 26, 1, 26, 26},
    };
    static const struct dn_desc desc = {.ndim = 3,
                                        .shape = {2000, 2160, 2560},
                                        .chunk_size = {64, 64, 64},
                                        .dtype = {.itemsize = 2}};

    (void)test_state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct grid grid;

        grid_init(&grid, &desc);
        grid_cut(&grid, cases[i].budget, cases[i].largest);
        assert_int_equal(grid.axis, cases[i].axis);
        assert_int_equal(grid.step, cases[i].step);
        assert_int_equal(grid_slab_blocks(&grid), cases[i].slab_blocks);
        assert_int_equal(grid_slab_memory(&grid), cases[i].slab_memory);
        assert_int_equal(grid_slab_bytes(&grid), cases[i].slab_bytes);
    }
}

/* --- near 2^63 ---------------------------------------------------------------------- */

static void check_offset(const struct grid *grid, uint64_t offset)
{
    struct block_box block, same;
    uint64_t number = grid_block_at(grid, offset), x[DN_MAX_NDIM], rest = offset;

    for (int i = 0; i < grid->ndim; i++) {
        x[i] = rest / grid->stride[i];
        rest %= grid->stride[i];
    }
    assert_true(number < grid_block_count(grid));
    grid_block(grid, number, &block);
    assert_true(inside(grid, block.start, block.inside, x));
    assert_int_equal(product(grid->ndim, block.extent), block.nbytes);
    assert_true(block.nbytes <= grid->block_nbytes);
    assert_true(block.chunk < grid->nchunks);
    assert_true(block.chunk_offset <= grid->chunk_nbytes - block.nbytes);
    assert_true(grid_chunk_block(grid, block.chunk, block.piece, &same));
    assert_same_block(grid, &block, &same);
    assert_int_equal(grid_block_lower(grid, &block, offset), grid_block_offset(grid, &block, x));
    assert_true(grid_block_lower(grid, &block, offset + 1) >
                grid_block_lower(grid, &block, offset));
    assert_int_equal(grid_block_lower(grid, &block, 0), 0);
    assert_int_equal(grid_block_lower(grid, &block, grid->nbytes), block.nbytes);
}

/* The boxes of a flat range hold as many bytes as it has; their blocks agree with the numbering. */
static void check_range(const struct grid *grid, uint64_t offset, uint64_t length)
{
    struct slab_box boxes[GRID_MAX_BOXES];
    int n = grid_flat_boxes(grid, offset, length, boxes);
    uint64_t bytes = 0;

    for (int b = 0; b < n; b++) {
        struct grid_walk walk = {.ready = false};
        uint64_t blocks = grid_box_blocks(grid, &boxes[b]), lo, hi;
        bool exact;

        bytes += product(grid->ndim, boxes[b].count);
        assert_true(blocks > 0 && blocks <= grid_block_count(grid));
        for (uint64_t i = 0; i < blocks && i < 1000; i++) {
            assert_true(grid_walk_next(grid, &boxes[b], &walk));
            grid_part_range(grid, &walk.block, &walk.part, &lo, &hi, &exact);
            assert_true(lo < hi && hi <= walk.block.nbytes);
        }
        if (blocks <= 1000)
            assert_false(grid_walk_next(grid, &boxes[b], &walk));
    }
    assert_int_equal(bytes, length);
}

static void huge_arrays(void **test_state)
{
    enum { ITEM = 8 };
    static const uint64_t top = INT64_MAX;
    static const struct dn_desc cases[] = {
        {.ndim = 1, .shape = {INT64_MAX}, .chunk_size = {INT64_MAX}, .dtype = {.itemsize = 1}},
        {.ndim = 1, .shape = {INT64_MAX}, .chunk_size = {1}, .dtype = {.itemsize = 1}},
        {.ndim = 1, .shape = {1}, .chunk_size = {INT64_MAX}, .dtype = {.itemsize = 1}},
        {.ndim = 1,
         .shape = {INT64_MAX / ITEM},
         .chunk_size = {INT64_MAX / ITEM},
         .dtype = {.itemsize = ITEM}},
        {.ndim = 1, .shape = {INT64_MAX / ITEM}, .chunk_size = {7}, .dtype = {.itemsize = ITEM}},
        {.ndim = 2,
         .shape = {3037000499, 3037000499},
         .chunk_size = {1, 1},
         .dtype = {.itemsize = 1}},
        {.ndim = 2,
         .shape = {3037000499, 3037000499},
         .chunk_size = {1, 3037000499},
         .dtype = {.itemsize = 1}},
        {.ndim = 2,
         .shape = {3037000000, 3037000000},
         .chunk_size = {30370, 1000},
         .dtype = {.itemsize = 1}},
        {.ndim = 2,
         .shape = {1, 1},
         .chunk_size = {3037000499, 3037000499},
         .dtype = {.itemsize = 1}},
        {.ndim = 3,
         .shape = {1, 9000000000000000000, 1},
         .chunk_size = {1, 1000003, 1},
         .dtype = {.itemsize = 1}},
        {.ndim = 3,
         .shape = {2000000, 2000000, 1000000},
         .chunk_size = {64, 64, 64},
         .dtype = {.itemsize = 2}},
    };
    static const uint64_t bounds[] = {0,        1,          ITEM,      1000,
                                      1u << 30, 1ull << 62, INT64_MAX, UINT64_MAX};
    enum { BOUNDS = sizeof(bounds) / sizeof(bounds[0]) };

    (void)test_state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct grid grid;

        assert_int_equal(dn_desc_check(&cases[i]), 0);
        for (size_t b = 0; b < (size_t)BOUNDS * BOUNDS; b++) {
            grid_init(&grid, &cases[i]);
            assert_true(grid.nbytes <= top && grid.chunk_nbytes <= top);
            grid_cut(&grid, bounds[b / BOUNDS], bounds[b % BOUNDS]);
            assert_true(grid_slab_memory(&grid) <= top && grid_slab_bytes(&grid) <= grid.nbytes);
            assert_true(grid_slab_blocks(&grid) <= grid_block_count(&grid));
            check_offset(&grid, 0);
            check_offset(&grid, grid.nbytes - 1);
            check_offset(&grid, between_u64(0, grid.nbytes - 1));
            check_range(&grid, 0, grid.nbytes);
            check_range(&grid, grid.nbytes - 1, 1);
            check_range(&grid, between_u64(0, grid.nbytes / 2),
                        between_u64(1, grid.nbytes - grid.nbytes / 2));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(random_arrays, tell_case),
        cmocka_unit_test_teardown(special_arrays, tell_case),
        cmocka_unit_test(cut_of_a_volume),
        cmocka_unit_test(huge_arrays),
    };

    random_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
