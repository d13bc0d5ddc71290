/* Changes bytes of MongoDB's replies at random and reads them: as fuzz.c, for what comes from a database. Each is in a
 * block of its own size, so that a byte behind it is somebody else's, and so is what is gathered.
 *
 * fuzz_reply ROUNDS SEED FILE...: prints how many were as most are and how many were not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reply.h"

static uint64_t state;

static uint64_t any(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

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
            if (!own) return 3;
            memcpy(own, changed, left);
            struct answer found;
            if (answers(own, left, 7, 1ULL << 40, &found)) {
                taken++;
                if (found.batch) {
                    uint8_t *documents = malloc(found.size);
                    if (!documents && found.size) return 3;
                    gather(&found, documents);
                    for (size_t byte = 0; byte < found.size; byte++) seen += documents[byte];
                    free(documents);
                }
            } else {
                declined++;
            }
            free(own);
        }
    }
    printf("%ld %ld\n", taken, declined);
    return seen == 1; /* so that nothing of it is left out */
}
