/* An HTTP/1.1 request (RFC 9112) as most are: a POST with a body or a GET without one that came whole, with nothing in it
 * that an HTTP parser would have to think about. Anything else, valid or not, is none of these, and for a parser to
 * read. */
#ifndef DOORLEAF_HEAD_H
#define DOORLEAF_HEAD_H

#include <stddef.h>
#include <stdint.h>

#define MOST_FIELDS 48
#define MOST_REQUEST_BYTES (16 * 1024)

/* Where something is in the request. */
struct part {
    size_t at, size;
};

struct head {
    struct part target, body, names[MOST_FIELDS], values[MOST_FIELDS];
    size_t count;
    int gets; /* whether it is a GET */
};

/* 1 when the `size` bytes are one such request and nothing else, whose parts are in `head` then; else 0. */
int ordinary(const uint8_t *request, size_t size, struct head *head);

/* An ASCII letter in lower case. */
static inline uint8_t lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte; }

#endif
