// SPDX-License-Identifier: Apache-2.0
/*
 * dosnafs and mount.dosnafs.
 *
 * In the background: libdosna's threads would not survive a fork, so the program forks first. The
 * child connects, mounts and, once the kernel's first request was answered, writes a zero byte into a
 * pipe; before that, whatever it prints to standard error goes into the same pipe. The parent waits
 * for either, prints the line if there is one, and exits.
 */
#include "fs.h"
#include "options.h"
#include "report.h"
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int failed(int err)
{
    fprintf(stderr, "dosnafs: %s\n", dn_error_text(err));
    return EXIT_FAILURE;
}

/* ---- one mount, start to end ---------------------------------------------------------------- */

/** In the background: tell the parent, and leave its terminal and folder. */
static void go_quiet(void *arg)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)arg;
    if (write(STDERR_FILENO, "", 1) != 1)
        report(DN_LOG_WARNING, "the program that mounted is gone");
    for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    if (null > STDERR_FILENO)
        close(null);
    if (chdir("/") != 0)
        report(DN_LOG_WARNING, "chdir: %s", strerror(errno));
}

/** Store all and let go; what could not be stored is lost now, and the exit status says so. */
static int finish(struct fs *fs)
{
    int err;

    err = dn_disconnect(fs->conn);
    if (err)
        report_failure("unmount", "data are lost", err);
    fs_clear(fs);
    return err;
}

static int run(struct options *options, const dn_config *config, const char *mountpoint)
{
    const char *engine = dn_config_get(config, "engine");
    struct fs fs;
    int err;

    if (engine && strcmp(engine, "mpi") == 0)
        return failed(dn_fail(-EINVAL, "engine=mpi is for the dosna command: a mount is one process; "
                                       "use engine=threads"));
    session_block_signals();
    report_to_syslog(!options->foreground);
    report_configured(config);
    err = fs_init(&fs, config);
    if (err)
        return failed(err);
    err = dn_connect(config, options->connection, &fs.conn);
    if (err) {
        failed(err);
        fs_clear(&fs);
        return EXIT_FAILURE;
    }
    if (!options->foreground)
        fs.answers = go_quiet;
    err = session_run(&fs, options, mountpoint);
    if (err) {
        report(DN_LOG_INFO, "%s", dn_error_text(err));
        failed(err);
    }
    return finish(&fs) || err ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- the background ------------------------------------------------------------------------- */

/** Wait for the child's zero byte, or print the last line that it left. */
static int wait_for_child(pid_t child, int fd)
{
    char text[4096] = "";
    size_t length = 0;
    ssize_t count;
    int status;

    while (length < sizeof text - 1 && (count = read(fd, text + length, sizeof text - 1 - length)) > 0) {
        length += (size_t)count;
        if (memchr(text, '\0', length))
            return EXIT_SUCCESS;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    while (length && text[length - 1] == '\n')
        text[--length] = '\0';
    char *line = memrchr(text, '\n', length);
    if (length)
        fprintf(stderr, "%s\n", line ? line + 1 : text);
    else
        fprintf(stderr, "dosnafs: it ended before the mount answered\n");
    return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static int run_in_background(struct options *options, const dn_config *config, const char *mountpoint)
{
    int ends[2];
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return failed(dn_fail(-errno, "no pipe: %s", strerror(errno)));
    child = fork();
    if (child < 0)
        return failed(dn_fail(-errno, "no second process: %s", strerror(errno)));
    if (child > 0) {
        close(ends[1]);
        return wait_for_child(child, ends[0]);
    }
    close(ends[0]);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    setsid();
    return run(options, config, mountpoint);
}

/* ---- the mountpoint ------------------------------------------------------------------------- */

/** The absolute path of a mountpoint, also of one whose daemon has died. */
static int resolve(const char *given, char path[PATH_MAX])
{
    char folder[PATH_MAX], whole[PATH_MAX];
    const char *name = strrchr(given, '/');

    if (realpath(given, path))
        return 0;
    if (!session_is_dead(errno))
        return -errno;
    name = name ? name + 1 : given;
    snprintf(folder, sizeof folder, "./%.*s", (int)(name - given), given);
    if (!realpath(given[0] == '/' ? folder + 2 : folder, path))
        return -errno;
    if (snprintf(whole, sizeof whole, "%s/%s", strcmp(path, "/") == 0 ? "" : path, name) >= PATH_MAX)
        return -ENAMETOOLONG;
    strcpy(path, whole);
    return 0;
}

/** A mountpoint's absolute path. A dead mount of ours in its place is unmounted first. */
static int find_mountpoint(const char *given, char path[PATH_MAX])
{
    struct stat st;
    int err = resolve(given, path);

    if (err == 0)
        err = session_clear_dead(path);
    if (err == 0 && stat(path, &st) != 0)
        err = -errno;
    if (err)
        return err == -EBUSY ? err : dn_fail(err, "%s: %s", given, strerror(-err));
    return S_ISDIR(st.st_mode) ? 0 : dn_fail(-ENOTDIR, "%s: not a directory", given);
}

static int start(struct options *options)
{
    char mountpoint[PATH_MAX];
    dn_config *config;
    int err = options_config(options, &config);
    int status = EXIT_SUCCESS;

    if (err)
        return failed(err);
    err = find_mountpoint(options->mountpoint, mountpoint);
    if (err)
        status = failed(err);
    else if (!options->fake)
        status = (options->foreground ? run : run_in_background)(options, config, mountpoint);
    dn_config_free(config);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    int status;

    /* What one thread allocates another one frees, so that each arena would keep half of it: much more than the
       cache's limit where it is full of small chunks. */
    mallopt(M_ARENA_MAX, 1);
    if (options_parse(&options, argc, argv, &status) == 0)
        status = start(&options);
    options_clear(&options);
    return status;
}
