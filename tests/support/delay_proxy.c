// SPDX-License-Identifier: Apache-2.0
/*
 * delay_proxy: a server at a distance.
 *
 *   delay_proxy MILLISECONDS LISTEN_ADDRESS SERVER_ADDRESS FIRST_PORT-LAST_PORT
 *   delay_proxy -n MILLISECONDS ADDRESS FIRST_PORT-LAST_PORT
 *
 * Relays every TCP connection to one of the ports. What the server sends is handed on so many milliseconds later,
 * what the client sends at once: each answer is late, whatever the protocol is, and nothing else changes.
 * Connections do not wait for each other, and bandwidth is bounded only by MOST_HELD per delay and connection.
 *
 * Servers of a Ceph cluster tell clients each other's addresses, so that a relay at another address would be passed
 * by. With -n (root) the proxy listens at the servers' own address in a network namespace of its own, where
 * nothing else is reachable, and connects to them from outside; `nsenter --net=PATH COMMAND` runs a client there.
 *
 * Prints one line when it listens: PATH with -n, else "ready". Ends with SIGTERM.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_PORTS 64
#define MOST_PAIRS 500
#define PIECE (256u << 10)
#define MOST_HELD (64u << 20)
#define FOREVER INT64_MAX

struct piece {
    struct piece *next;
    int64_t due; /* nanoseconds of the monotonic clock */
    size_t length, sent;
    unsigned char data[];
};

/* One direction of a connection. */
struct way {
    struct piece *first, **last;
    size_t held;
    bool ended; /* nothing more will come */
    bool closed; /* and the receiver was told */
};

/* socket[0] is the client's. way[i] is what socket[i] sends. */
struct pair {
    int socket[2];
    struct way way[2];
};

static struct in_addr listen_address, server_address;
static int64_t delay;
static int listeners[MOST_PORTS];
static unsigned first_port, port_count;
static struct pair *pairs[MOST_PAIRS];
static unsigned pair_count;

