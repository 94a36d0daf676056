// SPDX-License-Identifier: Apache-2.0
/*
 * libdosna: Connection → Dataset → Chunk.
 *
 * A connection is a place in an object store (a folder, a pool, an endpoint). It holds datasets by
 * name; a dataset is an N-d array of one element type, cut into a regular grid of chunks, each stored
 * whole. A chunk that was never stored reads as the dataset's fill value.
 *
 * Reads and writes go through one chunk cache per connection, bounded by `cache_size`, with
 * write-back and prefetch on `njobs` threads. What was written is durable when dn_flush(), or the last
 * dn_close(), has returned 0.
 *
 * Errors are as in <dosna/error.h>. Besides the codes named at each function, any that reads or writes
 * the store may return -EIO (damaged or unreadable), -ETIMEDOUT (the store did not answer within
 * request_timeout and retries), -EACCES, -ENOSPC, -EDQUOT, -EROFS, -ENOMEM, -ENOBUFS (cache_size is too small
 * for what has to be in memory at once), -EINTR (the calling thread's cancel hook said so), and -ESTALE (the
 * dataset was deleted or replaced since it was opened). -EROFS also stands for ro=true, before anything is
 * asked of the store.
 *
 * Chunks are named by `index`: one position in the chunk grid for each axis. What is outside the grid is -EINVAL.
 *
 * Callbacks of listings (dn_list(), dn_chunk_list(), dn_strays()) run in the calling thread; what they are given is
 * valid until they return. A non-zero return ends the listing, which returns it. They must call nothing here that
 * may ask the store: the listing's own request is still under way.
 *
 * Threads: every function may be called from any thread at any time, but for the making and freeing of
 * one and the same object, and the setting of a configuration. Two writes to the same byte at once leave one of
 * them. With a team of processes a few calls are collective: <dosna/team.h> says which.
 */
#ifndef DOSNA_H
#define DOSNA_H

#include <dosna/backend.h>
#include <dosna/dtype.h>
#include <dosna/error.h>
#include <dosna/slice.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DN_VERSION "0.1.0"

/* ---- configuration ------------------------------------------------------------------------- */

/** The settings of a connection: defaults, then a file, then what the command line says. */
typedef struct dn_config dn_config;

/** All defaults; NULL when out of memory. Free with dn_config_free(). */
DN_API dn_config *dn_config_new(void);
/** NULL is allowed. */
DN_API void dn_config_free(dn_config *config);

/**
 * Read a file of `key = value` lines under [dosnafs] and under a section per backend.
 *
 * @param path  the file; NULL looks at $DOSNAFS_CONF, ~/.config/dosnafs.conf, /etc/dosnafs.conf
 *              and takes the first that exists, or none
 * @return 0; -EINVAL with "FILE:LINE: why"; -ENOENT, -EACCES for a file that was named
 */
DN_API int dn_config_read(dn_config *config, const char *path);

/**
 * Set one key, as -o KEY=VALUE or --connection-options KEY=VALUE does. It wins over every file,
 * whichever came first. Keys of the core and of every backend that is built are known; a backend's key is
 * for the backend in force at connect, and an error there if that backend lacks it.
 *
 * @param value  NULL for a bare key: true for a bool, else -EINVAL
 * @return 0; -ENOENT unknown key; -EINVAL bad value
 */
DN_API int dn_config_set(dn_config *config, const char *key, const char *value);

/**
 * Check the settings as a whole, as dn_connect() does before it connects: the backend is built and
 * installed, and every option that the command line gave is one of its own or of the core.
 *
 * @return 0; -EINVAL with a text that names the option, or the package to install; -ELIBBAD: the backend's
 *         module is broken or of another version; -ENOMEM
 */
DN_API int dn_config_check(const dn_config *config);

/**
 * One setting in force as text, sizes and times in plain numbers. Secrets as ***. NULL: unknown key.
 * Valid until the configuration changes.
 */
DN_API const char *dn_config_get(const dn_config *config, const char *key);

