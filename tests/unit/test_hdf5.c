// SPDX-License-Identifier: Apache-2.0
/* The hdf5 backend through its table: DosNa's own files, damaged and foreign ones, names, and clean-up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dosna/backend.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hdf5.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hdf5_sync.h"
#include "random.h"

extern const struct dn_backend dn_backend_hdf5;
static const struct dn_backend *const hdf5 = &dn_backend_hdf5;

struct options {
    const char *directory;
};

/* ---- a scratch folder and a connection to its "pool" ------------------------------------------ */

static char scratch[64];
static struct options scratch_options = {scratch};
static void *conn;

static const char *at(const char *path)
{
    static char full[8][PATH_MAX];
    static unsigned next;
    char *out = full[next++ % 8];

    assert_in_range(snprintf(out, PATH_MAX, "%s/pool/%s", scratch, path), 1, PATH_MAX - 1);
    return out;
}

static int set_up(void **test_state)
{
    (void)test_state;
    strcpy(scratch, "/tmp/dosna-hdf5-XXXXXX");
    assert_non_null(mkdtemp(scratch));
    assert_int_equal(mkdir(at(""), 0777), 0);
    return hdf5->connect("pool", &scratch_options, &conn);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int tear_down(void **test_state)
{
    (void)test_state;
    hdf5->disconnect(conn);
    return nftw(scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static size_t slurp(const char *path, unsigned char *buffer, size_t room)
{
    FILE *file = fopen(path, "rb");
    size_t size;

    assert_non_null(file);
    size = fread(buffer, 1, room, file);
    fclose(file);
    assert_true(size < room);
    return size;
}

static void spill(const char *path, const void *buffer, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(buffer, 1, size, file), size);
    fclose(file);
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* ---- datasets to work on ---------------------------------------------------------------------- */

#define SIDE 4 /* of a chunk */

static void *make(const char *name, const char *dtype, uint64_t extent, const char *fill,
                  struct dn_desc *desc)
{
    uint64_t shape[2] = {extent, extent}, chunk_size[2] = {SIDE, SIDE};
    struct dn_desc read = {0};
    void *dataset;

    assert_int_equal(dn_desc_init(desc, 2, shape, dtype, chunk_size, fill), 0);
    assert_int_equal(hdf5->create_dataset(conn, name, desc), 0);
    assert_int_equal(hdf5->open_dataset(conn, name, &dataset, &read), 0);
    assert_true(dn_desc_equal(desc, &read));
    dn_desc_clear(&read);
    return dataset;
}

static void give_back(void *dataset, struct dn_desc *desc)
{
    hdf5->close_dataset(dataset);
    dn_desc_clear(desc);
}

static int open_code(const char *name)
{
    struct dn_desc desc = {0};
    void *dataset;
    int r = hdf5->open_dataset(conn, name, &dataset, &desc);

    if (r == 0)
        give_back(dataset, &desc);
    return r;
}

static int read_at(void *dataset, uint64_t i, uint64_t j, void *buffer, size_t size)
{
    uint64_t index[2] = {i, j};
    struct dn_chunk_id id = {.index = index, .ndim = 2};

    return hdf5->read_chunk(dataset, &id, 0, buffer, size, NULL);
}

static int write_at(void *dataset, uint64_t i, uint64_t j, const void *buffer, size_t size)
{
    uint64_t index[2] = {i, j};
    struct dn_chunk_id id = {.index = index, .ndim = 2};

    return hdf5->write_chunk(dataset, &id, 0, buffer, size, NULL);
}

static int count_name(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
    return 0;
}

static int count_chunk(void *arg, const uint64_t *index, int ndim)
{
    (void)index, (void)ndim;
    ++*(int *)arg;
    return 0;
}

static int count_datasets(void)
{
    int count = 0;

    assert_int_equal(hdf5->list_datasets(conn, count_name, &count), 0);
    return count;
}

/* ---- what DosNa wrote ------------------------------------------------------------------------- */

#define NPY_ROOM ((size_t)1 << 20)

struct fixture {
    void *dataset;
    struct dn_desc desc;
    unsigned char *npy, *values; /* the file, and where its elements begin */
    void *pool;
    const char *name;
};

static void load_npy(struct fixture *fixture)
{
    char path[PATH_MAX], dtype[DN_DTYPE_TEXT];
    char *end = path + snprintf(path, sizeof(path), "%s/", DOSNA_FIXTURES);

    for (const char *from = fixture->name; *from != '\0'; from++)
        end += sprintf(end, *from == '/' ? "__" : "%c", *from);
    strcpy(end, ".npy");
    fixture->npy = malloc(NPY_ROOM);
    assert_non_null(fixture->npy);
    assert_true(slurp(path, fixture->npy, NPY_ROOM) > 10);
    fixture->values = fixture->npy + 10 + fixture->npy[8] + 256 * fixture->npy[9];
    fixture->values[-1] = '\0';
    dn_dtype_format(&fixture->desc.dtype, dtype);
    assert_non_null(strstr((char *)fixture->npy + 10, dtype));
    assert_non_null(strstr((char *)fixture->npy + 10, "'fortran_order': False"));
}

/* Compare the part of a chunk inside the array with the array, row by row. */
static void compare_chunk(const struct fixture *fixture, const uint64_t *index, const unsigned char *chunk)
{
    const struct dn_desc *desc = &fixture->desc;
    uint64_t size = desc->dtype.itemsize, rows = dn_desc_chunk_nbytes(desc) / size;
    int last = desc->ndim - 1;

    rows /= desc->chunk_size[last];
    for (uint64_t row = 0; row < rows; row++) {
        uint64_t rest = row, offset = 0, stride = desc->shape[last];
        uint64_t begin = index[last] * desc->chunk_size[last];
        uint64_t count = desc->shape[last] - begin;
        bool is_inside = true;
        for (int i = last - 1; i >= 0; i--) {
            uint64_t place = index[i] * desc->chunk_size[i] + rest % desc->chunk_size[i];
            is_inside = is_inside && place < desc->shape[i];
            offset += place * stride;
            stride *= desc->shape[i];
            rest /= desc->chunk_size[i];
        }
        if (count > desc->chunk_size[last])
            count = desc->chunk_size[last];
        if (is_inside)
            assert_memory_equal(chunk + row * desc->chunk_size[last] * size,
                                fixture->values + (offset + begin) * size, count * size);
    }
}

static void chunk_id(const struct dn_desc *desc, uint64_t flat, struct dn_chunk_id *id, uint64_t *index)
{
    *id = (struct dn_chunk_id){.flat = flat, .index = index, .ndim = desc->ndim};
    for (int i = desc->ndim - 1; i >= 0; i--) {
        index[i] = flat % dn_desc_grid(desc, i);
        flat /= dn_desc_grid(desc, i);
    }
}

/* Whole, and again in two parts that begin and end inside elements. */
static int read_twice(void *dataset, const struct dn_chunk_id *id, unsigned char *buffer, size_t size)
{
    unsigned char *again = malloc(size);
    size_t cut = size / 3 + 1;
    int r = hdf5->read_chunk(dataset, id, 0, buffer, size, NULL);

    assert_non_null(again);
    if (r == 0) {
        assert_int_equal(hdf5->read_chunk(dataset, id, 0, again, cut, NULL), 0);
        if (cut < size)
            assert_int_equal(hdf5->read_chunk(dataset, id, cut, again + cut, size - cut, NULL), 0);
        assert_memory_equal(buffer, again, size);
    }
    free(again);
    return r;
}

static void fill_all(const struct dn_desc *desc, unsigned char *buffer, size_t size)
{
    for (size_t i = 0; i < size; i += desc->dtype.itemsize)
        memcpy(buffer + i, desc->fill, desc->dtype.itemsize);
}

static int check_fixture(void *arg, const char *name)
{
    struct fixture fixture = {.pool = arg, .name = name};
    struct dn_chunk_id id;
    uint64_t index[DN_MAX_NDIM];
    unsigned char *buffer;
    size_t size;
    int stored = 0, listed = 0;

    assert_int_equal(hdf5->open_dataset(arg, name, &fixture.dataset, &fixture.desc), 0);
    load_npy(&fixture);
    size = dn_desc_chunk_nbytes(&fixture.desc);
    buffer = malloc(size);
    assert_non_null(buffer);
    for (uint64_t flat = 0; flat < dn_desc_chunks(&fixture.desc); flat++) {
        chunk_id(&fixture.desc, flat, &id, index);
        int r = read_twice(fixture.dataset, &id, buffer, size);
        assert_int_equal(hdf5->has_chunk(fixture.dataset, &id), r == 0);
        if (r == -ENOENT)
            fill_all(&fixture.desc, buffer, size);
        else
            assert_int_equal(r, 0);
        stored += r == 0;
        compare_chunk(&fixture, index, buffer);
    }
    assert_int_equal(hdf5->list_chunks(fixture.dataset, count_chunk, &listed), 0);
    assert_int_equal(listed, stored);
    free(buffer);
    free(fixture.npy);
    give_back(fixture.dataset, &fixture.desc);
    return 0;
}

static void *connect_fixtures(void)
{
    static const struct options options = {DOSNA_FIXTURES};
    void *pool;

    assert_int_equal(hdf5->connect("pool", &options, &pool), 0);
    return pool;
}

static void test_fixtures(void **test_state)
{
    void *pool = connect_fixtures();
    int count = 0;
    (void)test_state;

    assert_int_equal(hdf5->list_datasets(pool, count_name, &count), 0);
    assert_int_equal(count, 18);
    assert_int_equal(hdf5->list_datasets(pool, check_fixture, pool), 0);
    assert_int_equal(hdf5->has_dataset(pool, "group"), 0);
    assert_int_equal(hdf5->has_dataset(pool, "group/nested.v1"), 1);
    hdf5->disconnect(pool);
}

static void compare_files(const char *ours, const char *theirs)
{
    static unsigned char a[NPY_ROOM], b[NPY_ROOM];
    size_t size = slurp(ours, a, sizeof(a)), their_size = slurp(theirs, b, sizeof(b));

    if (their_size < 2048) /* nothing was ever written to it: it has no data */
        return;
    assert_int_equal(size, their_size);
    assert_memory_equal(a, b, size);
}

static int clone_fixture(void *arg, const char *name)
{
    struct fixture from = {.pool = arg, .name = name}, to = {0};
    char ours[PATH_MAX], theirs[PATH_MAX];
    uint64_t index[DN_MAX_NDIM];
    unsigned char *buffer;
    struct dn_chunk_id id;
    size_t size;

    if (strchr(name, '/') != NULL)
        assert_int_equal(mkdir(at("group"), 0777), 0);
    assert_int_equal(hdf5->open_dataset(arg, name, &from.dataset, &from.desc), 0);
    assert_int_equal(hdf5->create_dataset(conn, name, &from.desc), 0);
    assert_int_equal(hdf5->open_dataset(conn, name, &to.dataset, &to.desc), 0);
    assert_true(dn_desc_equal(&from.desc, &to.desc));
    if (strcmp(name, "f4_py2attr") != 0) { /* its strings are marked as ASCII */
        snprintf(ours, sizeof(ours), "%s/pool/%s/dataset.h5", scratch, name);
        snprintf(theirs, sizeof(theirs), "%s/pool/%s/dataset.h5", DOSNA_FIXTURES, name);
        compare_files(ours, theirs);
    }
    size = dn_desc_chunk_nbytes(&from.desc);
    buffer = malloc(size);
    assert_non_null(buffer);
    for (uint64_t flat = 0; flat < dn_desc_chunks(&from.desc); flat++) {
        char file[64] = "chunk";
        chunk_id(&from.desc, flat, &id, index);
        if (hdf5->read_chunk(from.dataset, &id, 0, buffer, size, NULL) == -ENOENT)
            continue;
        assert_int_equal(hdf5->write_chunk(to.dataset, &id, 0, buffer, size, NULL), 0);
        for (int i = 0; i < id.ndim; i++)
            sprintf(file + strlen(file), "_%u", (unsigned)index[i]);
        snprintf(ours, sizeof(ours), "%s/pool/%s/%s.h5", scratch, name, file);
        snprintf(theirs, sizeof(theirs), "%s/pool/%s/%s.h5", DOSNA_FIXTURES, name, file);
        compare_files(ours, theirs);
    }
    free(buffer);
    assert_int_equal(hdf5->flush(to.dataset), 0);
    give_back(from.dataset, &from.desc);
    give_back(to.dataset, &to.desc);
    return 0;
}

/* Byte for byte the files that h5py made of the same data: nobody can tell who wrote them. */
static void test_same_bytes(void **test_state)
{
    void *pool = connect_fixtures();
    (void)test_state;

    assert_int_equal(hdf5->list_datasets(pool, clone_fixture, pool), 0);
    hdf5->disconnect(pool);
}

/* ---- damage ----------------------------------------------------------------------------------- */

/* An <f4 dataset with one chunk of 1, 2, 3, … and its files' bytes. */
static struct victim {
    unsigned char meta[16384], chunk[16384];
    size_t meta_size, chunk_size;
    float values[SIDE * SIDE], got[SIDE * SIDE];
} victim;

static void make_victim(void)
{
    struct dn_desc desc;
    void *dataset = make("victim", "<f4", 8, "0", &desc);

    for (int i = 0; i < SIDE * SIDE; i++)
        victim.values[i] = (float)(i + 1);
    assert_int_equal(write_at(dataset, 0, 0, victim.values, sizeof(victim.values)), 0);
    give_back(dataset, &desc);
    victim.meta_size = slurp(at("victim/dataset.h5"), victim.meta, sizeof(victim.meta));
    victim.chunk_size = slurp(at("victim/chunk_0_0.h5"), victim.chunk, sizeof(victim.chunk));
}

/* A fresh handle has learned nothing: libhdf5 looks at the file. */
static int read_victim(void)
{
    struct dn_desc desc = {0};
    void *dataset;
    int r = hdf5->open_dataset(conn, "victim", &dataset, &desc);

    if (r < 0)
        return r;
    if (dn_desc_chunk_nbytes(&desc) == sizeof(victim.got) && desc.ndim == 2)
        r = read_at(dataset, 0, 0, victim.got, sizeof(victim.got));
    give_back(dataset, &desc);
    return r;
}

static void check_victim_is_well(void)
{
    spill(at("victim/dataset.h5"), victim.meta, victim.meta_size);
    spill(at("victim/chunk_0_0.h5"), victim.chunk, victim.chunk_size);
    assert_int_equal(read_victim(), 0);
    assert_memory_equal(victim.got, victim.values, sizeof(victim.got));
}

static void test_truncated(void **test_state)
{
    struct dn_desc desc = {0};
    void *dataset;
    (void)test_state;

    make_victim();
    for (size_t size = 0; size < victim.meta_size; size += 64) {
        spill(at("victim/dataset.h5"), victim.meta, size);
        assert_int_equal(read_victim(), -EPROTO);
    }
    check_victim_is_well();
    assert_int_equal(hdf5->open_dataset(conn, "victim", &dataset, &desc), 0);
    assert_int_equal(read_at(dataset, 0, 0, victim.got, sizeof(victim.got)), 0); /* learns */
    for (size_t size = 0; size < victim.chunk_size; size += 64) {
        spill(at("victim/chunk_0_0.h5"), victim.chunk, size);
        assert_int_equal(read_victim(), -EIO);
        assert_int_equal(read_at(dataset, 0, 0, victim.got, sizeof(victim.got)), -EIO);
    }
    give_back(dataset, &desc);
    check_victim_is_well();
}

static void flip(const unsigned char *good, size_t size, const char *path)
{
    unsigned char bad[16384];
    uint64_t count = 1 + random_u64() % 4;

    memcpy(bad, good, size);
    for (uint64_t i = 0; i < count; i++)
        bad[random_u64() % (size < 2560 ? size : 2560)] = (unsigned char)random_u64();
    spill(path, bad, size);
}

/* Any answer will do, as long as there is one and the next file is read right. */
static void test_flipped(void **test_state)
{
    (void)test_state;
    make_victim();
    for (int i = 0; i < 100; i++) {
        flip(victim.meta, victim.meta_size, at("victim/dataset.h5"));
        assert_in_range(-read_victim(), 0, 4095);
        check_victim_is_well();
        flip(victim.chunk, victim.chunk_size, at("victim/chunk_0_0.h5"));
        assert_in_range(-read_victim(), 0, 4095);
        check_victim_is_well();
    }
}

static void put_in_place(const char *path, int kind)
{
    static const char text[] = "this is no HDF5 file, whatever its name says";

    remove(path);
    if (kind == 0)
        assert_int_equal(mkdir(path, 0777), 0);
    else if (kind == 1)
        assert_int_equal(mkfifo(path, 0666), 0);
    else if (kind == 2)
        assert_int_equal(symlink("chunk_1_1.h5", path), 0);
    else if (kind == 3)
        assert_int_equal(symlink("/etc/passwd", path), 0);
    else
        spill(path, text, sizeof(text));
}

static void test_not_a_file(void **test_state)
{
    (void)test_state;
    make_victim();
    spill(at("victim/chunk_1_1.h5"), victim.chunk, victim.chunk_size);
    for (int kind = 0; kind < 5; kind++) {
        put_in_place(at("victim/chunk_0_0.h5"), kind);
        assert_int_equal(read_victim(), -EIO);
        remove(at("victim/chunk_0_0.h5"));
        put_in_place(at("victim/dataset.h5"), kind);
        assert_int_equal(read_victim(), -EPROTO);
        assert_int_equal(hdf5->has_dataset(conn, "victim"), 1);
        remove(at("victim/dataset.h5"));
        assert_int_equal(read_victim(), -ENOENT);
        check_victim_is_well();
    }
}

/* Whoever kills libhdf5's process costs no reader anything. */
static void test_helper_killed(void **test_state)
{
    FILE *children = fopen("/proc/thread-self/children", "r");
    int pid = 0;
    (void)test_state;

    if (children == NULL)
        skip();
    make_victim();
    assert_int_equal(read_victim(), 0);
    assert_int_equal(fscanf(children, "%d", &pid), 1);
    fclose(children);
    assert_int_equal(kill(pid, SIGKILL), 0);
    check_victim_is_well();
}

/* Its first chunk, into another dataset. */
static int copy_victim(void)
{
    struct dn_desc desc, read = {0};
    uint64_t index[2] = {0};
    struct dn_chunk_id id = {.index = index, .ndim = 2};
    void *copy = make("copy", "<f4", 10, "0", &desc), *from;
    int r = hdf5->open_dataset(conn, "victim", &from, &read);

    assert_int_equal(r, 0);
    r = hdf5->copy_chunk(from, copy, &id);
    give_back(from, &read);
    give_back(copy, &desc);
    assert_int_equal(hdf5->delete_dataset(conn, "copy"), 0);
    return r;
}

static void test_locked(void **test_state)
{
    int fd;
    (void)test_state;

    make_victim();
    fd = open(at("victim/chunk_0_0.h5"), O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(read_victim(), -EAGAIN);
    assert_int_equal(copy_victim(), -EAGAIN);
    assert_int_equal(flock(fd, LOCK_UN), 0);
    assert_int_equal(read_victim(), 0);
    assert_int_equal(copy_victim(), 0);
    close(fd);
}

/* ---- chunk files that others make ----------------------------------------------------------- */

struct foreign {
    const char *what;
    int code;
    hid_t type;             /* of the file; 0: <f4 */
    hsize_t side;           /* of the data */
    bool is_chunked, is_compact, is_unwritten, has_times, is_external;
};

static void write_foreign(const char *path, const struct foreign *foreign)
{
    float values[8 * 8];
    hsize_t dims[2] = {foreign->side, foreign->side}, parts[2] = {3, 2};
    hid_t type = foreign->type != 0 ? foreign->type : H5T_IEEE_F32LE;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, dims, NULL), data;
    float fill = 7;

    for (hsize_t i = 0; i < foreign->side * foreign->side; i++) {
        hsize_t row = i / foreign->side, column = i % foreign->side;
        values[i] = row < SIDE && column < SIDE ? (float)(row * SIDE + column + 1) : 99;
    }
    if (H5Tget_class(type) != H5T_STRING)
        assert_true(H5Pset_fill_value(list, H5T_NATIVE_FLOAT, &fill) >= 0);
    H5Pset_obj_track_times(list, foreign->has_times);
    if (foreign->is_chunked) {
        H5Pset_chunk(list, 2, parts);
        H5Pset_shuffle(list);
        H5Pset_deflate(list, 5);
    }
    if (foreign->is_compact)
        H5Pset_layout(list, H5D_COMPACT);
    if (foreign->is_external)
        H5Pset_external(list, "/etc/passwd", 0, H5F_UNLIMITED);
    data = H5Dcreate2(file, "data", type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    assert_true(data >= 0);
    if (!foreign->is_unwritten && !foreign->is_external && H5Tget_class(type) != H5T_STRING)
        assert_true(H5Dwrite(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(data);
    H5Sclose(space);
    H5Pclose(list);
    assert_true(H5Fclose(file) >= 0);
}

static void test_foreign(void **test_state)
{
    hid_t text = H5Tcopy(H5T_C_S1);
    const struct foreign table[] = {
        {.what = "as DosNa writes", .side = 4},
        {.what = "with times", .side = 4, .has_times = true},
        {.what = "big-endian", .side = 4, .type = H5T_IEEE_F32BE},
        {.what = "doubles", .side = 4, .type = H5T_IEEE_F64LE},
        {.what = "shorts", .side = 4, .type = H5T_STD_I16LE},
        {.what = "chunked and deflated", .side = 4, .is_chunked = true},
        {.what = "compact", .side = 4, .is_compact = true},
        {.what = "larger", .side = 7},
        {.what = "larger, chunked, big-endian", .side = 7, .is_chunked = true, .type = H5T_STD_I32BE},
        {.what = "unwritten", .side = 4, .is_unwritten = true},
        {.what = "unwritten and chunked", .side = 5, .is_unwritten = true, .is_chunked = true},
        {.what = "unwritten shorts", .side = 4, .is_unwritten = true, .type = H5T_STD_I16BE},
        {.what = "smaller", .side = 3, .code = -EIO},
        {.what = "in another file", .side = 4, .is_external = true, .code = -EIO},
        {.what = "texts", .side = 4, .type = text, .code = -EIO},
    };
    uint64_t index[2] = {0, 0};
    struct dn_chunk_id id = {.index = index, .ndim = 2};
    (void)test_state;

    H5Tset_size(text, H5T_VARIABLE);
    make_victim();
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct dn_desc desc = {0};
        void *dataset;
        write_foreign(at("victim/chunk_0_0.h5"), &table[i]);
        assert_int_equal(hdf5->open_dataset(conn, "victim", &dataset, &desc), 0);
        for (int pass = 0; pass < 2; pass++) { /* what the first learned must serve the second */
            int r = read_twice(dataset, &id, (unsigned char *)victim.got, sizeof(victim.got));
            if (r != table[i].code)
                print_error("%s: %s\n", table[i].what, dn_error_text(r));
            assert_int_equal(r, table[i].code);
            for (int j = 0; r == 0 && j < SIDE * SIDE; j++)
                assert_true(victim.got[j] == (table[i].is_unwritten ? 7 : victim.values[j]));
        }
        give_back(dataset, &desc);
    }
    H5Tclose(text);
}

/* Files of one writer that differ in the time alone are alike to a reader, those with other times too. */
static void test_times_differ(void **test_state)
{
    static unsigned char bytes[16384];
    const struct foreign with_times = {.side = 4, .has_times = true};
    struct dn_desc desc = {0};
    time_t now = time(NULL);
    void *dataset;
    size_t size, changed = 0;
    (void)test_state;

    make_victim();
    write_foreign(at("victim/chunk_0_0.h5"), &with_times);
    size = slurp(at("victim/chunk_0_0.h5"), bytes, sizeof(bytes));
    for (size_t i = 0; i + 4 < size && changed == 0; i++) {
        uint32_t seconds;
        memcpy(&seconds, bytes + i, sizeof(seconds));
        if (seconds >= (uint32_t)now - 60 && seconds <= (uint32_t)now + 60)
            bytes[changed = i] ^= 0x15;
    }
    assert_true(changed > 0);
    spill(at("victim/chunk_0_1.h5"), bytes, size);
    assert_int_equal(hdf5->open_dataset(conn, "victim", &dataset, &desc), 0);
    for (uint64_t j = 0; j < 2; j++) {
        assert_int_equal(read_at(dataset, 0, j, victim.got, sizeof(victim.got)), 0);
        assert_memory_equal(victim.got, victim.values, sizeof(victim.got));
    }
    give_back(dataset, &desc);
}

static void test_no_data(void **test_state)
{
    hid_t file, group;
    (void)test_state;

    make_victim();
    rename(at("victim/chunk_0_0.h5"), at("other.h5"));
    for (int kind = 0; kind < 4; kind++) {
        file = H5Fcreate(at("victim/chunk_0_0.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        if (kind == 1) {
            group = H5Gcreate2(file, "data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
            H5Gclose(group);
        } else if (kind == 2) {
            H5Lcreate_soft("/elsewhere", file, "data", H5P_DEFAULT, H5P_DEFAULT);
        } else if (kind == 3) {
            H5Lcreate_external(at("other.h5"), "/data", file, "data", H5P_DEFAULT, H5P_DEFAULT);
        }
        H5Fclose(file);
        assert_int_equal(read_victim(), -EIO);
    }
}

/* ---- descriptions that others make ------------------------------------------------------------ */

struct vector {
    hid_t type;   /* 0: int64 */
    int count;    /* 0: left out; -1: a scalar */
    int64_t values[3];
};

struct described {
    const char *what;
    int code;
    struct vector shape, chunk_size, chunk_grid;
    const char *dtype; /* NULL: left out */
    bool is_fixed;     /* dtype: a string of fixed size */
    hid_t fill;        /* its type; 0: left out */
};

static void put_vector(hid_t file, const char *name, const struct vector *vector)
{
    hsize_t count = (hsize_t)vector->count;
    hid_t space, attribute;

    if (vector->count == 0)
        return;
    space = vector->count < 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, NULL);
    attribute = H5Acreate2(file, name, vector->type != 0 ? vector->type : H5T_STD_I64LE, space,
                           H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, H5T_NATIVE_INT64, vector->values) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
}

static void put_dtype(hid_t file, const struct described *described)
{
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR), attribute;

    H5Tset_size(type, described->is_fixed ? strlen(described->dtype) : H5T_VARIABLE);
    attribute = H5Acreate2(file, "dtype", type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(attribute, type,
                         described->is_fixed ? (const void *)described->dtype
                                             : (const void *)&described->dtype) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}

static void put_fill(hid_t file, hid_t type)
{
    static const int value = 3;
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(file, "fillvalue", type, space, H5P_DEFAULT, H5P_DEFAULT);

    if (H5Tget_class(type) != H5T_STRING)
        assert_true(H5Awrite(attribute, H5T_NATIVE_INT, &value) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
}

static void describe(const char *path, const struct described *described)
{
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    put_vector(file, "shape", &described->shape);
    if (described->dtype != NULL)
        put_dtype(file, described);
    if (described->fill != 0)
        put_fill(file, described->fill);
    put_vector(file, "chunk_grid", &described->chunk_grid);
    put_vector(file, "chunk_size", &described->chunk_size);
    assert_true(H5Fclose(file) >= 0);
}

static void check_described(const struct described *described)
{
    static const float fill = 3;
    struct dn_desc desc = {0};
    void *dataset;
    int r;

    describe(at("odd/dataset.h5"), described);
    r = hdf5->open_dataset(conn, "odd", &dataset, &desc);
    if (r != described->code)
        print_error("%s: %s\n", described->what, dn_error_text(r));
    assert_int_equal(r, described->code);
    if (r < 0)
        return;
    assert_int_equal(desc.ndim, 2);
    assert_int_equal(desc.shape[0], 8);
    assert_int_equal(desc.shape[1], 6);
    assert_int_equal(desc.chunk_size[1], 3);
    assert_int_equal(desc.dtype.kind, 'f');
    if (desc.dtype.order == '<')
        assert_memory_equal(desc.fill, &fill, sizeof(fill));
    else
        assert_memory_equal(desc.fill, ((unsigned char[]){0x40, 0x40, 0, 0}), 4);
    give_back(dataset, &desc);
}

static void test_descriptions(void **test_state)
{
#define SHAPE .shape = {0, 2, {8, 6}}
#define CHUNKS .chunk_size = {0, 2, {4, 3}}
#define GRID .chunk_grid = {0, 2, {2, 2}}
    const hid_t f4 = H5T_IEEE_F32LE;
    const struct described table[] = {
        {"as DosNa writes", 0, SHAPE, CHUNKS, GRID, "<f4", false, f4},
        {"no grid", 0, SHAPE, CHUNKS, .dtype = "<f4", .fill = f4},
        {"wrong grid", 0, SHAPE, CHUNKS, .chunk_grid = {0, 1, {77}}, .dtype = "<f4", .fill = f4},
        {"big-endian numbers", 0, .shape = {H5T_STD_I64BE, 2, {8, 6}}, CHUNKS, GRID, "<f4", false, f4},
        {"int32", 0, SHAPE, .chunk_size = {H5T_STD_I32LE, 2, {4, 3}}, GRID, "<f4", false, f4},
        {"uint64", 0, .shape = {H5T_STD_U64LE, 2, {8, 6}}, CHUNKS, GRID, "<f4", false, f4},
        {"a name", 0, SHAPE, CHUNKS, GRID, "float32", false, f4},
        {"a fixed string", 0, SHAPE, CHUNKS, GRID, "float32", true, f4},
        {"a padded string", 0, SHAPE, CHUNKS, GRID, "<f4   ", true, f4},
        {"big-endian", 0, SHAPE, CHUNKS, GRID, ">f4", false, f4},
        {"an integer fill value", 0, SHAPE, CHUNKS, GRID, "<f4", false, H5T_STD_I64LE},
        {"no shape", -EPROTO, .chunk_size = {0, 2, {4, 3}}, .dtype = "<f4", .fill = f4},
        {"no chunk size", -EPROTO, SHAPE, GRID, .dtype = "<f4", .fill = f4},
        {"no dtype", -EPROTO, SHAPE, CHUNKS, GRID, .fill = f4},
        {"no fill value", -EPROTO, SHAPE, CHUNKS, GRID, .dtype = "<f4"},
        {"a scalar shape", -EPROTO, .shape = {0, -1, {8}}, CHUNKS, GRID, "<f4", false, f4},
        {"a shape of floats", -EPROTO, .shape = {f4, 2, {8, 6}}, CHUNKS, GRID, "<f4", false, f4},
        {"other ranks", -EPROTO, .shape = {0, 3, {8, 6, 4}}, CHUNKS, GRID, "<f4", false, f4},
        {"an empty axis", -EPROTO, .shape = {0, 2, {8, 0}}, CHUNKS, GRID, "<f4", false, f4},
        {"a negative axis", -EPROTO, SHAPE, .chunk_size = {0, 2, {-4, 3}}, GRID, "<f4", false, f4},
        {"a huge array", -EPROTO, .shape = {0, 2, {INT64_MAX, INT64_MAX}}, CHUNKS, GRID, "<f4", false, f4},
        {"no type", -EPROTO, SHAPE, CHUNKS, GRID, "rubbish", false, f4},
        {"a type too long", -EPROTO, SHAPE, CHUNKS, GRID,
         "|V1111111111111111111111111111111111111111111111111111", true, f4},
        {"text", -EPROTO, SHAPE, CHUNKS, GRID, "<U5", false, f4},
        {"a fill value of another kind", -EPROTO, SHAPE, CHUNKS, GRID, "<f4", false, H5T_C_S1},
    };
    (void)test_state;

    assert_int_equal(mkdir(at("odd"), 0777), 0);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        check_described(&table[i]);
}

/* ---- names ------------------------------------------------------------------------------------ */

static void test_names(void **test_state)
{
    static const char *const refused[] = {"", ".", "..", "/a", "a/", "a//b", "a/../b", "../pool/a",
                                          "./a", "dataset.h5", "a/dataset.h5"};
    static const char *const taken[] = {"a b", ".hidden", "dots.and.more", "\xc3\xa9", "\xff\xfe", "...",
                                        "chunk_0_0.h5", "a\nb", "%"};
    uint64_t extent[1] = {4};
    struct dn_desc desc;
    char longest[300];
    (void)test_state;

    assert_int_equal(dn_desc_init(&desc, 1, extent, "<i2", NULL, NULL), 0);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_int_equal(hdf5->create_dataset(conn, refused[i], &desc), -EINVAL);
        assert_int_equal(open_code(refused[i]), -EINVAL);
    }
    memset(longest, 'x', 256);
    longest[256] = '\0';
    assert_int_equal(hdf5->create_dataset(conn, longest, &desc), -ENAMETOOLONG);
    assert_int_equal(open_code(longest), -ENAMETOOLONG);
    longest[255] = '\0';
    assert_int_equal(hdf5->create_dataset(conn, longest, &desc), 0);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        assert_int_equal(hdf5->create_dataset(conn, taken[i], &desc), 0);
        assert_int_equal(hdf5->create_dataset(conn, taken[i], &desc), -EEXIST);
        assert_int_equal(open_code(taken[i]), 0);
    }
    assert_int_equal(count_datasets(), 1 + sizeof(taken) / sizeof(taken[0]));
    assert_int_equal(hdf5->create_dataset(conn, "no/where", &desc), -EINVAL);
    assert_int_equal(hdf5->create_dataset(conn, "%/inside", &desc), -EINVAL);
    dn_desc_clear(&desc);
}

static void test_links(void **test_state)
{
    char outside[128];
    uint64_t extent[1] = {4};
    struct dn_desc desc;
    (void)test_state;

    make_victim();
    snprintf(outside, sizeof(outside), "%s/outside", scratch);
    assert_int_equal(rename(at("victim"), outside), 0);
    assert_int_equal(symlink("../outside", at("relative")), 0);
    assert_int_equal(symlink(outside, at("absolute")), 0);
    assert_int_equal(symlink("..", at("up")), 0);
    assert_int_equal(symlink("loop", at("loop")), 0);
    assert_int_equal(open_code("relative"), -EINVAL);
    assert_int_equal(open_code("absolute"), -EINVAL);
    assert_int_equal(open_code("up/outside"), -EINVAL);
    assert_int_equal(open_code("loop"), -EINVAL);
    assert_int_equal(hdf5->delete_dataset(conn, "relative"), -EINVAL);
    assert_int_equal(hdf5->rename_dataset(conn, "up/outside", "inside"), -EINVAL);
    assert_int_equal(dn_desc_init(&desc, 1, extent, "<i2", NULL, NULL), 0);
    assert_int_equal(hdf5->create_dataset(conn, "up/escaped", &desc), -EINVAL);
    dn_desc_clear(&desc);
    assert_int_equal(count_datasets(), 0);
    strcat(outside, "/dataset.h5");
    assert_true(exists(outside));
}

static void test_connection(void **test_state)
{
    struct options here = {scratch}, elsewhere = {"/nonexistent"};
    char path[128];
    void *other;
    (void)test_state;

    assert_int_equal(hdf5->connect("absent", &here, &other), -ENOENT);
    assert_int_equal(hdf5->connect("pool.1", &here, &other), -EINVAL);
    assert_int_equal(mkdir(at("../.hid"), 0777), 0);
    assert_int_equal(hdf5->connect(".hid", &here, &other), 0);
    hdf5->disconnect(other);
    spill(at("../file"), "", 0);
    assert_int_equal(hdf5->connect("file", &here, &other), -ENOENT);
    snprintf(path, sizeof(path), "%s/pool", scratch); /* an absolute name replaces the directory */
    assert_int_equal(hdf5->connect(path, &elsewhere, &other), 0);
    hdf5->disconnect(other);
}

/* ---- making, renaming, deleting -------------------------------------------------------------- */

static void test_create_fails_clean(void **test_state)
{
    static const char *const types[] = {"<U5", "<M8[ns]", "<m8[s]", "|V6", "|S100000"};
    uint64_t extent[1] = {4};
    struct dn_desc desc;
    (void)test_state;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        assert_int_equal(dn_desc_init(&desc, 1, extent, types[i], NULL, NULL), 0);
        assert_int_equal(hdf5->create_dataset(conn, "new", &desc), -ENOTSUP);
        assert_false(exists(at("new")));
        dn_desc_clear(&desc);
    }
    assert_int_equal(mkdir(at("new"), 0777), 0);
    assert_int_equal(dn_desc_init(&desc, 1, extent, "<i2", NULL, NULL), 0);
    assert_int_equal(hdf5->create_dataset(conn, "new", &desc), -EEXIST);
    assert_int_equal(rmdir(at("new")), 0); /* it is as it was: empty */
    dn_desc_clear(&desc);
}

static void scatter(const char *const *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char path[128];
        snprintf(path, sizeof(path), "d/%s", files[i]);
        spill(at(path), "", 0);
    }
}

static void check_scattered(const char *const *files, size_t count, bool there)
{
    for (size_t i = 0; i < count; i++) {
        char path[128];
        snprintf(path, sizeof(path), "d/%s", files[i]);
        assert_int_equal(exists(at(path)), there);
    }
}

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
static const char *const inside[] = {"chunk_0_0.h5", "chunk_2_1.h5"};
static const char *const strays[] = {"chunk_-1_0.h5", "chunk_3_0.h5", "chunk_0_99999999999999999999.h5",
                                     "chunk_0.h5", "chunk_0_0_0.h5"};
static const char *const temporary[] = {".dosnafs-1-2.tmp"};
static const char *const foreign_files[] = {"chunk_00_1.h5", "chunk_1_1.h5~", "chunk_1_+1.h5", "chunk_.h5",
                                            "chunk_1_-0.h5", "chunk_1_ 1.h5", "notes.txt", ".dosnafs-x"};

static void test_strays(void **test_state)
{
    struct dn_desc desc;
    void *dataset = make("d", "|u1", 10, "0", &desc);
    const char *forgotten = ".dosnafs-4-5.tmp"; /* the writer was killed two days ago */
    const struct timespec then = {.tv_sec = time(NULL) - 2 * 24 * 60 * 60}, old[2] = {then, then};
    char path[64];
    int listed = 0;
    (void)test_state;

    scatter(inside, COUNT(inside));
    scatter(strays, COUNT(strays));
    scatter(temporary, COUNT(temporary));
    scatter(foreign_files, COUNT(foreign_files));
    scatter(&forgotten, 1);
    snprintf(path, sizeof path, "d/%s", forgotten);
    assert_int_equal(utimensat(AT_FDCWD, at(path), old, 0), 0);
    assert_int_equal(hdf5->list_chunks(dataset, count_chunk, &listed), 0);
    assert_int_equal(listed, COUNT(inside));
    listed = 0;
    assert_int_equal(hdf5->list_strays(dataset, count_name, &listed), 0);
    assert_int_equal(listed, COUNT(strays) + 1);
    assert_int_equal(hdf5->delete_strays(dataset), 0);
    check_scattered(inside, COUNT(inside), true);
    check_scattered(strays, COUNT(strays), false);
    check_scattered(&forgotten, 1, false);
    check_scattered(temporary, COUNT(temporary), true);
    check_scattered(foreign_files, COUNT(foreign_files), true);
    give_back(dataset, &desc);
}

static void test_delete(void **test_state)
{
    struct dn_desc desc;
    void *dataset = make("d", "|u1", 10, "0", &desc);
    (void)test_state;

    give_back(dataset, &desc);
    scatter(inside, COUNT(inside));
    scatter(strays, COUNT(strays));
    scatter(temporary, COUNT(temporary));
    assert_int_equal(mkdir(at("empty"), 0777), 0);
    assert_int_equal(hdf5->delete_dataset(conn, "empty"), -ENOENT);
    assert_int_equal(hdf5->delete_dataset(conn, "absent"), -ENOENT);
    assert_int_equal(hdf5->delete_dataset(conn, "d"), 0);
    assert_false(exists(at("d")));

    dataset = make("d", "|u1", 10, "0", &desc);
    give_back(dataset, &desc);
    scatter(inside, COUNT(inside));
    scatter(foreign_files, COUNT(foreign_files));
    assert_int_equal(mkdir(at("d/chunk_1_1.h5"), 0777), 0); /* a folder is no chunk */
    assert_int_equal(hdf5->delete_dataset(conn, "d"), 0);
    check_scattered(inside, COUNT(inside), false);
    check_scattered(foreign_files, COUNT(foreign_files), true);
    assert_int_equal(hdf5->has_dataset(conn, "d"), 0);
}

static void test_gone(void **test_state)
{
    struct dn_desc desc;
    unsigned char bytes[SIDE * SIDE] = {0};
    void *dataset = make("d", "|u1", 10, "0", &desc);
    (void)test_state;

    assert_int_equal(hdf5->delete_dataset(conn, "d"), 0);
    assert_int_equal(write_at(dataset, 0, 0, bytes, sizeof(bytes)), -ESTALE);
    assert_int_equal(read_at(dataset, 0, 0, bytes, sizeof(bytes)), -ESTALE);
    give_back(dataset, &desc);
}

/* A folder that has something foreign in it stays, and is no dataset all the same. */
static void test_gone_but_for_the_folder(void **test_state)
{
    struct dn_desc desc;
    unsigned char bytes[SIDE * SIDE] = {0};
    uint64_t index[2] = {0};
    struct dn_chunk_id id = {.index = index, .ndim = 2};
    void *dataset = make("d", "|u1", 10, "0", &desc);
    (void)test_state;

    assert_int_equal(write_at(dataset, 0, 0, bytes, sizeof(bytes)), 0);
    spill(at("d/notes"), "mine", 4);
    assert_int_equal(hdf5->delete_dataset(conn, "d"), 0);
    assert_int_equal(read_at(dataset, 0, 0, bytes, sizeof(bytes)), -ESTALE);
    assert_int_equal(hdf5->has_chunk(dataset, &id), -ESTALE);
    assert_int_equal(write_at(dataset, 0, 0, bytes, sizeof(bytes)), -ESTALE);
    assert_int_equal(remove(at("d/notes")), 0);
    assert_int_equal(rmdir(at("d")), 0); /* nothing else was in it */
    give_back(dataset, &desc);
}

static void test_rename(void **test_state)
{
    struct dn_desc desc, other_desc;
    unsigned char bytes[SIDE * SIDE] = {1, 2, 3}, got[SIDE * SIDE];
    void *dataset = make("d", "|u1", 10, "0", &desc);
    void *other = make("other", "|u1", 10, "0", &other_desc);
    (void)test_state;

    give_back(other, &other_desc);
    assert_int_equal(mkdir(at("group"), 0777), 0);
    assert_int_equal(hdf5->rename_dataset(conn, "d", "other"), -EEXIST);
    assert_int_equal(hdf5->rename_dataset(conn, "absent", "new"), -ENOENT);
    assert_int_equal(hdf5->rename_dataset(conn, "group", "new"), -ENOENT);
    assert_int_equal(hdf5->rename_dataset(conn, "d", "d/inside"), -EINVAL);
    assert_int_equal(hdf5->rename_dataset(conn, "d", "group/new"), 1);
    assert_int_equal(hdf5->has_dataset(conn, "d"), 0);
    assert_int_equal(write_at(dataset, 2, 2, bytes, sizeof(bytes)), 0);
    assert_true(exists(at("group/new/chunk_2_2.h5")));
    assert_int_equal(read_at(dataset, 2, 2, got, sizeof(got)), 0);
    assert_memory_equal(got, bytes, sizeof(got));
    give_back(dataset, &desc);
}

/* A description is remembered, but never past a change. */
static void test_described_anew(void **test_state)
{
    struct dn_desc desc;
    (void)test_state;

    for (uint64_t extent = 4; extent < 24; extent++) {
        void *dataset = make("d", "|u1", extent, "0", &desc); /* checks what it reads back */
        give_back(dataset, &desc);
        assert_int_equal(open_code("d"), 0);
        assert_int_equal(hdf5->delete_dataset(conn, "d"), 0);
    }
}

static void test_versions(void **test_state)
{
    struct dn_desc desc;
    unsigned char bytes[SIDE * SIDE] = {1}, got[SIDE * SIDE] = {9};
    void *dataset = make("d", "|u1", 10, "0", &desc);
    uint64_t index[2] = {1, 1};
    struct dn_chunk_id id = {.index = index, .ndim = 2};
    struct dn_version written, version = {0}, before;
    (void)test_state;

    assert_int_equal(hdf5->write_chunk(dataset, &id, 0, bytes, sizeof(bytes), &written), 0);
    version = written;
    assert_int_equal(hdf5->read_chunk(dataset, &id, 0, got, sizeof(got), &version), DN_UNCHANGED);
    assert_int_equal(got[0], 9);
    version.size = 0;
    assert_int_equal(hdf5->read_chunk(dataset, &id, 0, got, sizeof(got), &version), 0);
    assert_int_equal(version.size, written.size);
    assert_memory_equal(version.bytes, written.bytes, version.size);
    before = version;
    bytes[0] = 2;
    assert_int_equal(hdf5->write_chunk(dataset, &id, 0, bytes, sizeof(bytes), NULL), 0);
    assert_int_equal(hdf5->read_chunk(dataset, &id, 0, got, sizeof(got), &version), 0);
    assert_int_equal(got[0], 2);
    assert_memory_not_equal(version.bytes, before.bytes, version.size);
    assert_int_equal(hdf5->delete_chunk(dataset, &id), 0);
    assert_int_equal(hdf5->delete_chunk(dataset, &id), -ENOENT);
    assert_int_equal(hdf5->read_chunk(dataset, &id, 0, got, sizeof(got), &version), -ENOENT);
    assert_int_equal(hdf5->flush(dataset), 0);
    give_back(dataset, &desc);
}

/* Change the last byte of a chunk's file in place, at a time that a clock of coarse steps may show. */
static void change(const char *path, unsigned char last, time_t second)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = second, .tv_nsec = 4000000}};
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, -1, SEEK_END) > 0, 1);
    assert_int_equal(write(fd, &last, 1), 1);
    assert_int_equal(futimens(fd, times), 0);
    assert_int_equal(close(fd), 0);
}