static void die(const char *what)
{
    fprintf(stderr, "delay_proxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* ---- one way ----------------------------------------------------------------------------------- */

static bool take_in(struct pair *pair, int from)
{
    struct way *way = &pair->way[from];
    struct piece *piece = malloc(sizeof *piece + PIECE);
    if (!piece)
        return false;
    ssize_t n = recv(pair->socket[from], piece->data, PIECE, 0);
    if (n <= 0) {
        bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
        free(piece);
        way->ended = n == 0;
        return n == 0 || again;
    }
    struct piece *smaller = realloc(piece, sizeof *piece + (size_t)n);
    piece = smaller ? smaller : piece;
    *piece = (struct piece){.due = now() + (from == 1 ? delay : 0), .length = (size_t)n};
    *way->last = piece;
    way->last = &piece->next;
    way->held += piece->length;
    return true;
}

static void drop_first(struct way *way)
{
    struct piece *piece = way->first;
    way->held -= piece->length;
    way->first = piece->next;
    if (!way->first)
        way->last = &way->first;
    free(piece);
}

static bool hand_on(struct pair *pair, int from, int64_t time)
{
    struct way *way = &pair->way[from];
    int to = pair->socket[!from];
    for (struct piece *piece; (piece = way->first) && piece->due <= time;) {
        ssize_t n = send(to, piece->data + piece->sent, piece->length - piece->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        piece->sent += (size_t)n;
        if (piece->sent == piece->length)
            drop_first(way);
    }
    if (way->ended && !way->first && !way->closed) {
        way->closed = true;
        shutdown(to, SHUT_WR);
    }
    return true;
}

/* ---- pairs ------------------------------------------------------------------------------------- */

static void prepare(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static int connect_to(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr = server_address};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void accept_one(unsigned i)
{
    int client = accept4(listeners[i], NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return;
    int server = connect_to(first_port + i);
    struct pair *pair = calloc(1, sizeof *pair);
    if (server < 0 || !pair || pair_count == MOST_PAIRS) {
        free(pair);
        close(client);
        if (server >= 0)
            close(server);
        return;
    }
    *pair = (struct pair){.socket = {client, server}};
    for (int from = 0; from < 2; from++) {
        prepare(pair->socket[from]);
        pair->way[from].last = &pair->way[from].first;
    }
    pairs[pair_count++] = pair;
}

static void close_pair(struct pair *pair)
{
    for (int from = 0; from < 2; from++) {
        while (pair->way[from].first)
            drop_first(&pair->way[from]);
        close(pair->socket[from]);
    }
    free(pair);
}

/** What to wait for on socket `i`, and by when something is due to it. */
static short wanted(const struct pair *pair, int i, int64_t time, int64_t *due)
{
    const struct way *out = &pair->way[i], *in = &pair->way[!i];
    short events = !out->ended && out->held < MOST_HELD ? POLLIN : 0;
    if (in->first && in->first->due <= time)
        events |= POLLOUT;
    else if (in->first && in->first->due < *due)
        *due = in->first->due;
    return events;
}

/** False: the pair is done with, or broken. */
static bool serve(struct pair *pair, const struct pollfd *polled)
{
    for (int from = 0; from < 2; from++) {
        if (polled[from].revents & POLLERR)
            return false;
        if ((polled[from].events & POLLIN) && (polled[from].revents & (POLLIN | POLLHUP)) && !take_in(pair, from))
            return false;
    }
    int64_t time = now();
    return hand_on(pair, 0, time) && hand_on(pair, 1, time) && !(pair->way[0].closed && pair->way[1].closed);
}

static void turn(void)
{
    static struct pollfd polled[MOST_PORTS + 2 * MOST_PAIRS];
    int64_t time = now(), due = FOREVER;
    for (unsigned i = 0; i < port_count; i++)
        polled[i] = (struct pollfd){.fd = listeners[i], .events = POLLIN};
    for (unsigned i = 0; i < pair_count; i++) {
        for (int j = 0; j < 2; j++) {
            short events = wanted(pairs[i], j, time, &due);
            /* A socket that nothing is wanted from is left out: its hang-up would be reported for ever. */
            polled[port_count + 2 * i + j] = (struct pollfd){.fd = events ? pairs[i]->socket[j] : -1,
                                                             .events = events};
        }
    }
    int64_t rest = due == FOREVER ? 0 : due - time;
    struct timespec limit = {.tv_sec = rest / 1000000000, .tv_nsec = rest % 1000000000};
    if (ppoll(polled, port_count + 2 * pair_count, due == FOREVER ? NULL : &limit, NULL) < 0 && errno != EINTR)
        die("poll");

    for (unsigned i = pair_count; i-- > 0;) {
        if (!serve(pairs[i], &polled[port_count + 2 * i])) {
            close_pair(pairs[i]);
            pairs[i] = pairs[--pair_count];
        }
    }
    for (unsigned i = 0; i < port_count; i++)
        if (polled[i].revents)
            accept_one(i);
}

/* ---- beginning --------------------------------------------------------------------------------- */

static void listen_all(void)
{
    int on = 1;
    for (unsigned i = 0; i < port_count; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(first_port + i)),
                                      .sin_addr = listen_address};
        listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (listeners[i] < 0 || setsockopt(listeners[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
            bind(listeners[i], (struct sockaddr *)&address, sizeof address) < 0 || listen(listeners[i], 256) < 0)
            die("listen");
    }
}

/** Listen in a new namespace. A socket stays in the namespace that it was made in. */
static void listen_inside(char path[64])
{
    int outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (outside < 0 || unshare(CLONE_NEWNET) < 0)
        die("new network namespace");
    int inside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK};
    if (inside < 0 || fd < 0 || ioctl(fd, SIOCSIFFLAGS, &loopback) < 0)
        die("loopback in the namespace");
    close(fd);
    listen_all();
    if (setns(outside, CLONE_NEWNET) < 0)
        die("back to the namespace outside");
    close(outside);
    snprintf(path, 64, "/proc/%d/fd/%d", (int)getpid(), inside);
}

int main(int argc, char **argv)
{
    bool inside = argc > 1 && !strcmp(argv[1], "-n");
    unsigned last_port = 0;
    char path[64] = "ready";
    if (argc != 5 || !inet_aton(argv[inside ? 3 : 2], &listen_address) || !inet_aton(argv[3], &server_address) ||
        sscanf(argv[4], "%u-%u", &first_port, &last_port) != 2 || first_port > last_port || last_port > 65535 ||
        last_port - first_port >= MOST_PORTS) {
        fprintf(stderr, "usage: delay_proxy MILLISECONDS LISTEN_ADDRESS SERVER_ADDRESS FIRST_PORT-LAST_PORT\n"
                        "       delay_proxy -n MILLISECONDS ADDRESS FIRST_PORT-LAST_PORT\n");
        return 2;
    }
    delay = (int64_t)(strtod(argv[inside ? 2 : 1], NULL) * 1e6);
    port_count = last_port - first_port + 1;
    if (inside)
        listen_inside(path);
    else
        listen_all();
    if (puts(path) < 0 || fflush(stdout) != 0)
        die("standard output");
    for (;;)
        turn();
}
