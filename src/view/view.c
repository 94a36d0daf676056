// SPDX-License-Identifier: Apache-2.0
#include "formats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct view_format *const view_formats[] = {
    &view_npy,  &view_nrrd, &view_mhd, &view_nifti, &view_tiff, &view_bigtiff,
    &view_png,  &view_zarr, &view_raw, &view_bytes, NULL,
};
_Static_assert(sizeof view_formats / sizeof *view_formats == VIEW_FORMATS + 1, "VIEW_FORMATS counts the table");

const struct view_format *view_format_of(const char *name, size_t *stem)
{
    size_t length = strlen(name);

    for (int i = 0; i < VIEW_FORMATS; i++) {
        size_t suffix = strlen(view_formats[i]->suffix);

        if (length > suffix && strcmp(name + length - suffix, view_formats[i]->suffix) == 0) {
            *stem = length - suffix;
            return view_formats[i];
        }
    }
    return NULL;
}

void view_array_of(const struct dn_desc *desc, const struct dn_slice *slice, struct view_array *out)
{
    *out = (struct view_array){
        .ndim = slice->out_ndim,
        .dtype = desc->dtype,
        .nbytes = dn_slice_elements(slice) * desc->dtype.itemsize,
    };
    for (int k = 0; k < slice->out_ndim; k++)
        out->shape[k] = dn_slice_extent(slice, k);
}

/* The file's length is an off_t. */
#define MOST_BYTES (INT64_MAX - VIEW_DATA_OFFSET)

bool view_applies(const struct view_format *format, const struct view_array *array)
{
    return array->ndim >= format->min_ndim && array->ndim <= format->max_ndim &&
           array->nbytes <= MOST_BYTES && (format->empty || array->nbytes) && (!format->types || type_find(format->types, &array->dtype)) &&
           (!format->holds || format->holds(array));
}

/* ---- what formats share ----------------------------------------------------------------------- */

const struct type_row *type_find(const struct type_row *rows, const struct dn_dtype *dtype)
{
    for (; rows->kind; rows++)
        if (rows->kind == dtype->kind && rows->itemsize == dtype->itemsize)
            return rows;
    return NULL;
}

void write_sizes(const struct view_array *array, FILE *out)
{
    for (int k = array->ndim - 1; k >= 0; k--)
        fprintf(out, "%llu%s", (unsigned long long)array->shape[k], k ? " " : "");
}

struct planes planes_of(const struct view_array *array)
{
    int last = array->ndim - 1;
    struct planes planes = {.width = array->shape[last], .height = array->shape[last - 1]};

    planes.nbytes = planes.width * planes.height * array->dtype.itemsize;
    planes.count = array->nbytes / planes.nbytes;
    return planes;
}

/* ---- open and close --------------------------------------------------------------------------- */

static int make_head(struct view *view, const char *link)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    int error;

    if (!out)
        return dn_fail(-ENOMEM, "out of memory");
    error = view->format->head(view, link, out);
    for (long at = ftell(out); !error && !view->format->detached && at < VIEW_DATA_OFFSET; at++)
        putc(0, out);
    if ((fclose(out) != 0 || !text) && !error)
        error = dn_fail(-ENOMEM, "out of memory");
    if (error) {
        free(text);
        return error;
    }
    view->head = (unsigned char *)text;
    view->data = length;
    return 0;
}

static int make_parts(struct view *view, const char *link)
{
    const struct view_format *format = view->format;
    unsigned char *zeros = NULL;
    size_t length = 0;
    int error = 0;

    if (format->render) {
        error = format->render(view, NULL, &zeros, &length);
        free(zeros);
        view->size = length;
        return error;
    }
    if (format->head)
        error = make_head(view, link);
    view->data_end = view->data + (format->detached ? 0 : view->array.nbytes);
    view->tail = view->data_end;
    if (format->tail) {
        view->tail = (view->tail + 7) / 8 * 8;
        view->record_size = format->tail(view);
    }
    view->size = view->tail + view->records * view->record_size;
    return error;
}

