// SPDX-License-Identifier: Apache-2.0
#include "dirs.h"

#include "files.h"
#include "list_zarr.h"
#include "report.h"
#include "views.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOTS 2 /* "." and ".." */
#define ALIAS_SUFFIX 7 /* "." and six characters */

static const char *const part_names[PARTS] = { [PART_META] = ".meta", [PART_DATA] = "data" };

/* ---- fixed directories ---------------------------------------------------------------------- */

/** An entry that is always there. */
struct list_row {
    enum node_kind parent, kind;
    const char *name;
    bool directory;
};

/* The root's own (.dosnafs, the views name) open by name; only the views name is listed. */
static const struct list_row control_rows[] = {
    { NODE_CONTROL, NODE_STATS, "stats", false },
    { NODE_CONTROL, NODE_CONFIG, "config", false },
    { NODE_CONTROL, NODE_VIEWS, "views", true },
};

#define CONTROL_ROWS (sizeof control_rows / sizeof *control_rows)

static struct node *find_fixed(struct fs *fs, struct node *parent, const char *entry)
{
    if (parent->kind == NODE_ROOT) {
        if (strcmp(entry, NAME_CONTROL) == 0)
            return &fs->tree.fixed[NODE_CONTROL];
        if (fs->views && strcmp(entry, fs->views) == 0)
            return &fs->tree.fixed[NODE_ROOT_VIEWS];
    }
    for (size_t i = 0; i < CONTROL_ROWS; i++) {
        if (parent->kind == control_rows[i].parent && strcmp(entry, control_rows[i].name) == 0)
            return &fs->tree.fixed[control_rows[i].kind];
    }
    return NULL;
}

/* ---- lookup --------------------------------------------------------------------------------- */

/** Is `entry` a dot, `target`, a dot and six characters? rsync leaves out a dot that `target` begins with. */
static bool is_alias(const char *entry, const char *target)
{
    if (*entry++ != '.')
        return false;
    target += *target == '.' && *entry != '.';
    return strncmp(entry, target, strlen(target)) == 0 && entry[strlen(target)] == '.' &&
           strlen(entry) == strlen(target) + ALIAS_SUFFIX;
}

/** The part that an entry of a dataset's directory means; PART_SELF: none. */
static enum node_part part_of(const char *entry, bool *alias)
{
    for (int part = PART_META; part < PARTS; part++) {
        *alias = is_alias(entry, part_names[part]);
        if (*alias || strcmp(entry, part_names[part]) == 0)
            return (enum node_part)part;
    }
    return PART_SELF;
}

/** Is `data` absent to this process, this once? Called with tree.lock. */
static bool absent_for_clone(struct node *node, pid_t pid)
{
    if (!node->clone_pid || !files_same_process(pid, node->clone_pid))
        return false;
    node->clone_pid = 0;
    node->clone_told = true;
    return true;
}

static bool is_there(struct node *node, const struct place *place, const char *entry, pid_t pid)
{
    const char *alias = node->alias[place->part];

    if (place->alias)
        return alias && strcmp(alias, entry) == 0;
    if (node->draft)
        return place->part == PART_META && node->draft->present;
    if (node->hidden[place->part])
        return false;
    return place->part != PART_DATA || !absent_for_clone(node, pid);
}

static int lookup_part(struct fs *fs, struct node *node, const char *entry, pid_t pid, struct place *out)
{
    out->part = part_of(entry, &out->alias);
    if (out->part == PART_SELF)
        return -ENOENT;
    if (out->part == PART_DATA)
        tree_settle(&fs->tree, node);
    pthread_mutex_lock(&fs->tree.lock);
    bool there = is_there(node, out, entry, pid);
    if (there)
        node->pins++;
    pthread_mutex_unlock(&fs->tree.lock);
    out->node = node;
    return there ? 0 : -ENOENT;
}

