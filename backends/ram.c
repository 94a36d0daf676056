// SPDX-License-Identifier: Apache-2.0
/*
 * ram: a store in memory that lives as long as its connection. The model backend: read it first.
 *
 * A connection is a table of datasets by name; a dataset is a table of stored chunks by flat number.
 * Only chunks that were written take memory. It has every ability of the contract; what it leaves
 * out (limits, flush, delete_strays, usage, …) has just the meaning that backend.h gives to absence:
 * no limit, durable at once, no strays, space unknown.
 *
 * Locking: `ram.mutex` guards the table of names and every dataset's `refs`. `dataset.lock` guards that
 * dataset's chunks: readers copy side by side, a writer swaps a buffer. They are never held together,
 * and neither while a caller's function runs.
 */
#include <dosna/backend.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Else uthash ends the program when memory runs out. So a failed HASH_ADD leaves hh.tbl NULL. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION HASH_FNV /* the default one trips -Wimplicit-fallthrough */
#include <uthash.h>

#define NAME_BYTES_MAX 4096

struct chunk {
    uint64_t flat;
    uint64_t version;
    unsigned char *bytes;
    UT_hash_handle hh;
};

struct dataset {
    struct ram *ram;
    struct dn_desc desc; /* never changes */
    size_t chunk_nbytes; /* never changes */
    unsigned refs;       /* one for each open handle, one for the table */

    pthread_rwlock_t lock;
    struct chunk *chunks;
    bool deleted;
};

/* A row of the table of names. Apart from the dataset, so that renaming can be undone by not being done. */
struct entry {
    char *name;
    struct dataset *dataset;
    UT_hash_handle hh;
};

struct ram {
    pthread_mutex_t mutex;
    struct entry *entries;
    _Atomic uint64_t last_version; /* one count for all datasets, so that no mark ever comes back */
};

static int no_memory(void)
{
    return dn_fail(-ENOMEM, "out of memory");
}

/* ---- chunks in memory -------------------------------------------------------------------------- */

static struct chunk *make_chunk(uint64_t flat, const void *bytes, size_t length)
{
    struct chunk *chunk = calloc(1, sizeof *chunk);
    if (!chunk)
        return NULL;
    chunk->flat = flat;
    chunk->bytes = malloc(length);
    if (!chunk->bytes) {
        free(chunk);
        return NULL;
    }
    memcpy(chunk->bytes, bytes, length);
    return chunk;
}

static void free_chunk(struct chunk *chunk)
{
    if (chunk)
        free(chunk->bytes);
    free(chunk);
}

static void free_chunks(struct chunk *chunks)
{
    struct chunk *chunk, *next;
    HASH_ITER (hh, chunks, chunk, next) {
        HASH_DEL(chunks, chunk);
        free_chunk(chunk);
    }
}

static struct chunk *find_chunk_locked(struct dataset *dataset, uint64_t flat)
{
    struct chunk *chunk;
    HASH_FIND(hh, dataset->chunks, &flat, sizeof flat, chunk);
    return chunk;
}

static void set_mark(struct dn_version *mark, uint64_t version)
{
    if (!mark)
        return;
    mark->size = sizeof version;
    memcpy(mark->bytes, &version, sizeof version);
}

static bool mark_holds(const struct dn_version *mark, uint64_t version)
{
    return mark && mark->size == sizeof version && memcmp(mark->bytes, &version, sizeof version) == 0;
}

/* ---- datasets in memory ------------------------------------------------------------------------ */

/* A steady stream of readers must not keep a writer out for ever, as the default kind allows. */
static int init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;
    int rc = pthread_rwlockattr_init(&attr);
    if (rc != 0)
        return rc;
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    rc = pthread_rwlock_init(lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    return rc;
}

static struct dataset *make_dataset(struct ram *ram, const struct dn_desc *desc)
{
    struct dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset)
        return NULL;
    dataset->ram = ram;
    dataset->chunk_nbytes = dn_desc_chunk_nbytes(desc);
    dataset->refs = 1;
    if (dn_desc_copy(&dataset->desc, desc) == 0) {
        if (init_lock(&dataset->lock) == 0)
            return dataset;
        dn_desc_clear(&dataset->desc);
    }
    free(dataset);
    return NULL;
}

static void unref_dataset(struct dataset *dataset)
{
    struct ram *ram = dataset->ram;
    pthread_mutex_lock(&ram->mutex);
    bool last = --dataset->refs == 0;
    pthread_mutex_unlock(&ram->mutex);
    if (!last)
        return;
    free_chunks(dataset->chunks);
    pthread_rwlock_destroy(&dataset->lock);
    dn_desc_clear(&dataset->desc);
    free(dataset);
}

