// SPDX-License-Identifier: Apache-2.0
#include "views.h"

#include "list_zarr.h"
#include "report.h"
#include "view.h"
#include "zarr.h"

#include <ctype.h>
#include <dosna/batch.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_SUFFIX ".bytes"
#define GROUP_FILE ".zgroup"

static bool is_views(const struct node *node)
{
    return node->kind == NODE_VIEWS || node->kind == NODE_ROOT_VIEWS;
}

bool views_here(const struct node *node)
{
    return is_views(node) || node->kind == NODE_ZARR;
}

/** The path by which a name in this directory is known to the tree. */
static char *path_of(struct fs *fs, const struct node *parent, const char *entry)
{
    char *path;
    int length;

    if (is_views(parent))
        length = asprintf(&path, "%s/%s", parent->kind == NODE_VIEWS ? NAME_CONTROL "/views" : fs->views, entry);
    else
        length = asprintf(&path, "%s/%s", parent->name, entry);
    return length < 0 ? NULL : path;
}

/* ---- names that every reader takes ----------------------------------------------------------- */

static bool is_plain(char c)
{
    return isascii((unsigned char)c) && (isalnum((unsigned char)c) || strchr("._-", c));
}

static bool all_plain(const char *text)
{
    while (*text && is_plain(*text))
        text++;
    return *text == '\0';
}

/** False: longer than an entry can be. */
static bool encode_plain(const char *stem, char out[NAME_ENTRY_MAX + 1])
{
    size_t length = 0;

    for (; *stem; stem++) {
        if (length + 3 > NAME_ENTRY_MAX - strlen(BYTES_SUFFIX))
            return false;
        if (is_plain(*stem))
            out[length++] = *stem;
        else
            length += (size_t)sprintf(out + length, "=%02X", (unsigned char)*stem);
    }
    out[length] = '\0';
    return true;
}

/** In place. False: encode_plain() does not write this. */
static bool decode_plain(char *stem)
{
    char before[NAME_ENTRY_MAX + 1], again[NAME_ENTRY_MAX + 1], *out = stem;
    unsigned byte;

    snprintf(before, sizeof before, "%s", stem);
    for (const char *at = before; *at; at++) {
        if (*at == '=' && sscanf(at + 1, "%2X", &byte) == 1 && byte) {
            *out++ = (char)byte;
            at += 2;
        } else {
            *out++ = *at;
        }
    }
    *out = '\0';
    return encode_plain(stem, again) && strcmp(again, before) == 0;
}

/** What a detached header in `parent` calls the data of ENTRY EXPRESSION. False: it has no name that would do. */
static bool make_link(const struct node *parent, const char *stem, bool whole, char out[2 * NAME_ENTRY_MAX])
{
    char plain[NAME_ENTRY_MAX + 1];

    if (whole && all_plain(stem)) {
        snprintf(out, 2 * NAME_ENTRY_MAX, "%s%s/data", parent->kind == NODE_VIEWS ? "../../" : "../", stem);
        return true;
    }
    if (!encode_plain(stem, plain))
        return false;
    /* "./", because a name that begins with LIST means a list of files to some. */
    snprintf(out, 2 * NAME_ENTRY_MAX, "./%s" BYTES_SUFFIX, plain);
    return true;
}

/* ---- what a name means ------------------------------------------------------------------------ */

/** Where the last operation of a stem begins, or NULL. */
static const char *last_operation(const char *stem, size_t length)
{
    static const char transpose[] = ".transpose(";

    if (length > 2 && memcmp(stem + length - 2, ".T", 2) == 0)
        return stem + length - 2;
    if (length && stem[length - 1] == ']')
        return memrchr(stem, '[', length);
    for (size_t at = length; length && stem[length - 1] == ')' && at-- > 0;)
        if (strncmp(stem + at, transpose, strlen(transpose)) == 0)
            return stem + at;
    return NULL;
}

/** What a stem means: open, and where in it the expression begins. -ENOENT: nothing. */
static int resolve(struct fs *fs, const char *stem, char name[NAME_ENTRY_MAX + 1], size_t *expression,
                   dn_dataset **out)
{
    char entry[NAME_ENTRY_MAX + 1];
    const char *cut = stem + strlen(stem);
    int err = -ENOENT;

    for (; cut && cut > stem && (err == -ENOENT || err == -EINVAL); cut = last_operation(stem, *expression)) {
        *expression = (size_t)(cut - stem);
        memcpy(entry, stem, *expression);
        entry[*expression] = '\0';
        err = names_decode(entry, fs->views, name);
        if (!err)
            err = files_open_name(fs, name, out);
        if (!err)
            return 0;
    }
    return err == -EINVAL ? -ENOENT : err;
}

