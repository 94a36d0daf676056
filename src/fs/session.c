// SPDX-License-Identifier: Apache-2.0
#include "session.h"

#include "files.h"
#include "names.h"
#include "ops.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAKE_NS 20000000L

/* ---- a dead mount --------------------------------------------------------------------------- */

static bool is_ours(const char *mountpoint)
{
    struct mntent entry;
    char line[4096];
    bool ours = false;
    FILE *table = setmntent("/proc/self/mounts", "re");

    if (!table)
        return false;
    while (getmntent_r(table, &entry, line, sizeof line)) {
        if (strcmp(entry.mnt_dir, mountpoint) == 0)
            ours = strcmp(entry.mnt_type, SESSION_TYPE) == 0;
    }
    endmntent(table);
    return ours;
}

bool session_is_dead(int error)
{
    return error == ENOTCONN || error == ECONNABORTED;
}

static int run_fusermount(const char *mountpoint)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", mountpoint, (char *)NULL);
        _exit(127);
    }
    if (pid < 0)
        return -errno;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status == 0 ? 0 : -EPERM;
}

int session_clear_dead(const char *mountpoint)
{
    struct stat st;

    if (stat(mountpoint, &st) == 0 || !session_is_dead(errno) || !is_ours(mountpoint))
        return 0;
    if (umount2(mountpoint, MNT_DETACH) == 0 || run_fusermount(mountpoint) == 0)
        return 0;
    return dn_fail(-EBUSY, "%s: a dead mount is in the way and cannot be unmounted", mountpoint);
}

/* ---- signals -------------------------------------------------------------------------------- */

struct watcher {
    struct fs *fs;
    struct options *options;
    const char *mountpoint;
    pthread_t thread, main;
    atomic_bool ended;
};

static void ignore(int number)
{
    (void)number;
}

static void watched_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void session_block_signals(void)
{
    struct sigaction action = { .sa_handler = ignore };
    sigset_t set;

    watched_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGUSR1, &action, NULL); /* wakes libfuse's main loop */
    signal(SIGPIPE, SIG_IGN);
}

static void read_level_again(struct options *options)
{
    dn_config *config;
    int err = options_config(options, &config);

    if (err) {
        report(DN_LOG_ERROR, "the log level is as before: %s", dn_error_text(err));
        return;
    }
    report_configured(config);
    dn_config_free(config);
}

/** Write the path of a file of array data, with its NUL. */
static void put_path(struct fs *fs, const char *mountpoint, const struct node *node, FILE *out)
{
    char entry[NAME_ENTRY_MAX + 1];

    if (node->view)
        fprintf(out, "%s/%s%c", mountpoint, node->name, '\0');
    else if (names_encode(node->name, fs->views, entry) == 0)
        fprintf(out, "%s/%s/data%c", mountpoint, entry, '\0');
}

