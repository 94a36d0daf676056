// SPDX-License-Identifier: Apache-2.0
/* Element types and fill values, against what numpy 1.24 makes of them. */
#include <dosna/dtype.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

/* ---- types ---------------------------------------------------------------------------------- */

/** A type and numpy's dtype.str of it; NULL: refused. */
static const struct {
    const char *text, *str;
    uint32_t itemsize;
} types[] = {
    { "<f4", "<f4", 4 },
    { "f4", "<f4", 4 },
    { "=f4", "<f4", 4 },
    { "|f4", "<f4", 4 },
    { ">f4", ">f4", 4 },
    { "float32", "<f4", 4 },
    { "double", "<f8", 8 },
    { "float16", "<f2", 2 },
    { "longdouble", "<f16", 16 },
    { ">f16", ">f16", 16 },
    { "complex64", "<c8", 8 },
    { ">c32", ">c32", 32 },
    { "bool", "|b1", 1 },
    { "?", "|b1", 1 },
    { "b", "|i1", 1 },
    { ">u1", "|u1", 1 },
    { "uint8", "|u1", 1 },
    { "int64", "<i8", 8 },
    { ">l", ">i8", 8 },
    { "f04", "<f4", 4 },
    { "S5", "|S5", 5 },
    { ">S5", "|S5", 5 },
    { "a5", "|S5", 5 },
    { "c", "|S1", 1 },
    { "S1048576", "|S1048576", 1048576 },
    { "U5", "<U5", 20 },
    { ">U1", ">U1", 4 },
    { "V6", "|V6", 6 },
    { "M8", "<M8", 8 },
    { "M8[ns]", "<M8[ns]", 8 },
    { ">m8[25s]", ">m8[25s]", 8 },
    { "M8[1s]", "<M8[s]", 8 },
    { "M8[2147483647as]", "<M8[2147483647as]", 8 },
    { "m8[generic]", "<m8", 8 },
    { "M8[\u03bcs]", "<M8[us]", 8 },
    { "datetime64[D]", "<M8[D]", 8 },
    { "timedelta64", "<m8", 8 },
    { "", NULL, 0 },
    { "<", NULL, 0 },
    { ">>f4", NULL, 0 },
    { "<float32", NULL, 0 },
    { " f4", NULL, 0 },
    { "f4 ", NULL, 0 },
    { "f3", NULL, 0 },
    { "i16", NULL, 0 },
    { "c4", NULL, 0 },
    { "b2", NULL, 0 },
    { "u", NULL, 0 },
    { "f-4", NULL, 0 },
    { "O", NULL, 0 },
    { "S", NULL, 0 },
    { "U0", NULL, 0 },
    { "V", NULL, 0 },
    { "S1048577", NULL, 0 },
    { "U262145", NULL, 0 },
    { "S99999999999999999999", NULL, 0 },
    { "i4,i4", NULL, 0 },
    { "5f4", NULL, 0 },
    { "M8[]", NULL, 0 },
    { "M8[xs]", NULL, 0 },
    { "M8[s", NULL, 0 },
    { "M8[s]x", NULL, 0 },
    { "M8[0s]", NULL, 0 },
    { "M8[2147483648s]", NULL, 0 },
    { "M4[s]", NULL, 0 },
};

static void test_types(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char text[DN_DTYPE_TEXT];
        struct dn_dtype dtype;
        int code = dn_dtype_parse(types[i].text, &dtype);

        if (!types[i].str) {
            if (code != -EINVAL)
                fail_msg("'%s' was accepted", types[i].text);
            continue;
        }
        assert_int_equal(code, 0);
        dn_dtype_format(&dtype, text);
        assert_string_equal(text, types[i].str);
        assert_int_equal(dtype.itemsize, types[i].itemsize);
    }
}

/* ---- fill values ---------------------------------------------------------------------------- */

