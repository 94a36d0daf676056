// SPDX-License-Identifier: Apache-2.0
/*
 * map and apply: each chunk through a command of the user's, which reads it on its standard input and writes the
 * new one on its standard output. A chunk comes cut to the array; where it is, and what, stands in DOSNA_INDEX,
 * DOSNA_START, DOSNA_SHAPE (numbers with commas) and DOSNA_DTYPE.
 *
 * Each command has a process group of its own, so that what it has started itself ends with it when the work is
 * interrupted. One that has closed its output is waited for, as its status counts.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define VARIABLES 4
#define PIPE_SIZE (1 << 20)
#define TICK 200   /* ms between looks at interrupted() */
#define GRACE 2000 /* ms from SIGTERM to SIGKILL */

extern char **environ;

struct filter {
    struct cli *cli;
    const struct dn_desc *desc;
    struct progress *progress;
};

/* ---- the environment ---------------------------------------------------------------------------------------- */

static void free_environment(char **env)
{
    for (int i = 0; env && i < VARIABLES; i++)
        free(env[i]);
    free(env);
}

static char *variable(const char *name, const uint64_t *values, int ndim)
{
    char text[DN_VECTOR_TEXT], *line;

    dn_vector_format(values, ndim, ",", text, sizeof text);
    return asprintf(&line, "%s=%s", name, text) < 0 ? NULL : line;
}

static bool is_ours(char *const *ours, const char *line)
{
    for (int i = 0; i < VARIABLES; i++)
        if (strncmp(ours[i], line, strcspn(ours[i], "=") + 1) == 0)
            return true;
    return false;
}

/* Ours, then what they do not replace, which is not ours to free. A shell would take the last of two. */
static char **make_environment(const struct filter *filter, const struct dn_part *part)
{
    char dtype[DN_DTYPE_TEXT], **env;
    size_t count = 0;

    while (environ[count])
        count++;
    env = calloc(count + VARIABLES + 1, sizeof *env);
    if (!env)
        return NULL;
    dn_dtype_format(&filter->desc->dtype, dtype);
    env[0] = variable("DOSNA_INDEX", part->index, part->ndim);
    env[1] = variable("DOSNA_START", part->start, part->ndim);
    env[2] = variable("DOSNA_SHAPE", part->count, part->ndim);
    if (asprintf(&env[3], "DOSNA_DTYPE=%s", dtype) < 0)
        env[3] = NULL;
    for (int i = 0; i < VARIABLES; i++)
        if (!env[i]) {
            free_environment(env);
            return NULL;
        }
    for (size_t i = 0, at = VARIABLES; i < count; i++)
        if (!is_ours(env, environ[i]))
            env[at++] = environ[i];
    return env;
}

/* ---- one command --------------------------------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int in, out; /* to its standard input, from its standard output */
    int end;     /* a pidfd, or -1: this system has none */
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int spawn(const struct filter *filter, char **env, const int in[2], const int out[2], pid_t *pid)
{
    char **command = filter->cli->rest;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t normal;
    int error;

    sigemptyset(&normal);
    sigaddset(&normal, SIGPIPE);
    sigaddset(&normal, SIGXFSZ);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &normal);
    sigemptyset(&normal);
    posix_spawnattr_setsigmask(&attributes, &normal);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    error = posix_spawnp(pid, command[0], &actions, &attributes, command, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error ? dn_fail(-error, "%s: %s", command[0], strerror(error)) : 0;
}

static int start(const struct filter *filter, const struct dn_part *part, struct child *child)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, error;
    char **env = make_environment(filter, part);

    if (!env)
        return no_memory();
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) {
        error = dn_fail(-errno, "no pipe: %s", strerror(errno));
    } else {
        fcntl(in[1], F_SETPIPE_SZ, PIPE_SIZE);
        fcntl(out[0], F_SETPIPE_SZ, PIPE_SIZE);
        fcntl(in[1], F_SETFL, O_NONBLOCK);
        error = spawn(filter, env, in, out, &child->pid);
    }
    close_fd(&in[0]);
    close_fd(&out[1]);
    if (error) {
        close_fd(&in[1]);
        close_fd(&out[0]);
    }
    child->in = in[1];
    child->out = out[0];
    child->end = error ? -1 : pidfd_open(child->pid, 0);
    free_environment(env);
    return error;
}

struct transit {
    const unsigned char *in;
    unsigned char *out;
    size_t length, written, read;
    bool too_long;
};

/* A command that does not want all of its input has closed it: that is its own affair. */
static void feed(struct child *child, struct transit *t)
{
    ssize_t n = write(child->in, t->in + t->written, t->length - t->written);

    if (n > 0)
        t->written += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        t->written = t->length;
    if (t->written == t->length)
        close_fd(&child->in);
}

/* False: its output has ended. One byte too many is enough to know. */
static bool drain(struct child *child, struct transit *t)
{
    char extra;
    bool full = t->read == t->length;
    ssize_t n = full ? read(child->out, &extra, 1) : read(child->out, t->out + t->read, t->length - t->read);

    if (n < 0 && errno == EINTR)
        return true;
    if (n > 0 && full)
        t->too_long = true;
    else if (n > 0)
        t->read += (size_t)n;
    return n > 0 && !t->too_long;
}