/** The paths of such files that are open for writing, for the caller to free(). */
static char *written_paths(struct fs *fs, const char *mountpoint, size_t *size)
{
    struct handle *handle;
    char *text = NULL;
    FILE *out = open_memstream(&text, size);

    if (!out)
        return NULL;
    pthread_mutex_lock(&fs->tree.lock);
    LIST_FOREACH (handle, &fs->tree.handles, all) {
        if (handle->dataset && (handle->flags & O_ACCMODE) != O_RDONLY && handle->node->named)
            put_path(fs, mountpoint, handle->node, out);
    }
    pthread_mutex_unlock(&fs->tree.lock);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

/** Pages that were written through a mapping are the kernel's alone until it writes them back. syncfs()
 *  does not wait for that on FUSE in recent kernels; fsync() does. */
static void sync_pages(struct fs *fs, const char *mountpoint)
{
    size_t size = 0;
    char *paths = written_paths(fs, mountpoint, &size);

    for (size_t at = 0; paths && at < size; at += strlen(paths + at) + 1) {
        int fd = open(paths + at, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
            continue;
        if (fsync(fd) != 0)
            report(DN_LOG_ERROR, "%s: %s", paths + at, strerror(errno));
        close(fd);
    }
    free(paths);
}

static void *watch(void *arg)
{
    struct watcher *watcher = arg;
    struct timespec pause = { .tv_nsec = WAKE_NS };
    sigset_t set;
    int number;

    watched_signals(&set);
    while (sigwait(&set, &number) == 0 && !atomic_load(&watcher->ended)) {
        if (number == SIGHUP) {
            read_level_again(watcher->options);
            continue;
        }
        report(DN_LOG_INFO, "%s: unmounting %s", strsignal(number), watcher->mountpoint);
        sync_pages(watcher->fs, watcher->mountpoint);
        fuse_session_exit(watcher->fs->session);
        while (!atomic_load(&watcher->ended)) { /* it may not be waiting yet */
            pthread_kill(watcher->main, SIGUSR1);
            nanosleep(&pause, NULL);
        }
        break;
    }
    return NULL;
}

static int start_watcher(struct watcher *watcher)
{
    watcher->main = pthread_self();
    int err = pthread_create(&watcher->thread, NULL, watch, watcher);
    return err ? dn_fail(-err, "a thread could not be started") : 0;
}

static void stop_watcher(struct watcher *watcher)
{
    atomic_store(&watcher->ended, true);
    pthread_kill(watcher->thread, SIGHUP);
    pthread_join(watcher->thread, NULL);
}

/* ---- mount ---------------------------------------------------------------------------------- */

static bool is_true(const dn_config *config, const char *key)
{
    const char *value = dn_config_get(config, key);

    return value && (strcmp(value, "true") == 0 || strcmp(value, "1") == 0);
}

/** The -o text for libfuse, for the caller to free(). NULL: no memory. */
static char *mount_text(const struct fs *fs, const struct options *options)
{
    static const char *const flags[] = { "ro", "allow_other", "default_permissions" };
    char *text = NULL;
    char *source;
    int err;

    if (asprintf(&source, "fsname=%s:%s", dn_config_get(fs->config, "backend"), options->connection) < 0)
        return NULL;
    err = fuse_opt_add_opt_escaped(&text, source);
    free(source);
    if (err == 0)
        err = fuse_opt_add_opt(&text, "subtype=dosnafs");
    if (err == 0) {
        char max_read[32]; /* FUSE takes it here, and libfuse wants it in op_init() as well */

        snprintf(max_read, sizeof max_read, "max_read=%u", OPS_READ_MAX);
        err = fuse_opt_add_opt(&text, max_read);
    }
    for (size_t i = 0; err == 0 && i < sizeof flags / sizeof *flags; i++) {
        if (is_true(fs->config, flags[i]))
            err = fuse_opt_add_opt(&text, flags[i]);
    }
    if (err == 0 && options->kernel)
        err = fuse_opt_add_opt(&text, options->kernel);
    if (err) {
        free(text);
        return NULL;
    }
    return text;
}

static struct fuse_session *new_session(struct fs *fs, const struct options *options)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_session *session = NULL;
    char *text = mount_text(fs, options);

    if (text && fuse_opt_add_arg(&args, "dosnafs") == 0 && fuse_opt_add_arg(&args, "-o") == 0 &&
        fuse_opt_add_arg(&args, text) == 0 && (!options->debug || fuse_opt_add_arg(&args, "-d") == 0))
        session = fuse_session_new(&args, &ops_table, sizeof ops_table, fs);
    fuse_opt_free_args(&args);
    free(text);
    return session;
}

/** The first line of what was printed to `fd`, without the name of the program that printed it. */
static void first_line(int fd, char *text, size_t size)
{
    ssize_t length = pread(fd, text, size - 1, 0);
    char *name;

    text[length < 0 ? 0 : length] = '\0';
    text[strcspn(text, "\n")] = '\0';
    name = strstr(text, ": ");
    if (name && (strncmp(text, "fuse", 4) == 0 || strncmp(text, "mount", 5) == 0))
        memmove(text, name + 2, strlen(name + 2) + 1);
}

/** fuse_session_new() and _mount(), which print why they fail: that becomes the error's text. */
static int mount_session(struct fs *fs, const struct options *options, const char *mountpoint)
{
    char why[256] = "";
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    int said = memfd_create("stderr", MFD_CLOEXEC);
    int err = 0;

    if (saved >= 0 && said >= 0)
        dup2(said, STDERR_FILENO);
    fs->session = new_session(fs, options);
    if (!fs->session || fuse_session_mount(fs->session, mountpoint) != 0)
        err = -EIO;
    if (saved >= 0 && said >= 0) {
        dup2(saved, STDERR_FILENO);
        first_line(said, why, sizeof why);
    }
    if (saved >= 0)
        close(saved);
    if (said >= 0)
        close(said);
    if (err == 0)
        return 0;
    if (fs->session)
        fuse_session_destroy(fs->session);
    return dn_fail(err, "%s: cannot mount: %s", mountpoint, *why ? why : "libfuse gave no reason");
}

static int serve(struct fs *fs)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    int err;

    if (!config)
        return dn_fail(-ENOMEM, "no memory");
    fuse_loop_cfg_set_max_threads(config, OPS_THREADS_MAX);
    err = fuse_session_loop_mt(fs->session, config);
    fuse_loop_cfg_destroy(config);
    return err < 0 ? dn_fail(err, "the FUSE session failed: %s", strerror(-err)) : 0;
}

int session_run(struct fs *fs, struct options *options, const char *mountpoint)
{
    struct watcher watcher = { .fs = fs, .options = options, .mountpoint = mountpoint };
    int err = mount_session(fs, options, mountpoint);

    if (err)
        return err;
    err = start_watcher(&watcher);
    if (err == 0) {
        err = serve(fs);
        stop_watcher(&watcher);
    }
    fuse_session_unmount(fs->session);
    ops_close_all(fs);
    fuse_session_destroy(fs->session);
    fs->session = NULL;
    return err;
}