/** Every key in force, core first, then the chosen backend's. `value` as dn_config_get() gives it. */
DN_API void dn_config_each(const dn_config *config,
                           void (*fn)(void *arg, const char *section, const struct dn_option *row,
                                      const char *value),
                           void *arg);

/** As dn_config_each(), but every backend that is built, with the default values: for the sample file. */
DN_API void dn_config_each_default(void (*fn)(void *arg, const char *section,
                                              const struct dn_option *row, const char *value),
                                   void *arg);

/** Every backend that is built, whether or not its module is installed, with a line about it. */
DN_API void dn_each_backend(void (*fn)(void *arg, const char *name, const char *summary), void *arg);

/* ---- connection ---------------------------------------------------------------------------- */

typedef struct dn_connection dn_connection;
typedef struct dn_dataset dn_dataset;

/**
 * Connect to `name` (hdf5: a folder below `directory`; ceph: a pool; …). The configuration is copied.
 *
 * @return 0 and *out, for dn_disconnect(); -EINVAL (a setting the backend or engine refuses), -ENOENT (no such
 *         connection), -ELIBBAD as dn_config_check(), or what the store said
 */
DN_API int dn_connect(const dn_config *config, const char *name, dn_connection **out);

/**
 * Store everything, then free the connection whatever came of that. No dataset may be open. NULL is allowed.
 *
 * @return 0, or the first error of the flush: data that could not be stored are lost then, and the log
 *         says how many bytes; an error too where a request to the store never ended, and memory was left as it is
 */
DN_API int dn_disconnect(dn_connection *conn);

/** Store everything dirty of every dataset; as dn_flush() for each. */
DN_API int dn_sync(dn_connection *conn);

/** Names of all datasets, in any order, not always UTF-8. -ENOTSUP: this store keeps no names. */
DN_API int dn_list(dn_connection *conn, dn_name_fn fn, void *arg);

/**
 * Look at everything that the store holds, which may take long, so that dn_list() knows every dataset of it,
 * others' too. Needed only where a store can't tell them by itself (ceph); elsewhere it does nothing.
 */
DN_API int dn_rescan(dn_connection *conn);

/** Space of the store. -ENOTSUP: not known. */
DN_API int dn_usage(dn_connection *conn, struct dn_usage *out);

/**
 * The counters as Prometheus text (format 0.0.4), freed by the caller with free(). NULL: no memory.
 */
DN_API char *dn_stats_text(dn_connection *conn);

/** One counter by its name in the text above, without labels ("dosnafs_chunk_puts_total"); 0 if unknown. */
DN_API uint64_t dn_stat(dn_connection *conn, const char *name);

/* ---- dataset ------------------------------------------------------------------------------- */

/**
 * Create a dataset. `desc` stays the caller's.
 *
 * @param out  if not NULL: the dataset, open
 * @return 0; -EEXIST; -EINVAL, -ENAMETOOLONG or -EOVERFLOW: bad description or name; -ENOTSUP: the store cannot hold
 *         this type; -EFBIG: chunks larger than the store takes
 */
DN_API int dn_create(dn_connection *conn, const char *name, const struct dn_desc *desc, dn_dataset **out);

/**
 * Open a dataset. All openers of one name share one object; each open is a point of coherence
 * (cache=auto): what others stored before is read after.
 *
 * @return 0; -ENOENT absent, or being deleted by this connection; -EPROTO there, but no readable dataset
 */
DN_API int dn_open(dn_connection *conn, const char *name, dn_dataset **out);

/**
 * Give a dataset back. The last one flushes first.
 *
 * @return as dn_flush(); the dataset is given back in any case, and what could not be stored stays
 *         dirty in the connection and is tried again
 */
DN_API int dn_close(dn_dataset *dataset);

/** 1, 0 or negative. */
DN_API int dn_has(dn_connection *conn, const char *name);

