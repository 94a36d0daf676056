// SPDX-License-Identifier: Apache-2.0
/* BigTIFF (libtiff.gitlab.io/libtiff/specification/bigtiff.html) with one directory and one strip a plane. The first
 * directory is in the head, with the array's shape as tifffile writes it; the others follow the data. */
#include "formats.h"

#include <string.h>

#define AT_DIRECTORY 16
#define ENTRIES 10 /* of a directory without description */
#define RECORD (8 + 20 * ENTRIES + 8)
#define AT_DESCRIPTION 256

static bool holds(const struct view_array *array)
{
    const struct planes planes = planes_of(array);

    return planes.width <= UINT32_MAX && planes.height <= UINT32_MAX &&
           planes.count < (INT64_MAX - VIEW_DATA_OFFSET - array->nbytes) / RECORD;
}

static uint64_t count_records(struct view *view)
{
    view->records = planes_of(&view->array).count - 1;
    return RECORD;
}

/* The directory of a plane; `description` is its length, 0 for none. */
static void put_directory(const struct view *view, uint64_t plane, uint64_t description, uint64_t next,
                          unsigned char *at)
{
    const struct view_array *array = &view->array;
    struct planes planes = planes_of(array);
    bool big = is_big(array);

    put_number(&at, big, 8, ENTRIES + (description != 0));
    tiff_entry(&at, big, 8, 256, TIFF_LONG, 1, planes.width);
    tiff_entry(&at, big, 8, 257, TIFF_LONG, 1, planes.height);
    tiff_entry(&at, big, 8, 258, TIFF_SHORT, 1, 8 * array->dtype.itemsize);
    tiff_entry(&at, big, 8, 259, TIFF_SHORT, 1, 1);
    tiff_entry(&at, big, 8, 262, TIFF_SHORT, 1, 1);
    if (description)
        tiff_entry(&at, big, 8, 270, TIFF_ASCII, description, AT_DESCRIPTION);
    tiff_entry(&at, big, 8, 273, TIFF_LONG8, 1, VIEW_DATA_OFFSET + plane * planes.nbytes);
    tiff_entry(&at, big, 8, 277, TIFF_SHORT, 1, 1);
    tiff_entry(&at, big, 8, 278, TIFF_LONG, 1, planes.height);
    tiff_entry(&at, big, 8, 279, TIFF_LONG8, 1, planes.nbytes);
    tiff_entry(&at, big, 8, 339, TIFF_SHORT, 1, (uint64_t)tiff_sample(&array->dtype));
    put_number(&at, big, 8, next);
}

static void put_record(const struct view *view, uint64_t number, unsigned char *out)
{
    uint64_t next = number + 1 < view->records ? view->tail + (number + 1) * RECORD : 0;

    put_directory(view, number + 1, 0, next, out);
}

static int write_bigtiff(const struct view *view, const char *link, FILE *out)
{
    const struct view_array *array = &view->array;
    unsigned char head[VIEW_DATA_OFFSET] = {0}, *at = head;
    char *text = (char *)head + AT_DESCRIPTION, shape[DN_VECTOR_TEXT];
    uint64_t tail = (VIEW_DATA_OFFSET + array->nbytes + 7) / 8 * 8;
    bool big = is_big(array);
    int length;

    (void)link;
    dn_vector_format(array->shape, array->ndim, ", ", shape, sizeof shape);
    length = snprintf(text, sizeof head - AT_DESCRIPTION, "{\"shape\": [%s]}", shape) + 1;
    memcpy(at, big ? "MM" : "II", 2);
    at += 2;
    put_number(&at, big, 2, 43);
    put_number(&at, big, 2, 8);
    put_number(&at, big, 2, 0);
    put_number(&at, big, 8, AT_DIRECTORY);
    put_directory(view, 0, (uint64_t)length, planes_of(array).count > 1 ? tail : 0, at);
    fwrite(head, 1, sizeof head, out);
    return 0;
}

const struct view_format view_bigtiff = {
    .suffix = ".btf", .min_ndim = 2, .max_ndim = DN_MAX_NDIM, .types = tiff_types, .holds = holds, .head = write_bigtiff,
    .tail = count_records, .record = put_record
};
