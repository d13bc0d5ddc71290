/* How elements of BSON 1.1 lie in memory, for those who step over them. */
#ifndef DOORLEAF_ELEMENTS_H
#define DOORLEAF_ELEMENTS_H

#include <stddef.h>
#include <stdint.h>

#define NONE SIZE_MAX

static inline uint32_t number(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t wide_number(const uint8_t *at) { return number(at) | (uint64_t)number(at + 4) << 32; }

/* The bytes of a value that says at its beginning how many it has, `least` of them, and has `more` that it does not count. */
static inline size_t counted_size(const uint8_t *at, size_t left, uint32_t least, size_t more) {
    if (left < 5) return NONE; /* the shortest there are */
    uint32_t said = number(at);
    return said < least || said > left || left - said < more ? NONE : said + more;
}

/* The bytes that a value of a `kind` has; NONE for a regular expression or a kind that nobody uses any more, and when there
 * are not as many before `end`. */
static inline size_t value_size(uint8_t kind, const uint8_t *at, const uint8_t *end) {
    size_t left = (size_t)(end - at), size;
    switch (kind) {
    case 0x0A: case 0x7F: case 0xFF: return 0;
    case 0x08: size = 1; break;
    case 0x10: size = 4; break;
    case 0x01: case 0x09: case 0x11: case 0x12: size = 8; break;
    case 0x07: size = 12; break;
    case 0x13: size = 16; break;
    case 0x02: case 0x0D: return counted_size(at, left, 1, 4); /* with its NUL */
    case 0x03: case 0x04: return counted_size(at, left, 5, 0);
    case 0x05: return counted_size(at, left, 0, 5); /* its subtype too */
    case 0x0F: return counted_size(at, left, 14, 0);
    default: return NONE;
    }
    return size <= left ? size : NONE;
}

#endif
