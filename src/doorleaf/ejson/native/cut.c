/* See cut.h. Every read is checked against the end of what comes before the fields. */
#include "cut.h"

#include <string.h>

#define NONE SIZE_MAX

static uint32_t number(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* The bytes that a value of a `kind` has in the `left` ones (BSON 1.1); NONE for another kind, and when there are not as
 * many. */
static size_t value_size(uint8_t kind, const uint8_t *at, size_t left) {
    size_t size, more = 0;
    switch (kind) {
    case 0x0A: case 0x7F: case 0xFF: return 0;
    case 0x08: size = 1; break;
    case 0x10: size = 4; break;
    case 0x01: case 0x09: case 0x11: case 0x12: size = 8; break;
    case 0x07: size = 12; break;
    case 0x13: size = 16; break;
    case 0x05: more = 1; /* its subtype, and as below */
    /* fall through */
    case 0x02: case 0x0D: more += 4; /* what the size does not count itself in */
    /* fall through */
    case 0x03: case 0x04: case 0x0F:
        if (left < 4) return NONE;
        size = (size_t)number(at) + more;
        if (size < 4) return NONE;
        break;
    default: return NONE;
    }
    return size <= left ? size : NONE;
}

int ends_with(const uint8_t *document, size_t size, const uint8_t *fields, size_t length) {
    if (size < 5 || number(document) != size || document[size - 1] || length > size - 5) return 0;
    const uint8_t *at = document + 4, *end = document + size - 1 - length;
    if (memcmp(end, fields, length)) return 0;
    while (at < end) {
        uint8_t kind = *at++;
        const uint8_t *name = memchr(at, 0, (size_t)(end - at));
        if (!name) return 0;
        at = name + 1;
        size_t found = value_size(kind, at, (size_t)(end - at));
        if (found == NONE) return 0;
        at += found;
    }
    return 1;
}
