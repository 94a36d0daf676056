// SPDX-License-Identifier: Apache-2.0
/*
 * What of a dataset is not known to be on the disk.
 *
 * syncfs() tells of a failed write once, and the kernel may have given the data up by then: the next call returns 0.
 * So chunks written since the last sync that worked are remembered. If one fails, these are lost, those too that were
 * written while it ran, and every flush fails until each of them was written again, or deleted.
 *
 * Any thread may call, but for the first and the last function.
 */
#ifndef HDF5_SYNC_H
#define HDF5_SYNC_H

#include <dosna/backend.h>
#include <pthread.h>

/** So many writes, and they are synced without being asked: what is remembered is bounded. */
#define HDF5_SYNC_WRITES 16384
/** With more chunks lost than this all are taken for lost, until the dataset is closed. */
#define HDF5_SYNC_LOST (4 * HDF5_SYNC_WRITES)

struct hdf5_numbers {
    uint64_t *number; /* of chunks */
    size_t count, room;
};

struct hdf5_sync {
    pthread_mutex_t flush; /* whoever finds nothing to flush has waited for who took it */
    pthread_mutex_t lock;  /* guards the rest; not held while a sync runs */
    struct hdf5_numbers written;       /* in the order of the writes */
    struct hdf5_numbers syncing, lost; /* sorted, each once */
    bool changed;          /* anything, deletions too, since the last sync that worked */
    bool all_lost;
    int error;             /* negative errno of the last sync that failed */
    unsigned failures;     /* how many have */
};

void hdf5_sync_init(struct hdf5_sync *sync);
void hdf5_sync_clear(struct hdf5_sync *sync);

/** To be called before a chunk's new file is written; what it returns is for hdf5_sync_written(). */
unsigned hdf5_sync_begin(struct hdf5_sync *sync);
/** A chunk has its new file. `dir` is the dataset's folder. 0; or it has to be written again: -ENOMEM, or the error of a
 *  sync that has failed since `begun`. */
int hdf5_sync_written(struct hdf5_sync *sync, int dir, const struct dn_chunk_id *id, unsigned begun);
/** A chunk was deleted; NULL: other files were. */
void hdf5_sync_removed(struct hdf5_sync *sync, const struct dn_chunk_id *id);

/** Make everything durable that was told before. 0, or a negative errno with a text: see above. */
int hdf5_sync_flush(struct hdf5_sync *sync, int dir);

#endif