static int lookup_dataset(struct fs *fs, const char *entry, struct place *out)
{
    char name[NAME_ENTRY_MAX + 1];
    int err = names_decode(entry, fs->views, name);

    if (err)
        return err == -EINVAL ? -ENOENT : err;
    out->node = tree_find(&fs->tree, name);
    if (out->node && tree_is_draft(&fs->tree, out->node))
        return 0;
    err = dn_has(fs->conn, name);
    if (err == 1 && !out->node)
        out->node = tree_get(&fs->tree, name);
    if (err == 1)
        return out->node ? 0 : dn_fail(-ENOMEM, "no memory");
    if (err == 0 && out->node)
        tree_drop(&fs->tree, out->node); /* somebody else removed it */
    tree_put(&fs->tree, out->node);
    return err ? err : -ENOENT;
}

int dirs_lookup(struct fs *fs, struct node *parent, const char *entry, pid_t pid, struct place *out)
{
    *out = (struct place){ .node = find_fixed(fs, parent, entry) };
    if (out->node) {
        tree_pin(&fs->tree, out->node);
        return 0;
    }
    if (parent->kind == NODE_ROOT)
        return lookup_dataset(fs, entry, out);
    if (parent->kind == NODE_DATASET)
        return lookup_part(fs, parent, entry, pid, out);
    return views_here(parent) ? views_lookup(fs, parent, entry, out) : -ENOENT;
}

/* ---- create --------------------------------------------------------------------------------- */

/** Make `.meta` or `data` under its real name; called with tree.lock. */
static int create_real(struct node *node, struct place *place, int flags, pid_t pid)
{
    bool *hidden = &node->hidden[place->part];
    struct draft *draft = node->draft;

    if (draft && place->part == PART_DATA)
        return dn_fail(-EPERM, "data is there once .meta is complete");
    if (draft) {
        place->created = !draft->present;
        draft->present = true;
        draft->exclusive = flags & O_EXCL;
        draft->creator = pid;
    } else {
        place->created = *hidden || (place->part == PART_DATA && node->clone_told);
        node->clone_told &= place->part != PART_DATA;
        *hidden = false;
    }
    if (!place->created && (flags & O_EXCL))
        return dn_fail(-EEXIST, "it exists");
    return 0;
}

static int create_alias(struct node *node, struct place *place, const char *entry)
{
    char *copy;

    if (node->draft && place->part == PART_DATA)
        return dn_fail(-EPERM, "data is there once .meta is complete");
    copy = strdup(entry);
    if (!copy)
        return dn_fail(-ENOMEM, "no memory");
    if (node->draft)
        node->draft->present = true;
    free(node->alias[place->part]);
    node->alias[place->part] = copy;
    return 0;
}

int dirs_create(struct fs *fs, struct node *parent, const char *entry, int flags, pid_t pid,
                struct place *out)
{
    int err;

    *out = (struct place){ .node = parent };
    if (parent->kind == NODE_DATASET)
        out->part = part_of(entry, &out->alias);
    if (out->part == PART_SELF)
        return dn_fail(-EPERM, "no file can be made here");
    pthread_mutex_lock(&fs->tree.lock);
    err = out->alias ? create_alias(parent, out, entry) : create_real(parent, out, flags, pid);
    if (err == 0)
        parent->pins++;
    pthread_mutex_unlock(&fs->tree.lock);
    return err;
}

int dirs_mkdir(struct fs *fs, struct node *parent, const char *entry, struct place *out)
{
    char name[NAME_ENTRY_MAX + 1];
    struct node *node;
    int err;

    *out = (struct place){ 0 };
    if (parent->kind != NODE_ROOT)
        return dn_fail(-EPERM, "no directory can be made here");
    if (find_fixed(fs, parent, entry))
        return dn_fail(-EEXIST, "it exists");
    err = names_decode(entry, fs->views, name);
    if (err)
        return err;
    node = tree_find(&fs->tree, name);
    bool draft = node && tree_is_draft(&fs->tree, node);
    tree_put(&fs->tree, node);
    err = draft ? 1 : dn_has(fs->conn, name);
    if (err)
        return err < 0 ? err : dn_fail(-EEXIST, "it exists");
    out->node = tree_draft(&fs->tree, name);
    if (!out->node)
        return dn_fail(-ENOMEM, "no memory");
    tree_changed(&fs->tree);
    return 0;
}

