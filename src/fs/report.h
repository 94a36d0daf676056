// SPDX-License-Identifier: Apache-2.0
/*
 * What the mount says: log lines to syslog or standard error, and errors as FUSE wants them.
 *
 * The library's own lines go the same way (dn_log_sink). Any thread may report at any time.
 */
#ifndef DOSNAFS_REPORT_H
#define DOSNAFS_REPORT_H

#include <dosna/dosna.h>
#include <stdbool.h>

/** Lines go to syslog (daemon) from now on, else to standard error. */
void report_to_syslog(bool background);

/** Lines above the configuration's log_level are not made, here and in the library. */
void report_configured(const dn_config *config);

/** One line. Control characters are shown as '?'. */
void report(enum dn_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * Log a failure once: "what name: the library's text". The same line is not repeated within a minute, so
 * that a damaged chunk that the kernel asks for again and again gives one line.
 */
void report_failure(const char *what, const char *name, int code);

/** Is it trouble with the store or the machine, rather than an answer to what the user asked? */
bool report_is_trouble(int code);

/** A negative errno as a user's program gets it: positive, and EIO for damaged metadata (-EPROTO). */
int report_errno(int code);

#endif
