/* Changes BSON documents and transcodes them. Prints how many were written and how many declined. */
#include "fuzzing.h"
#include "transcode.h"

static size_t change(uint8_t *bytes, size_t size) {
    static const uint8_t telling[] = {0, 1, 2, 3, 4, 5, 0x0B, 0x0D, 0x13, 0x22, 0x5C, 0x7F, 0x80, 0xC2, 0xED, 0xF4, 0xFF};
    for (uint64_t times = 1 + any(4); times--;) {
        uint8_t *at = bytes + any(size);
        switch (any(4)) {
        case 0: *at = (uint8_t)any(256); break;
        case 1: *at ^= (uint8_t)(1 << any(8)); break;
        case 2: *at = telling[any(sizeof telling)]; break;
        default: return any(4) ? size : 1 + any(size); /* cut short */
        }
    }
    return size;
}

static int look(const uint8_t *bytes, size_t size, long round) {
    struct text out = {NULL, 0, 0};
    enum outcome outcome = transcode(&out, bytes, size, (enum mode)(round % 3), round % 2);
    free(out.data);
    return outcome == NO_MEMORY ? -1 : outcome == WRITTEN;
}
