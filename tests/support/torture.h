// SPDX-License-Identifier: Apache-2.0
/*
 * Every allocation fails once. For programs linked with torture.c and
 *   -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=free
 * which catches what the project's own code allocates. Not for several threads.
 */
#ifndef DOSNA_TORTURE_H
#define DOSNA_TORTURE_H

/**
 * Run fn(arg) with its 1st, 2nd, … allocation failing, until it gets through. Asserts that each run that
 * lost an allocation returned -ENOMEM, the last one 0, and that each freed all that it allocated.
 *
 * @return how many allocations there were
 */
int torture(int (*fn)(void *arg), void *arg);

/** The same for code that has a way without some allocations: a run that lost one may return 0 too. */
int torture_coping(int (*fn)(void *arg), void *arg);

#endif