/* Somebody may change a chunk twice within one step of the clock that file times are taken from, as DosNa does. */
static void test_quick_changes(void **test_state)
{
    struct dn_desc desc;
    unsigned char bytes[SIDE * SIDE] = {1}, got[SIDE * SIDE];
    void *dataset = make("d", "|u1", SIDE, "0", &desc);
    uint64_t index[2] = {0};
    struct dn_chunk_id id = {.index = index, .ndim = 2};
    struct dn_version version = {0};
    time_t now = time(NULL);
    (void)test_state;

    assert_int_equal(hdf5->write_chunk(dataset, &id, 0, bytes, sizeof(bytes), NULL), 0);
    for (unsigned char last = 1; last < 4; last++) {
        change(at("d/chunk_0_0.h5"), last, now + 1); /* to be so in a moment, however slow this machine is */
        assert_int_equal(hdf5->read_chunk(dataset, &id, 0, got, sizeof(got), &version), 0);
        assert_int_equal(got[sizeof(got) - 1], last);
    }
    change(at("d/chunk_0_0.h5"), 4, now - 10);
    assert_int_equal(hdf5->read_chunk(dataset, &id, 0, got, sizeof(got), &version), 0);
    assert_int_equal(got[sizeof(got) - 1], 4);
    assert_int_equal(hdf5->read_chunk(dataset, &id, 0, got, sizeof(got), &version), DN_UNCHANGED);
    give_back(dataset, &desc);
}

