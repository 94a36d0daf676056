// SPDX-License-Identifier: Apache-2.0
#ifndef DOSNA_CEPH_OPTIONS_H
#define DOSNA_CEPH_OPTIONS_H

struct ceph_options {
    const char *conffile;
    double timeout; /* seconds, for connecting */
    const char *client_id;
    double request_timeout; /* seconds, the core's; 0: REQUEST_TIMEOUT of ceph_pool.c */
};

#endif
