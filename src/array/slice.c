// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <dosna/slice.h>
#include <errno.h>
#include <string.h>

/* ---- the slice itself ------------------------------------------------------------------------- */

void dn_slice_whole(int ndim, const uint64_t *shape, struct dn_slice *out)
{
    memset(out, 0, sizeof *out);
    out->ndim = out->out_ndim = ndim;
    for (int i = 0; i < ndim; i++) {
        out->step[i] = 1;
        out->count[i] = shape[i];
        out->axis[i] = i;
    }
}

uint64_t dn_slice_elements(const struct dn_slice *slice)
{
    uint64_t n = 1;

    for (int i = 0; i < slice->ndim; i++)
        n *= slice->count[i];
    return n;
}

bool dn_slice_contiguous(const struct dn_slice *slice, const uint64_t *shape, uint64_t *first)
{
    bool partial = false; /* nothing before this axis may have more than one position */
    int last = slice->ndim; /* of the axes with several positions, the one behind in the result */

    *first = 0;
    if (dn_slice_elements(slice) == 0)
        return true;
    for (int i = 0; i < slice->ndim; i++)
        *first = *first * shape[i] + slice->start[i];
    for (int k = slice->out_ndim - 1; k >= 0; k--) {
        int i = slice->axis[k];

        if (slice->count[i] > 1 && (i > last || slice->step[i] != 1))
            return false;
        last = slice->count[i] > 1 ? i : last;
    }
    for (int i = slice->ndim - 1; i >= 0; i--) {
        if (partial && slice->count[i] > 1)
            return false;
        partial = partial || slice->count[i] != shape[i];
    }
    return true;
}

/* Positions first, first + step, … of the result's axis that is source axis i. */
static void pick(struct dn_slice *slice, int i, int64_t first, int64_t step, uint64_t count)
{
    if (count)
        slice->start[i] += (uint64_t)(first * slice->step[i]);
    /* Beyond two positions both steps are smaller than the shape: no overflow. */
    slice->step[i] = count > 1 ? slice->step[i] * step : 1;
    slice->count[i] = count;
}

void dn_slice_narrow(struct dn_slice *slice, int k, uint64_t first, uint64_t count)
{
    pick(slice, slice->axis[k], (int64_t)first, 1, count);
}

void dn_slice_thin(struct dn_slice *slice, int k, uint64_t step)
{
    int i = slice->axis[k];

    pick(slice, i, 0, (int64_t)step, slice->count[i] / step + (slice->count[i] % step != 0));
}

/* -ERANGE, or 0 and *out in 0 … size − 1. */
static int wrap(int64_t index, uint64_t size, const char *what, uint64_t *out)
{
    int64_t wrapped = index < 0 ? index + (int64_t)size : index;

    if (wrapped < 0 || wrapped >= (int64_t)size)
        return dn_fail(-ERANGE, "%s %lld is out of bounds for size %llu", what, (long long)index,
                       (unsigned long long)size);
    *out = (uint64_t)wrapped;
    return 0;
}

int dn_slice_transpose(struct dn_slice *slice, const int *order)
{
    bool used[DN_MAX_NDIM] = {false};
    int axis[DN_MAX_NDIM];

    for (int k = 0; k < slice->out_ndim; k++) {
        uint64_t from = (uint64_t)(slice->out_ndim - 1 - k);
        int error = order ? wrap(order[k], (uint64_t)slice->out_ndim, "axis", &from) : 0;

        if (error)
            return error;
        if (used[from])
            return dn_fail(-EINVAL, "repeated axis in transpose");
        used[from] = true;
        axis[k] = slice->axis[from];
    }
    memcpy(slice->axis, axis, sizeof *axis * (size_t)slice->out_ndim);
    return 0;
}

/* ---- reading text ----------------------------------------------------------------------------- */

static void skip_blanks(const char **at)
{
    while (isspace((unsigned char)**at))
        ++*at;
}

static bool accept(const char **at, char c)
{
    skip_blanks(at);
    if (**at != c)
        return false;
    ++*at;
    return true;
}

