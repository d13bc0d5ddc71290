/* A message of MongoDB that answers a command as most do: an OP_MSG of one document that is no error, which has all
 * documents of a cursor, or how many a write has matched and changed. Any other one, whole or not, is none of these. */
#ifndef DOORLEAF_REPLY_H
#define DOORLEAF_REPLY_H

#include <stddef.h>
#include <stdint.h>

struct answer {
    /* The members of the cursor's batch, up to the NUL behind them, and the bytes of their documents; NULL for a write. */
    const uint8_t *batch, *end;
    size_t size;
    /* Of a write. */
    int32_t matched, changed;
};

/* 1 when the `size` bytes are one such message to the request `asked`, which tells no later cluster time than `known`
 * (seconds and ordinal); else 0. */
int answers(const uint8_t *message, size_t size, int32_t asked, uint64_t known, struct answer *found);

/* Write the documents of the batch end to end: `found->size` bytes. */
void gather(const struct answer *found, uint8_t *to);

#endif