/** The bytes that numpy.asarray(value, dtype) holds. */
static const struct {
    const char *dtype, *text, *bytes;
} fills[] = {
    { "|b1", "0", "00" },
    { "|b1", "-3", "01" },
    { "|b1", "True", "01" },
    { "|b1", "nan", "01" },
    { "|b1", "None", "00" },
    { "|b1", "1j", "01" },
    { "|i1", "200", "c8" },
    { "|i1", "-1", "ff" },
    { "|u1", "300", "2c" },
    { "|u1", "-1.7", "ff" },
    { "|u1", "True", "01" },
    { "<u2", "-1", "ffff" },
    { ">i2", "258", "0102" },
    { "<i4", "1.7", "01000000" },
    { "<i4", "3000000000.0", "005ed0b2" },
    { "<i4", "4294967295", "ffffffff" },
    { ">u4", "5", "00000005" },
    { "<i8", "-9223372036854775808", "0000000000000080" },
    { "<u8", "18446744073709551615", "ffffffffffffffff" },
    { "<u8", "1e+19", "0000e8890423c78a" },
    { "<f2", "0.1", "662e" },
    { "<f2", "65519.99", "ff7b" },
    { "<f2", "65520.0", "007c" },
    { "<f2", "5e-08", "0100" },
    { "<f2", "6.1e-05", "ff03" },
    { "<f2", "2049.0", "0068" },
    { "<f2", "2051.0", "0268" },
    { "<f2", "-inf", "00fc" },
    { "<f2", "None", "007e" },
    { ">f2", "1.5", "3e00" },
    { "<f4", "0", "00000000" },
    { "<f4", "0.1", "cdcccc3d" },
    { "<f4", "1180591620717411303424", "00008062" },
    { "<f4", "1e+300", "0000807f" },
    { "<f4", "1e-45", "01000000" },
    { "<f4", "nan", "0000c07f" },
    { "<f4", "None", "0000c07f" },
    { "<f4", "True", "0000803f" },
    { "<f4", "-0.0", "00000080" },
    { ">f4", "-1.5", "bfc00000" },
    { "<f8", "1e-05", "f168e388b5f8e43e" },
    { "<f8", "1e+16", "0080e03779c34143" },
    { "<f8", "9007199254740993", "0000000000004043" },
    { "<f8", "inf", "000000000000f07f" },
    { "<f8", "5e-324", "0100000000000000" },
    { ">f8", "1.0", "3ff0000000000000" },
    { "<f16", "0", "00000000000000000000000000000000" },
    { "<f16", "0.1", "00d0ccccccccccccfb3f000000000000" },
    { "<f16", "-1.5", "00000000000000c0ffbf000000000000" },
    { "<f16", "9007199254740993", "00040000000000803440000000000000" },
    { "<f16", "1e+300", "00e0ac0340e421bfe343000000000000" },
    { "<f16", "nan", "00000000000000c0ff7f000000000000" },
    { "<f16", "-inf", "0000000000000080ffff000000000000" },
    { ">f16", "0.1", "0000000000003ffbccccccccccccd000" },
    { "<c8", "(1+2j)", "0000803f00000040" },
    { "<c8", "0j", "0000000000000000" },
    { "<c8", "1j", "000000000000803f" },
    { "<c8", "3", "0000404000000000" },
    { "<c8", "None", "0000c07f0000c07f" },
    { "<c8", "(nan-infj)", "0000c07f000080ff" },
    { ">c8", "(1.5-2j)", "3fc00000c0000000" },
    { "<c16", "(1e+16+1e-05j)", "0080e03779c34143f168e388b5f8e43e" },
    { "<c16", "(-0-1j)", "0000000000000080000000000000f0bf" },
    { "|S5", "0", "3000000000" },
    { "|S5", "1.5", "312e350000" },
    { "|S5", "None", "4e6f6e6500" },
    { "|S5", "True", "5472756500" },
    { "|S5", "b'ab'", "6162000000" },
    { "|S5", "b'abcdefg'", "6162636465" },
    { "|S5", "b'a\\x00b'", "6100620000" },
    { "|S5", "b\"it's\"", "6974277300" },
    { "|S5", "b'\\xff\\n\\\\'", "ff0a5c0000" },
    { "<U3", "0", "300000000000000000000000" },
    { "<U3", "b'ab'", "610000006200000000000000" },
    { "<U3", "'é日😀'", "e9000000e565000000f60100" },
    { "<U3", "'\\'\"'", "270000002200000000000000" },
    { "<U3", "'a\\nb'", "610000000a00000062000000" },
    { ">U2", "'日'", "000065e500000000" },
    { "|V4", "b'\\x01\\x02'", "01020000" },
    { "<M8[ns]", "0", "0000000000000000" },
    { "<M8[ns]", "5", "0500000000000000" },
    { "<M8[ns]", "None", "0000000000000080" },
    { ">m8[s]", "-2", "fffffffffffffffe" },
    { ">m8[s]", "None", "8000000000000000" },
    { "<f4", "np.float32(0.5)", "0000003f" },
    { "<i8", "np.int64(5)", "0500000000000000" },
    { "<i4", "5L", "05000000" },
    { "|b1", "np.True_", "01" },
    { "|b1", "np.False_", "00" },
    { "<c8", "np.complex64(1+2j)", "0000803f00000040" },
    { "<f8", "np.float64(nan)", "000000000000f87f" },
    { "<f8", "np.nan", "000000000000f87f" },
    { "<f16", "np.longdouble('0.1')", "cdccccccccccccccfb3f000000000000" },
    { "<f16", "0.10000000000000000555", "00d0ccccccccccccfb3f000000000000" },
    { "|S5", "'ab'", "6162000000" },
    { "|S5", "np.bytes_(b'ab')", "6162000000" },
    { "<U3", "u'ab'", "610000006200000000000000" },
    { "<U3", "np.str_('\\xe9')", "e90000000000000000000000" },
    { "<M8[ns]", "np.datetime64('NaT')", "0000000000000080" },
    { "<M8[ns]", "NaT", "0000000000000080" },
    { "<f4", " -1.5 ", "0000c0bf" },
    { "|V4", "void(b'\\x01\\x02')", "01020000" },
    { "|V4", "0", "00000000" },
};