/* True: there is an integer. Larger ones than any shape are cut, which makes no difference. */
static bool read_int(const char **at, int64_t *out)
{
    const char *p;
    bool negative;
    int64_t value = 0;

    skip_blanks(at);
    p = *at;
    negative = *p == '-';
    p += *p == '-' || *p == '+';
    if (!isdigit((unsigned char)*p))
        return false;
    for (; isdigit((unsigned char)*p); p++)
        value = value > (INT64_MAX - (*p - '0')) / 10 ? INT64_MAX : value * 10 + (*p - '0');
    *out = negative ? -value : value;
    *at = p;
    return true;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* start:stop:step behind the first part, as Python adjusts it to the extent. */
static int read_range(const char **at, bool has_start, int64_t start, struct dn_slice *slice, int i)
{
    int64_t size = (int64_t)slice->count[i], stop, step = 1, low, high;
    bool has_stop = read_int(at, &stop);
    uint64_t count = 0;

    if (accept(at, ':'))
        read_int(at, &step);
    if (step == 0)
        return dn_fail(-EINVAL, "slice step cannot be zero");
    low = step < 0 ? -1 : 0;
    high = low + size;
    start = !has_start ? (step < 0 ? high : low) : clamp(start < 0 ? start + size : start, low, high);
    stop = !has_stop ? (step < 0 ? low : high) : clamp(stop < 0 ? stop + size : stop, low, high);
    if (step > 0 && start < stop)
        count = (uint64_t)((stop - start - 1) / step + 1);
    else if (step < 0 && stop < start)
        count = (uint64_t)((start - stop - 1) / -step + 1);
    pick(slice, i, start, step, count);
    return 0;
}

/* One item of an index, on source axis i. */
static int read_item(const char **at, struct dn_slice *slice, int i)
{
    int64_t number = 0;
    uint64_t position = 0;
    bool has = read_int(at, &number);
    int error;

    if (accept(at, ':'))
        return read_range(at, has, number, slice, i);
    if (!has)
        return dn_fail(-EINVAL, "'%.20s' is no integer, range or '...'", *at);
    error = wrap(number, slice->count[i], "index", &position);
    if (error)
        return error;
    pick(slice, i, (int64_t)position, 1, 1);
    slice->dropped[i] = true;
    return 0;
}

static bool is_ellipsis(const char *at)
{
    return strncmp(at, "...", 3) == 0;
}

/* Items between here and `end`, the ellipsis apart. A comma after the last one adds none. */
static int count_items(const char *at, char end, bool *ellipsis)
{
    bool empty = true;
    int items = 0;

    *ellipsis = false;
    for (; *at && *at != end; at++) {
        if (is_ellipsis(at)) {
            if (*ellipsis)
                return dn_fail(-EINVAL, "an index can only have a single ellipsis ('...')");
            *ellipsis = true;
            at += 2;
            items--; /* it is counted at its comma or the end */
            empty = false;
        } else if (*at == ',') {
            items++;
            empty = true;
        } else if (!isspace((unsigned char)*at)) {
            empty = false;
        }
    }
    return items + !empty;
}

/* The axes that are not dropped any more, in the same order. */
static void drop_axes(struct dn_slice *slice)
{
    int n = 0;

    for (int k = 0; k < slice->out_ndim; k++)
        if (!slice->dropped[slice->axis[k]])
            slice->axis[n++] = slice->axis[k];
    slice->out_ndim = n;
}

/* Basic indexing up to `end` (']' or NUL). */
static int read_index(const char **at, char end, struct dn_slice *slice)
{
    bool ellipsis;
    int items = count_items(*at, end, &ellipsis), k = 0, error;

    if (items < 0)
        return items;
    if (items > slice->out_ndim)
        return dn_fail(-EINVAL, "too many indices: the array has %d axes, %d were indexed", slice->out_ndim,
                       items);
    do {
        skip_blanks(at);
        if (is_ellipsis(*at)) {
            *at += 3;
            k += slice->out_ndim - items;
            continue;
        }
        if (k >= slice->out_ndim)
            return dn_fail(-EINVAL, "'%.20s' is no integer, range or '...'", *at);
        error = read_item(at, slice, slice->axis[k++]);
        if (error)
            return error;
    } while (accept(at, ',') && (skip_blanks(at), **at != end));
    skip_blanks(at);
    if (**at != end)
        return dn_fail(-EINVAL, "'%.20s': a comma or the end of the index is missing", *at);
    *at += end != '\0';
    drop_axes(slice);
    return 0;
}

/* The axes in the parentheses of transpose(). */
static int read_order(const char **at, struct dn_slice *slice)
{
    int order[DN_MAX_NDIM], n = 0;
    int64_t axis;

    if (!accept(at, '('))
        return dn_fail(-EINVAL, "transpose: '(' is missing");
    if (accept(at, ')'))
        return dn_slice_transpose(slice, NULL);
    do {
        if (!read_int(at, &axis))
            return dn_fail(-EINVAL, "transpose: '%.20s' is no axis", *at);
        if (n == slice->out_ndim)
            return dn_fail(-EINVAL, "axes don't match array");
        order[n++] = (int)clamp(axis, -DN_MAX_NDIM - 1, DN_MAX_NDIM);
    } while (accept(at, ','));
    if (!accept(at, ')'))
        return dn_fail(-EINVAL, "transpose: ')' is missing");
    if (n != slice->out_ndim)
        return dn_fail(-EINVAL, "axes don't match array");
    return dn_slice_transpose(slice, order);
}

/* What an operation begins with. */
static bool accept_word(const char **at, const char *word)
{
    size_t length = strlen(word);

    if (strncmp(*at, word, length) != 0)
        return false;
    *at += length;
    return true;
}

static int read_operation(const char **at, struct dn_slice *slice)
{
    if (accept(at, '['))
        return read_index(at, ']', slice);
    if (accept_word(at, ".transpose"))
        return read_order(at, slice);
    if (accept_word(at, ".T"))
        return dn_slice_transpose(slice, NULL);
    return dn_fail(-EINVAL, "'%.20s' is no slice and no transposition", *at);
}

int dn_slice_parse(const char *text, int ndim, const uint64_t *shape, struct dn_slice *out)
{
    const char *at = text;
    int error = 0;

    dn_slice_whole(ndim, shape, out);
    skip_blanks(&at);
    if (*at && *at != '[' && (*at != '.' || is_ellipsis(at)))
        return read_index(&at, '\0', out);
    while (!error && *at) {
        error = read_operation(&at, out);
        skip_blanks(&at);
    }
    return error;
}
