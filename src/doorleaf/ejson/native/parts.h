/* What the files of the transcoder share; see transcode.h. */
#ifndef DOORLEAF_PARTS_H
#define DOORLEAF_PARTS_H

#include "transcode.h"

#include <string.h>

struct reader {
    const uint8_t *at, *end;
};

/* A name in a document that is being written, by its bytes. */
struct name {
    const uint8_t *at;
    size_t size;
};

/* A name that the document before had, where it stood, and its JSON with the colon behind it: documents that follow one
 * another mostly have the same names in the same places. */
struct seen {
    const uint8_t *name;
    size_t size, written, length;
    uint32_t hash, ordinal;
    int depth;
};

#define MOST_SEEN 256

struct job {
    struct text *out;
    enum mode mode;
    int plus;
    enum outcome outcome;
    /* The names so far of the documents that are open, the outermost first. */
    struct name *names;
    uint32_t *hashes;
    size_t count, room;
    /* The names of the document before, all of them in order, up to where the one at hand has differed; and its own from
     * there on. `at` counts those that have been written. */
    struct seen seen[MOST_SEEN];
    size_t seen_count, at;
};

/* What writes answers 1, or 0 after it has said why in the job's outcome. */

static inline int declined(struct job *job) {
    job->outcome = DECLINED;
    return 0;
}

static inline int no_memory(struct job *job) {
    job->outcome = NO_MEMORY;
    return 0;
}

static inline int put(struct job *job, const void *bytes, size_t size) {
    struct text *out = job->out;
    if (out->room - out->size < size) return append(out, bytes, size) ? 1 : no_memory(job);
    memcpy(out->data + out->size, bytes, size);
    out->size += size;
    return 1;
}

#define PUT(job, literal) put(job, literal, sizeof(literal) - 1)

/* Room for `more` bytes; 0 when there is no memory. */
int reserve(struct text *out, size_t more);

/* text.c: a JSON string of bytes that have to be UTF-8, and one of bytes in base64. */
int string(struct job *job, const uint8_t *at, size_t size);
int base64(struct job *job, const uint8_t *at, size_t size);

/* The length of the character at `at`, two bytes or more, or 0 when it is not UTF-8. */
size_t wide(const uint8_t *at, const uint8_t *end);

/* numbers.c: `wrapped` puts `name` before the digits and `"}` behind; doubles and Decimal128 come as their bits. */
int integer(struct job *job, int64_t number);
int wrapped(struct job *job, const char *name, int64_t number);
int real(struct job *job, uint64_t bits);
int decimal(struct job *job, uint64_t low, uint64_t high);

#endif