static struct dn_dtype dtype_of(const char *text)
{
    struct dn_dtype dtype;

    assert_int_equal(dn_dtype_parse(text, &dtype), 0);
    return dtype;
}

static void to_hex(const unsigned char *bytes, size_t count, char *text)
{
    *text = '\0';
    for (size_t i = 0; i < count; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
}

static void test_fill_values(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
        struct dn_dtype dtype = dtype_of(fills[i].dtype);
        unsigned char bytes[64];
        char hex[129];

        int code = dn_fill_parse(&dtype, fills[i].text, bytes);
        if (code != 0)
            fail_msg("%s: %s", fills[i].dtype, dn_error_text(code));
        to_hex(bytes, dtype.itemsize, hex);
        if (strcmp(hex, fills[i].bytes) != 0)
            fail_msg("%s as %s: %s, not %s", fills[i].text, fills[i].dtype, hex, fills[i].bytes);
    }
}

static void test_what_no_type_holds(void **unused)
{
    static const char *const texts[] = {
        "", " ", "abc", "1 2", "0x10", "1e", "--1", "+-1", "+", ".", "e5", "(1", "1+2", "1+2jj", "(1+2j", "j",
        "nanx", "infinity", "NaN", "1_000", "5LL", "5.L", "'ab", "b'a\"", "'a\\'", "'\\x1'", "'\\", "'", "b",
        "b'\\u1234\\'", "None()", "np.", "np.float32(", "np.float32()", "np.float32(1)(2)", "((1+2j))", "()",
        "'\\q'", "''''",
    };
    static const char *const types_tried[] = { "<f4", "|u1", "<c16", "|b1", "<M8[s]" };

    (void)unused;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t k = 0; k < sizeof types_tried / sizeof *types_tried; k++) {
            struct dn_dtype dtype = dtype_of(types_tried[k]);
            unsigned char bytes[64];
            if (dn_fill_parse(&dtype, texts[i], bytes) != -EINVAL)
                fail_msg("'%s' was accepted as %s", texts[i], types_tried[k]);
        }
    }
}

