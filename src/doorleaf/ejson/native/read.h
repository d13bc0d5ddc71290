/* From the JSON of a request to BSON, bytes to bytes. Nothing here knows about Python. */
#ifndef DOORLEAF_READ_H
#define DOORLEAF_READ_H

#include "transcode.h"

/* Append `json`, one object with Extended JSON inside, as a BSON document. DECLINED: it is malformed, or has something
 * that is left to the Python that this is a faster copy of. */
enum outcome read_json(struct text *out, const uint8_t *json, size_t size);

#endif
