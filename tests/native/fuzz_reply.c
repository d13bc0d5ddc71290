/* Changes replies of MongoDB and reads them, and gathers what is told in a block of its own size. */
#include "fuzzing.h"
#include "reply.h"

static void put(uint8_t *at, size_t number) {
    for (int byte = 0; byte < 4; byte++) at[byte] = (uint8_t)(number >> 8 * byte);
}

static size_t change(uint8_t *bytes, size_t size) {
    static const uint8_t telling[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 0x10, 0x11, 0x12, 0x7F, 0x80, 0xFF};
    for (uint64_t times = 1 + any(2); times--;) {
        uint8_t *at = bytes + any(size);
        switch (any(4)) {
        case 0: *at = (uint8_t)any(256); break;
        case 1: *at ^= (uint8_t)(1 << any(8)); break;
        case 2: *at = telling[any(sizeof telling)]; break;
        default: /* cut short, most often with sizes that say so */
            size = any(8) ? size : 1 + any(size);
            if (size >= 26 && any(4)) {
                put(bytes, size);
                put(bytes + 21, size - 21);
                bytes[size - 1] = 0;
            }
            return size;
        }
    }
    return size;
}

static int look(const uint8_t *bytes, size_t size, long round) {
    struct answer found;
    (void)round;
    if (!answers(bytes, size, 7, 1ULL << 40, &found)) return 0;
    if (found.batch) {
        uint8_t *documents = malloc(found.size);
        if (!documents && found.size) return -1;
        gather(&found, documents);
        for (size_t byte = 0; byte < found.size; byte++) seen += documents[byte];
        free(documents);
    }
    return 1;
}