static void test_what_one_type_refuses(void **unused)
{
    static const char *const pairs[][2] = {
        { "<i4", "None" },  { "<i4", "nan" },      { "<i4", "1e20" },   { "|u1", "18446744073709551616" },
        { "<i8", "1j" },    { "<f4", "1j" },       { "<f4", "NaT" },    { "<f4", "b'ab'" },
        { "<M8[s]", "1.5" }, { "|V4", "5" },       { "|V4", "None" },   { "<U2", "b'\\xff'" },
        { "|S2", "'\\u1234'" }, { "<U2", "'\xff'" }, { "<U2", "'\xc0\x80'" }, { "<U2", "'\xe6\x97'" },
        { "|S5", "ab" },    { "<f4", "''" },       { "|V4", "99999999999999999999" },
    };

    (void)unused;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct dn_dtype dtype = dtype_of(pairs[i][0]);
        unsigned char bytes[64];
        if (dn_fill_parse(&dtype, pairs[i][1], bytes) != -EINVAL)
            fail_msg("'%s' was accepted as %s", pairs[i][1], pairs[i][0]);
    }
}

/** A value, its repr, and the form that DosNa can open. */
static const struct {
    const char *dtype, *text, *repr, *plain;
} reprs[] = {
    { "|b1", "1", "True", "1" },
    { "|b1", "0", "False", "0" },
    { "|i1", "-1", "-1", "-1" },
    { "<u8", "18446744073709551615", "18446744073709551615", "18446744073709551615" },
    { ">i4", "-5", "-5", "-5" },
    { "<f4", "0", "0.0", "0" },
    { "<f4", "0.1", "0.1", "0.1" },
    { "<f4", "16777216", "16777216.0", "16777216" },
    { "<f8", "-0.0", "-0.0", "-0.0" },
    { "<f8", "1e16", "1e+16", "10000000000000000" },
    { "<f8", "1e15", "1000000000000000.0", "1000000000000000" },
    { "<f8", "0.0001", "0.0001", "0.0001" },
    { "<f8", "0.00001", "1e-05", "1e-05" },
    { "<f8", "1.25e-10", "1.25e-10", "1.25e-10" },
    { "<f8", "1e300", "1e+300", "1e+300" },
    { "<f8", "nan", "nan", "nan" },
    { "<f8", "-inf", "-inf", "-inf" },
    { "<f2", "0.1", "0.1", "0.1" },
    { "<f2", "65504", "65500.0", "65504" }, /* numpy prints no more digits either */
    { "<f16", "0.1", "0.1", "0.1" },
    { "<f16", "9007199254740993", "9007199254740993.00", "9007199254740993" },
    { ">f16", "np.longdouble('0.1')", "0.100000000000000000", "0.100000000000000000" },
    { "<c8", "(1+2j)", "(1+2j)", "(1+2j)" },
    { "<c8", "3", "(3+0j)", "3" },
    { "<c16", "1j", "1j", "1j" },
    { "<c16", "0", "0j", "0" },
    { "<c16", "(-0-1j)", "(-0-1j)", "(-0-1j)" },
    { "<c16", "(nan-infj)", "(nan-infj)", "(nan-infj)" },
    { "|S5", "0", "b'0'", "0" },
    { "|S5", "b''", "b''", "b''" },
    { "|S5", "b'007'", "b'007'", "b'007'" },
    { "|S5", "b'5\\x006'", "b'5\\x006'", "b'5\\x006'" },
    { "|S5", "b'a\\x00\\xff\\n'", "b'a\\x00\\xff\\n'", "b'a\\x00\\xff\\n'" },
    { "|S9", "b\"it's\"", "b\"it's\"", "b\"it's\"" },
    { "|S9", "b'\\'\"\\\\'", "b'\\'\"\\\\'", "b'\\'\"\\\\'" },
    { "<U3", "0", "'0'", "0" },
    { ">U3", "'\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80'", "'\\xe9\\u65e5\\U0001f600'",
      "'\\xe9\\u65e5\\U0001f600'" },
    { "|V4", "0", "b''", "0" },
    { "|V4", "b'\\x00\\x01'", "b'\\x00\\x01'", "b'\\x00\\x01'" },
    { "<M8[s]", "NaT", "NaT", "-9223372036854775808" },
    { ">m8[s]", "-7", "-7", "-7" },
};

