/* Changes HTTP requests and reads their heads; every part that is told is looked at. */
#include "fuzzing.h"
#include "head.h"

static size_t change(uint8_t *bytes, size_t size) {
    static const char telling[] = "\r\n :/?%\t,;0129-_POSTHTTP/1.1abc\x00\x7f\x80";
    for (uint64_t times = 1 + any(2); times--;) {
        uint8_t *at = bytes + any(size);
        switch (any(4)) {
        case 0: *at = (uint8_t)any(256); break;
        case 1: *at = (uint8_t)telling[any(sizeof telling)]; break;
        case 2: { /* a piece of it somewhere else */
            size_t length = 1 + any(size < 20 ? size : 20), from = any(size - length + 1), to = any(size - length + 1);
            memmove(bytes + to, bytes + from, length);
            break;
        }
        default: return any(8) ? size : 1 + any(size); /* cut short */
        }
    }
    return size;
}

static unsigned sum(const uint8_t *request, struct part part) {
    unsigned found = 0;
    for (size_t byte = 0; byte < part.size; byte++) found += request[part.at + byte];
    return found;
}

static int look(const uint8_t *bytes, size_t size, long round) {
    struct head head;
    (void)round;
    if (!ordinary(bytes, size, &head)) return 0;
    seen += sum(bytes, head.target) + sum(bytes, head.body);
    for (size_t field = 0; field < head.count; field++)
        seen += sum(bytes, head.names[field]) + sum(bytes, head.values[field]);
    return 1;
}