/* ---- syncs that fail --------------------------------------------------------------------------- */

static _Atomic unsigned syncs, failing_syncs;
static void (*during_sync)(void);

int __wrap_syncfs(int fd);

int __wrap_syncfs(int fd)
{
    (void)fd;
    syncs++;
    if (during_sync)
        during_sync();
    if (!failing_syncs)
        return 0;
    failing_syncs--;
    errno = ENOSPC;
    return -1;
}

static void *written_to;

static int write_number(uint64_t row, uint64_t column)
{
    static const unsigned char bytes[SIDE * SIDE] = {1};
    uint64_t index[2] = {row, column};
    struct dn_chunk_id id = {3 * row + column, index, 2};

    return hdf5->write_chunk(written_to, &id, 0, bytes, sizeof(bytes), NULL);
}

static int delete_number(uint64_t row, uint64_t column)
{
    uint64_t index[2] = {row, column};
    struct dn_chunk_id id = {3 * row + column, index, 2};

    return hdf5->delete_chunk(written_to, &id);
}

/* The kernel says it once: the flush goes on saying it until what was lost is written or deleted again. */
static void test_failed_sync(void **test_state)
{
    struct dn_desc desc;
    (void)test_state;

    written_to = make("d", "|u1", 3 * SIDE, "0", &desc);
    assert_int_equal(write_number(0, 0), 0);
    assert_int_equal(hdf5->flush(written_to), 0);
    assert_int_equal(write_number(0, 1), 0);
    assert_int_equal(write_number(2, 2), 0);
    failing_syncs = 1;
    assert_int_equal(hdf5->flush(written_to), -ENOSPC);
    assert_int_equal(hdf5->flush(written_to), -ENOSPC);
    assert_int_equal(write_number(0, 0), 0); /* it was not lost */
    assert_int_equal(hdf5->flush(written_to), -ENOSPC);
    assert_non_null(strstr(dn_error_text(-ENOSPC), "2 chunks written before were lost"));
    assert_int_equal(write_number(0, 1), 0);
    assert_int_equal(hdf5->flush(written_to), -ENOSPC);
    assert_int_equal(delete_number(2, 2), 0);
    assert_int_equal(hdf5->flush(written_to), 0);
    assert_int_equal(hdf5->flush(written_to), 0);
    give_back(written_to, &desc);
}