static void test_reprs(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof reprs / sizeof *reprs; i++) {
        struct dn_dtype dtype = dtype_of(reprs[i].dtype);
        unsigned char bytes[64], back[64];
        char text[320];

        assert_int_equal(dn_fill_parse(&dtype, reprs[i].text, bytes), 0);
        for (int plain = 0; plain < 2; plain++) {
            assert_int_equal(dn_fill_format(&dtype, bytes, plain, text, sizeof text), 0);
            assert_string_equal(text, plain ? reprs[i].plain : reprs[i].repr);
            assert_int_equal(dn_fill_parse(&dtype, text, back), 0);
            assert_memory_equal(bytes, back, dtype.itemsize);
        }
    }
}

static void test_zero_without_bytes(void **unused)
{
    static const char *const zeros[][2] = {
        { "<f4", "0.0" }, { "|S5", "b''" }, { "<U3", "''" }, { ">i8", "0" }, { "<c32", "0j" }, { "|b1", "False" },
    };

    (void)unused;
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
        struct dn_dtype dtype = dtype_of(zeros[i][0]);
        char text[32];
        assert_int_equal(dn_fill_format(&dtype, NULL, false, text, sizeof text), 0);
        assert_string_equal(text, zeros[i][1]);
    }
}

static void test_no_room(void **unused)
{
    struct dn_dtype dtype = dtype_of("|S5");
    char text[16];

    (void)unused;
    for (size_t size = 0; size <= 8; size++) {
        memset(text, 'x', sizeof text);
        assert_int_equal(dn_fill_format(&dtype, "abcde", false, text, size), size < 9 ? -ENOSPC : 0);
        assert_int_equal(text[size], 'x');
    }
    assert_int_equal(dn_fill_format(&dtype, "abcde", false, text, 9), 0);
    assert_string_equal(text, "b'abcde'");
}

/** Whatever the bytes: the text fits 4 · itemsize + 64, and reads back to the same unless it is a NaN. */
static void test_any_bytes(void **unused)
{
    static const char *const every[] = {
        "|b1", "|i1", "<u2",  ">i4",  "<i8",  "<f2", ">f2", "<f4", ">f4", "<f8",
        ">f8", "<c8", ">c16", "<f16", ">c32", "|S7", "<U4", ">U2", "|V5", "<M8[s]",
    };
    unsigned seed = (unsigned)time(NULL);

    (void)unused;
    print_message("seed %u\n", seed);
    srand(seed);
    for (int i = 0; i < 20000; i++) {
        struct dn_dtype dtype = dtype_of(every[(size_t)i % (sizeof every / sizeof *every)]);
        unsigned char bytes[64], back[64];
        char text[4 * 64 + 64];
        bool plain = rand() % 2;

        for (uint32_t k = 0; k < dtype.itemsize; k++)
            bytes[k] = rand() % 3 ? (unsigned char)rand() : 0;
        if (dtype.kind == 'b')
            bytes[0] &= 1;
        assert_int_equal(dn_fill_format(&dtype, bytes, plain, text, 4 * dtype.itemsize + 64), 0);
        assert_int_equal(dn_fill_parse(&dtype, text, back), 0);
        /* Of a long double not all bit patterns are numbers, and 6 of its bytes say nothing. */
        if (!strstr(text, "nan") && dtype.itemsize < 16 + (dtype.kind == 'c'))
            assert_memory_equal(bytes, back, dtype.itemsize);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_fill_values),
        cmocka_unit_test(test_what_no_type_holds),
        cmocka_unit_test(test_what_one_type_refuses),
        cmocka_unit_test(test_reprs),
        cmocka_unit_test(test_zero_without_bytes),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
