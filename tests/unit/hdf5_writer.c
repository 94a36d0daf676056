// SPDX-License-Identifier: Apache-2.0
/*
 * For test_hdf5_h5py.py: makes a dataset with the hdf5 backend.
 *   hdf5_writer DIRECTORY CONNECTION NAME DTYPE SHAPE CHUNK_SIZE FILL < the chunks, whole, in order
 */
#include <dosna/backend.h>
#include <stdio.h>
#include <stdlib.h>

extern const struct dn_backend dn_backend_hdf5;

static void must(int code)
{
    if (code >= 0)
        return;
    fprintf(stderr, "%s\n", dn_error_text(code));
    exit(1);
}

static void write_chunks(void *dataset, const struct dn_desc *desc)
{
    size_t size = dn_desc_chunk_nbytes(desc);
    unsigned char *buffer = malloc(size);
    uint64_t index[DN_MAX_NDIM];
    struct dn_chunk_id id = {.index = index, .ndim = desc->ndim};

    while (buffer != NULL && fread(buffer, 1, size, stdin) == size) {
        uint64_t rest = id.flat;
        for (int i = desc->ndim - 1; i >= 0; i--) {
            index[i] = rest % dn_desc_grid(desc, i);
            rest /= dn_desc_grid(desc, i);
        }
        must(dn_backend_hdf5.write_chunk(dataset, &id, 0, buffer, size, NULL));
        id.flat++;
    }
    free(buffer);
}

int main(int argc, char **argv)
{
    const struct dn_backend *hdf5 = &dn_backend_hdf5;
    uint64_t shape[DN_MAX_NDIM], chunk_size[DN_MAX_NDIM];
    struct dn_desc desc = {0}, opened = {0};
    void *conn, *dataset;

    if (argc != 8)
        return 2;
    must(hdf5->connect(argv[2], &argv[1], &conn)); /* its options are one string */
    must(dn_vector_parse(argv[6], ",", chunk_size, DN_MAX_NDIM));
    must(dn_desc_init(&desc, dn_vector_parse(argv[5], ",", shape, DN_MAX_NDIM), shape, argv[4],
                      chunk_size, argv[7]));
    must(hdf5->create_dataset(conn, argv[3], &desc));
    must(hdf5->open_dataset(conn, argv[3], &dataset, &opened));
    write_chunks(dataset, &opened);
    must(hdf5->flush(dataset));
    hdf5->close_dataset(dataset);
    hdf5->disconnect(conn);
    dn_desc_clear(&desc);
    dn_desc_clear(&opened);
    return 0;
}