static void test_failed_sync_of_a_deletion(void **test_state)
{
    struct dn_desc desc;
    (void)test_state;

    written_to = make("d", "|u1", 3 * SIDE, "0", &desc);
    assert_int_equal(write_number(0, 0), 0);
    assert_int_equal(delete_number(0, 0), 0);
    failing_syncs = 1;
    syncs = 0;
    assert_int_equal(hdf5->flush(written_to), -ENOSPC);
    assert_int_equal(hdf5->flush(written_to), 0); /* nothing is lost, and the deletion is synced now */
    assert_int_equal(hdf5->flush(written_to), 0);
    assert_int_equal(syncs, 2);
    give_back(written_to, &desc);
}

static void write_meanwhile(void)
{
    during_sync = NULL;
    assert_int_equal(write_number(0, 0), 0);
}

/* What is written, or begun, while the sync that fails runs may be lost with the rest. */
static void test_write_during_failed_sync(void **test_state)
{
    struct dn_desc desc;
    (void)test_state;

    written_to = make("d", "|u1", 3 * SIDE, "0", &desc);
    assert_int_equal(write_number(0, 0), 0);
    failing_syncs = 1;
    during_sync = write_meanwhile;
    assert_int_equal(hdf5->flush(written_to), -ENOSPC);
    assert_int_equal(hdf5->flush(written_to), -ENOSPC);
    assert_int_equal(write_number(0, 0), 0);
    assert_int_equal(hdf5->flush(written_to), 0);
    give_back(written_to, &desc);
}

