/* See cut.h. Every read is checked against the end of what comes before the fields. */
#include "cut.h"

#include "elements.h"

#include <string.h>

int ends_with(const uint8_t *document, size_t size, const uint8_t *fields, size_t length) {
    if (size < 5 || number(document) != size || document[size - 1] || length > size - 5) return 0;
    const uint8_t *at = document + 4, *end = document + size - 1 - length;
    if (memcmp(end, fields, length)) return 0;
    while (at < end) {
        uint8_t kind = *at++;
        const uint8_t *name = memchr(at, 0, (size_t)(end - at));
        if (!name) return 0;
        at = name + 1;
        size_t found = value_size(kind, at, end);
        if (found == NONE) return 0;
        at += found;
    }
    return 1;
}
