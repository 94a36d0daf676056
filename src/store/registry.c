// SPDX-License-Identifier: Apache-2.0
#include "store.h"

#include <string.h>

const struct dn_backend *registry_find(const char *name)
{
    for (const struct dn_backend *const *entry = registry; *entry; entry++) {
        if (strcmp((*entry)->name, name) == 0)
            return *entry;
    }
    return NULL;
}
