/* Changes bytes of JSON texts at random and reads them: as fuzz.c, for the way in. What is made of them is written as
 * JSON again, so that it is looked at as BSON too.
 *
 * fuzz_read ROUNDS SEED FILE...: prints how many were read and how many declined. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "read.h"

static uint64_t state;

static uint64_t any(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

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

int main(int count, char **arguments) {
    if (count < 4) return 2;
    long rounds = atol(arguments[1]), read = 0, declined = 0;
    state = 88172645463325252ULL + strtoull(arguments[2], NULL, 10);
    for (int file = 3; file < count; file++) {
        static uint8_t original[1 << 20], changed[1 << 20];
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
            struct text bson = {NULL, 0, 0}, back = {NULL, 0, 0};
            enum outcome outcome = read_json(&bson, own, left);
            if (outcome == NO_MEMORY) return 3;
            if (outcome == WRITTEN) {
                read++;
                uint8_t *exact = malloc(bson.size);
                if (!exact) return 3;
                memcpy(exact, bson.data, bson.size);
                if (transcode(&back, exact, bson.size, (enum mode)(round % 3), 0) == NO_MEMORY) return 3;
                free(exact);
            } else {
                declined++;
            }
            free(back.data);
            free(bson.data);
            free(own);
        }
    }
    printf("%ld %ld\n", read, declined);
    return 0;
}
