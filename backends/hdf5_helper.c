// SPDX-License-Identifier: Apache-2.0
#include "hdf5_helper.h"
#include "hdf5_lib.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Processor seconds for a request, and bytes of data that another one is granted for. */
#define CPU_SECONDS 5
#define BYTES_PER_SECOND ((size_t)8 << 20)
/* Memory for any request, and for each byte that has to be converted, with all filters. */
#define MEMORY_BASE ((rlim_t)256 << 20)
#define MEMORY_PER_BYTE 8
/* How long the parent waits for the child to go on. */
#define ANSWER_SECONDS 30

/* Guarded by hdf5_lock(). */
static struct {
    int socket;   /* -1: none */
    pid_t pid;    /* of the child */
    pid_t owner;  /* who forked it */
    bool is_used; /* it has answered something: its memory may be damaged */
    unsigned users;
} helper = {.socket = -1};

struct request {
    hdf5_task task;
    size_t arg_size, result_size, length, converted;
};

struct answer {
    ssize_t count; /* as the task's; behind it follow the result and so many bytes */
    char text[DN_ERROR_MAX];
};

/* ---- the child ---------------------------------------------------------------------------- */

static bool child_send(const void *buffer, size_t size)
{
    const char *at = buffer;

    while (size > 0) {
        ssize_t n = send(STDIN_FILENO, at, size, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

/* The next request and its file; false when the parent is gone. */
static bool child_receive(struct request *request, int *fd)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {request, sizeof(*request)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *rights;

    if (recvmsg(STDIN_FILENO, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*request))
        return false;
    rights = CMSG_FIRSTHDR(&message);
    if (rights == NULL || rights->cmsg_type != SCM_RIGHTS)
        return false;
    memcpy(fd, CMSG_DATA(rights), sizeof(*fd));
    return true;
}

static void set_limit(int resource, rlim_t most)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) < 0)
        return;
    limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
    setrlimit(resource, &limit);
}

static void limit_time(size_t length)
{
    struct rusage used;

    if (getrusage(RUSAGE_SELF, &used) == 0)
        set_limit(RLIMIT_CPU, (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + CPU_SECONDS + 1 +
                                  length / BYTES_PER_SECOND);
}

/* As RLIMIT_DATA counts it, with what came from the parent; 0: not known. */
static rlim_t data_size(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long pages = 0;

    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %*u %*u %*u %*u %lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* A few bytes in a file can stand for any number of them in memory. */
static void limit_memory(rlim_t before, size_t converted)
{
    if (before > 0)
        set_limit(RLIMIT_DATA, before + MEMORY_BASE + (rlim_t)converted * MEMORY_PER_BYTE);
}

static bool child_serve(const struct request *request, int fd)
{
    struct answer answer = {.count = -ENOMEM};
    char *arg = malloc(request->arg_size), *result = calloc(1, request->result_size);
    char *data = malloc(request->length);
    bool is_done = false;

    if (arg == NULL || result == NULL ||
        (request->arg_size > 0 &&
         recv(STDIN_FILENO, arg, request->arg_size, MSG_WAITALL) != (ssize_t)request->arg_size))
        goto out;
    if (data == NULL)
        dn_fail(-ENOMEM, "no memory for %zu bytes", request->length);
    else
        answer.count = request->task(fd, arg, result, data, request->length);
    flock(fd, LOCK_UN); /* the lock is the parent's descriptor's too */
    close(fd);
    if (answer.count < 0)
        snprintf(answer.text, sizeof(answer.text), "%s", dn_error_text((int)answer.count));
    is_done = child_send(&answer, sizeof(answer)) && child_send(result, request->result_size) &&
              (answer.count <= 0 || child_send(data, (size_t)answer.count));
out:
    free(data);
    free(result);
    free(arg);
    return is_done;
}

/* Keep nothing of the parent's: no open files, no terminal, no handlers. */
static void child_detach(int parent)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    const struct rlimit none = {0, 0};
    sigset_t nothing;
    int null;

    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN); /* it ends with its parent, not with a key on the terminal */
    sigemptyset(&nothing);
    sigprocmask(SIG_SETMASK, &nothing, NULL);
    setrlimit(RLIMIT_CORE, &none);
    dup2(parent, STDIN_FILENO);
    null = open("/dev/null", O_RDWR);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    if (chdir("/") < 0)
        _exit(1);
}