static void test_write_around_failed_sync(void **test_state)
{
    struct hdf5_sync sync;
    struct dn_chunk_id id = {.flat = 5};
    int dir = open(at(""), O_RDONLY | O_DIRECTORY);
    unsigned begun;
    (void)test_state;

    hdf5_sync_init(&sync);
    begun = hdf5_sync_begin(&sync);
    hdf5_sync_removed(&sync, NULL);
    failing_syncs = 1;
    assert_int_equal(hdf5_sync_flush(&sync, dir), -ENOSPC);
    assert_int_equal(hdf5_sync_written(&sync, dir, &id, begun), -ENOSPC);
    assert_int_equal(sync.written.count, 0);
    assert_int_equal(hdf5_sync_written(&sync, dir, &id, hdf5_sync_begin(&sync)), 0);
    assert_int_equal(hdf5_sync_flush(&sync, dir), 0);
    hdf5_sync_clear(&sync);
    close(dir);
}

/* However much is written between two flushes, what is remembered is bounded. */
static void test_many_writes_between_flushes(void **test_state)
{
    struct hdf5_sync sync;
    struct dn_chunk_id id = {0};
    int dir = open(at(""), O_RDONLY | O_DIRECTORY);
    (void)test_state;

    hdf5_sync_init(&sync);
    syncs = 0;
    for (id.flat = 0; id.flat < 3 * HDF5_SYNC_WRITES + 1; id.flat++) {
        if (id.flat == HDF5_SYNC_WRITES)
            failing_syncs = 1; /* the second one, which nobody asked for */
        assert_int_equal(hdf5_sync_written(&sync, dir, &id, hdf5_sync_begin(&sync)), 0);
    }
    assert_int_equal(syncs, 3);
    assert_int_equal(sync.written.count, 1);
    assert_int_equal(hdf5_sync_flush(&sync, dir), -ENOSPC);
    assert_int_equal(sync.lost.count, HDF5_SYNC_WRITES);
    hdf5_sync_clear(&sync);
    close(dir);
}