/* ---- remove --------------------------------------------------------------------------------- */

static int clear_data(struct fs *fs, struct node *node)
{
    dn_dataset *dataset;
    int err = files_dataset(fs, node, &dataset);

    if (err)
        return err == -EPROTO ? 0 : err; /* unreadable: rmdir removes what there is */
    err = dn_clear(dataset);
    files_give_back(dataset);
    return err;
}

/** Called with tree.lock. */
static void hide(struct node *node, enum node_part part)
{
    if (node->draft) {
        node->draft->length = 0;
        node->draft->present = false;
        return;
    }
    node->hidden[part] = true;
    node->pages_stale += part == PART_DATA;
    node->clone_pid = 0;
}

int dirs_unlink(struct fs *fs, struct node *parent, const char *entry)
{
    struct place place;
    int err = dirs_lookup(fs, parent, entry, 0, &place);

    if (err)
        return err;
    if (parent->kind != NODE_DATASET)
        err = dn_fail(-EPERM, "it cannot be removed");
    else if (!place.alias && place.part == PART_DATA)
        err = clear_data(fs, parent);
    pthread_mutex_lock(&fs->tree.lock);
    if (err == 0 && place.alias) {
        free(parent->alias[place.part]);
        parent->alias[place.part] = NULL;
    } else if (err == 0) {
        hide(parent, place.part);
    }
    pthread_mutex_unlock(&fs->tree.lock);
    tree_put(&fs->tree, place.node);
    return err;
}

static int found_one(void *arg, const uint64_t *index, int ndim)
{
    (void)arg;
    (void)index;
    (void)ndim;
    return 1;
}

/** 0: the dataset has no stored chunk. Unreadable ones have none that can be named. */
static int check_empty(struct fs *fs, struct node *node)
{
    dn_dataset *dataset;
    int err = files_dataset(fs, node, &dataset);

    if (err)
        return err == -EPROTO ? 0 : err;
    err = dn_chunk_list(dataset, found_one, NULL);
    files_give_back(dataset);
    return err == 1 ? dn_fail(-ENOTEMPTY, "chunks are stored") : err;
}

static int remove_dataset(struct fs *fs, struct node *node, const char *name)
{
    int err = check_empty(fs, node);

    if (err == 0)
        err = dn_delete(fs->conn, name);
    if (err == 0 || err == -ENOENT)
        tree_drop(&fs->tree, node);
    return err;
}

int dirs_rmdir(struct fs *fs, struct node *parent, const char *entry)
{
    char name[NAME_ENTRY_MAX + 1];
    struct place place;
    int err = dirs_lookup(fs, parent, entry, 0, &place);

    if (err)
        return err;
    if (parent->kind != NODE_ROOT || place.node->kind != NODE_DATASET) {
        err = place.part != PART_SELF ? -ENOTDIR : dn_fail(-EPERM, "it cannot be removed");
    } else {
        names_decode(entry, fs->views, name);
        err = tree_drop_draft(&fs->tree, place.node);
        if (err == 1)
            err = remove_dataset(fs, place.node, name);
    }
    tree_put(&fs->tree, place.node);
    tree_changed(&fs->tree);
    return err;
}

/* ---- rename --------------------------------------------------------------------------------- */

/** An alias onto its own part: rsync's last step. */
static int rename_alias(struct fs *fs, struct node *node, const char *entry, const char *to_entry)
{
    bool alias, to_alias;
    enum node_part part = part_of(entry, &alias);
    int err = 0;

    if (part == PART_SELF || !alias || part != part_of(to_entry, &to_alias) || to_alias)
        return dn_fail(-EPERM, "files of a dataset cannot be renamed");
    pthread_mutex_lock(&fs->tree.lock);
    if (!node->alias[part] || strcmp(node->alias[part], entry) != 0) {
        err = -ENOENT;
    } else {
        free(node->alias[part]);
        node->alias[part] = NULL;
        node->hidden[part] = false;
        node->pages_stale += part == PART_DATA;
    }
    pthread_mutex_unlock(&fs->tree.lock);
    return err;
}

