// SPDX-License-Identifier: Apache-2.0
/* The heads of views, byte for byte or number by number, of arrays that are easy to get wrong: one axis and six,
 * big-endian, extents of 1, more than 2^31 and 2^32 of anything. What real readers make of them: tests/system. */
#include "formats.h"
#include "torture.h"
#include "zarr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define LINK "../../a/data"
#define BILLION UINT64_C(1000000000)

static struct dn_desc desc;
static struct dn_slice slice;
static struct view view;

#define SHAPE(...) (const uint64_t[]){__VA_ARGS__}, (int)(sizeof(uint64_t[]){__VA_ARGS__} / sizeof(uint64_t))

static void describe(const char *dtype, const uint64_t *shape, int ndim)
{
    dn_desc_clear(&desc);
    assert_int_equal(dn_desc_init(&desc, ndim, shape, dtype, NULL, NULL), 0);
    dn_slice_whole(ndim, shape, &slice);
}

static int forget(void **unused)
{
    (void)unused;
    dn_desc_clear(&desc);
    return 0;
}

static void expect_text(const struct view_format *format, const char *want)
{
    assert_int_equal(view_open(&view, format, &desc, &slice, LINK), 0);
    assert_int_equal(view.size, strlen(want));
    assert_memory_equal(view.head, want, view.size);
    view_close(&view);
}

static void expect_none(const struct view_format *format)
{
    struct view_array array;

    view_array_of(&desc, &slice, &array);
    assert_false(view_applies(format, &array));
    assert_int_equal(view_open(&view, format, &desc, &slice, LINK), -ENOENT);
}

/* A number of the view's file, read as its readers do. */
static uint64_t number_in(const unsigned char *bytes, int size)
{
    uint64_t value = 0;

    for (int i = 0; i < size; i++)
        value = value << 8 | bytes[is_big(&view.array) ? i : size - 1 - i];
    return value;
}

/* ---- texts ------------------------------------------------------------------------------------ */

static void expect_npy(const char *want)
{
    size_t length = strlen(want);

    assert_int_equal(view_open(&view, &view_npy, &desc, &slice, NULL), 0);
    assert_int_equal(view.data, 4096);
    assert_int_equal(view.size, 4096 + view.array.nbytes);
    assert_memory_equal(view.head, "\x93NUMPY\x01\0\xf6\x0f", 10);
    assert_memory_equal(view.head + 10, want, length);
    for (size_t i = 10 + length; i < 4095; i++)
        assert_int_equal(view.head[i], ' ');
    assert_int_equal(view.head[4095], '\n');
    view_close(&view);
}

static void test_npy(void **unused)
{
    (void)unused;
    describe(">f8", SHAPE(1));
    expect_npy("{'descr': '>f8', 'fortran_order': False, 'shape': (1,), }");
    describe("<M8[ns]", SHAPE(1, 5 * BILLION, 1, 1, 1, 7));
    expect_npy("{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1, 5000000000, 1, 1, 1, 7), }");
    assert_int_equal(dn_slice_parse("[0,:0,0,0,0,0]", 6, desc.shape, &slice), 0);
    expect_npy("{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (0,), }");
    assert_int_equal(dn_slice_parse("[0,0,0,0,0,0]", 6, desc.shape, &slice), 0);
    expect_npy("{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (), }");
}

