/* From JSON to BSON; see read.h.
 *
 * Whatever is malformed, rare or ambiguous is declined, and the Python that this is a faster copy of (ejson/read.py)
 * decides and says why. Every read is checked against the end of the input, nesting has a bound, strings are checked to
 * be UTF-8, and keys to be there once. */
#include "reading.h"

#include <stdio.h>
#include <stdlib.h>

#define DEEPEST 100
/* Keys of one object that are compared to find one that comes twice; more are declined. */
#define MOST_KEYS 512
/* More BSON than any command may have is nobody's haste. */
#define MOST_BYTES (64 * 1024 * 1024)

static int value(struct input *in, size_t type_at, int depth);

static uint32_t hash(const char *at, size_t size) {
    uint32_t found = 2166136261u;
    for (size_t byte = 0; byte < size; byte++) found = (found ^ (uint8_t)at[byte]) * 16777619u;
    return found;
}

static int is_new(struct input *in, size_t first, size_t at, size_t size) {
    uint32_t own = hash(in->out->data + at, size);
    if (in->count - first == MOST_KEYS) return refuse(in);
    for (size_t index = first; index < in->count; index++) {
        const struct key *other = in->keys + index;
        if (other->hash == own && other->size == size && !memcmp(in->out->data + other->at, in->out->data + at, size))
            return refuse(in);
    }
    if (in->count == in->room) {
        size_t room = in->room ? 2 * in->room : 64;
        struct key *keys = realloc(in->keys, room * sizeof *keys);
        if (!keys) return out_of_memory(in);
        in->keys = keys;
        in->room = room;
    }
    in->keys[in->count++] = (struct key){at, size, own};
    return 1;
}

static int begin(struct input *in, size_t *start) {
    *start = in->out->size;
    return write32(in, 0);
}

static int finish(struct input *in, size_t start) {
    if (!write_bytes(in, "", 1)) return 0;
    size_t size = in->out->size - start;
    if (in->out->size > MOST_BYTES) return refuse(in);
    store32(in->out->data + start, (uint32_t)size);
    return 1;
}

/* Whether another member follows, or the end, which is `close`. */
static int more(struct input *in, int *first, uint8_t close, int *over) {
    skip_space(in);
    if (in->at == in->end) return refuse(in);
    *over = *in->at == close;
    if (*over) {
        in->at++;
        return 1;
    }
    if (!*first && !expect(in, ',')) return 0;
    *first = 0;
    return 1;
}

/* An object or an array, behind its bracket. */
static int object(struct input *in, int depth) {
    size_t start, keys = in->count;
    int first = 1, over;
    if (depth > DEEPEST) return refuse(in);
    if (!begin(in, &start)) return 0;
    for (;;) {
        if (!more(in, &first, '}', &over)) return 0;
        if (over) break;
        size_t type_at = in->out->size;
        if (!expect(in, '"') || !write_bytes(in, "", 1) || !text(in)) return 0;
        size_t name = type_at + 1, size = in->out->size - name;
        const char *written = in->out->data + name;
        if (memchr(written, 0, size)) return refuse(in);
        if (depth && size && *written == '$' && is_wrapper(written, size)) return refuse(in);
        if (size == 4 && !memcmp(written, "$ref", 4)) return refuse(in); /* a DBRef is read otherwise */
        if (!is_new(in, keys, name, size) || !write_bytes(in, "", 1)) return 0;
        if (!expect(in, ':') || !value(in, type_at, depth)) return 0;
    }
    in->count = keys;
    return finish(in, start);
}

static int array(struct input *in, int depth) {
    size_t start;
    int first = 1, over;
    if (depth > DEEPEST) return refuse(in);
    if (!begin(in, &start)) return 0;
    for (uint32_t index = 0;; index++) {
        if (!more(in, &first, ']', &over)) return 0;
        if (over) break;
        char name[16];
        size_t type_at = in->out->size, at = sizeof name;
        name[--at] = 0;
        uint32_t left = index;
        do name[--at] = (char)('0' + left % 10);
        while (left /= 10);
        name[--at] = 0; /* where the type goes */
        if (!write_bytes(in, name + at, sizeof name - at) || !value(in, type_at, depth)) return 0;
        if (in->out->size > MOST_BYTES) return refuse(in);
    }
    return finish(in, start);
}

static int string_value(struct input *in, size_t type_at) {
    size_t start = in->out->size;
    if (!write32(in, 0) || !text(in) || !write_bytes(in, "", 1)) return 0;
    if (in->out->size > MOST_BYTES) return refuse(in);
    store32(in->out->data + start, (uint32_t)(in->out->size - start - 4));
    set_type(in, type_at, 0x02);
    return 1;
}

static int literal(struct input *in, const char *word, size_t size) {
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, word, size)) return refuse(in);
    in->at += size;
    return 1;
}

static int value(struct input *in, size_t type_at, int depth) {
    skip_space(in);
    if (in->at == in->end) return refuse(in);
    switch (*in->at) {
    case '"': in->at++; return string_value(in, type_at);
    case '{':
        in->at++;
        switch (wrapper(in, type_at)) {
        case WRAPPED: return 1;
        case BROKEN: return 0;
        default: break;
        }
        set_type(in, type_at, 0x03);
        return object(in, depth + 1);
    case '[':
        in->at++;
        set_type(in, type_at, 0x04);
        return array(in, depth + 1);
    case 't':
        set_type(in, type_at, 0x08);
        return literal(in, "true", 4) && write_bytes(in, "\1", 1);
    case 'f':
        set_type(in, type_at, 0x08);
        return literal(in, "false", 5) && write_bytes(in, "", 1);
    case 'n':
        set_type(in, type_at, 0x0A);
        return literal(in, "null", 4);
    default: return number(in, type_at);
    }
}

enum outcome read_json(struct text *out, const uint8_t *json, size_t size) {
    struct input in = {out, json, json + size, WRITTEN, NULL, 0, 0};
    if (expect(&in, '{') && object(&in, 0)) {
        skip_space(&in);
        if (in.at != in.end) refuse(&in);
    }
    free(in.keys);
    return in.outcome;
}
