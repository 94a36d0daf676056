// SPDX-License-Identifier: Apache-2.0
/* The flat bytes alone. For whole arrays `data` is the same, so it is not listed. `.bytes` is the name that
 * detached headers give it: src/fs/views.h. */
#include "formats.h"

const struct view_format view_raw = {
    .suffix = ".raw", .unlisted = true, .writable = true, .max_ndim = DN_MAX_NDIM, .empty = true
};

const struct view_format view_bytes = {
    .suffix = ".bytes", .unlisted = true, .writable = true, .max_ndim = DN_MAX_NDIM, .empty = true
};
