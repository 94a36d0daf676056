// SPDX-License-Identifier: Apache-2.0
/*
 * Datasets are found among a pool's objects by their size and signature, so every object would have to be
 * asked. Those of the form DATASET/1.2.3 are not, if DATASET is one of as many axes: they are its chunks, and
 * nearly all there is. The others are asked many at once.
 */
#include "ceph_catalogue.h"

#include "ceph_meta.h"
#include "chunk_index.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARENTS 4096

struct rescan {
    struct ceph_catalogue *catalogue;
    struct parent {
        char *name; /* NULL: free */
        int ndim;   /* 0: no dataset */
    } parents[PARENTS]; /* by hash; the last one seen stays */
    struct question {
        char *name;
        char head[CEPH_HEAD_NBYTES];
        rados_completion_t done;
    } questions[CEPH_CATALOGUE_BATCH];
    size_t count;
};

/* ---- asking ------------------------------------------------------------------------------------ */

/* Waits for the answer and frees the question. 1, 0, or negative. */
static int take_answer(const struct ceph_pool *pool, struct question *question)
{
    int length;

    rados_aio_wait_for_complete(question->done);
    length = rados_aio_get_return_value(question->done);
    rados_aio_release(question->done);
    if (length < 0) {
        length = ceph_fail(pool, length);
        return length == -ENOENT ? 0 : length;
    }
    return ceph_head_is_dataset(question->head, (size_t)length);
}

/* Every answer is waited for, also after a failure: the buffers are theirs until then. */
static int take_answers(struct rescan *rescan)
{
    const char *found[CEPH_CATALOGUE_BATCH];
    size_t count = 0;
    int r = 0, answer;

    for (size_t i = 0; i < rescan->count; i++) {
        answer = take_answer(rescan->catalogue->pool, &rescan->questions[i]);
        if (answer > 0)
            found[count++] = rescan->questions[i].name;
        r = r < 0 || answer >= 0 ? r : answer;
    }
    if (r == 0 && count > 0)
        r = ceph_catalogue_enter(rescan->catalogue, found, count);
    for (size_t i = 0; i < rescan->count; i++)
        free(rescan->questions[i].name);
    rescan->count = 0;
    return r;
}

static int ask(struct rescan *rescan, const char *name)
{
    const struct ceph_pool *pool = rescan->catalogue->pool;
    struct question *question = &rescan->questions[rescan->count];
    int r;

    question->name = strdup(name);
    if (question->name == NULL)
        return dn_fail(-ENOMEM, "no memory for a name");
    r = rados_aio_create_completion2(NULL, NULL, &question->done);
    if (r == 0) {
        r = rados_aio_read(pool->objects, name, question->done, question->head, sizeof question->head, 0);
        if (r < 0)
            rados_aio_release(question->done);
    }
    if (r < 0) {
        free(question->name);
        return ceph_fail(pool, r);
    }
    rescan->count++;
    return rescan->count == CEPH_CATALOGUE_BATCH ? take_answers(rescan) : 0;
}

/* ---- chunks ------------------------------------------------------------------------------------ */

/* The axes of the dataset of that name; 0: there is none, or none that can be read. */
static int read_ndim(const struct ceph_pool *pool, const char *name)
{
    struct dn_desc desc = {0};
    int r = ceph_meta_read(pool, name, &desc, NULL), ndim = desc.ndim;

    dn_desc_clear(&desc);
    if (r < 0)
        return r == -ENOENT || r == -EPROTO ? 0 : r;
    return ndim;
}

/* The same, from memory where it was asked before. Takes the name. */
static int find_ndim(struct rescan *rescan, char *name)
{
    struct parent *parent = &rescan->parents[ceph_hash(name) % PARENTS];
    int ndim;

    if (parent->name != NULL && strcmp(parent->name, name) == 0) {
        free(name);
        return parent->ndim;
    }
    ndim = read_ndim(rescan->catalogue->pool, name);
    free(parent->name);
    *parent = (struct parent){ndim < 0 ? NULL : name, ndim};
    if (ndim < 0)
        free(name);
    return ndim;
}

/* 1: a chunk of a dataset, or a stray of one; 0: anything else. */
static int is_chunk(struct rescan *rescan, const char *object)
{
    const char *slash = strrchr(object, '/');
    int64_t index[DN_MAX_NDIM];
    int ndim, parent_ndim;
    const char *rest = slash ? chunk_index_parse(slash + 1, '.', index, &ndim) : NULL;
    char *name;

    if (rest == NULL || *rest != '\0' || slash == object)
        return 0;
    name = strndup(object, (size_t)(slash - object));
    if (name == NULL)
        return dn_fail(-ENOMEM, "no memory for a name");
    parent_ndim = find_ndim(rescan, name);
    return parent_ndim < 0 ? parent_ndim : parent_ndim == ndim;
}

static int look_at(void *arg, const char *object)
{
    int r = is_chunk(arg, object);

    return r == 0 ? ask(arg, object) : r < 0 ? r : 0;
}

int ceph_catalogue_rescan(struct ceph_catalogue *catalogue)
{
    struct rescan *rescan = calloc(1, sizeof *rescan);
    int r, last;

    if (rescan == NULL)
        return dn_fail(-ENOMEM, "no memory for a rescan");
    rescan->catalogue = catalogue;
    r = ceph_each_object(catalogue->pool, look_at, rescan);
    last = take_answers(rescan);
    for (size_t i = 0; i < PARENTS; i++)
        free(rescan->parents[i].name);
    free(rescan);
    return r < 0 ? r : last;
}
