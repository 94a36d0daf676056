// SPDX-License-Identifier: Apache-2.0
#include "store.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct dn_backend *registry_find(const char *name)
{
    for (const struct dn_backend *const *entry = registry; *entry; entry++) {
        if (strcmp((*entry)->name, name) == 0)
            return *entry;
    }
    return NULL;
}

/* ---- modules ----------------------------------------------------------------------------------- */

/** The file that this code was loaded from, without links. */
static int find_library(char path[PATH_MAX])
{
    Dl_info info;

    if (!dladdr(registry, &info) || !realpath(info.dli_fname, path))
        return dn_fail(-EIO, "cannot tell where libdosna is");
    return 0;
}

/** The folder of the modules: `registry_folder`, or "dosna" beside the library. */
static int find_folder(char path[PATH_MAX])
{
    char library[PATH_MAX];
    int rc, length;

    if (registry_folder) {
        snprintf(path, PATH_MAX, "%s", registry_folder);
        return 0;
    }
    rc = find_library(library);
    if (rc < 0)
        return rc;
    length = (int)(strrchr(library, '/') - library);
    return snprintf(path, PATH_MAX, "%.*s/dosna", length, library) < PATH_MAX
               ? 0
               : dn_fail(-ENAMETOOLONG, "the path of libdosna is too long");
}

static int find_module(const char *name, char path[PATH_MAX])
{
    char folder[PATH_MAX];
    int rc = find_folder(folder);

    if (rc < 0)
        return rc;
    if (snprintf(path, PATH_MAX, "%s/dosna-backend-%s.so", folder, name) >= PATH_MAX)
        return dn_fail(-ENAMETOOLONG, "the path of libdosna is too long");
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return dn_fail(-EINVAL, "backend %s is not installed: install dosnafs-backend-%s", name, name);
    return 0;
}

/** Is it what `known` promises, and made for this libdosna? */
static int check_module(const struct dn_backend *known, const struct dn_backend *backend, const char *path)
{
    if (!backend)
        return dn_fail(-ELIBBAD, "%s: no backend %s in it", path, known->name);
    if (backend->abi != DN_BACKEND_ABI || backend->options_size != known->options_size)
        return dn_fail(-ELIBBAD, "%s: made for another version of libdosna", path);
    if (strcmp(backend->name, known->name) != 0 || !backend->connect)
        return dn_fail(-ELIBBAD, "%s: no backend %s in it", path, known->name);
    return 0;
}

int registry_load(const struct dn_backend *known, const struct dn_backend **out)
{
    char path[PATH_MAX], symbol[64];
    const struct dn_backend *backend;
    void *module;
    int rc;

    *out = known;
    if (known->connect)
        return 0;
    rc = find_module(known->name, path);
    if (rc < 0)
        return rc;
    module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!module)
        return dn_fail(-ELIBBAD, "backend %s: %s", known->name, dlerror());
    snprintf(symbol, sizeof symbol, "dn_backend_%s", known->name);
    backend = dlsym(module, symbol);
    rc = check_module(known, backend, path);
    dlclose(module); /* RTLD_NODELETE: it stays */
    if (rc == 0)
        *out = backend;
    return rc;
}