/** What is in the way at the new name: 0 nothing, or an empty draft, which a rename replaces. */
static int check_target(struct fs *fs, const char *to_entry, unsigned flags)
{
    struct place target;
    int err = dirs_lookup(fs, &fs->tree.fixed[NODE_ROOT], to_entry, 0, &target);

    if (err)
        return err == -ENOENT ? 0 : err;
    pthread_mutex_lock(&fs->tree.lock);
    if (flags & RENAME_NOREPLACE)
        err = dn_fail(-EEXIST, "it exists");
    else if (target.node->kind != NODE_DATASET)
        err = dn_fail(-EPERM, "it cannot be replaced");
    else if (!target.node->draft || target.node->draft->present)
        err = dn_fail(-ENOTEMPTY, "it exists");
    pthread_mutex_unlock(&fs->tree.lock);
    tree_put(&fs->tree, target.node);
    return err;
}

static int rename_dataset(struct fs *fs, const char *entry, const char *to_entry, unsigned flags)
{
    char name[NAME_ENTRY_MAX + 1], to_name[NAME_ENTRY_MAX + 1];
    struct place place;
    int err = names_decode(to_entry, fs->views, to_name);

    if (err == 0)
        err = names_decode(entry, fs->views, name);
    if (err == 0)
        err = check_target(fs, to_entry, flags);
    if (err == 0)
        err = dirs_lookup(fs, &fs->tree.fixed[NODE_ROOT], entry, 0, &place);
    if (err)
        return err;
    bool draft = tree_is_draft(&fs->tree, place.node);
    if (!draft)
        err = dn_rename(fs->conn, name, to_name);
    if (err == 0)
        err = tree_rename(&fs->tree, place.node, to_name, draft);
    tree_put(&fs->tree, place.node);
    tree_changed(&fs->tree);
    return err;
}

int dirs_rename(struct fs *fs, struct node *parent, const char *entry, struct node *to_parent,
                const char *to_entry, unsigned flags)
{
    if (flags & ~(unsigned)RENAME_NOREPLACE)
        return -EINVAL;
    if (parent->kind == NODE_DATASET && parent == to_parent)
        return rename_alias(fs, parent, entry, to_entry);
    if (parent->kind != NODE_ROOT || to_parent->kind != NODE_ROOT || find_fixed(fs, parent, entry))
        return dn_fail(-EPERM, "only datasets can be renamed");
    return rename_dataset(fs, entry, to_entry, flags);
}

/* ---- listings ------------------------------------------------------------------------------- */

void dirs_listing_clear(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->names[i]);
    free(listing->names);
    list_zarr_end(listing->chunks);
    *listing = (struct listing){ 0 };
}

static int append(struct listing *listing, const char *name)
{
    if (listing->count == listing->room) {
        size_t room = listing->room ? 2 * listing->room : 64;
        char **names = reallocarray(listing->names, room, sizeof *names);

        if (!names)
            return dn_fail(-ENOMEM, "no memory");
        listing->names = names;
        listing->room = room;
    }
    listing->names[listing->count] = strdup(name);
    if (!listing->names[listing->count])
        return dn_fail(-ENOMEM, "no memory");
    listing->count++;
    return 0;
}

struct collector {
    struct fs *fs;
    struct listing *listing;
    unsigned too_long;
};

