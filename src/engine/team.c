// SPDX-License-Identifier: Apache-2.0
/*
 * A team by fork(): a star of socket pairs with rank 0 in the middle. Agreeing is one message of each child to
 * rank 0 and one back. A process that died is an end of file on its socket, so that nobody waits for it.
 */
#include <dosna/team.h>

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct verdict {
    int error;
    uint64_t sum;
    char text[DN_ERROR_MAX];
};

struct member {
    int fd;    /* rank 0: to the child; a child: to rank 0, in member[0]; -1: it is gone */
    pid_t pid; /* 0: none, or waited for */
};

struct fork_team {
    unsigned rank, size;
    _Atomic bool *stop; /* shared by all */
    struct member member[];
};

static ssize_t send_verdict(int fd, const struct verdict *verdict)
{
    return send(fd, verdict, sizeof *verdict, MSG_NOSIGNAL);
}

/* 0; -EPIPE: the other end is gone. */
static int receive_verdict(int fd, struct verdict *verdict)
{
    ssize_t n;

    do
        n = recv(fd, verdict, sizeof *verdict, 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *verdict ? 0 : -EPIPE;
}

static void set_verdict(struct verdict *verdict, int error, uint64_t sum)
{
    *verdict = (struct verdict){.error = error, .sum = sum};
    if (error)
        snprintf(verdict->text, sizeof verdict->text, "%s", dn_error_text(error));
}

/* Why it is gone; it is waited for. */
static int report_dead(struct member *member, unsigned rank)
{
    int status = 0;

    close(member->fd);
    member->fd = -1;
    if (member->pid > 0)
        while (waitpid(member->pid, &status, 0) < 0 && errno == EINTR)
            continue;
    member->pid = 0;
    if (WIFSIGNALED(status))
        return dn_fail(-EPIPE, "process %u was killed by signal %d (%s)", rank, WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    return dn_fail(-EPIPE, "process %u ended before its work was done", rank);
}

static void collect(struct fork_team *team, unsigned rank, struct verdict *all)
{
    struct member *member = &team->member[rank];
    struct verdict one;
    int error;

    if (member->fd < 0) {
        set_verdict(&one, dn_fail(-EPIPE, "process %u is gone", rank), 0);
    } else if (receive_verdict(member->fd, &one) < 0) {
        error = report_dead(member, rank);
        set_verdict(&one, error, 0);
    }
    all->sum += one.sum;
    if (!all->error) {
        all->error = one.error;
        memcpy(all->text, one.text, sizeof all->text);
    }
}

static void lead(struct fork_team *team, struct verdict *verdict)
{
    for (unsigned rank = 1; rank < team->size; rank++)
        collect(team, rank, verdict);
    atomic_store(team->stop, false); /* all have come: nobody works */
    for (unsigned rank = 1; rank < team->size; rank++)
        if (team->member[rank].fd >= 0)
            send_verdict(team->member[rank].fd, verdict);
}

static int team_agree(void *arg, int error, uint64_t *sum)
{
    struct fork_team *team = arg;
    struct verdict verdict;

    set_verdict(&verdict, error, sum ? *sum : 0);
    if (team->rank == 0)
        lead(team, &verdict);
    else if (send_verdict(team->member[0].fd, &verdict) < 0 ||
             receive_verdict(team->member[0].fd, &verdict) < 0)
        return dn_fail(-EPIPE, "the first process is gone");
    if (sum)
        *sum = verdict.sum;
    return verdict.error ? dn_fail(verdict.error, "%s", verdict.text) : 0;
}

static void team_stop(void *arg)
{
    atomic_store(((struct fork_team *)arg)->stop, true);
}

/* Rank 0 also looks whether all are there. */
static bool team_stopped(void *arg)
{
    struct fork_team *team = arg;
    struct pollfd fd = {.events = 0};

    for (unsigned rank = 1; team->rank == 0 && rank < team->size; rank++) {
        fd.fd = team->member[rank].fd;
        if (fd.fd >= 0 && poll(&fd, 1, 0) > 0)
            team_stop(team);
    }
    return atomic_load(team->stop);
}

/* ---- the beginning and the end -------------------------------------------------------------------- */

static void free_team(struct fork_team *team)
{
    if (team->stop)
        munmap(team->stop, sizeof *team->stop);
    free(team);
}

static struct fork_team *make_team(unsigned size)
{
    struct fork_team *team = calloc(1, sizeof *team + size * sizeof *team->member);
    void *page;

    if (!team)
        return NULL;
    team->size = size;
    for (unsigned i = 0; i < size; i++)
        team->member[i].fd = -1;
    page = mmap(NULL, sizeof *team->stop, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        free(team);
        return NULL;
    }
    team->stop = page;
    return team;
}

/* In the child: of all sockets, its own end is left. */
static void become(struct fork_team *team, unsigned rank, int fd)
{
    for (unsigned i = 1; i < rank; i++) {
        if (team->member[i].fd >= 0)
            close(team->member[i].fd);
        team->member[i] = (struct member){.fd = -1};
    }
    team->rank = rank;
    team->member[0].fd = fd;
}

/* 1 in the child, 0 in rank 0, or negative. */
static int add_member(struct fork_team *team, unsigned rank)
{
    int ends[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return dn_fail(-errno, "cannot connect %u processes: %s", team->size, strerror(errno));
    pid = fork();
    if (pid < 0) {
        int error = dn_fail(-errno, "cannot start %u processes: %s", team->size, strerror(errno));
        close(ends[0]);
        close(ends[1]);
        return error;
    }
    close(ends[pid == 0 ? 0 : 1]);
    if (pid == 0) {
        become(team, rank, ends[1]);
        return 1;
    }
    team->member[rank] = (struct member){.fd = ends[0], .pid = pid};
    return 0;
}

int dn_team_fork(unsigned size, struct dn_team *out)
{
    struct fork_team *team = make_team(size);
    int result = 0;

    if (!team)
        return dn_fail(-ENOMEM, "no memory for %u processes", size);
    for (unsigned rank = 1; rank < size && result == 0; rank++)
        result = add_member(team, rank);
    *out = (struct dn_team){.rank = team->rank, .size = size, .agree = team_agree, .stop = team_stop,
                            .stopped = team_stopped, .arg = team};
    if (result < 0)
        dn_team_end(out);
    return result < 0 ? result : 0;
}

void dn_team_end(struct dn_team *out)
{
    struct fork_team *team = out->arg;

    for (unsigned i = 0; i < team->size; i++)
        if (team->member[i].fd >= 0)
            close(team->member[i].fd);
    for (unsigned i = 0; i < team->size; i++)
        while (team->member[i].pid > 0 && waitpid(team->member[i].pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    free_team(team);
    *out = (struct dn_team){.size = 1};
}
