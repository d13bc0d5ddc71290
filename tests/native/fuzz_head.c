/* Changes bytes of HTTP requests at random and reads their heads: as fuzz.c, for the way in. Each is in a block of its
 * own size, so that a byte behind it is somebody else's, and every part that is told is looked at.
 *
 * fuzz_head ROUNDS SEED FILE...: prints how many were ordinary and how many were not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "head.h"

static uint64_t state;

static uint64_t any(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

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

int main(int count, char **arguments) {
    if (count < 4) return 2;
    long rounds = atol(arguments[1]), taken = 0, declined = 0;
    unsigned seen = 0;
    state = 88172645463325252ULL + strtoull(arguments[2], NULL, 10);
    for (int file = 3; file < count; file++) {
        static uint8_t original[1 << 16], changed[1 << 16];
        FILE *in = fopen(arguments[file], "rb");
        if (!in) return 2;
        size_t size = fread(original, 1, sizeof original, in);
        fclose(in);
        if (!size) continue;
        for (long round = 0; round < rounds; round++) {
            memcpy(changed, original, size);
            size_t left = round ? change(changed, size) : size;
            uint8_t *own = malloc(left);
            struct head head;
            if (!own) return 3;
            memcpy(own, changed, left);
            if (ordinary(own, left, &head)) {
                taken++;
                seen += sum(own, head.target) + sum(own, head.body);
                for (size_t field = 0; field < head.count; field++)
                    seen += sum(own, head.names[field]) + sum(own, head.values[field]);
            } else {
                declined++;
            }
            free(own);
        }
    }
    printf("%ld %ld\n", taken, declined);
    return seen == 1;
}
