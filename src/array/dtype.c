// SPDX-License-Identifier: Apache-2.0
#include <dosna/dtype.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

/** numpy's names and one-letter codes, with what they are on a 64-bit Linux. */
static const struct {
    const char *name, *type;
} names[] = {
    { "bool", "b1" },       { "bool_", "b1" },       { "bool8", "b1" },       { "int8", "i1" },
    { "int16", "i2" },      { "int32", "i4" },       { "int64", "i8" },       { "uint8", "u1" },
    { "uint16", "u2" },     { "uint32", "u4" },      { "uint64", "u8" },      { "float16", "f2" },
    { "float32", "f4" },    { "float64", "f8" },     { "float128", "f16" },   { "complex64", "c8" },
    { "complex128", "c16" }, { "complex256", "c32" }, { "int", "i8" },        { "int_", "i8" },
    { "uint", "u8" },       { "float", "f8" },       { "float_", "f8" },      { "complex", "c16" },
    { "complex_", "c16" },  { "byte", "i1" },        { "ubyte", "u1" },       { "short", "i2" },
    { "ushort", "u2" },     { "intc", "i4" },        { "uintc", "u4" },       { "intp", "i8" },
    { "uintp", "u8" },      { "longlong", "i8" },    { "ulonglong", "u8" },   { "half", "f2" },
    { "single", "f4" },     { "double", "f8" },      { "longdouble", "f16" }, { "csingle", "c8" },
    { "cdouble", "c16" },   { "clongdouble", "c32" },
};
static const struct {
    char code;
    const char *type;
} codes[] = {
    { '?', "b1" }, { 'b', "i1" }, { 'B', "u1" }, { 'h', "i2" },  { 'H', "u2" }, { 'i', "i4" },
    { 'I', "u4" }, { 'l', "i8" }, { 'L', "u8" }, { 'q', "i8" },  { 'Q', "u8" }, { 'p', "i8" },
    { 'P', "u8" }, { 'e', "f2" }, { 'f', "f4" }, { 'd', "f8" },  { 'g', "f16" }, { 'F', "c8" },
    { 'D', "c16" }, { 'G', "c32" }, { 'c', "S1" }, { 'M', "M8" }, { 'm', "m8" },
};

/** The typestr, without byte order, for what may be a name or a code. */
static const char *plain_type(const char *text, bool ordered)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (text[0] == codes[i].code && text[1] == '\0')
            return codes[i].type;
    }
    for (size_t i = 0; !ordered && i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i].name) == 0)
            return names[i].type;
    }
    return text;
}

/** Digits, at most `max`. False: none, zero, or more. */
static bool number(const char **text, uint32_t max, uint32_t *out)
{
    uint64_t value = 0;

    for (; **text >= '0' && **text <= '9' && value <= max; ++*text)
        value = value * 10 + (uint64_t)(**text - '0');
    *out = (uint32_t)value;
    return value > 0 && value <= max;
}

static bool size_allowed(char kind, uint32_t size)
{
    switch (kind) {
    case 'b':
        return size == 1;
    case 'i':
    case 'u':
        return size == 1 || size == 2 || size == 4 || size == 8;
    case 'f':
        return size == 2 || size == 4 || size == 8 || size == 16;
    case 'c':
        return size == 8 || size == 16 || size == 32;
    case 'M':
    case 'm':
        return size == 8;
    case 'U':
        return size <= DN_ITEMSIZE_MAX / 4;
    case 'S':
    case 'V':
        return size <= DN_ITEMSIZE_MAX;
    }
    return false;
}

/** "[25s]" and the like, up to the end of the text. */
static bool parse_unit(const char *text, char unit[24])
{
    static const char *const units[] = { "Y",  "M",  "W",  "D",  "h",  "m",  "s",
                                         "ms", "us", "ns", "ps", "fs", "as", "\u03bcs" };
    uint32_t count = 1;

    if (*text == '\0' || strcmp(text, "[generic]") == 0)
        return true;
    if (*text++ != '[')
        return false;
    if (*text >= '0' && *text <= '9' && !number(&text, INT32_MAX, &count))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t length = strlen(units[i]);
        if (strncmp(text, units[i], length) != 0 || strcmp(text + length, "]") != 0)
            continue;
        const char *name = (unsigned char)units[i][0] < 0x80 ? units[i] : "us";
        if (count == 1)
            snprintf(unit, 24, "[%s]", name);
        else
            snprintf(unit, 24, "[%u%s]", count, name);
        return true;
    }
    return false;
}

/** A typestr without its byte order. */
static bool parse_type(const char *text, struct dn_dtype *out)
{
    if (strncmp(text, "datetime64", 10) == 0 || strncmp(text, "timedelta64", 11) == 0) {
        out->kind = *text == 'd' ? 'M' : 'm';
        out->itemsize = 8;
        return parse_unit(strchr(text, '4') + 1, out->unit);
    }
    out->kind = *text == 'a' ? 'S' : *text; /* an old name of S */
    if (*text++ == '\0' || !number(&text, DN_ITEMSIZE_MAX, &out->itemsize) ||
        !size_allowed(out->kind, out->itemsize))
        return false;
    if (out->kind == 'U')
        out->itemsize *= 4;
    if (out->kind == 'M' || out->kind == 'm')
        return parse_unit(text, out->unit);
    return *text == '\0';
}

int dn_dtype_parse(const char *text, struct dn_dtype *out)
{
    struct dn_dtype dtype = { .order = '<' };
    bool ordered = *text && strchr("<>=|", *text);

    if (*text == '>')
        dtype.order = '>';
    if (!parse_type(plain_type(text + ordered, ordered), &dtype))
        return dn_fail(-EINVAL, "dtype: '%.64s' is no type that can be stored", text);
    if (dtype.itemsize == 1 || dtype.kind == 'S' || dtype.kind == 'V')
        dtype.order = '|';
    *out = dtype;
    return 0;
}

void dn_dtype_format(const struct dn_dtype *dtype, char *text)
{
    uint32_t size = dtype->kind == 'U' ? dtype->itemsize / 4 : dtype->itemsize;

    snprintf(text, DN_DTYPE_TEXT, "%c%c%u%.23s", dtype->order, dtype->kind, size, dtype->unit);
}
