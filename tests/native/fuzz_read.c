/* Changes JSON texts and reads them. What is made of them is written as JSON again, so that it is looked at as BSON too. */
#include "fuzzing.h"
#include "read.h"

static size_t change(uint8_t *bytes, size_t size) {
    static const char telling[] = "\"\\{}[]:,$0123456789-+.eEutfn=Z /\x00\x1f\x80\xc2\xed\xf4\xff";
    for (uint64_t times = 1 + any(3); times--;) {
        uint8_t *at = bytes + any(size);
        switch (any(5)) {
        case 0: *at = (uint8_t)any(256); break;
        case 1: *at ^= (uint8_t)(1 << any(8)); break;
        case 2: *at = (uint8_t)telling[any(sizeof telling)]; break;
        case 3: { /* a piece of it somewhere else */
            size_t length = 1 + any(size < 40 ? size : 40), from = any(size - length + 1), to = any(size - length + 1);
            memmove(bytes + to, bytes + from, length);
            break;
        }
        default: return any(4) ? size : 1 + any(size); /* cut short */
        }
    }
    return size;
}

static int look(const uint8_t *bytes, size_t size, long round) {
    struct text bson = {NULL, 0, 0}, back = {NULL, 0, 0};
    enum outcome outcome = read_json(&bson, bytes, size);
    if (outcome == WRITTEN) {
        uint8_t *exact = malloc(bson.size);
        if (!exact) return -1;
        memcpy(exact, bson.data, bson.size);
        if (transcode(&back, exact, bson.size, (enum mode)(round % 3), 0) == NO_MEMORY) return -1;
        free(exact);
    }
    free(back.data);
    free(bson.data);
    return outcome == NO_MEMORY ? -1 : outcome == WRITTEN;
}
