// SPDX-License-Identifier: Apache-2.0
/*
 * One log line for the person who runs the mount. Levels and sink are set through <dosna/dosna.h>.
 *
 * Any thread may log at any time; a line is passed to the sink whole. The sink must not log.
 */
#ifndef DOSNA_LOG_H
#define DOSNA_LOG_H

#include <dosna/dosna.h>

/** Log a line at `level`; cut at 1 KiB. Control characters from names or servers are shown as '?'. */
void log_line(enum dn_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(DN_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(DN_LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_line(DN_LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(DN_LOG_DEBUG, __VA_ARGS__)

#endif
