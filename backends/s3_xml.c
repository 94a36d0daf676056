// SPDX-License-Identifier: Apache-2.0
#include "s3_xml.h"

#include <dosna/error.h>
#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

struct reader {
    XML_Parser parser;
    s3_xml_fn fn;
    void *arg;
    int result;
    size_t path_length, text_length;
    char path[256];
    char text[16384];
};

static void stop(struct reader *reader, int result)
{
    if (reader->result == 0)
        reader->result = result;
    XML_StopParser(reader->parser, XML_FALSE);
}

static void start_element(void *arg, const char *name, const char **attributes)
{
    struct reader *reader = arg;
    size_t length = strlen(name), at = reader->path_length;
    (void)attributes;
    if (length + 2 > sizeof reader->path - at) {
        stop(reader, dn_fail(-EPROTO, "the XML is nested too deeply"));
        return;
    }
    if (at > 0)
        reader->path[at++] = '/';
    memcpy(reader->path + at, name, length + 1);
    reader->path_length = at + length;
    reader->text_length = 0;
}

static void take_text(void *arg, const char *text, int length)
{
    struct reader *reader = arg;
    if ((size_t)length >= sizeof reader->text - reader->text_length) {
        stop(reader, dn_fail(-EPROTO, "the XML has a text that is too long"));
        return;
    }
    memcpy(reader->text + reader->text_length, text, (size_t)length);
    reader->text_length += (size_t)length;
}

static void end_element(void *arg, const char *name)
{
    struct reader *reader = arg;
    size_t length = strlen(name);
    if (reader->result != 0) /* expat ends an empty element although it was stopped */
        return;
    reader->text[reader->text_length] = '\0';
    int rc = reader->fn(reader->arg, reader->path, reader->text);
    if (rc != 0)
        stop(reader, rc);
    reader->path_length -= length;
    if (reader->path_length > 0)
        reader->path_length--;
    reader->path[reader->path_length] = '\0';
    reader->text_length = 0;
}

static void refuse_doctype(void *arg, const char *name, const char *system, const char *public, int internal)
{
    (void)name;
    (void)system;
    (void)public;
    (void)internal;
    stop(arg, dn_fail(-EPROTO, "the XML has a document type, which S3 never sends"));
}

int s3_xml_each(const char *xml, size_t length, s3_xml_fn fn, void *arg)
{
    struct reader reader = {.parser = XML_ParserCreate(NULL), .fn = fn, .arg = arg};
    if (!reader.parser)
        return dn_fail(-ENOMEM, "out of memory");
    XML_SetUserData(reader.parser, &reader);
    XML_SetElementHandler(reader.parser, start_element, end_element);
    XML_SetCharacterDataHandler(reader.parser, take_text);
    XML_SetStartDoctypeDeclHandler(reader.parser, refuse_doctype);
    bool ok = length <= INT_MAX && XML_Parse(reader.parser, xml, (int)length, XML_TRUE) == XML_STATUS_OK;
    if (!ok && reader.result == 0) {
        enum XML_Error error = XML_GetErrorCode(reader.parser);
        reader.result = error == XML_ERROR_NO_MEMORY ? dn_fail(-ENOMEM, "out of memory")
                                                     : dn_fail(-EPROTO, "no XML: %s", XML_ErrorString(error));
    }
    XML_ParserFree(reader.parser);
    return reader.result;
}
