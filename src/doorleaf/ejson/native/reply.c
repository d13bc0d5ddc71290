/* Replies of MongoDB, see reply.h. Every length is checked against the end of what it is in. */
#include "reply.h"

#include <string.h>

#define HEAD 21 /* of the message: four numbers, the flags and the kind of its one section */
#define OP_MSG 2013
#define ONE 0x3FF0000000000000ULL /* as a double */

struct fields {
    const uint8_t *at, *end; /* `end` is the NUL behind the last */
};

/* One field: its value is `size` bytes. */
struct field {
    uint8_t type;
    const char *name;
    const uint8_t *value;
    size_t size;
};

static uint32_t little32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t little64(const uint8_t *at) { return (uint64_t)little32(at) | (uint64_t)little32(at + 4) << 32; }

/* The fields of the document or array that has the `size` bytes. */
static int opened(const uint8_t *document, size_t size, struct fields *in) {
    if (size < 5 || little32(document) != size || document[size - 1]) return 0;
    in->at = document + 4;
    in->end = document + size - 1;
    return 1;
}

/* How many bytes a value takes that has `left` or fewer; 0 for one that is cut off or of a type that no reply has. */
static size_t length(uint8_t type, const uint8_t *value, size_t left) {
    size_t size = 0, counted;
    switch (type) {
    case 0x08: size = 1; break;
    case 0x10: size = 4; break;
    case 0x01:
    case 0x09:
    case 0x11:
    case 0x12: size = 8; break;
    case 0x07: size = 12; break;
    case 0x02:
    case 0x03:
    case 0x04:
    case 0x05:
        if (left < 5) return 0;
        counted = little32(value);
        if (counted > left) return 0;
        size = counted + (type == 0x02 ? 4 : type == 0x05 ? 5 : 0);
        if (size < 5) return 0;
        break;
    default: return 0;
    }
    return size <= left ? size : 0;
}

/* The field that comes next. */
static int next(struct fields *in, struct field *found) {
    if (in->end - in->at < 2) return 0;
    found->type = *in->at++;
    found->name = (const char *)in->at;
    const uint8_t *nul = memchr(in->at, 0, (size_t)(in->end - in->at));
    if (!nul) return 0;
    found->value = nul + 1;
    found->size = length(found->type, nul + 1, (size_t)(in->end - nul - 1));
    in->at = nul + 1 + found->size;
    return found->size != 0;
}

static int named(const struct field *field, uint8_t type, const char *name) {
    return field->type == type && !strcmp(field->name, name);
}

/* The members of a batch, which are documents. */
static int batch(const struct field *array, struct answer *found) {
    struct fields in;
    struct field member;
    if (!opened(array->value, array->size, &in)) return 0;
    found->batch = in.at;
    found->end = in.end;
    found->size = 0;
    while (in.at < in.end) {
        if (!next(&in, &member) || member.type != 0x03) return 0;
        found->size += member.size;
    }
    return 1;
}

/* A cursor whose documents are all here. */
static int cursor(const struct field *document, struct answer *found) {
    struct fields in;
    struct field field;
    if (!opened(document->value, document->size, &in)) return 0;
    if (!next(&in, &field) || !named(&field, 0x04, "firstBatch") || !batch(&field, found)) return 0;
    if (!next(&in, &field) || !named(&field, 0x12, "id") || little64(field.value)) return 0;
    while (in.at < in.end)
        if (!next(&in, &field)) return 0;
    return 1;
}

/* Whether the field `$clusterTime` tells no later time than `known`. */
static int is_old(const struct field *time, uint64_t known) {
    struct fields in;
    struct field field;
    if (!opened(time->value, time->size, &in)) return 0;
    return next(&in, &field) && named(&field, 0x11, "clusterTime") && little64(field.value) <= known;
}

int answers(const uint8_t *message, size_t size, int32_t asked, uint64_t known, struct answer *found) {
    static const uint8_t plain[5] = {0};
    struct fields in;
    struct field field;
    if (size < HEAD + 5 || little32(message) != size || little32(message + 8) != (uint32_t)asked) return 0;
    if (little32(message + 12) != OP_MSG || memcmp(message + 16, plain, sizeof plain)) return 0;
    if (!opened(message + HEAD, size - HEAD, &in) || !next(&in, &field)) return 0;
    int done = 0;
    found->batch = NULL;
    found->changed = 0;
    if (named(&field, 0x03, "cursor")) {
        if (!cursor(&field, found)) return 0;
    } else if (named(&field, 0x10, "n")) {
        found->matched = (int32_t)little32(field.value);
    } else {
        return 0;
    }
    while (in.at < in.end) {
        if (!next(&in, &field)) return 0;
        if (named(&field, 0x01, "ok")) {
            if (little64(field.value) != ONE) return 0;
            done = 1;
        } else if (!strcmp(field.name, "$clusterTime")) {
            if (field.type != 0x03 || !is_old(&field, known)) return 0;
        } else if (named(&field, 0x10, "nModified") && !found->batch) {
            found->changed = (int32_t)little32(field.value);
        } else if (strcmp(field.name, "operationTime") && strcmp(field.name, "opTime") && strcmp(field.name, "electionId")) {
            return 0; /* what was upserted, what failed, and what nobody knows */
        }
    }
    return done;
}

void gather(const struct answer *found, uint8_t *to) {
    struct fields in = {found->batch, found->end};
    struct field member;
    while (in.at < in.end && next(&in, &member)) {
        memcpy(to, member.value, member.size);
        to += member.size;
    }
}