/** One allocation of a node's own strings. NULL: no memory. */
static struct node_view *new_view(const struct view_format *format, const char *dataset, const char *expression,
                                  const char *link, const char *file)
{
    const char *from[] = {dataset, expression, link, file};
    struct node_view *view;
    size_t size = sizeof *view;
    char *at;

    for (int i = 0; i < 4; i++)
        size += strlen(from[i]) + 1;
    view = malloc(size);
    if (!view)
        return NULL;
    at = (char *)(view + 1);
    const char **to[] = {&view->dataset, &view->expression, &view->link, &view->file};
    *view = (struct node_view){.format = format};
    for (int i = 0; i < 4; i++) {
        *to[i] = strcpy(at, from[i]);
        at += strlen(at) + 1;
    }
    return view;
}

/** Give `out` the node of an entry. Takes over `view`. */
static int place_view(struct fs *fs, const struct node *parent, const char *entry, enum node_kind kind,
                      struct node_view *view, struct place *out)
{
    char *path = path_of(fs, parent, entry);

    if (path && view)
        out->node = tree_view(&fs->tree, path, kind, view);
    else
        free(view);
    free(path);
    return out->node ? 0 : dn_fail(-ENOMEM, "no memory");
}

static void learn(struct fs *fs, struct node *node, dn_dataset *dataset, uint64_t nbytes)
{
    struct facts facts = { .nbytes = nbytes, .mtime_ns = dn_mtime_ns(dataset) };

    files_remember(fs, node, &facts);
}

/* ---- the views directory ---------------------------------------------------------------------- */

/** Can the format show it, and how long is the file? */
static int measure(const struct view_format *format, dn_dataset *dataset, const char *expression, const char *link,
                   uint64_t *nbytes)
{
    const struct dn_desc *desc = dn_describe(dataset);
    struct dn_slice slice;
    struct view view;
    struct zarr zarr;
    int err = dn_slice_parse(expression, desc->ndim, desc->shape, &slice);

    *nbytes = 0;
    if (err)
        return -ENOENT;
    if (format->directory)
        return zarr_init(&zarr, desc, &slice);
    err = view_open(&view, format, desc, &slice, link);
    if (err)
        return err;
    *nbytes = view.size;
    view_close(&view);
    return 0;
}

static int lookup_view(struct fs *fs, struct node *parent, const char *entry, const struct view_format *format,
                       const char *stem, struct place *out)
{
    enum node_kind kind = format->directory ? NODE_ZARR : NODE_VIEW;
    char name[NAME_ENTRY_MAX + 1], link[2 * NAME_ENTRY_MAX] = "";
    size_t expression;
    dn_dataset *dataset;
    uint64_t nbytes;
    int err = resolve(fs, stem, name, &expression, &dataset);

    if (err)
        return err;
    stem += expression;
    if (format->detached && !make_link(parent, stem - expression, *stem == '\0', link))
        err = -ENOENT;
    if (!err)
        err = measure(format, dataset, stem, link, &nbytes);
    if (!err)
        err = place_view(fs, parent, entry, kind, new_view(format, name, stem, link, ""), out);
    if (!err)
        learn(fs, out->node, dataset, nbytes);
    files_give_back(dataset);
    return err;
}

static int lookup_in_views(struct fs *fs, struct node *parent, const char *entry, struct place *out)
{
    char text[NAME_ENTRY_MAX + 1];
    const struct view_format *format;
    size_t stem;

    if (strlen(entry) > NAME_ENTRY_MAX)
        return -ENAMETOOLONG;
    if (strcmp(entry, GROUP_FILE) == 0)
        return place_view(fs, parent, entry, NODE_ZARR_FILE, new_view(NULL, "", "", "", entry), out);
    format = view_format_of(entry, &stem);
    if (!format)
        return -ENOENT;
    memcpy(text, entry, stem);
    text[stem] = '\0';
    if (strcmp(format->suffix, BYTES_SUFFIX) == 0 && !decode_plain(text))
        return -ENOENT;
    return lookup_view(fs, parent, entry, format, text, out);
}

struct learner {
    struct fs *fs;
    struct listing *listing;
};

/** The formats of one listed dataset; none of one that cannot be opened. */
static int learn_formats(void *arg, uint64_t i)
{
    const struct learner *learner = arg;
    struct listing *listing = learner->listing;
    struct view_array array;
    struct dn_slice slice;
    dn_dataset *dataset;

    int err = files_open_name(learner->fs, listing->names[listing->first + i], &dataset);

    if (err)
        return err == -EINTR ? err : 0;
    const struct dn_desc *desc = dn_describe(dataset);
    dn_slice_whole(desc->ndim, desc->shape, &slice);
    view_array_of(desc, &slice, &array);
    for (int k = 0; k < VIEW_FORMATS; k++)
        if (!view_formats[k]->unlisted && view_applies(view_formats[k], &array))
            listing->formats[i] |= (uint16_t)(1U << k);
    files_give_back(dataset);
    return 0;
}

