// SPDX-License-Identifier: Apache-2.0
#ifndef DOSNA_S3_OPTIONS_H
#define DOSNA_S3_OPTIONS_H

struct s3_settings {
    const char *endpoint_url; /* NULL: AWS's of the region */
    const char *verify;       /* "true", "false", or a file or folder of certificates */
    const char *profile_name;
    const char *region;     /* NULL: of the environment, else of the profile, else us-east-1 */
    double request_timeout; /* seconds; 0: 30 */
};

#endif
