// SPDX-License-Identifier: Apache-2.0
/*
 * The strict door to a backend: the only code that calls one.
 *
 * It asserts what the core owes, checks what the backend returned, emulates what it lacks, counts every
 * request, and tries again with back-off and jitter what may work a second time (-EAGAIN, -ETIMEDOUT,
 * -ECONNRESET): up to `retries` times, waiting 0.1 s · 2^n (at most 10 s) with jitter, or as long as the backend
 * says with dn_retry_after() (at most request_timeout). After that -EAGAIN and -ECONNRESET become -EIO. Not tried
 * again: connecting, which has the backend's own time limit; a listing that has begun; creating and renaming after
 * anything but -EAGAIN, as they may have happened.
 *
 * Functions return what backend.h says of the operation of that name, with a text that tells dataset and chunk; what
 * an absent operation means is done here. They block. A callback of a listing must not call the store: its turn is
 * still taken. Any thread may call; limits.max_calls of the backend is honoured here.
 */
#ifndef DOSNA_STORE_H
#define DOSNA_STORE_H

#include <dosna/backend.h>
#include "stats.h"

struct store;
struct store_dataset;

/** Seconds: the pause before the first retry, which doubles up to the longest; and what jitter may make of one. */
#define STORE_FIRST_PAUSE 0.1
#define STORE_LONGEST_PAUSE 10.0
#define STORE_JITTER 1.0

struct store_settings {
    int64_t retries;
    double request_timeout; /* seconds: how long a call may wait for its turn */
};

/**
 * Connect. `backend` is one of the registry, `options` as its rows filled it; both, and `stats`, must live until
 * store_close().
 *
 * @return 0 and *out; as registry_load(); -ENOMEM; or what the backend's connect said
 */
int store_open(const struct dn_backend *backend, const char *connection, const void *options,
               const struct store_settings *settings, struct stats *stats, struct store **out);
/** No dataset is open and nothing is in flight. NULL is allowed. */
void store_close(struct store *store);

/** What is asked of the backend once, at connect. */
const struct dn_backend *store_backend(const struct store *store);
const struct dn_limits *store_limits(const struct store *store);
bool store_can(const struct store *store, enum dn_ability ability);

/** For the pool: the backend's thread_enter and thread_leave; `arg` is the store. */
int store_thread_enter(void *store);
void store_thread_leave(void *store);

int store_list(struct store *store, dn_name_fn fn, void *arg);
/** 0 where there is nothing to do. */
int store_rescan(struct store *store);
int store_create(struct store *store, const char *name, const struct dn_desc *desc);
/** The description is checked with dn_desc_check(): bad ones give -EPROTO. `desc` is the caller's to clear; it is empty
 *  after a failure. */
int store_open_dataset(struct store *store, const char *name, struct store_dataset **out, struct dn_desc *desc);
/** As the backend's same_dataset: of two that were opened by one name, `fresh` just now. */
bool store_same_dataset(const struct store_dataset *dataset, const struct store_dataset *fresh);
int store_has(struct store *store, const char *name);
void store_close_dataset(struct store_dataset *dataset);
int store_delete(struct store *store, const char *name);
/** 1: handles that are open go on working; 0: they are to be opened again. */
int store_rename(struct store *store, const char *from, const char *to);
int store_usage(struct store *store, struct dn_usage *out);

/** As the backend's; without DN_CAN_READ_RANGE the whole chunk is read and cut, without
 *  DN_CAN_COMPARE `version` comes back empty. `version` is changed only when 0 is returned. A part
 *  may be written only with DN_CAN_WRITE_RANGE. store_list_chunks() gives -ENOTSUP where the backend has no
 *  listing, or would take longer for it than for asking for each chunk. */
int store_read(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t offset, void *buffer,
               size_t length, struct dn_version *version);
int store_write(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t offset,
                const void *buffer, size_t length, struct dn_version *version);
int store_delete_chunk(struct store_dataset *dataset, const struct dn_chunk_id *id);
/** How many chunks one request deletes: 1, or DN_DELETE_MOST. */
size_t store_deletes_at_once(const struct store_dataset *dataset);
/** Up to that many; those that are absent are no error. */
int store_delete_chunks(struct store_dataset *dataset, const struct dn_chunk_id *ids, size_t count);
int store_has_chunk(struct store_dataset *dataset, const struct dn_chunk_id *id);
int store_chunk_length(struct store_dataset *dataset, const struct dn_chunk_id *id, uint64_t *nbytes);
int store_list_chunks(struct store_dataset *dataset, dn_chunk_fn fn, void *arg);
/** Of two datasets of one store with equal descriptions; read and written where the backend cannot copy. */
int store_copy_chunk(struct store_dataset *from, struct store_dataset *to, const struct dn_chunk_id *id);
/** Names of stray chunks, as they are in the store. -ENOTSUP: not known. */
int store_list_strays(struct store_dataset *dataset, dn_name_fn fn, void *arg);
int store_delete_strays(struct store_dataset *dataset);
int store_flush(struct store_dataset *dataset);

/* registry.c: which backends there are */

/**
 * Every backend that is built, in the order of backends/CMakeLists.txt; ends with NULL. Of one that is a module
 * it has what stands before the operations (no `connect`), so that its options are known without loading it.
 */
extern const struct dn_backend *const registry[];
/** Where modules are; NULL: in the folder "dosna" beside libdosna. Nothing else, and nobody's word, changes it. */
extern const char *const registry_folder;
/** By name, or NULL. */
const struct dn_backend *registry_find(const char *name);
/**
 * The whole of a backend of the registry, from its module where it is one. A module that was loaded stays.
 *
 * @return 0 and *out; -EINVAL: not installed, with the package to install; -ELIBBAD: the module is broken,
 *         or made for another libdosna
 */
int registry_load(const struct dn_backend *known, const struct dn_backend **out);

#endif
