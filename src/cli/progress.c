// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WIDTH 24

struct progress {
    const char *label;
    uint64_t total;
    double begin;
    _Atomic uint64_t done;
    pthread_mutex_t lock; /* guards the line on the terminal, and `shown` */
    double shown;
};

struct progress *progress_start(const struct cli *cli, const char *label, uint64_t bytes)
{
    struct progress *progress;

    if (cli->quiet || !is_first(cli) || !isatty(STDERR_FILENO))
        return NULL;
    progress = calloc(1, sizeof *progress);
    if (!progress)
        return NULL;
    progress->label = label;
    progress->total = bytes ? bytes : 1;
    progress->begin = seconds_now();
    pthread_mutex_init(&progress->lock, NULL);
    return progress;
}

static void draw(struct progress *progress, double now)
{
    uint64_t done = atomic_load(&progress->done);
    double share = (double)done / (double)progress->total, spent = now - progress->begin;
    double left = share > 0 ? spent * (1 - share) / share : 0;
    char bar[WIDTH + 1], rate[32];
    int full = (int)(share * WIDTH);

    memset(bar, ' ', WIDTH);
    memset(bar, '#', (size_t)(full > WIDTH ? WIDTH : full));
    bar[WIDTH] = '\0';
    bytes_text((uint64_t)((double)done / (spent > 0 ? spent : 1)), rate);
    fprintf(stderr, "\r%s [%s] %3d%%  %s/s  %d:%02d left\033[K", progress->label, bar, (int)(share * 100), rate,
            (int)left / 60, (int)left % 60);
    fflush(stderr);
}

/* Ten times a second at most; whoever finds the line taken leaves it to the next one. */
void progress_add(struct progress *progress, uint64_t bytes)
{
    double now;

    if (!progress)
        return;
    atomic_fetch_add(&progress->done, bytes);
    if (pthread_mutex_trylock(&progress->lock) != 0)
        return;
    now = seconds_now();
    if (now - progress->shown >= 0.1) {
        progress->shown = now;
        draw(progress, now);
    }
    pthread_mutex_unlock(&progress->lock);
}

void progress_end(struct progress *progress)
{
    if (!progress)
        return;
    fprintf(stderr, "\r\033[K");
    pthread_mutex_destroy(&progress->lock);
    free(progress);
}