static void test_too_much_lost(void **test_state)
{
    struct hdf5_sync sync;
    struct dn_chunk_id id = {0};
    int dir = open(at(""), O_RDONLY | O_DIRECTORY);
    (void)test_state;

    hdf5_sync_init(&sync);
    failing_syncs = HDF5_SYNC_LOST / HDF5_SYNC_WRITES + 1;
    while (failing_syncs) {
        assert_int_equal(hdf5_sync_written(&sync, dir, &id, hdf5_sync_begin(&sync)), 0);
        id.flat++;
    }
    assert_true(sync.all_lost);
    assert_int_equal(hdf5_sync_flush(&sync, dir), -ENOSPC);
    hdf5_sync_clear(&sync);
    close(dir);
}

/* ---- what NFS does ----------------------------------------------------------------------------- */

static bool read_fails;

ssize_t __real_preadv64(int fd, const struct iovec *parts, int count, off_t offset);
ssize_t __wrap_preadv64(int fd, const struct iovec *parts, int count, off_t offset);
ssize_t __wrap_preadv64(int fd, const struct iovec *parts, int count, off_t offset)
{
    if (!read_fails)
        return __real_preadv64(fd, parts, count, offset);
    errno = ESTALE;
    return -1;
}

/* A file that another machine replaces goes from under its reader. That is not the end of the dataset. */
static void test_replaced_while_read(void **test_state)
{
    struct dn_desc desc;
    unsigned char bytes[SIDE * SIDE] = {1}, got[SIDE * SIDE];
    void *dataset = make("d", "|u1", SIDE, "0", &desc);
    uint64_t index[2] = {0};
    struct dn_chunk_id id = {.index = index, .ndim = 2};
    (void)test_state;

    assert_int_equal(hdf5->write_chunk(dataset, &id, 0, bytes, sizeof(bytes), NULL), 0);
    read_fails = true;
    assert_int_equal(hdf5->read_chunk(dataset, &id, 0, got, sizeof(got), NULL), -EAGAIN);
    read_fails = false;
    assert_int_equal(hdf5->read_chunk(dataset, &id, 0, got, sizeof(got), NULL), 0);
    give_back(dataset, &desc);
}

