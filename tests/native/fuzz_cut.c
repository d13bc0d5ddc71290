/* Changes documents and asks whether they end with the fields that most of them end with. */
#include "cut.h"
#include "fuzzing.h"

static const uint8_t FIELDS[] = "\x02_t\0\x02\0\0\0b\0\x02_w\0\x02\0\0\0c"; /* with the NUL behind it */

static size_t change(uint8_t *bytes, size_t size) {
    static const uint8_t telling[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 0x0A, 0x0B, 0x0D, 0x10, 0x12, 0x13, 0x7F, 0xFF};
    for (uint64_t times = 1 + any(2); times--;) {
        uint8_t *at = bytes + any(size);
        switch (any(3)) {
        case 0: *at = (uint8_t)any(256); break;
        case 1: *at = telling[any(sizeof telling)]; break;
        default: return any(4) ? size : 1 + any(size); /* cut short */
        }
    }
    return size;
}

static int look(const uint8_t *bytes, size_t size, long round) {
    (void)round;
    return ends_with(bytes, size, FIELDS, sizeof FIELDS);
}
