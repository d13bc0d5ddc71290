/* What the programs share that change bytes at random and read them: for a build with AddressSanitizer, which ends them at
 * the first byte read or written where none is. What is changed is in a block of its very size, so that a byte behind it
 * is somebody else's.
 *
 * PROGRAM ROUNDS SEED FILE...: prints how many were taken and how many declined. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Change `bytes`; how many are left. */
static size_t change(uint8_t *bytes, size_t size);

/* Read the bytes: 1 where they are taken, 0 where they are declined, -1 where memory is short. */
static int look(const uint8_t *bytes, size_t size, long round);

static uint64_t state;
static volatile unsigned seen; /* so that nothing that is looked at is left out */

static uint64_t any(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    long rounds = atol(arguments[1]), told[2] = {0, 0};
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
            int taken = look(own, left, round);
            if (taken < 0) return 3;
            told[taken]++;
            free(own);
        }
    }
    printf("%ld %ld\n", told[1], told[0]);
    return 0;
}