static int collect(void *arg, const char *name)
{
    struct collector *collector = arg;
    char entry[NAME_ENTRY_MAX + 1];
    struct node *node = tree_find(&collector->fs->tree, name);
    bool draft = node && tree_is_draft(&collector->fs->tree, node); /* listed as such */

    tree_put(&collector->fs->tree, node);
    if (draft)
        return 0;
    if (names_encode(name, collector->fs->views, entry) != 0) {
        collector->too_long++;
        return 0;
    }
    return append(collector->listing, name);
}

static int collect_drafts(struct collector *collector)
{
    struct tree *tree = &collector->fs->tree;
    struct node *node;
    int err = 0;

    pthread_mutex_lock(&tree->lock);
    LIST_FOREACH (node, &tree->nodes, all) {
        if (err == 0 && node->draft && node->named)
            err = append(collector->listing, node->name);
    }
    pthread_mutex_unlock(&tree->lock);
    return err;
}

/** A store that keeps no names has none to list: what is asked for by name is there. */
static int list_datasets(struct collector *collector)
{
    int err = dn_list(collector->fs->conn, collect, collector);

    if (collector->too_long)
        report(DN_LOG_WARNING, "%u datasets are not listed: their names are longer than %d bytes",
               collector->too_long, NAME_ENTRY_MAX);
    return err == -ENOTSUP ? 0 : err;
}

int dirs_list_datasets(struct fs *fs, struct listing *out)
{
    return list_datasets(&(struct collector){ fs, out, 0 });
}

static int list_root(struct fs *fs, struct listing *out)
{
    struct collector collector = { fs, out, 0 };
    int err = list_datasets(&collector);

    return err ? err : collect_drafts(&collector);
}

int dirs_list(struct fs *fs, struct node *node, struct listing *out)
{
    *out = (struct listing){ .node = node };
    int err = node->kind == NODE_ROOT ? list_root(fs, out) : views_here(node) ? views_list(fs, node, out) : 0;
    if (err)
        dirs_listing_clear(out);
    return err;
}

bool dirs_set_entry(struct entry *out, const char *text, uint64_t inode, bool directory)
{
    snprintf(out->text, sizeof out->text, "%s", text);
    out->inode = inode;
    out->directory = directory;
    return true;
}

static bool root_entry(struct fs *fs, const struct listing *listing, size_t i, struct entry *out)
{
    if (fs->views && i-- == 0)
        return dirs_set_entry(out, fs->views, NODE_ROOT_VIEWS + 1, true);
    if (i >= listing->count)
        return false;
    out->dataset = listing->names[i];
    out->inode = tree_inode(out->dataset, PART_SELF);
    out->directory = true;
    return names_encode(out->dataset, fs->views, out->text) == 0;
}

/** The files of a dataset. A hidden one keeps its number, so that offsets stay right during rm -r. */
static bool dataset_entry(struct fs *fs, struct node *node, size_t i, struct entry *out)
{
    enum node_part part = (enum node_part)(PART_META + i);

    if (part >= PARTS)
        return false;
    pthread_mutex_lock(&fs->tree.lock);
    bool there = node->draft ? part == PART_META && node->draft->present : !node->hidden[part];
    dirs_set_entry(out, there ? part_names[part] : "", tree_inode(node->name, part), false);
    pthread_mutex_unlock(&fs->tree.lock);
    return true;
}

bool dirs_entry(struct fs *fs, struct listing *listing, size_t *number, struct entry *out)
{
    struct node *node = listing->node;
    size_t i = *number - DOTS;

    out->dataset = NULL;
    if (*number < DOTS)
        return dirs_set_entry(out, *number ? ".." : ".", 1, true);
    if (node->kind == NODE_ROOT)
        return root_entry(fs, listing, i, out);
    if (node->kind == NODE_DATASET)
        return dataset_entry(fs, node, i, out);
    if (views_here(node)) {
        bool there = views_entry(fs, listing, &i, out);

        *number = i + DOTS;
        return there;
    }
    if (node->kind == NODE_CONTROL && i < CONTROL_ROWS)
        return dirs_set_entry(out, control_rows[i].name, control_rows[i].kind + 1U, control_rows[i].directory);
    return false;
}