/** Whether a name is to be listed is in the dataset's description alone: a request each. The set before is kept,
 *  because a reply that is full goes on behind the last entry that fitted. */
static int look_ahead(struct fs *fs, struct listing *listing, size_t set)
{
    struct learner learner = {fs, listing};
    size_t first = set ? set - 1 : 0, left = listing->count - first;

    listing->first = first;
    listing->known = left < LISTING_AHEAD ? left : LISTING_AHEAD;
    memset(listing->formats, 0, sizeof listing->formats);
    listing->error = dn_each(fs->conn, listing->known, learn_formats, &learner);
    if (listing->error)
        listing->known = 0;
    return listing->error;
}

static void list_view(struct fs *fs, struct node *node, const char *name, const struct view_format *format,
                      struct entry *out)
{
    char entry[NAME_ENTRY_MAX + 1], text[2 * NAME_ENTRY_MAX], link[2 * NAME_ENTRY_MAX], *path;

    if (names_encode(name, fs->views, entry) != 0 || (format->detached && !make_link(node, entry, true, link)))
        return;
    if (snprintf(text, sizeof text, "%s%s", entry, format->suffix) > NAME_ENTRY_MAX)
        return;
    path = path_of(fs, node, text);
    if (path)
        dirs_set_entry(out, text, tree_inode(path, PARTS), format->directory);
    free(path);
}

/** Each dataset has an entry for every format; those that do not apply are passed over. */
static bool views_dir_entry(struct fs *fs, struct listing *listing, size_t i, struct entry *out)
{
    size_t set = i / VIEW_FORMATS, format = i % VIEW_FORMATS;

    if (set >= listing->count)
        return false;
    if ((set < listing->first || set - listing->first >= listing->known) && look_ahead(fs, listing, set) != 0)
        return false;
    dirs_set_entry(out, "", 0, false);
    if (listing->formats[set - listing->first] & 1U << format)
        list_view(fs, listing->node, listing->names[set], view_formats[format], out);
    return true;
}

/* ---- a Zarr directory ------------------------------------------------------------------------- */

int views_open_zarr(struct fs *fs, const struct node *node, dn_dataset **dataset, struct zarr *zarr)
{
    struct dn_slice slice;
    int err = files_open_slice(fs, node, dataset, &slice);

    if (err)
        return err;
    err = zarr_init(zarr, dn_describe(*dataset), &slice);
    if (err)
        files_give_back(*dataset);
    return err;
}

static int zarr_file_size(const struct zarr *zarr, dn_dataset *dataset, const char *entry, uint64_t *nbytes)
{
    uint64_t index[DN_MAX_NDIM];
    int there;

    *nbytes = zarr->nbytes;
    if (strcmp(entry, ".zattrs") == 0) {
        *nbytes = strlen(ZARR_ATTRIBUTES_TEXT);
        return 0;
    }
    if (strcmp(entry, ".zarray") == 0) {
        char *text = zarr_array_text(zarr, dn_describe(dataset));

        *nbytes = text ? strlen(text) : 0;
        free(text);
        return text ? 0 : dn_fail(-ENOMEM, "no memory");
    }
    if (!zarr_index(zarr, entry, index))
        return -ENOENT;
    there = zarr_has(zarr, dataset, index);
    return there < 0 ? there : there ? 0 : -ENOENT;
}

static int lookup_in_zarr(struct fs *fs, struct node *parent, const char *entry, struct place *out)
{
    const struct node_view *of = parent->view;
    struct node_view *view;
    dn_dataset *dataset;
    struct zarr zarr;
    uint64_t nbytes;
    int err;

    if (*entry != '.' && !isdigit((unsigned char)*entry))
        return -ENOENT;
    err = views_open_zarr(fs, parent, &dataset, &zarr);
    if (err)
        return err;
    err = zarr_file_size(&zarr, dataset, entry, &nbytes);
    if (!err) {
        view = new_view(of->format, of->dataset, of->expression, "", entry);
        err = place_view(fs, parent, entry, NODE_ZARR_FILE, view, out);
    }
    if (!err)
        learn(fs, out->node, dataset, nbytes);
    files_give_back(dataset);
    return err;
}

/* ---- both ------------------------------------------------------------------------------------- */

int views_lookup(struct fs *fs, struct node *parent, const char *entry, struct place *out)
{
    return is_views(parent) ? lookup_in_views(fs, parent, entry, out) : lookup_in_zarr(fs, parent, entry, out);
}

int views_list(struct fs *fs, struct node *node, struct listing *out)
{
    return is_views(node) ? dirs_list_datasets(fs, out) : list_zarr_begin(fs, out);
}

bool views_entry(struct fs *fs, struct listing *listing, size_t *i, struct entry *out)
{
    return is_views(listing->node) ? views_dir_entry(fs, listing, *i, out) : list_zarr_entry(fs, listing, i, out);
}
