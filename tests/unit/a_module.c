// SPDX-License-Identifier: Apache-2.0
/* A backend of which nothing is there but what the loader of modules looks at: see CMakeLists.txt. */
#include <dosna/backend.h>
#include <errno.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define JOIN_OF(a, b) a##b
#define JOIN(a, b) JOIN_OF(a, b)
#define TABLE JOIN(dn_backend_, SYMBOL)

static int refuse(const char *connection, const void *options, void **conn)
{
    (void)options, (void)conn;
    return dn_fail(-EKEYREJECTED, "the module refuses %s", connection);
}

extern DN_API const struct dn_backend TABLE;
const struct dn_backend TABLE = {
    .abi = DN_BACKEND_ABI + ABI_ADDED,
    .name = TEXT(NAME),
    .options_size = OPTIONS_SIZE,
    .connect = refuse,
};