static _Noreturn void child_main(int parent)
{
    struct request request;
    rlim_t before;
    int fd;

    child_detach(parent);
    before = data_size();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    while (child_receive(&request, &fd)) {
        limit_time(request.length);
        limit_memory(before, request.converted);
        if (!child_serve(&request, fd))
            break;
    }
    _exit(0);
}

/* ---- the parent --------------------------------------------------------------------------- */

static void end_locked(void)
{
    if (helper.socket < 0)
        return;
    close(helper.socket);
    helper.socket = -1;
    helper.is_used = false;
    if (helper.owner == getpid()) {
        kill(helper.pid, SIGKILL);
        while (waitpid(helper.pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
}

static int begin_locked(void)
{
    struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    int pair[2];
    pid_t pid;

    if (helper.socket >= 0 && helper.owner == getpid())
        return 0;
    end_locked(); /* of the process that this one was forked from */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return dn_fail(-errno, "a socket for libhdf5's process: %s", strerror(errno));
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    pid = fork();
    if (pid == 0)
        child_main(pair[1]);
    close(pair[1]);
    if (pid < 0) {
        int error = errno;
        close(pair[0]);
        return dn_fail(-ENOMEM, "a process for libhdf5: %s", strerror(error));
    }
    helper.socket = pair[0];
    helper.pid = pid;
    helper.owner = getpid();
    helper.is_used = false;
    return 0;
}

static bool parent_send(const struct hdf5_job *job)
{
    struct request request = {job->task, job->arg_size, job->result_size, job->length, job->converted};
    struct iovec parts[2] = {{&request, sizeof(request)}, {(void *)job->arg, job->arg_size}};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &job->fd, sizeof(int));
    return sendmsg(helper.socket, &message, MSG_NOSIGNAL) ==
           (ssize_t)(sizeof(request) + job->arg_size);
}

#define BROKEN (-EPIPE) /* the child is gone, or talks nonsense */

/* 0, -ETIMEDOUT, or BROKEN. */
static int parent_receive(void *buffer, size_t size)
{
    char *at = buffer;

    while (size > 0) {
        ssize_t n = recv(helper.socket, at, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return dn_fail(-ETIMEDOUT, "libhdf5 did not answer in %d s", ANSWER_SECONDS);
        if (n <= 0)
            return BROKEN;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static ssize_t ask_locked(const struct hdf5_job *job)
{
    struct answer answer;
    int r = begin_locked();

    if (r == 0)
        r = parent_send(job) ? parent_receive(&answer, sizeof(answer)) : BROKEN;
    if (r == 0)
        r = parent_receive(job->result, job->result_size);
    if (r == 0 && (answer.count < -4095 || (answer.count > 0 && (size_t)answer.count > job->length)))
        r = BROKEN;
    if (r == 0 && answer.count > 0)
        r = parent_receive(job->data, (size_t)answer.count);
    if (r < 0)
        return r;
    answer.text[sizeof(answer.text) - 1] = '\0';
    helper.is_used = true;
    return answer.count < 0 ? dn_fail((int)answer.count, "%s", answer.text) : answer.count;
}

ssize_t hdf5_helper_run(const struct hdf5_job *job)
{
    bool was_used;
    ssize_t r;

    hdf5_lock();
    do { /* a file is to blame only if it breaks a child that has read no other */
        was_used = helper.is_used;
        r = ask_locked(job);
        if (r < 0)
            end_locked();
    } while (r == BROKEN && was_used);
    hdf5_unlock();
    return r == BROKEN ? dn_fail(job->crash, "libhdf5 broke down on it") : r;
}

int hdf5_helper_start(void)
{
    int r;

    hdf5_lock();
    r = begin_locked();
    if (r == 0)
        helper.users++;
    hdf5_unlock();
    return r;
}

void hdf5_helper_stop(void)
{
    hdf5_lock();
    if (--helper.users == 0)
        end_locked();
    hdf5_unlock();
}