static int exchange(struct child *child, struct transit *t)
{
    bool more = true;

    while (more) {
        struct pollfd fds[2] = {{.fd = child->out, .events = POLLIN}, {.fd = child->in, .events = POLLOUT}};
        if (interrupted())
            return dn_fail(-EINTR, "interrupted");
        if (poll(fds, 2, TICK) < 0)
            continue;
        if (fds[1].revents)
            feed(child, t);
        if (fds[0].revents)
            more = drain(child, t);
    }
    return 0;
}

/* Has it ended? It is not reaped: nobody else gets its number. */
static bool has_ended(const struct child *child)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0;
}

static void await_tick(const struct child *child)
{
    struct pollfd fd = {.fd = child->end, .events = POLLIN};

    poll(&fd, 1, TICK);
}

static void end_group(const struct child *child)
{
    kill(-child->pid, SIGTERM);
    for (int waited = 0; waited < GRACE && !has_ended(child); waited += TICK)
        await_tick(child);
    kill(-child->pid, SIGKILL);
}

/* Wait for its end, which comes at once if there is nothing more to expect of it. Its status. */
static int end_child(const struct child *child, bool useless)
{
    int status = 0;

    while (!useless && !interrupted() && !has_ended(child))
        await_tick(child);
    if (useless || interrupted())
        end_group(child);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static int judge(const char *command, int status, const struct transit *t)
{
    if (interrupted())
        return dn_fail(-EINTR, "interrupted");
    if (t->too_long)
        return dn_fail(-EINVAL, "%s wrote more than the %zu bytes of the chunk", command, t->length);
    if (WIFSIGNALED(status))
        return dn_fail(-ECHILD, "%s was killed by signal %d", command, WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return dn_fail(-ECHILD, "%s ended with status %d", command, WEXITSTATUS(status));
    if (t->read != t->length)
        return dn_fail(-EINVAL, "%s wrote %zu bytes, and the chunk has %zu", command, t->read, t->length);
    return 0;
}

static int run_command(const struct filter *filter, const struct dn_part *part, const void *in, void *out)
{
    struct transit transit = {.in = in, .out = out, .length = part->nbytes};
    struct child child = {.in = -1, .out = -1, .end = -1};
    int status, error = start(filter, part, &child);

    if (error)
        return error;
    error = exchange(&child, &transit);
    close_fd(&child.in);
    close_fd(&child.out);
    status = end_child(&child, error || transit.too_long);
    close_fd(&child.end);
    return error ? error : judge(filter->cli->rest[0], status, &transit);
}

/* ---- each chunk ------------------------------------------------------------------------------------------------ */

static int filter_part(void *arg, const struct dn_part *part, const void *in, void *out)
{
    struct filter *filter = arg;
    char index[DN_VECTOR_TEXT], text[DN_ERROR_MAX];
    int error = run_command(filter, part, in, out);

    progress_add(filter->progress, part->nbytes * filter->cli->team.size);
    if (!error || error == -EINTR)
        return error;
    snprintf(text, sizeof text, "%s", dn_error_text(error));
    return dn_fail(error, "chunk (%s): %.300s", part_text(part, index), text);
}

static int run_filter(struct cli *cli, dn_dataset *from, dn_dataset *to)
{
    struct filter filter = {.cli = cli, .desc = dn_describe(from)};
    double begin = seconds_now();
    uint64_t done = 0;
    int error;

    dn_use_once(from, chunks_in_use(cli, filter.desc));
    dn_use_once(to, chunks_in_use(cli, filter.desc));
    filter.progress = progress_start(cli, cli->command->name, dn_desc_nbytes(filter.desc));
    error = dn_map(from, to, filter_part, &filter, &done);
    progress_end(filter.progress);
    if (error == -EINTR)
        return dn_fail(error, "interrupted: %llu of %llu chunks were done", (unsigned long long)done,
                       (unsigned long long)dn_desc_chunks(filter.desc));
    if (!error)
        report_done(cli, cli->command->name, done, dn_desc_nbytes(filter.desc), seconds_now() - begin);
    return error;
}

int cmd_apply(struct cli *cli)
{
    dn_dataset *dataset;
    int error = dn_agree(cli->conn, dn_open(cli->conn, cli->operand[0], &dataset), NULL);

    if (error)
        return error;
    error = run_filter(cli, dataset, dataset);
    begin_cleanup();
    return finish_dataset(dataset, error);
}

int cmd_map(struct cli *cli)
{
    const char *name = cli->operand[1];
    dn_dataset *from = NULL, *to = NULL;
    int error = dn_clone(cli->conn, cli->operand[0], name, false, NULL);

    if (error)
        return error;
    error = dn_open(cli->conn, cli->operand[0], &from);
    if (!error)
        error = dn_open(cli->conn, name, &to);
    error = dn_agree(cli->conn, error, NULL);
    if (!error)
        error = run_filter(cli, from, to);
    begin_cleanup();
    error = finish_dataset(to, error);
    error = dn_agree(cli->conn, finish_dataset(from, error), NULL);
    return error ? take_back(cli, name, error) : 0;
}
