/* What the files that read JSON share; see read.h. */
#ifndef DOORLEAF_READING_H
#define DOORLEAF_READING_H

#include "parts.h"
#include "read.h"

/* Characters of a number, as in ejson/wrappers.py: a longer one is refused there. */
#define LONGEST_NUMBER (1024 * 1024)

/* A key of an object that is open: where it begins in what is written, how long it is, and its hash. */
struct key {
    size_t at, size;
    uint32_t hash;
};

struct input {
    struct text *out;
    const uint8_t *at, *end;
    enum outcome outcome;
    struct key *keys;
    size_t count, room;
};

/* What reads answers 1, or 0 after it has said why in the outcome. */

static inline int refuse(struct input *in) {
    in->outcome = DECLINED;
    return 0;
}

static inline int out_of_memory(struct input *in) {
    in->outcome = NO_MEMORY;
    return 0;
}

static inline int write_bytes(struct input *in, const void *bytes, size_t size) {
    struct text *out = in->out;
    if (out->room - out->size < size) return append(out, bytes, size) ? 1 : out_of_memory(in);
    memcpy(out->data + out->size, bytes, size);
    out->size += size;
    return 1;
}

static inline void skip_space(struct input *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t')) in->at++;
}

/* Move behind `byte`, with white space before it. */
static inline int expect(struct input *in, uint8_t byte) {
    skip_space(in);
    if (in->at == in->end || *in->at != byte) return refuse(in);
    in->at++;
    return 1;
}

static inline void store32(char *to, uint32_t number) {
    for (int byte = 0; byte < 4; byte++) to[byte] = (char)(number >> 8 * byte);
}

static inline void store64(char *to, uint64_t number) {
    for (int byte = 0; byte < 8; byte++) to[byte] = (char)(number >> 8 * byte);
}

static inline int write32(struct input *in, uint32_t number) {
    char bytes[4];
    store32(bytes, number);
    return write_bytes(in, bytes, 4);
}

static inline int write64(struct input *in, uint64_t number) {
    char bytes[8];
    store64(bytes, number);
    return write_bytes(in, bytes, 8);
}

/* Say what the element is whose type stands at `type_at`. */
static inline void set_type(struct input *in, size_t type_at, uint8_t type) { in->out->data[type_at] = (char)type; }

/* read_text.c. `text`: the characters of a string whose quote has been read, decoded, without a NUL behind them.
 * `number`: a number with its type. `simple`: where a string without escapes and beyond ASCII begins, and its length. */
int text(struct input *in);
int number(struct input *in, size_t type_at);
int simple(struct input *in, const char **begin, size_t *size);
int double_of(const char *begin, size_t size, double *value);

/* read_wrappers.c: what a wrapper stands for, with its type, if the object that begins at `in` is one that is known.
 * `in` is behind its brace; WRAPPED it is moved behind the object, PLAIN_OBJECT it stays. */
enum kind { BROKEN = 0, WRAPPED = 1, PLAIN_OBJECT = 2 };
enum kind wrapper(struct input *in, size_t type_at);
int is_wrapper(const char *name, size_t size);

#endif
