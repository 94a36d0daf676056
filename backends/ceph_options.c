// SPDX-License-Identifier: Apache-2.0
/* What libdosna knows of the module ceph before it is loaded. */
#include "ceph_options.h"

#include <dosna/backend.h>

static const struct dn_option rows[] = {
    {"conffile", DN_OPT_STRING, "ceph.conf", offsetof(struct ceph_options, conffile),
     "Configuration of the cluster's clients", 0, 0, NULL, false},
    {"timeout", DN_OPT_SECONDS, "5", offsetof(struct ceph_options, timeout),
     "Time limit for connecting, in seconds", 0, 0, NULL, false},
    {"client_id", DN_OPT_STRING, "none", offsetof(struct ceph_options, client_id),
     "Connect as client.ID; none is client.admin", 0, 0, "none", false},
    {.name = NULL},
};

extern const struct dn_backend dn_known_ceph;
const struct dn_backend dn_known_ceph = {
    .name = "ceph",
    .summary = "a Ceph pool, through librados",
    .options = rows,
    .options_size = sizeof(struct ceph_options),
    .request_timeout = offsetof(struct ceph_options, request_timeout),
};
