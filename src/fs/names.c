// SPDX-License-Identifier: Apache-2.0
#include "names.h"

#include <ctype.h>
#include <dosna/error.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool escaped(const char *at)
{
    return at[0] == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2]);
}

/** Names that stand for something else in the root. */
static bool reserved(const char *name, const char *views)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, NAME_CONTROL) == 0 ||
           (views && strcmp(name, views) == 0);
}

int names_encode(const char *name, const char *views, char entry[NAME_ENTRY_MAX + 1])
{
    bool first = reserved(name, views);
    size_t length = 0;

    if (*name == '\0')
        return dn_fail(-EINVAL, "a dataset's name is empty");
    for (const char *at = name; *at; at++, first = false) {
        bool code = first || *at == '/' || escaped(at);

        if (length + (code ? 3 : 1) > NAME_ENTRY_MAX)
            return dn_fail(-ENAMETOOLONG, "%.40s…: longer than %d bytes as a directory entry", name,
                           NAME_ENTRY_MAX);
        if (code)
            length += (size_t)sprintf(entry + length, "%%%02X", (unsigned char)*at);
        else
            entry[length++] = *at;
    }
    entry[length] = '\0';
    return 0;
}

static unsigned hex(char digit)
{
    return isdigit((unsigned char)digit) ? (unsigned)(digit - '0')
                                         : (unsigned)(toupper((unsigned char)digit) - 'A' + 10);
}

int names_decode(const char *entry, const char *views, char name[NAME_ENTRY_MAX + 1])
{
    char again[NAME_ENTRY_MAX + 1];
    size_t length = 0;

    if (strlen(entry) > NAME_ENTRY_MAX)
        return dn_fail(-ENAMETOOLONG, "%.40s…: longer than %d bytes", entry, NAME_ENTRY_MAX);
    for (const char *at = entry; *at; at++) {
        if (escaped(at)) {
            name[length++] = (char)(hex(at[1]) << 4 | hex(at[2]));
            at += 2;
        } else {
            name[length++] = *at;
        }
    }
    name[length] = '\0';
    if (strlen(name) != length || names_encode(name, views, again) != 0 || strcmp(again, entry) != 0)
        return dn_fail(-EINVAL, "%s: no dataset's entry; a '%%' before two hex digits is written %%25",
                       entry);
    return 0;
}
