// SPDX-License-Identifier: Apache-2.0
#include "hdf5_sync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- sets of numbers --------------------------------------------------------------------------- */

static int reserve(struct hdf5_numbers *set, size_t count)
{
    size_t room = 2 * count;
    uint64_t *number;

    if (count <= set->room)
        return 0;
    number = reallocarray(set->number, room, sizeof(*number));
    if (number == NULL)
        return -ENOMEM;
    set->number = number;
    set->room = room;
    return 0;
}

static void discard(struct hdf5_numbers *set)
{
    free(set->number);
    *set = (struct hdf5_numbers){0};
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void sort(struct hdf5_numbers *set)
{
    size_t count = 0;

    if (set->count > 0)
        qsort(set->number, set->count, sizeof(*set->number), compare);
    for (size_t i = 0; i < set->count; i++)
        if (count == 0 || set->number[i] != set->number[count - 1])
            set->number[count++] = set->number[i];
    set->count = count;
}

static void take_out(struct hdf5_numbers *sorted, uint64_t number)
{
    uint64_t *found = NULL;

    if (sorted->count > 0)
        found = bsearch(&number, sorted->number, sorted->count, sizeof(number), compare);
    if (found == NULL)
        return;
    sorted->count--;
    memmove(found, found + 1, (size_t)(sorted->number + sorted->count - found) * sizeof(number));
}

static void take_out_unsorted(struct hdf5_numbers *set, uint64_t number)
{
    size_t kept = 0;

    for (size_t i = 0; i < set->count; i++)
        if (set->number[i] != number)
            set->number[kept++] = set->number[i];
    set->count = kept;
}

/* ---- what is on the disk ------------------------------------------------------------------------- */

void hdf5_sync_init(struct hdf5_sync *sync)
{
    *sync = (struct hdf5_sync){0};
    pthread_mutex_init(&sync->flush, NULL);
    pthread_mutex_init(&sync->lock, NULL);
}

void hdf5_sync_clear(struct hdf5_sync *sync)
{
    discard(&sync->written);
    discard(&sync->lost);
    pthread_mutex_destroy(&sync->lock);
    pthread_mutex_destroy(&sync->flush);
}

unsigned hdf5_sync_begin(struct hdf5_sync *sync)
{
    unsigned failures;

    pthread_mutex_lock(&sync->lock);
    failures = sync->failures;
    pthread_mutex_unlock(&sync->lock);
    return failures;
}

int hdf5_sync_written(struct hdf5_sync *sync, int dir, const struct dn_chunk_id *id, unsigned begun)
{
    bool full;
    int r;

    pthread_mutex_lock(&sync->lock);
    sync->changed = true;
    r = sync->failures != begun ? sync->error : reserve(&sync->written, sync->written.count + 1);
    if (r == 0) {
        sync->written.number[sync->written.count++] = id->flat;
        take_out(&sync->lost, id->flat);
    }
    full = sync->written.count >= HDF5_SYNC_WRITES;
    pthread_mutex_unlock(&sync->lock);
    if (full)
        hdf5_sync_flush(sync, dir); /* a failure is remembered for who asks */
    return r < 0 ? dn_fail(r, "%s", strerror(-r)) : 0;
}

void hdf5_sync_removed(struct hdf5_sync *sync, const struct dn_chunk_id *id)
{
    pthread_mutex_lock(&sync->lock);
    sync->changed = true;
    if (id != NULL) {
        take_out_unsorted(&sync->written, id->flat);
        take_out(&sync->syncing, id->flat);
        take_out(&sync->lost, id->flat);
    }
    pthread_mutex_unlock(&sync->lock);
}

static void lose(struct hdf5_numbers *lost, struct hdf5_numbers *set)
{
    if (set->count > 0)
        memcpy(lost->number + lost->count, set->number, set->count * sizeof(*lost->number));
    lost->count += set->count;
    set->count = 0;
}

/* The sync failed. */
static void lose_locked(struct hdf5_sync *sync, int error)
{
    size_t count = sync->lost.count + sync->syncing.count + sync->written.count;

    sync->changed = true;
    sync->error = error;
    sync->failures++;
    if (sync->all_lost || count > HDF5_SYNC_LOST || reserve(&sync->lost, count) < 0) {
        sync->all_lost = true;
        return;
    }
    lose(&sync->lost, &sync->syncing);
    lose(&sync->lost, &sync->written);
    sort(&sync->lost);
}

static int outcome_locked(const struct hdf5_sync *sync, int error)
{
    if (error < 0)
        return dn_fail(error, "storing to disk: %s", strerror(-error));
    if (sync->all_lost)
        return dn_fail(sync->error, "chunks written before were lost: storing to disk failed: %s",
                       strerror(-sync->error));
    if (sync->lost.count > 0)
        return dn_fail(sync->error, "%zu chunks written before were lost, and not written again: storing to disk "
                       "failed: %s", sync->lost.count, strerror(-sync->error));
    return 0;
}

int hdf5_sync_flush(struct hdf5_sync *sync, int dir)
{
    bool changed;
    int error = 0;

    pthread_mutex_lock(&sync->flush);
    pthread_mutex_lock(&sync->lock);
    changed = sync->changed;
    sync->changed = false;
    sync->syncing = sync->written;
    sync->written = (struct hdf5_numbers){0};
    sort(&sync->syncing);
    pthread_mutex_unlock(&sync->lock);

    if (changed && (syncfs(dir) < 0 || fsync(dir) < 0))
        error = -errno;

    pthread_mutex_lock(&sync->lock);
    if (error < 0)
        lose_locked(sync, error);
    discard(&sync->syncing);
    error = outcome_locked(sync, error);
    pthread_mutex_unlock(&sync->lock);
    pthread_mutex_unlock(&sync->flush);
    return error;
}