static void test_nrrd(void **unused)
{
    (void)unused;
    describe("|b1", SHAPE(1));
    expect_text(&view_nrrd, "NRRD0004\ntype: uint8\ndimension: 1\nsizes: 1\nencoding: raw\ndata file: " LINK "\n");
    describe(">i2", SHAPE(2, 1, 3, 1, 4, 5 * BILLION));
    expect_text(&view_nrrd, "NRRD0004\ntype: int16\ndimension: 6\nsizes: 5000000000 4 1 3 1 2\nendian: big\n"
                            "encoding: raw\ndata file: " LINK "\n");
    describe("<f2", SHAPE(3));
    expect_none(&view_nrrd);
    describe("|u1", SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    expect_none(&view_nrrd);
}

static void test_mhd(void **unused)
{
    (void)unused;
    describe("|i1", SHAPE(1));
    expect_text(&view_mhd, "ObjectType = Image\nNDims = 1\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
                           "CompressedData = False\nElementSpacing = 1\nElementSize = 1\nDimSize = 1\n"
                           "ElementType = MET_CHAR\nElementDataFile = " LINK "\n");
    describe(">u8", SHAPE(2, 1, 3, 1, 4, 5 * BILLION));
    expect_text(&view_mhd, "ObjectType = Image\nNDims = 6\nBinaryData = True\nBinaryDataByteOrderMSB = True\n"
                           "CompressedData = False\nElementSpacing = 1 1 1 1 1 1\nElementSize = 1 1 1 1 1 1\n"
                           "DimSize = 5000000000 4 1 3 1 2\n"
                           "ElementType = MET_ULONG_LONG\nElementDataFile = " LINK "\n");
    describe("|u1", SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    expect_none(&view_mhd);
}

/* ---- NIfTI ------------------------------------------------------------------------------------ */

static void expect_nifti(int code, const uint64_t *dim)
{
    assert_int_equal(view_open(&view, &view_nifti, &desc, &slice, NULL), 0);
    assert_int_equal(view.size, 4096 + view.array.nbytes);
    assert_int_equal(number_in(view.head, 4), 540);
    assert_memory_equal(view.head + 4, "n+2\0\r\n\x1a\n", 8);
    assert_int_equal(number_in(view.head + 12, 2), code);
    assert_int_equal(number_in(view.head + 14, 2), 8 * desc.dtype.itemsize);
    for (int i = 0; i < 8; i++)
        assert_int_equal(number_in(view.head + 16 + 8 * i, 8), dim[i]);
    assert_int_equal(number_in(view.head + 168, 8), 4096);
    assert_int_equal(number_in(view.head + 540, 4), 0); /* no extensions */
    view_close(&view);
}

static void test_nifti(void **unused)
{
    (void)unused;
    describe(">f8", SHAPE(1));
    expect_nifti(64, (const uint64_t[]){1, 1, 1, 1, 1, 1, 1, 1});
    describe("<u2", SHAPE(2, 1, 3, 1, 4, 5 * BILLION));
    expect_nifti(512, (const uint64_t[]){6, 5 * BILLION, 4, 1, 3, 1, 2, 1});
    describe("|b1", SHAPE(1, 2, 3, 4, 5, 6, 7));
    expect_nifti(2, (const uint64_t[]){7, 7, 6, 5, 4, 3, 2, 1});
    describe("|b1", SHAPE(1, 1, 1, 1, 1, 1, 1, 1));
    expect_none(&view_nifti);
}

/* ---- TIFF ------------------------------------------------------------------------------------- */

/* The value of a tag in a directory, or UINT64_MAX. BigTIFF if `field` is 8. */
static uint64_t tag_in(const unsigned char *directory, int field, unsigned tag)
{
    int counter = field == 8 ? 8 : 2, entry = 4 + 2 * field;
    uint64_t entries = number_in(directory, counter);

    for (uint64_t i = 0; i < entries; i++) {
        const unsigned char *at = directory + counter + i * (uint64_t)entry;
        uint64_t type = number_in(at + 2, 2);

        if (number_in(at, 2) == tag)
            return number_in(at + 4 + field, type == TIFF_SHORT ? 2 : type == TIFF_LONG ? 4 : field);
    }
    return UINT64_MAX;
}

static void expect_tiff(const char *mark, uint64_t width, uint64_t height, const char *description)
{
    const unsigned char *directory;

    assert_int_equal(view_open(&view, &view_tiff, &desc, &slice, NULL), 0);
    assert_int_equal(view.size, 4096 + view.array.nbytes);
    assert_memory_equal(view.head, mark, 4);
    directory = view.head + number_in(view.head + 4, 4);
    assert_int_equal(tag_in(directory, 4, 256), width);
    assert_int_equal(tag_in(directory, 4, 257), height);
    assert_int_equal(tag_in(directory, 4, 278), height); /* one strip */
    assert_int_equal(tag_in(directory, 4, 279), width * height * desc.dtype.itemsize);
    assert_int_equal(tag_in(directory, 4, 273), 4096);
    assert_string_equal((char *)view.head + tag_in(directory, 4, 270), description);
    assert_int_equal(tag_in(directory, 4, 274), UINT64_MAX);
    view_close(&view);
}

static void test_tiff(void **unused)
{
    (void)unused;
    describe(">i2", SHAPE(1, 1));
    expect_tiff("MM\0*", 1, 1, "ImageJ=1.53t\n");
    describe("<f4", SHAPE(3 * BILLION / 2, 2, 3));
    expect_tiff("II*\0", 3, 2, "ImageJ=1.53t\nimages=1500000000\nslices=1500000000\nloop=false\n");
    describe("|u1", SHAPE(2, 3, 4, 5));
    expect_tiff("II*\0", 5, 4, "ImageJ=1.53t\nimages=6\nslices=3\nframes=2\nhyperstack=true\nmode=grayscale\n"
                               "loop=false\n");
    describe(">u2", SHAPE(2, 3, 4, 5, 6));
    expect_tiff("MM\0*", 6, 5, "ImageJ=1.53t\nimages=24\nchannels=4\nslices=3\nframes=2\nhyperstack=true\n"
                               "mode=grayscale\nloop=false\n");
    describe("<i4", SHAPE(2, 1, 3, 1, 4, 5));
    expect_tiff("II*\0", 5, 4, "ImageJ=1.53t\nimages=6\nslices=6\nloop=false\n");
}

static void test_no_tiff(void **unused)
{
    (void)unused;
    describe("|u1", SHAPE(7));
    expect_none(&view_tiff);
    describe("<f8", SHAPE(2, 2));
    expect_none(&view_tiff);
    describe("<f2", SHAPE(2, 2));
    expect_none(&view_tiff);
    describe("|u1", SHAPE(5 * BILLION, 1, 1)); /* planes */
    expect_none(&view_tiff);
    describe("<u2", SHAPE(2, 32768, 32768)); /* 2^31 bytes of a plane */
    expect_none(&view_tiff);
}

static void expect_plane(const unsigned char *directory, uint64_t width, uint64_t height, uint64_t plane)
{
    uint64_t nbytes = width * height * desc.dtype.itemsize;

    assert_int_equal(tag_in(directory, 8, 256), width);
    assert_int_equal(tag_in(directory, 8, 257), height);
    assert_int_equal(tag_in(directory, 8, 279), nbytes);
    assert_int_equal(tag_in(directory, 8, 273), 4096 + plane * nbytes);
}

/* The first, the second and the last directory, and how they follow one another. */
static void expect_bigtiff(const char *mark, uint64_t width, uint64_t height, uint64_t planes)
{
    unsigned char record[216];
    const unsigned char *first;
    uint64_t tail;

    assert_int_equal(view_open(&view, &view_bigtiff, &desc, &slice, NULL), 0);
    assert_memory_equal(view.head, mark, 4);
    first = view.head + number_in(view.head + 8, 8);
    expect_plane(first, width, height, 0);
    tail = number_in(first + 8 + 20 * number_in(first, 8), 8);
    assert_int_equal(view.size, (view.data_end + 7) / 8 * 8 + (planes - 1) * sizeof record);
    assert_int_equal(tail, planes > 1 ? (view.data_end + 7) / 8 * 8 : 0);
    for (uint64_t plane = 1; plane < planes; plane += plane == 1 && planes > 2 ? planes - 2 : 1) {
        uint64_t at = tail + (plane - 1) * sizeof record;

        assert_int_equal(view_read(&view, NULL, record, sizeof record, at), sizeof record);
        expect_plane(record, width, height, plane);
        assert_int_equal(number_in(record + 208, 8), plane + 1 < planes ? at + sizeof record : 0);
    }
    view_close(&view);
}

static void test_bigtiff(void **unused)
{
    (void)unused;
    describe(">c16", SHAPE(1, 1));
    expect_bigtiff("MM\0+", 1, 1, 1);
    describe("|u1", SHAPE(2, 1, 3, 1, 1, 5));
    expect_bigtiff("II+\0", 5, 1, 6);
    describe(">f8", SHAPE(5 * BILLION, 1, 3));
    expect_bigtiff("MM\0+", 3, 1, 5 * BILLION);
    describe("<u2", SHAPE(3, 70000, 70000));
    expect_bigtiff("II+\0", 70000, 70000, 3);
    describe("|u1", SHAPE(2, 5 * BILLION));
    expect_none(&view_bigtiff);
    describe("|u1", SHAPE(UINT64_C(1) << 60, 1, 1)); /* directories beyond 2^63 */
    expect_none(&view_bigtiff);
}

/* ---- all -------------------------------------------------------------------------------------- */

static void test_longest(void **unused)
{
    (void)unused;
    describe("|u1", SHAPE(INT64_MAX - 4096));
    for (int i = 0; i < VIEW_FORMATS; i++) {
        if (view_formats[i]->directory || view_formats[i]->min_ndim > 1)
            continue;
        assert_int_equal(view_open(&view, view_formats[i], &desc, &slice, LINK), 0);
        assert_in_range(view.size, 1, INT64_MAX);
        view_close(&view);
    }
    describe("|u1", SHAPE(INT64_MAX - 4095));
    for (int i = 0; i < VIEW_FORMATS; i++)
        expect_none(view_formats[i]);
}

/* Its size is known before its content, so that nothing is fetched for it. */
static void test_png_size(void **unused)
{
    unsigned char *file;
    size_t length;

    (void)unused;
    describe("<f4", SHAPE(2, 1, 3, 1, 100000, 70000));
    assert_int_equal(view_open(&view, &view_png, &desc, &slice, NULL), 0);
    assert_int_equal(view_png.render(&view, NULL, &file, &length), 0);
    assert_int_equal(view.size, length);
    assert_int_equal(file[19] | file[18] << 8, 70000 / 391 + 1);
    assert_int_equal(file[23] | file[22] << 8, 100000 / 391 + 1);
    free(file);
    view_close(&view);
}

static void expect_zarr(const char *want)
{
    struct zarr zarr;
    char *text;

    assert_int_equal(zarr_init(&zarr, &desc, &slice), 0);
    text = zarr_array_text(&zarr, &desc);
    assert_string_equal(text, want);
    free(text);
}

#define ZARR_END "    \"order\": \"C\",\n    \"compressor\": null,\n    \"filters\": null,\n" \
                 "    \"dimension_separator\": \".\"\n}\n"

static void test_zarr(void **unused)
{
    struct zarr zarr;
    uint64_t index[6];
    char name[ZARR_NAME_TEXT];

    (void)unused;
    describe(">f8", SHAPE(1));
    expect_zarr("{\n    \"zarr_format\": 2,\n    \"shape\": [1],\n    \"chunks\": [1],\n    \"dtype\": \">f8\",\n"
                "    \"fill_value\": 0.0,\n" ZARR_END);
    describe("|S2", SHAPE(2, 1, 3, 1, 4, 5 * BILLION));
    desc.chunk_size[5] = 7;
    expect_zarr("{\n    \"zarr_format\": 2,\n    \"shape\": [2, 1, 3, 1, 4, 5000000000],\n"
                "    \"chunks\": [2, 1, 3, 1, 4, 7],\n    \"dtype\": \"|S2\",\n    \"fill_value\": \"MAA=\",\n" ZARR_END);
    assert_int_equal(zarr_init(&zarr, &desc, &slice), 0);
    assert_true(zarr_index(&zarr, "0.0.0.0.0.714285714", index));
    assert_int_equal(index[5], 714285714);
    zarr_name(&zarr, index, name);
    assert_string_equal(name, "0.0.0.0.0.714285714");
    for (const char *const *bad = (const char *const[]){"0.0.0.0.0.714285715", "0.0.0.0.0", "0.0.0.0.0.0.0",
                                                        "0.0.0.0.0.01", "0.0.0.0.0.-1", "1.0.0.0.0.0", "", NULL};
         *bad; bad++)
        assert_false(zarr_index(&zarr, *bad, index));
}

static int open_and_close(void *arg)
{
    int error = view_open(&view, arg, &desc, &slice, LINK);

    if (!error)
        view_close(&view);
    return error;
}

static void test_no_memory(void **unused)
{
    (void)unused;
    describe("<u2", SHAPE(2, 3, 4));
    for (int i = 0; i < VIEW_FORMATS; i++)
        if (!view_formats[i]->directory)
            torture(open_and_close, (void *)view_formats[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_npy, forget),      cmocka_unit_test_teardown(test_nrrd, forget),
        cmocka_unit_test_teardown(test_mhd, forget),      cmocka_unit_test_teardown(test_nifti, forget),
        cmocka_unit_test_teardown(test_tiff, forget),     cmocka_unit_test_teardown(test_no_tiff, forget),
        cmocka_unit_test_teardown(test_bigtiff, forget),  cmocka_unit_test_teardown(test_longest, forget),
        cmocka_unit_test_teardown(test_png_size, forget), cmocka_unit_test_teardown(test_zarr, forget),
        cmocka_unit_test_teardown(test_no_memory, forget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