/* The chunks go at once, also while handles are open: those get -ESTALE from now on. */
static void drop_chunks(struct dataset *dataset)
{
    pthread_rwlock_wrlock(&dataset->lock);
    struct chunk *chunks = dataset->chunks;
    dataset->chunks = NULL;
    dataset->deleted = true;
    pthread_rwlock_unlock(&dataset->lock);
    free_chunks(chunks);
}

/* ---- the table of names ------------------------------------------------------------------------ */

static struct entry *make_entry(const char *name, struct dataset *dataset)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->dataset = dataset;
    entry->name = strdup(name);
    if (entry->name)
        return entry;
    free(entry);
    return NULL;
}

static void free_entry(struct entry *entry)
{
    if (entry)
        free(entry->name);
    free(entry);
}

static struct entry *find_locked(struct ram *ram, const char *name)
{
    struct entry *entry;
    HASH_FIND_STR(ram->entries, name, entry);
    return entry;
}

static int add_locked(struct ram *ram, struct entry *entry)
{
    if (find_locked(ram, entry->name))
        return dn_fail(-EEXIST, "%.200s exists already", entry->name);
    HASH_ADD_KEYPTR(hh, ram->entries, entry->name, strlen(entry->name), entry);
    return entry->hh.tbl ? 0 : no_memory();
}

static int check_name(const char *name)
{
    if (*name == '\0')
        return dn_fail(-EINVAL, "a name cannot be empty");
    if (strlen(name) > NAME_BYTES_MAX)
        return dn_fail(-ENAMETOOLONG, "the name is longer than %d bytes", NAME_BYTES_MAX);
    return 0;
}