/** Delete all chunks, strays too, then the description. Open handles give -ESTALE from then on. Other processes must
 *  not write to it meanwhile: in a store that keeps chunks apart from the description (ceph, s3) nobody would delete
 *  what they store after its chunks were. -ENOENT: there is none. */
DN_API int dn_delete(dn_connection *conn, const char *name);

/** What is dirty is stored first; open handles go on. -ENOENT: there is no `from`; -EEXIST: there is something called
 *  `to`; -EXDEV: the store cannot do it in one step. */
DN_API int dn_rename(dn_connection *conn, const char *from, const char *to);

/** What the dataset is; valid while it is open. */
DN_API const struct dn_desc *dn_describe(const dn_dataset *dataset);
/** Its name now. The text stays while the dataset is open, after a rename too. */
DN_API const char *dn_name(const dn_dataset *dataset);

/** When the data last changed as far as this connection knows, nanoseconds since the epoch. */
DN_API int64_t dn_mtime_ns(const dn_dataset *dataset);

/**
 * Find out whether what readers were given so far still holds. Where asking the store is cheap and memory
 * still knows all of it, every cached chunk is asked about; dn_generation() grows unless nothing has
 * changed.
 */
DN_API void dn_verify(dn_dataset *dataset);

/**
 * From now on nobody comes back to what was read to a chunk's end, or stored: such chunks leave memory at once, so
 * that a pass over all of a large dataset takes only what is in use at a time. It holds for all openers. To be called
 * before anybody reads or writes.
 *
 * @param in_use  bytes of all chunks that are read or written at one time: with few, memory holds chunks in one
 *                piece; UINT64_MAX: those of a whole slab, as for a flat pass in order
 */
DN_API void dn_use_once(dn_dataset *dataset, uint64_t in_use);

/**
 * A number that grows when bytes changed, or may have changed, without passing through this connection's
 * writes (another mount, DosNa), as far as dn_verify() and reads found out, or when they were dropped in bulk.
 * Pages that the kernel kept from an older number are stale. Another object of the same name, after the last one
 * was replaced or forgotten, begins with a larger number (but for cache=always, where nobody else writes).
 */
DN_API uint64_t dn_generation(const dn_dataset *dataset);

/* Flat access: the array as one row-major file of dn_desc_nbytes() bytes. */

/**
 * Read up to `length` bytes at `offset`; fewer only at the end.
 * @return bytes read, 0 at or past the end, or negative with nothing promised about `buffer`
 */
DN_API int64_t dn_pread(dn_dataset *dataset, void *buffer, size_t length, uint64_t offset);

/**
 * Write up to `length` bytes at `offset`; cut at the end. Waits while too much is dirty.
 * @return bytes taken; -ENOSPC at or past the end; a negative errno if none was taken
 */
DN_API int64_t dn_pwrite(dn_dataset *dataset, const void *buffer, size_t length, uint64_t offset);

/**
 * Everything from byte `length` of the flat array on becomes the fill value, at once for readers, in the store at
 * the next flush. Chunks rewritten before then cost nothing more than their own store. At or past the end it does
 * nothing.
 */
DN_API int dn_truncate(dn_dataset *dataset, uint64_t length);

/* N-d access: hyperslabs. `start` and `count` have one entry per axis, in elements. */

/** Read a slab into `buffer`, row-major, prod(count) · itemsize bytes. -EINVAL outside the shape. */
DN_API int dn_read(dn_dataset *dataset, const uint64_t *start, const uint64_t *count, void *buffer);
/** Write a slab from `buffer`. -EINVAL outside the shape. */
DN_API int dn_write(dn_dataset *dataset, const uint64_t *start, const uint64_t *count, const void *buffer);

/*
 * Slices (dosna/slice.h): the result of numpy's ascontiguousarray(array[...]) as a flat file of
 * dn_slice_elements() · itemsize bytes, of which no copy is ever made. Reading it in order fetches each chunk
 * once where the cache holds the chunks of one position of the slice's first axis.
 */