int view_open(struct view *view, const struct view_format *format, const struct dn_desc *desc,
              const struct dn_slice *slice, const char *link)
{
    int error;

    *view = (struct view){.format = format, .slice = *slice};
    view_array_of(desc, slice, &view->array);
    if (format->directory || !view_applies(format, &view->array))
        return dn_fail(-ENOENT, "%s cannot show such an array", format->suffix);
    error = pthread_mutex_init(&view->lock, NULL);
    if (error)
        return dn_fail(-error, "no mutex");
    error = make_parts(view, link);
    if (error)
        view_close(view);
    return error;
}

void view_close(struct view *view)
{
    pthread_mutex_destroy(&view->lock);
    free(view->preview);
    free(view->head);
}

/* ---- read and write --------------------------------------------------------------------------- */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int make_preview(struct view *view, dn_dataset *dataset)
{
    size_t length;
    int error = 0;

    pthread_mutex_lock(&view->lock);
    if (!view->preview)
        error = view->format->render(view, dataset, &view->preview, &length);
    pthread_mutex_unlock(&view->lock);
    return error;
}

/* Bytes of the tail, which may begin and end inside records. */
static int read_tail(const struct view *view, unsigned char *out, uint64_t offset, uint64_t length)
{
    unsigned char *record = malloc(view->record_size);

    if (!record)
        return dn_fail(-ENOMEM, "out of memory");
    while (length) {
        uint64_t within = offset % view->record_size, n = min_u64(length, view->record_size - within);

        view->format->record(view, offset / view->record_size, record);
        memcpy(out, record + within, n);
        out += n;
        offset += n;
        length -= n;
    }
    free(record);
    return 0;
}

/* From `offset` on to the end of the part that it lies in. */
static int64_t read_part(struct view *view, dn_dataset *dataset, unsigned char *out, uint64_t length,
                         uint64_t offset)
{
    int error = 0;

    if (view->format->render) {
        error = make_preview(view, dataset);
        if (!error)
            memcpy(out, view->preview + offset, length);
    } else if (offset < view->data) {
        length = min_u64(length, view->data - offset);
        memcpy(out, view->head + offset, length);
    } else if (offset < view->data_end) {
        return dn_read_slice(dataset, &view->slice, out, length, offset - view->data);
    } else if (offset < view->tail) {
        length = min_u64(length, view->tail - offset);
        memset(out, 0, length);
    } else {
        error = read_tail(view, out, offset - view->tail, length);
    }
    return error ? error : (int64_t)length;
}

int64_t view_read(struct view *view, dn_dataset *dataset, void *buffer, size_t length, uint64_t offset)
{
    uint64_t done = 0, want;

    if (offset >= view->size)
        return 0;
    want = min_u64(length, view->size - offset);
    while (done < want) {
        int64_t n = read_part(view, dataset, (unsigned char *)buffer + done, want - done, offset + done);

        if (n <= 0)
            return n < 0 ? n : dn_fail(-ESTALE, "the dataset is another one than when the view was made");
        done += (uint64_t)n;
    }
    return (int64_t)done;
}

int64_t view_write(struct view *view, dn_dataset *dataset, const void *buffer, size_t length, uint64_t offset)
{
    uint64_t head = 0;
    int64_t n;

    if (!view->format->writable)
        return dn_fail(-EACCES, "%s views are read-only", view->format->suffix);
    if (offset >= view->size)
        return dn_fail(-ENOSPC, "the view ends at byte %llu", (unsigned long long)view->size);
    if (offset < view->data) {
        head = min_u64(length, view->data - offset);
        if (memcmp(view->head + offset, buffer, head) != 0)
            return dn_fail(-EACCES, "the head of a view cannot be changed");
    }
    if (head == length || view->data == view->data_end)
        return (int64_t)head;
    n = dn_write_slice(dataset, &view->slice, (const char *)buffer + head, length - head,
                       offset + head - view->data);
    return n < 0 ? n : n + (int64_t)head;
}
