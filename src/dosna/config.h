// SPDX-License-Identifier: Apache-2.0
/*
 * A configuration seen from inside: what a connection takes from it.
 *
 * config_copy(), config_resolve(), then the three getters. What they give lives as long as the
 * configuration, unchanged as long as nobody sets anything in it.
 */
#ifndef DOSNA_CONFIG_H
#define DOSNA_CONFIG_H

#include "settings.h"
#include <dosna/dosna.h>
#include <dosna/team.h>

/** 0 and *out, to be freed with dn_config_free(); -ENOMEM. */
int config_copy(const dn_config *config, dn_config **out);

/**
 * Choose the backend, check every value and fill the structs.
 *
 * @return 0; -EINVAL: a backend that is not built or not installed, an option that it lacks, or a bad value;
 *         -ELIBBAD: its module cannot be used; -ENOMEM
 */
int config_resolve(dn_config *config);

/* Of a resolved configuration: */
const struct settings *config_settings(const dn_config *config);
const struct dn_backend *config_backend(const dn_config *config);
const struct dn_team *config_team(const dn_config *config);
/** The struct that the backend's rows describe; never NULL. */
const void *config_options(const dn_config *config);

#endif
