/* Text that grows, and JSON strings. */
#include "parts.h"

#include <stdlib.h>

#define LARGE (4 * 1024 * 1024)

int reserve(struct text *out, size_t more) {
    if (out->room - out->size >= more) return 1;
    size_t room = out->room ? out->room : 1024;
    while (room - out->size < more) {
        if (room > SIZE_MAX / 2) return 0;
        room += room < LARGE ? room : room / 4; /* what is reserved counts as memory, used or not */
    }
    char *data = realloc(out->data, room);
    if (!data) return 0;
    out->data = data;
    out->room = room;
    return 1;
}

int append(struct text *out, const void *bytes, size_t size) {
    if (!reserve(out, size)) return 0;
    memcpy(out->data + out->size, bytes, size);
    out->size += size;
    return 1;
}

size_t wide(const uint8_t *at, const uint8_t *end) {
    size_t left = (size_t)(end - at);
    uint8_t first = at[0];
#define TAIL(n) ((at[n] & 0xC0) == 0x80)
    if (first < 0xC2) return 0;
    if (first < 0xE0) return left >= 2 && TAIL(1) ? 2 : 0;
    if (first < 0xF0) {
        if (left < 3 || !TAIL(1) || !TAIL(2)) return 0;
        if (first == 0xE0 && at[1] < 0xA0) return 0;
        if (first == 0xED && at[1] >= 0xA0) return 0; /* half a surrogate pair */
        return 3;
    }
    if (first > 0xF4 || left < 4 || !TAIL(1) || !TAIL(2) || !TAIL(3)) return 0;
    if (first == 0xF0 && at[1] < 0x90) return 0;
    if (first == 0xF4 && at[1] >= 0x90) return 0;
    return 4;
#undef TAIL
}

#define EACH 0x0101010101010101ULL

/* The high bit of every byte of eight that is below 0x20, a quote, a backslash, or from 0x80 on; the lowest that is set
 * is true, those above it may be those of bytes behind such a one. */
static uint64_t odd_ones(uint64_t eight) {
    uint64_t quote = eight ^ (EACH * '"'), backslash = eight ^ (EACH * '\\');
    return ((eight - EACH * 0x20) | (quote - EACH) | (backslash - EACH) | eight) & (EACH * 0x80);
}

/* Up to seven bytes, those that are not there being spaces. */
static uint64_t few(const uint8_t *at, size_t size) {
    uint8_t bytes[8] = "        ";
    size_t here = 0;
    if (size & 4) {
        memcpy(bytes, at, 4);
        here = 4;
    }
    if (size & 2) {
        memcpy(bytes + here, at + here, 2);
        here += 2;
    }
    if (size & 1) bytes[here] = at[here];
    uint64_t found;
    memcpy(&found, bytes, 8);
    return found;
}

int string(struct job *job, const uint8_t *at, size_t size) {
    static const char hexadecimal[] = "0123456789abcdef";
    /* Eight bytes are written where fewer count: there has to be room for them. */
    if (size > SIZE_MAX / 6 - 10 || !reserve(job->out, 6 * size + 10)) return no_memory(job);
    char *to = job->out->data + job->out->size;
    const uint8_t *end = at + size;
    *to++ = '"';
    while (at < end) {
        /* Eight at a time while they are all printable ASCII. */
        while (end - at >= 8) {
            uint64_t eight;
            memcpy(&eight, at, 8);
            if (odd_ones(eight)) break;
            memcpy(to, at, 8);
            to += 8;
            at += 8;
        }
        if (end - at < 8) {
            uint64_t rest = few(at, (size_t)(end - at));
            if (!odd_ones(rest)) {
                memcpy(to, &rest, 8);
                to += end - at;
                break;
            }
        }
        while (*at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') *to++ = (char)*at++; /* up to the odd one */
        uint8_t byte = *at;
        if (byte >= 0x80) {
            size_t length = wide(at, end);
            if (!length) return declined(job);
            memcpy(to, at, length);
            to += length;
            at += length;
            continue;
        }
        at++;
        *to++ = '\\';
        switch (byte) {
        case '"': *to++ = '"'; break;
        case '\\': *to++ = '\\'; break;
        case '\b': *to++ = 'b'; break;
        case '\t': *to++ = 't'; break;
        case '\n': *to++ = 'n'; break;
        case '\f': *to++ = 'f'; break;
        case '\r': *to++ = 'r'; break;
        default:
            memcpy(to, "u00", 3);
            to[3] = hexadecimal[byte >> 4];
            to[4] = hexadecimal[byte & 15];
            to += 5;
        }
    }
    *to++ = '"';
    job->out->size = (size_t)(to - job->out->data);
    return 1;
}

int base64(struct job *job, const uint8_t *at, size_t size) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (!reserve(job->out, (size + 2) / 3 * 4 + 2)) return no_memory(job);
    char *to = job->out->data + job->out->size;
    *to++ = '"';
    for (; size >= 3; size -= 3, at += 3) {
        *to++ = alphabet[at[0] >> 2];
        *to++ = alphabet[(at[0] & 3) << 4 | at[1] >> 4];
        *to++ = alphabet[(at[1] & 15) << 2 | at[2] >> 6];
        *to++ = alphabet[at[2] & 63];
    }
    if (size) {
        *to++ = alphabet[at[0] >> 2];
        *to++ = alphabet[(at[0] & 3) << 4 | (size == 2 ? at[1] >> 4 : 0)];
        *to++ = size == 2 ? alphabet[(at[1] & 15) << 2] : '=';
        *to++ = '=';
    }
    *to++ = '"';
    job->out->size = (size_t)(to - job->out->data);
    return 1;
}
