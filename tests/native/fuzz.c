/* Changes bytes of BSON documents at random and transcodes them: for a build with AddressSanitizer, which ends it at the
 * first byte read or written where none is. Each document is in a block of its very size.
 *
 * fuzz ROUNDS SEED FILE...: prints how many were written and how many declined. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transcode.h"

static uint64_t state;

static uint64_t any(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

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

int main(int count, char **arguments) {
    if (count < 4) return 2;
    long rounds = atol(arguments[1]), written = 0, declined = 0;
    state = 88172645463325252ULL + strtoull(arguments[2], NULL, 10);
    for (int file = 3; file < count; file++) {
        static uint8_t original[1 << 20];
        FILE *in = fopen(arguments[file], "rb");
        if (!in) return 2;
        size_t size = fread(original, 1, sizeof original, in);
        fclose(in);
        if (!size) continue;
        for (long round = 0; round < rounds; round++) {
            static uint8_t changed[1 << 20];
            memcpy(changed, original, size);
            size_t left = round ? change(changed, size) : size;
            uint8_t *own = malloc(left);
            if (!own) return 3;
            memcpy(own, changed, left);
            struct text out = {NULL, 0, 0};
            enum outcome outcome = transcode(&out, own, left, (enum mode)(round % 3), round % 2);
            if (outcome == NO_MEMORY) return 3;
            outcome == WRITTEN ? written++ : declined++;
            free(out.data);
            free(own);
        }
    }
    printf("%ld %ld\n", written, declined);
    return 0;
}
