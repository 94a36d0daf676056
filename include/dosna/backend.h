// SPDX-License-Identifier: Apache-2.0
/*
 * The backend contract: all that the author of a backend reads.
 *
 * A backend stores three things: datasets by name, what each dataset is (struct dn_desc), and chunks,
 * which are plain bytes of one size per dataset (dn_desc_chunk_nbytes(): the full chunk, row-major,
 * edge chunks padded). It never slices, never caches, never retries, and knows nothing of files,
 * views or threads. backends/ram.c is the model: read it first.
 *
 * A backend is one constant table (struct dn_backend), named dn_backend_NAME, in backends/NAME.c, and
 * one line in backends/CMakeLists.txt. The contract suite (tests/contract) then runs against it.
 *
 * One that needs a library which not everybody has is a module, loaded when it is used. What stands in the
 * table up to `request_timeout` is then in a second one, dn_known_NAME in backends/NAME_options.c, which is
 * part of libdosna, so that the options are known where the module is not installed. The module's own table
 * repeats the name and options_size, has the rest, and is exported (DN_API).
 *
 * Rules for every operation
 *   - It blocks until done and returns 0, a count, a predicate, or a negative errno with a text by
 *     dn_fail() that says what and why; the core puts dataset and chunk in front of it. It ends within
 *     the time limits of its options; the core gives up waiting after request_timeout, but cannot stop
 *     the call.
 *   - -ENOENT means absent, and only that: a server that says 403 or nothing at all is not "absent".
 *   - -ESTALE from an operation on an open dataset means that the dataset is gone, where a backend can tell that from
 *     a chunk that is absent.
 *   - -EAGAIN, -ETIMEDOUT and -ECONNRESET mean "may work if tried again": the core retries with back-off.
 *     Everything else is final. A library's unknown code becomes -EIO with the library's own text.
 *   - -ENOTSUP from an operation that may be absent (list_datasets, has_dataset, has_chunk, chunk_length, list_chunks,
 *     copy_chunk, list_strays, usage) means that this connection lacks it, or that list_chunks would take longer
 *     than asking for each: the core does what it does for an absent one.
 *   - It never prints, exits, retries in silence, or starts threads that it doesn't join.
 *   - Any number of threads may call at once, up to `limits.max_calls`. Calls for one chunk are
 *     ordered by the core: never two writes, or a write and a delete, of the same chunk at once.
 *   - Names come from users: a backend refuses (-EINVAL, or -ENAMETOOLONG) what it cannot store, and a
 *     name never leads outside the connection.
 *   - Stored data come from anybody: bad metadata give -EPROTO for that dataset, a damaged chunk -EIO for
 *     that chunk. Nothing stored can make it crash or allocate without bound.
 */
#ifndef DOSNA_BACKEND_H
#define DOSNA_BACKEND_H

#include <dosna/dtype.h>
#include <dosna/error.h>
#include <dosna/option.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A chunk has two names; a backend uses the one it stores by. */
struct dn_chunk_id {
    uint64_t flat;         /* row-major position in the chunk grid */
    const uint64_t *index; /* ndim positions, one per axis; inside the grid */
    int ndim;
};

/**
 * A mark of one stored state of a chunk (an ETag, an object version, inode and mtime). Compared for
 * equality by the backend alone. size 0 stands for "none".
 */
struct dn_version {
    uint8_t size;
    unsigned char bytes[47];
};

/** What a connection can bear. A zero field means "no limit known". */
struct dn_limits {
    unsigned max_calls;     /* calls at once; 1 = serialised */
    uint64_t good_read;     /* bytes at which a read's latency and transfer cost about the same */
    uint64_t largest_chunk; /* a larger chunk cannot be stored */
    unsigned lacks;         /* abilities of the table that this connection does not have */
};

struct dn_usage {
    uint64_t total; /* bytes */
    uint64_t free;
};