static bool close_fails; /* for files that were written */

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    bool fails = close_fails && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    int r = __real_close(fd);

    if (!fails)
        return r;
    errno = EDQUOT;
    return -1;
}

/* NFS may find no room for a file as late as when it is closed. The chunk that was there stays. */
static void test_late_failure(void **test_state)
{
    struct dn_desc desc;
    unsigned char old[SIDE * SIDE] = {1}, new[SIDE * SIDE] = {2}, got[SIDE * SIDE];
    void *dataset = make("d", "|u1", SIDE, "0", &desc);
    uint64_t index[2] = {0};
    struct dn_chunk_id id = {.index = index, .ndim = 2};
    (void)test_state;

    assert_int_equal(hdf5->write_chunk(dataset, &id, 0, old, sizeof(old), NULL), 0);
    close_fails = true;
    assert_int_equal(hdf5->write_chunk(dataset, &id, 0, new, sizeof(new), NULL), -EDQUOT);
    close_fails = false;
    assert_int_equal(hdf5->read_chunk(dataset, &id, 0, got, sizeof(got), NULL), 0);
    assert_memory_equal(got, old, sizeof(old));
    assert_int_equal(hdf5->delete_chunk(dataset, &id), 0);
    give_back(dataset, &desc);
    assert_int_equal(hdf5->delete_dataset(conn, "d"), 0);
    assert_false(exists(at("d"))); /* with nothing left in it */
}