static void free_names(char **names, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* The names as they are now, so that the caller's function runs without the lock. NULL: no memory. */
static char **copy_names(struct ram *ram, unsigned *count)
{
    *count = 0;
    pthread_mutex_lock(&ram->mutex);
    char **names = calloc(HASH_COUNT(ram->entries) + 1, sizeof *names);
    struct entry *entry = names ? ram->entries : NULL;
    while (entry && (names[*count] = strdup(entry->name))) {
        ++*count;
        entry = entry->hh.next;
    }
    pthread_mutex_unlock(&ram->mutex);
    if (!entry)
        return names;
    free_names(names, *count);
    return NULL;
}

/* ---- the contract: connection ------------------------------------------------------------------ */

static int ram_connect(const char *connection, const void *options, void **conn)
{
    (void)connection;
    (void)options;
    struct ram *ram = calloc(1, sizeof *ram);
    if (!ram)
        return no_memory();
    int rc = pthread_mutex_init(&ram->mutex, NULL);
    if (rc != 0) {
        free(ram);
        return dn_fail(-rc, "cannot make a mutex");
    }
    *conn = ram;
    return 0;
}

static void ram_disconnect(void *conn)
{
    struct ram *ram = conn;
    struct entry *entry, *next;
    HASH_ITER (hh, ram->entries, entry, next) {
        HASH_DEL(ram->entries, entry);
        unref_dataset(entry->dataset);
        free_entry(entry);
    }
    pthread_mutex_destroy(&ram->mutex);
    free(ram);
}

/* ---- the contract: datasets -------------------------------------------------------------------- */

static int ram_list_datasets(void *conn, dn_name_fn fn, void *arg)
{
    unsigned count;
    char **names = copy_names(conn, &count);
    if (!names)
        return no_memory();
    int rc = 0;
    for (unsigned i = 0; i < count && rc == 0; i++)
        rc = fn(arg, names[i]);
    free_names(names, count);
    return rc;
}

static int ram_create_dataset(void *conn, const char *name, const struct dn_desc *desc)
{
    struct ram *ram = conn;
    int rc = check_name(name);
    if (rc < 0)
        return rc;
    struct dataset *dataset = make_dataset(ram, desc);
    if (!dataset)
        return no_memory();
    struct entry *entry = make_entry(name, dataset);
    rc = entry ? 0 : no_memory();
    if (rc == 0) {
        pthread_mutex_lock(&ram->mutex);
        rc = add_locked(ram, entry);
        pthread_mutex_unlock(&ram->mutex);
    }
    if (rc < 0) {
        free_entry(entry);
        unref_dataset(dataset);
    }
    return rc;
}

static int ram_open_dataset(void *conn, const char *name, void **handle, struct dn_desc *desc)
{
    struct ram *ram = conn;
    int rc;
    pthread_mutex_lock(&ram->mutex);
    struct entry *entry = find_locked(ram, name);
    if (!entry)
        rc = dn_fail(-ENOENT, "no such dataset");
    else
        rc = dn_desc_copy(desc, &entry->dataset->desc);
    if (rc == 0) {
        entry->dataset->refs++;
        *handle = entry->dataset;
    }
    pthread_mutex_unlock(&ram->mutex);
    return rc;
}

static bool ram_same_dataset(void *handle, void *fresh)
{
    return handle == fresh;
}

static int ram_has_dataset(void *conn, const char *name)
{
    struct ram *ram = conn;
    pthread_mutex_lock(&ram->mutex);
    bool found = find_locked(ram, name) != NULL;
    pthread_mutex_unlock(&ram->mutex);
    return found;
}

static void ram_close_dataset(void *handle)
{
    unref_dataset(handle);
}

static int ram_delete_dataset(void *conn, const char *name)
{
    struct ram *ram = conn;
    pthread_mutex_lock(&ram->mutex);
    struct entry *entry = find_locked(ram, name);
    if (entry)
        HASH_DEL(ram->entries, entry);
    pthread_mutex_unlock(&ram->mutex);
    if (!entry)
        return dn_fail(-ENOENT, "no such dataset");
    drop_chunks(entry->dataset);
    unref_dataset(entry->dataset);
    free_entry(entry);
    return 0;
}

/* Takes `to` into the table and gives back the entry that it replaced. */
static int replace_locked(struct ram *ram, const char *from, struct entry *to, struct entry **old)
{
    struct entry *entry = find_locked(ram, from);
    if (!entry)
        return dn_fail(-ENOENT, "no such dataset");
    to->dataset = entry->dataset;
    int rc = add_locked(ram, to);
    if (rc < 0)
        return rc;
    HASH_DEL(ram->entries, entry);
    *old = entry;
    return 0;
}

static int ram_rename_dataset(void *conn, const char *from, const char *to)
{
    struct ram *ram = conn;
    int rc = check_name(to);
    if (rc < 0)
        return rc;
    struct entry *fresh = make_entry(to, NULL), *old = NULL;
    if (!fresh)
        return no_memory();
    pthread_mutex_lock(&ram->mutex);
    rc = replace_locked(ram, from, fresh, &old);
    pthread_mutex_unlock(&ram->mutex);
    free_entry(rc < 0 ? fresh : old);
    return rc < 0 ? rc : 1; /* 1: open handles hold the dataset, not its name */
}

/* ---- the contract: chunks ---------------------------------------------------------------------- */

static int stale(void)
{
    return dn_fail(-ESTALE, "the dataset was deleted");
}

static int absent(void)
{
    return dn_fail(-ENOENT, "not stored");
}

static int ram_read_chunk(void *handle, const struct dn_chunk_id *id, uint64_t offset, void *buffer,
                          size_t length, struct dn_version *version)
{
    struct dataset *dataset = handle;
    int rc = 0;
    pthread_rwlock_rdlock(&dataset->lock);
    struct chunk *chunk = find_chunk_locked(dataset, id->flat);
    if (!chunk) {
        rc = dataset->deleted ? stale() : absent();
    } else if (mark_holds(version, chunk->version)) {
        rc = DN_UNCHANGED;
    } else {
        memcpy(buffer, chunk->bytes + offset, length);
        set_mark(version, chunk->version);
    }
    pthread_rwlock_unlock(&dataset->lock);
    return rc;
}

/* Puts `fresh` in place of the stored chunk of its number, which comes back in its stead (or NULL). */
static int swap_chunk_locked(struct dataset *dataset, struct chunk **fresh)
{
    struct chunk *chunk = find_chunk_locked(dataset, (*fresh)->flat);
    if (dataset->deleted)
        return stale();
    if (!chunk) {
        HASH_ADD(hh, dataset->chunks, flat, sizeof (*fresh)->flat, *fresh);
        if (!(*fresh)->hh.tbl)
            return no_memory();
        *fresh = NULL;
        return 0;
    }
    unsigned char *bytes = chunk->bytes;
    chunk->bytes = (*fresh)->bytes;
    chunk->version = (*fresh)->version;
    (*fresh)->bytes = bytes;
    return 0;
}

/* Takes over `chunk`, which is NULL when there was no memory for it. Both copies, the new one and the freeing
   of the old one, happen outside the lock. */
static int store_chunk(struct dataset *dataset, struct chunk *chunk, struct dn_version *version)
{
    if (!chunk)
        return no_memory();
    uint64_t mark = chunk->version = atomic_fetch_add(&dataset->ram->last_version, 1) + 1;
    pthread_rwlock_wrlock(&dataset->lock);
    int rc = swap_chunk_locked(dataset, &chunk);
    pthread_rwlock_unlock(&dataset->lock);
    free_chunk(chunk);
    if (rc == 0)
        set_mark(version, mark);
    return rc;
}

static int write_part(struct dataset *dataset, uint64_t flat, uint64_t offset, const void *buffer,
                      size_t length, struct dn_version *version)
{
    int rc = 0;
    pthread_rwlock_wrlock(&dataset->lock);
    struct chunk *chunk = find_chunk_locked(dataset, flat);
    if (!chunk) {
        rc = dataset->deleted ? stale() : absent();
    } else {
        memcpy(chunk->bytes + offset, buffer, length);
        chunk->version = atomic_fetch_add(&dataset->ram->last_version, 1) + 1;
        set_mark(version, chunk->version);
    }
    pthread_rwlock_unlock(&dataset->lock);
    return rc;
}

static int ram_write_chunk(void *handle, const struct dn_chunk_id *id, uint64_t offset,
                           const void *buffer, size_t length, struct dn_version *version)
{
    struct dataset *dataset = handle;
    if (length == dataset->chunk_nbytes)
        return store_chunk(dataset, make_chunk(id->flat, buffer, length), version);
    return write_part(dataset, id->flat, offset, buffer, length, version);
}

static int ram_copy_chunk(void *from, void *to, const struct dn_chunk_id *id)
{
    struct dataset *dataset = from;
    struct chunk *copy = NULL;
    int rc = 0;
    pthread_rwlock_rdlock(&dataset->lock);
    struct chunk *chunk = find_chunk_locked(dataset, id->flat);
    if (chunk)
        copy = make_chunk(id->flat, chunk->bytes, dataset->chunk_nbytes);
    else
        rc = dataset->deleted ? stale() : absent();
    pthread_rwlock_unlock(&dataset->lock);
    return rc < 0 ? rc : store_chunk(to, copy, NULL);
}

static int ram_delete_chunk(void *handle, const struct dn_chunk_id *id)
{
    struct dataset *dataset = handle;
    int rc = 0;
    pthread_rwlock_wrlock(&dataset->lock);
    struct chunk *chunk = find_chunk_locked(dataset, id->flat);
    if (chunk)
        HASH_DEL(dataset->chunks, chunk);
    else
        rc = dataset->deleted ? stale() : absent();
    pthread_rwlock_unlock(&dataset->lock);
    free_chunk(chunk);
    return rc;
}

static int ram_has_chunk(void *handle, const struct dn_chunk_id *id)
{
    struct dataset *dataset = handle;
    pthread_rwlock_rdlock(&dataset->lock);
    int rc = find_chunk_locked(dataset, id->flat) != NULL;
    if (dataset->deleted)
        rc = stale();
    pthread_rwlock_unlock(&dataset->lock);
    return rc;
}

/* The stored chunks' numbers as they are now. NULL: no memory. */
static uint64_t *copy_numbers(struct dataset *dataset, size_t *count)
{
    *count = 0;
    pthread_rwlock_rdlock(&dataset->lock);
    uint64_t *numbers = calloc(HASH_COUNT(dataset->chunks) + 1, sizeof *numbers);
    for (struct chunk *chunk = dataset->chunks; numbers && chunk; chunk = chunk->hh.next)
        numbers[(*count)++] = chunk->flat;
    pthread_rwlock_unlock(&dataset->lock);
    return numbers;
}

static int ram_list_chunks(void *handle, dn_chunk_fn fn, void *arg)
{
    struct dataset *dataset = handle;
    int ndim = dataset->desc.ndim, rc = 0;
    size_t count;
    uint64_t *numbers = copy_numbers(dataset, &count);
    if (!numbers)
        return no_memory();
    for (size_t i = 0; i < count && rc == 0; i++) {
        uint64_t index[DN_MAX_NDIM], rest = numbers[i];
        for (int axis = ndim - 1; axis >= 0; axis--) {
            uint64_t extent = dn_desc_grid(&dataset->desc, axis);
            index[axis] = rest % extent;
            rest /= extent;
        }
        rc = fn(arg, index, ndim);
    }
    free(numbers);
    return rc;
}

extern const struct dn_backend dn_backend_ram;
const struct dn_backend dn_backend_ram = {
    .name = "ram",
    .summary = "memory of this process; gone when the connection ends",
    .abilities = DN_CAN_READ_RANGE | DN_CAN_WRITE_RANGE | DN_CAN_COMPARE | DN_COMPARE_CHEAP |
                 DN_DELETES_CHUNKS | DN_IS_PRIVATE,
    .connect = ram_connect,
    .disconnect = ram_disconnect,
    .list_datasets = ram_list_datasets,
    .create_dataset = ram_create_dataset,
    .open_dataset = ram_open_dataset,
    .same_dataset = ram_same_dataset,
    .has_dataset = ram_has_dataset,
    .close_dataset = ram_close_dataset,
    .delete_dataset = ram_delete_dataset,
    .rename_dataset = ram_rename_dataset,
    .read_chunk = ram_read_chunk,
    .write_chunk = ram_write_chunk,
    .delete_chunk = ram_delete_chunk,
    .has_chunk = ram_has_chunk,
    .list_chunks = ram_list_chunks,
    .copy_chunk = ram_copy_chunk,
};