enum dn_ability {
    DN_CAN_READ_RANGE = 1 << 0,  /* read_chunk honours offset and length; else the core reads all of it */
    DN_CAN_WRITE_RANGE = 1 << 1, /* write_chunk may be a part, atomic like a whole one */
    DN_CAN_COMPARE = 1 << 2,     /* read_chunk honours `version` */
    DN_DELETES_CHUNKS = 1 << 3,  /* delete_dataset removes the chunks too */
    DN_COMPARE_CHEAP = 1 << 4,   /* asking whether a chunk is unchanged takes microseconds (a local stat) */
    DN_IS_PRIVATE = 1 << 5,      /* what is stored is seen by this connection alone, by no other process */
};

/** read_chunk: the version given still holds; no data were read. */
#define DN_UNCHANGED 1

/** The most chunks of one delete_chunks. */
#define DN_DELETE_MOST 1000

/** What listings call, in the caller's thread, for each thing that they find. What they pass is valid during the call. A
 *  non-zero return stops the listing, which returns it. */
typedef int (*dn_name_fn)(void *arg, const char *name);
typedef int (*dn_chunk_fn)(void *arg, const uint64_t *index, int ndim);

/** Changes with the struct by itself; whoever changes the meaning of something in it counts the first number up. */
#define DN_BACKEND_ABI ((uint32_t)(1u << 24 | sizeof(struct dn_option) << 12 | sizeof(struct dn_backend)))

struct dn_backend {
    uint32_t abi;                    /* DN_BACKEND_ABI: a module of another one is refused */
    const char *name;                /* "hdf5" */
    const char *summary;             /* one line for --help */
    const struct dn_option *options; /* rows; NULL: none */
    size_t options_size;             /* of the struct that the rows fill; 0: none */
    size_t request_timeout;          /* offset in that struct of a double, in seconds, which the core fills in; 0: none */
    unsigned abilities;              /* enum dn_ability */

    /* In the order of a connection's life. (*) = mandatory; otherwise NULL has the meaning given. */

    /** (*) Reach the store. May block and fail within its timeout. `options` is the struct that the
     *  rows filled; it stays valid until disconnect. -ENOENT: no such connection. */
    int (*connect)(const char *connection, const void *options, void **conn);
    /** (*) Nothing is in flight. Frees everything; cannot fail. */
    void (*disconnect)(void *conn);
    /** Asked once, after connect. Absent: no limit known. `out` is zeroed before. */
    void (*limits)(void *conn, struct dn_limits *out);
    /** By each worker thread before its first and after its last call; a negative errno of thread_enter fails the
     *  connecting. Absent: nothing. */
    int (*thread_enter)(void *conn);
    void (*thread_leave)(void *conn);

    /** Every dataset's name, in any order; names not valid UTF-8 are passed as they are. Absent: only names asked
     *  for are known (-ENOTSUP to the caller). */
    int (*list_datasets)(void *conn, dn_name_fn fn, void *arg);
    /** Look at everything that is stored, however long that takes, and have list_datasets know every
     *  dataset of it from then on. Absent: it knows them all anyway. */
    int (*rescan)(void *conn);
    /** Exclusive: -EEXIST if anything is there, a foreign object too, which is then untouched. Left with
     *  nothing behind on failure. Absent: -EROFS. -ENOTSUP: a dtype that this store cannot hold. */
    int (*create_dataset)(void *conn, const char *name, const struct dn_desc *desc);
    /** (*) `desc` is filled and owned by the caller, checked by it with dn_desc_check(). -ENOENT if
     *  absent, -EPROTO if it is there but is no readable dataset. */
    int (*open_dataset)(void *conn, const char *name, void **dataset, struct dn_desc *desc);
    /** Is `dataset` still the one that its name stands for? `fresh` was opened by that name just now. For handles that
     *  stay with what they opened when somebody else replaces or renames it. Absent: they go by the name. */
    bool (*same_dataset)(void *dataset, void *fresh);
    /** 1, 0 or negative, without reading the metadata where possible. Absent: open and close. */
    int (*has_dataset)(void *conn, const char *name);
    /** (*) No call for this dataset is in flight. Cannot fail. */
    void (*close_dataset)(void *dataset);
    /** The description, and whatever of ours remains. The core deleted the chunks before, unless the
     *  backend has DN_DELETES_CHUNKS. Foreign things beside it stay. -ENOENT: there is none. Absent: -EROFS. */
    int (*delete_dataset)(void *conn, const char *name);
    /** One step, atomic; -ENOENT: there is no `from`; -EEXIST if `to` is there. Open handles of `from` go on
     *  working only if the backend says so by returning 1. Absent: -EXDEV. */
    int (*rename_dataset)(void *conn, const char *from, const char *to);

