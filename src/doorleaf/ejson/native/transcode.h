/* From BSON to the JSON of an answer, bytes to bytes. Nothing here knows about Python. */
#ifndef DOORLEAF_TRANSCODE_H
#define DOORLEAF_TRANSCODE_H

#include <stddef.h>
#include <stdint.h>

/* JAVASCRIPT is RELAXED, but for integers that are none in a double. */
enum mode { PLAIN = 0, CANONICAL = 1, RELAXED = 2, JAVASCRIPT = 3 };

/* What became of a document. DECLINED: it is malformed, or has something that is left to the Python that this is a
 * faster copy of; nothing of it may be used. */
enum outcome { WRITTEN = 0, DECLINED = 1, NO_MEMORY = 2 };

/* Text that grows. `data` is malloc's; whoever has it frees it. */
struct text {
    char *data;
    size_t size, room;
};

/* Append the documents in `bson`, whole ones end to end, as JSON objects with commas between. `plus` tells whether
 * orjson's exponents have a sign when they are positive, which differs from version to version. */
enum outcome transcode(struct text *out, const uint8_t *bson, size_t size, enum mode mode, int plus);

/* Append `size` bytes; 0 when there is no memory. */
int append(struct text *out, const void *bytes, size_t size);

#endif