/* ---- threads ---------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 40

static void *work(void *arg)
{
    uint64_t row = *(const uint64_t *)arg;
    unsigned char bytes[SIDE * SIDE], got[SIDE * SIDE];
    intptr_t bad = 0;

    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct dn_desc desc = {0};
        void *dataset;
        memset(bytes, (int)(row * ROUNDS + i), sizeof(bytes));
        if (hdf5->open_dataset(conn, "d", &dataset, &desc) < 0)
            return (void *)1;
        bad += write_at(dataset, row, i % 3, bytes, sizeof(bytes)) != 0;
        bad += read_at(dataset, row, i % 3, got, sizeof(got)) != 0;
        bad += memcmp(bytes, got, sizeof(got)) != 0;
        bad += hdf5->flush(dataset) != 0;
        give_back(dataset, &desc);
    }
    return (void *)bad;
}

static void test_threads(void **test_state)
{
    struct dn_desc desc;
    void *dataset = make("d", "|u1", SIDE * THREADS, "0", &desc);
    uint64_t rows[THREADS];
    pthread_t threads[THREADS];
    (void)test_state;

    for (uint64_t i = 0; i < THREADS; i++) {
        rows[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &rows[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *bad;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
    give_back(dataset, &desc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),
        cmocka_unit_test_setup_teardown(test_same_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_helper_killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_locked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_foreign, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_times_differ, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_descriptions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create_fails_clean, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_strays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_delete, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gone_but_for_the_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rename, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_described_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_quick_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_sync, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_sync_of_a_deletion, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_during_failed_sync, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_write_around_failed_sync, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_writes_between_flushes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_much_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replaced_while_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_late_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
    };

    random_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