    /** (*) Read `length` bytes from `offset` in the chunk: all of them or an error. -ENOENT: never stored.
     *  An object that is too short for the range: -EIO. A longer one is read as far as a chunk goes.
     *  A chunk that exists without storage (HDF5's late allocation) is filled with its own fill value.
     *  `version`, if not NULL: in, a mark to compare with (size 0: none): if it still holds,
     *  DN_UNCHANGED and no data; out, the mark of what was read (size 0 where there is none). */
    int (*read_chunk)(void *dataset, const struct dn_chunk_id *id, uint64_t offset, void *buffer,
                      size_t length, struct dn_version *version);
    /** Store the whole chunk (offset 0, full length), or a part with DN_CAN_WRITE_RANGE. A reader, and
     *  whoever comes after a crash of this process, sees old or new, never a mixture. Durable once
     *  `flush` returned. A part of a chunk that is not stored: -ENOENT, and nothing is stored.
     *  `version`, if not NULL: out, the mark of what was stored. Absent: -EROFS.
     *  After -ETIMEDOUT the write may or may not have happened. */
    int (*write_chunk)(void *dataset, const struct dn_chunk_id *id, uint64_t offset, const void *buffer,
                       size_t length, struct dn_version *version);
    /** -ENOENT if absent. Absent: -EROFS. */
    int (*delete_chunk)(void *dataset, const struct dn_chunk_id *id);
    /** Several chunks by one request: at most DN_DELETE_MOST. Those that are absent are no error. After a failure
     *  any of them may be gone. Absent: delete_chunk for each. */
    int (*delete_chunks)(void *dataset, const struct dn_chunk_id *ids, size_t count);
    /** 1, 0 or negative. Absent: a read of one byte. */
    int (*has_chunk)(void *dataset, const struct dn_chunk_id *id);
    /** How many bytes are stored as this chunk, be that fewer or more than a chunk has. -ENOENT if absent.
     *  Absent: as many as a chunk has. */
    int (*chunk_length)(void *dataset, const struct dn_chunk_id *id, uint64_t *nbytes);
    /** Every stored chunk of the dataset inside the grid, any order. Absent: -ENOTSUP; the core then asks
     *  for each. */
    int (*list_chunks)(void *dataset, dn_chunk_fn fn, void *arg);
    /** Store in `to` what `from`, another dataset of this connection with an equal description, has stored
     *  as this chunk, without its bytes passing through here; atomic as a write. -ENOENT: `from` has none.
     *  Absent: a read and a write. */
    int (*copy_chunk)(void *from, void *to, const struct dn_chunk_id *id);
    /** Every stray chunk by the name that it has in the store, as delete_strays finds them. Absent:
     *  -ENOTSUP where there is delete_strays, else there are none. */
    int (*list_strays)(void *dataset, dn_name_fn fn, void *arg);
    /** Remove stray chunks: those of this dataset's name outside its grid, and temporary objects that are so old
     *  that their writer is no more. Absent: there are none. */
    int (*delete_strays)(void *dataset);
    /** All writes and deletes that returned before are durable. Absent: they are when they return. If some of them were
     *  lost for good, it keeps failing until those chunks are written or deleted again. */
    int (*flush)(void *dataset);
    /** Absent: unknown. */
    int (*usage)(void *conn, struct dn_usage *out);
};

#ifdef __cplusplus
}
#endif
#endif