/** As dn_pread() and dn_pwrite(), in the slice's flat bytes. `slice` must be one of this dataset's shape. */
DN_API int64_t dn_read_slice(dn_dataset *dataset, const struct dn_slice *slice, void *buffer, size_t length,
                             uint64_t offset);
DN_API int64_t dn_write_slice(dn_dataset *dataset, const struct dn_slice *slice, const void *buffer, size_t length,
                              uint64_t offset);

/**
 * Store all that is dirty and make it durable; apply a truncation's rest.
 * @return 0; or the first error: the data stay dirty, are tried again, and this keeps failing until
 *         they are stored
 */
DN_API int dn_flush(dn_dataset *dataset);

/**
 * The same for what was written; a truncation after which nothing was written may wait for the next
 * dn_flush() or dn_close(). For the close of one of several descriptors of a file that is being replaced.
 */
DN_API int dn_flush_written(dn_dataset *dataset);

/** Delete every chunk, so that all of it reads as the fill value; durable when it returns 0. */
DN_API int dn_clear(dn_dataset *dataset);

/* ---- chunk --------------------------------------------------------------------------------- */

/** 1 stored, 0 not, or negative. What is dirty here counts as stored. */
DN_API int dn_chunk_has(dn_dataset *dataset, const uint64_t *index);
/** The full chunk with its padding, dn_desc_chunk_nbytes() bytes; the fill value if not stored. */
DN_API int dn_chunk_get(dn_dataset *dataset, const uint64_t *index, void *buffer);
/** Store a full chunk; what of `buffer` lies outside the shape is replaced by the fill value. */
DN_API int dn_chunk_set(dn_dataset *dataset, const uint64_t *index, const void *buffer);
/**
 * The stored chunk's own bytes [offset, offset + length), padding as it is stored, by one request to the store
 * and past the cache. What of it is dirty here is stored first. -ENOENT: not stored. -EINVAL outside the chunk.
 */
DN_API int dn_chunk_stored(dn_dataset *dataset, const uint64_t *index, uint64_t offset, void *buffer, size_t length);
/** How many bytes the store has as this chunk: other than dn_desc_chunk_nbytes() where somebody stored a wrong
 *  number of them. What of it is dirty here is stored first. -ENOENT: not stored. */
DN_API int dn_chunk_length(dn_dataset *dataset, const uint64_t *index, uint64_t *nbytes);
/** Delete a chunk, in memory and in the store. -ENOENT if it was not stored. */
DN_API int dn_chunk_del(dn_dataset *dataset, const uint64_t *index);
/** Every chunk stored in the backend (after a flush of what is dirty here), in any order. */
DN_API int dn_chunk_list(dn_dataset *dataset, dn_chunk_fn fn, void *arg);

/** Names, as the store has them, of chunks of this dataset's name outside its grid, and of what writers that were
 *  killed left there. -ENOTSUP: not known. */
DN_API int dn_strays(dn_dataset *dataset, dn_name_fn fn, void *arg);
/** Remove these. 0 also where there are none. */
DN_API int dn_delete_strays(dn_dataset *dataset);

/* ---- waiting and logging ------------------------------------------------------------------- */

/**
 * A hook asked, about ten times a second, by every wait of the calling thread inside the library: true
 * ends the wait and the call returns -EINTR. NULL takes it away.
 */
DN_API void dn_cancel_hook(bool (*cancelled)(void *arg), void *arg);

enum dn_log_level { DN_LOG_ERROR, DN_LOG_WARNING, DN_LOG_INFO, DN_LOG_DEBUG };

/** Where log lines go; NULL, and the default: standard error. `line` has no newline and is valid during the call, which
 *  any thread may make at any time, several at once; it must not call the library. */
DN_API void dn_log_sink(void (*fn)(enum dn_log_level level, const char *line));
/** Lines above this level are not made. The default is DN_LOG_WARNING. */
DN_API void dn_log_level(enum dn_log_level level);

#ifdef __cplusplus
}
#endif
#endif
