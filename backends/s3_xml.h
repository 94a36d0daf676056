// SPDX-License-Identifier: Apache-2.0
/*
 * The XML of S3's answers, read by expat. An answer comes from anybody: a document type (where XML's
 * bombs live), a nesting or a text beyond what S3 sends, and anything malformed are refused.
 */
#ifndef DOSNA_S3_XML_H
#define DOSNA_S3_XML_H

#include <stddef.h>

/**
 * At the end of each element: `path` is its name after those of the elements around it, as in
 * "ListBucketResult/Contents/Key", `text` its text up to there. Both end with the call.
 *
 * @return 0, or what s3_xml_each() is to stop with
 */
typedef int (*s3_xml_fn)(void *arg, const char *path, const char *text);

/** @return 0; what `fn` stopped with; -EPROTO: not such a document; -ENOMEM */
int s3_xml_each(const char *xml, size_t length, s3_xml_fn fn, void *arg);

#endif
