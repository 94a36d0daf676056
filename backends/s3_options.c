// SPDX-License-Identifier: Apache-2.0
/* What libdosna knows of the module s3 before it is loaded. */
#include "s3_options.h"

#include <dosna/backend.h>

static const struct dn_option rows[] = {
    {.name = "endpoint_url", .type = DN_OPT_STRING, .offset = offsetof(struct s3_settings, endpoint_url),
     .help = "http://HOST:PORT or https://HOST:PORT of the server; none is AWS"},
    {.name = "verify", .type = DN_OPT_STRING, .default_text = "true", .offset = offsetof(struct s3_settings, verify),
     .help = "Check the server's certificate: true, false, or the file of the CA to trust"},
    {.name = "profile_name", .type = DN_OPT_STRING, .default_text = "default",
     .offset = offsetof(struct s3_settings, profile_name),
     .help = "Profile in the AWS tools' files; with default, keys in the environment come first"},
    {.name = "region", .type = DN_OPT_STRING, .offset = offsetof(struct s3_settings, region),
     .help = "Region; none is that of the environment, of the profile, or us-east-1"},
    {.name = NULL},
};

extern const struct dn_backend dn_known_s3;
const struct dn_backend dn_known_s3 = {
    .name = "s3",
    .summary = "Buckets of an S3 server, as DosNa lays them out",
    .options = rows,
    .options_size = sizeof(struct s3_settings),
    .request_timeout = offsetof(struct s3_settings, request_timeout),
};
