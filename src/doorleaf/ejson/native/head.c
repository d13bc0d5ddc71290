/* The head of an ordinary request; see head.h. Every read is checked against the end of what came. */
#include "head.h"

#include <string.h>

#define VERSION " HTTP/1.1\r\n"
#define LONGEST_TARGET 1024
#define MOST_DIGITS 5

static int is_letter_or_digit(uint8_t byte) {
    uint8_t small = lower(byte);
    return (small >= 'a' && small <= 'z') || (byte >= '0' && byte <= '9');
}

static int is_same(const uint8_t *at, size_t size, const char *word) {
    if (strlen(word) != size) return 0;
    for (size_t byte = 0; byte < size; byte++)
        if (lower(at[byte]) != (uint8_t)word[byte]) return 0;
    return 1;
}

/* Whether `request` begins with the method, a space and a slash; `at` is that of the slash then. */
static int begins(const uint8_t *request, size_t size, const char *method, size_t *at) {
    size_t length = strlen(method);
    *at = length - 1;
    return size >= length && !memcmp(request, method, length);
}

/* What a path may have that is not encoded, and what its query may have besides (RFC 3986, 3.4, and the brackets that
 * most clients do not encode). */
static int is_in_path(uint8_t byte) {
    return is_letter_or_digit(byte) || byte == '/' || byte == '-' || byte == '_' || byte == '.' || byte == '~';
}

static int is_in_query(uint8_t byte) { return is_in_path(byte) || (byte && strchr("!$%&'()*+,:;=@[]", byte)); }

/* The target: a path in which nothing is encoded, without two slashes at its begin, which some read as a host; that of a
 * GET may have a query. */
static int read_target(const uint8_t *request, size_t size, struct head *head, size_t *at) {
    size_t start;
    head->gets = begins(request, size, "GET /", &start);
    if (!head->gets && !begins(request, size, "POST /", &start)) return 0;
    size_t here = start + 1, end = size - start < LONGEST_TARGET ? size : start + LONGEST_TARGET;
    if (here < size && request[here] == '/') return 0;
    while (here < end && is_in_path(request[here])) here++;
    if (head->gets && here < end && request[here] == '?') {
        here++;
        while (here < end && is_in_query(request[here])) here++;
    }
    if (size - here < sizeof VERSION - 1 || memcmp(request + here, VERSION, sizeof VERSION - 1)) return 0;
    head->target = (struct part){start, here - start};
    *at = here + sizeof VERSION - 1;
    return 1;
}

/* One field, up to its line end. */
static int read_field(const uint8_t *request, size_t size, struct part *name, struct part *value, size_t *at) {
    size_t here = *at, end;
    while (here < size && (is_letter_or_digit(request[here]) || request[here] == '-' || request[here] == '_')) here++;
    *name = (struct part){*at, here - *at};
    if (!name->size || here == size || request[here] != ':') return 0;
    here++;
    while (here < size && request[here] == ' ') here++;
    *value = (struct part){here, 0};
    while (here < size && request[here] >= ' ' && request[here] <= '~') here++;
    end = here;
    while (end > value->at && request[end - 1] == ' ') end--;
    value->size = end - value->at;
    if (!value->size || size - here < 2 || request[here] != '\r' || request[here + 1] != '\n') return 0;
    *at = here + 2;
    return 1;
}

/* What the fields say of the request itself: 0 when one of them is for a parser. */
struct told {
    int host, sized;
    size_t length;
};

static int heed(struct told *told, const uint8_t *name, size_t name_size, const uint8_t *value, size_t size) {
    switch (name_size) {
    case 2: return !is_same(name, name_size, "te");
    case 4:
        if (is_same(name, name_size, "host")) told->host = 1;
        return 1;
    case 6: return !is_same(name, name_size, "expect");
    case 7: return !is_same(name, name_size, "upgrade") && !is_same(name, name_size, "trailer");
    case 10: return !is_same(name, name_size, "connection") || is_same(value, size, "keep-alive");
    case 14:
        if (!is_same(name, name_size, "content-length")) return 1;
        if (told->sized || size > MOST_DIGITS) return 0;
        told->sized = 1;
        for (size_t digit = 0; digit < size; digit++) {
            if (value[digit] < '0' || value[digit] > '9') return 0;
            told->length = told->length * 10 + (size_t)(value[digit] - '0');
        }
        return 1;
    case 16: return !is_same(name, name_size, "proxy-connection");
    case 17: return !is_same(name, name_size, "transfer-encoding");
    default: return 1;
    }
}

int ordinary(const uint8_t *request, size_t size, struct head *head) {
    struct told told = {0, 0, 0};
    size_t at;
    head->count = 0;
    if (size > MOST_REQUEST_BYTES || !read_target(request, size, head, &at)) return 0;
    while (at < size && request[at] != '\r') {
        struct part *name = head->names + head->count, *value = head->values + head->count;
        if (head->count == MOST_FIELDS || !read_field(request, size, name, value, &at)) return 0;
        if (!heed(&told, request + name->at, name->size, request + value->at, value->size)) return 0;
        head->count++;
    }
    if (size - at < 2 || request[at + 1] != '\n') return 0;
    at += 2;
    head->body = (struct part){at, size - at};
    if (head->gets) return told.host && !told.sized && !head->body.size;
    return told.host && told.sized && told.length && told.length == head->body.size;
}
