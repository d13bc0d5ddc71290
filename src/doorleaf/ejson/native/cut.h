/* Whether the last fields of a BSON document are some that are known: of the document itself, whatever texts and documents
 * inside look like. */
#ifndef DOORLEAF_CUT_H
#define DOORLEAF_CUT_H

#include <stddef.h>
#include <stdint.h>

/* 1 when the `length` bytes of `fields`, whole elements, are the last ones of the document; else 0, also where the document
 * is malformed in what comes before, or has a regular expression there or a type that nobody uses any more. */
int ends_with(const uint8_t *document, size_t size, const uint8_t *fields, size_t length);

#endif
