// SPDX-License-Identifier: Apache-2.0
/*
 * Errors: 0 or a negative errno, and one line of text for the person who reads it.
 *
 * Every function of dosnafs that can fail returns 0 (or a count) on success and a negative errno on
 * failure. A predicate returns 1, 0 or a negative errno. There is no second channel: errno itself is
 * never part of a contract.
 *
 * The layer that knows the cause says it once, with dn_fail(). The text is kept for the calling thread
 * until its next dn_fail(); the layer that gives up shows it. When a job ran on another thread, the
 * engine carries the text over to the thread that waited.
 *
 * -ENOENT means one thing: absent. It is never used for "could not tell".
 */
#ifndef DOSNA_ERROR_H
#define DOSNA_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#define DN_API __attribute__((visibility("default")))

/** The longest error text kept, with its NUL. Longer texts are cut. */
#define DN_ERROR_MAX 512

/**
 * Remember a text for this thread and return `code`, so that a caller writes
 * `return dn_fail(-EINVAL, "shape: %s is no number", text);`.
 *
 * @param code  a negative errno
 * @return code, always
 */
DN_API int dn_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * The text of this thread's last failure; strerror's text for `code` when nobody gave one for it.
 * Valid until the thread's next dn_fail(). Never NULL.
 */
DN_API const char *dn_error_text(int code);

/** Forget this thread's text, so that dn_error_text() falls back to strerror's, and its pause. */
DN_API void dn_error_clear(void);

/**
 * A backend that returns -EAGAIN may say how long its store wants to be left alone (HTTP's Retry-After). The core
 * waits at least that long before it tries again, but no longer than request_timeout.
 */
DN_API void dn_retry_after(double seconds);

/** What this thread's last dn_retry_after() said since dn_error_clear(); 0: nothing. */
DN_API double dn_retry_pause(void);

#ifdef __cplusplus
}
#endif
#endif
