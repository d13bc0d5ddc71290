/* From BSON to JSON; see transcode.h and, for the three forms, the table in ejson/write.py.
 *
 * Whatever is malformed, rare or ambiguous is declined, and the Python that this is a faster copy of decides: what is
 * written here has to be what it would write, byte for byte. Every read is checked against the end of its document,
 * nesting has a bound, and every string is checked to be UTF-8 (Unicode 15, table 3-7). */
#include "parts.h"

#include <stdio.h>
#include <stdlib.h>

#define DEEPEST 120
/* Fields of one document that are compared to find a name that comes twice; more are declined. */
#define MOST_FIELDS 512

static int value(struct job *job, struct reader *in, uint8_t type, int depth);

/* --- reading --------------------------------------------------------------------------------------------------- */

static const uint8_t *take(struct reader *in, size_t size) {
    if ((size_t)(in->end - in->at) < size) return NULL;
    const uint8_t *found = in->at;
    in->at += size;
    return found;
}

static uint32_t little32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t little64(const uint8_t *at) { return (uint64_t)little32(at) | (uint64_t)little32(at + 4) << 32; }

/* A string of BSON: a length that counts the NUL at its end, bytes, NUL. */
static int counted(struct job *job, struct reader *in) {
    const uint8_t *head = take(in, 4);
    if (!head) return declined(job);
    uint32_t size = little32(head);
    const uint8_t *found = size && size <= INT32_MAX ? take(in, size) : NULL;
    if (!found || found[size - 1]) return declined(job);
    return string(job, found, size - 1);
}

/* A name or a regular expression: bytes up to a NUL. */
static const uint8_t *terminated(struct reader *in, size_t *size) {
    const uint8_t *found = in->at;
    const uint8_t *nul = memchr(found, 0, (size_t)(in->end - found));
    if (!nul) return NULL;
    *size = (size_t)(nul - found);
    in->at = nul + 1;
    return found;
}

/* Whether JavaScript's numbers have this integer and no other in its place. */
static int is_safe(int64_t number) { return number >= -9007199254740991LL && number <= 9007199254740991LL; }

/* --- dates ----------------------------------------------------------------------------------------------------- */

#define FIRST_MS (-62135596800000LL) /* year 1 */
#define LAST_MS 253402300799999LL    /* year 9999 */

static int moment(struct job *job, int64_t milliseconds) {
    int readable = milliseconds >= FIRST_MS && milliseconds <= LAST_MS;
    if (job->mode == CANONICAL || !readable || (job->mode != PLAIN && milliseconds < 0))
        return wrapped(job, "{\"$date\":{\"$numberLong\":\"", milliseconds) && PUT(job, "}");
    int64_t days = milliseconds / 86400000, rest = milliseconds % 86400000;
    if (rest < 0) {
        rest += 86400000;
        days--;
    }
    /* Civil from days, by eras of 400 years that begin on 1 March. */
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned day_of_era = (unsigned)(z - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * day_of_year + 2) / 153;
    unsigned day = day_of_year - (153 * shifted + 2) / 5 + 1, month = shifted < 10 ? shifted + 3 : shifted - 9;
    unsigned year = (unsigned)((int64_t)year_of_era + era * 400 + (month <= 2));
    unsigned second = (unsigned)(rest / 1000), fraction = (unsigned)(rest % 1000);
    char written[32] = "\"0000-00-00T00:00:00.000";
    static const struct { int at, digits; } places[] = {{1, 4}, {6, 2}, {9, 2}, {12, 2}, {15, 2}, {18, 2}, {21, 3}};
    const unsigned parts[] = {year, month, day, second / 3600, second / 60 % 60, second % 60, fraction};
    for (int part = 0; part < 7; part++) {
        unsigned left = parts[part];
        for (int digit = places[part].digits; digit--; left /= 10)
            written[places[part].at + digit] = (char)('0' + left % 10);
    }
    int size = job->mode == PLAIN || fraction ? 24 : 20;
    written[size++] = 'Z';
    written[size++] = '"';
    if (job->mode == PLAIN) return put(job, written, (size_t)size);
    return PUT(job, "{\"$date\":") && put(job, written, (size_t)size) && PUT(job, "}");
}

/* --- the other types ------------------------------------------------------------------------------------------- */

static int identifier(struct job *job, const uint8_t *at) {
    static const char hexadecimal[] = "0123456789abcdef";
    char written[26];
    written[0] = written[25] = '"';
    for (int byte = 0; byte < 12; byte++) {
        written[1 + 2 * byte] = hexadecimal[at[byte] >> 4];
        written[2 + 2 * byte] = hexadecimal[at[byte] & 15];
    }
    if (job->mode == PLAIN) return put(job, written, sizeof written);
    return PUT(job, "{\"$oid\":") && put(job, written, sizeof written) && PUT(job, "}");
}

static int binary(struct job *job, struct reader *in) {
    const uint8_t *head = take(in, 5);
    if (!head) return declined(job);
    uint32_t size = little32(head);
    uint8_t subtype = head[4];
    const uint8_t *found = size <= INT32_MAX ? take(in, size) : NULL;
    if (!found || subtype == 2) return declined(job); /* the old kind has a length inside */
    char written[32];
    if (job->mode == PLAIN) {
        int length = snprintf(written, sizeof written, "{\"Subtype\":%u,\"Data\":", subtype);
        return put(job, written, (size_t)length) && base64(job, found, size) && PUT(job, "}");
    }
    int length = snprintf(written, sizeof written, ",\"subType\":\"%02x\"}}", subtype);
    return PUT(job, "{\"$binary\":{\"base64\":") && base64(job, found, size) && put(job, written, (size_t)length);
}

static int regular_expression(struct job *job, struct reader *in) {
    static const char letters[] = "ilmsux";
    size_t pattern_size, options_size;
    const uint8_t *pattern = terminated(in, &pattern_size);
    const uint8_t *options = pattern ? terminated(in, &options_size) : NULL;
    if (!options) return declined(job);
    char sorted[8];
    size_t count = 0;
    for (const char *letter = letters; *letter; letter++)
        if (memchr(options, *letter, options_size)) sorted[count++] = *letter;
    if (count != options_size) return declined(job); /* unknown letters, or twice the same */
    if (job->mode == PLAIN)
        return PUT(job, "{\"Pattern\":") && string(job, pattern, pattern_size) && PUT(job, ",\"Options\":\"") &&
               put(job, sorted, count) && PUT(job, "\"}");
    return PUT(job, "{\"$regularExpression\":{\"pattern\":") && string(job, pattern, pattern_size) &&
           PUT(job, ",\"options\":\"") && put(job, sorted, count) && PUT(job, "\"}}");
}

static int timestamp(struct job *job, uint64_t bits) {
    uint32_t seconds = (uint32_t)(bits >> 32), ordinal = (uint32_t)bits;
    if (job->mode == PLAIN)
        return PUT(job, "{\"T\":") && integer(job, seconds) && PUT(job, ",\"I\":") && integer(job, ordinal) &&
               PUT(job, "}");
    return PUT(job, "{\"$timestamp\":{\"t\":") && integer(job, seconds) && PUT(job, ",\"i\":") &&
           integer(job, ordinal) && PUT(job, "}}");
}

/* --- documents ------------------------------------------------------------------------------------------------- */

static uint32_t hash(const uint8_t *at, size_t size) {
    uint32_t found = 2166136261u;
    for (size_t byte = 0; byte < size; byte++) found = (found ^ at[byte]) * 16777619u;
    return found;
}

static int more_names(struct job *job) {
    size_t room = job->room ? 2 * job->room : 64;
    struct name *names = realloc(job->names, room * sizeof *names);
    if (names) job->names = names;
    uint32_t *hashes = names ? realloc(job->hashes, room * sizeof *hashes) : NULL;
    if (hashes) job->hashes = hashes;
    if (hashes) job->room = room;
    return hashes ? 1 : no_memory(job);
}

static int note(struct job *job, const uint8_t *at, size_t size, uint32_t own) {
    if (job->count == job->room && !more_names(job)) return 0;
    job->hashes[job->count] = own;
    job->names[job->count].at = at;
    job->names[job->count++].size = size;
    return 1;
}

/* Note a name of the document whose names begin at `first`. One that comes twice is declined: its last value counts, in
 * the place of the first. */
static int is_new(struct job *job, size_t first, const uint8_t *at, size_t size, uint32_t own) {
    if (job->count - first == MOST_FIELDS) return declined(job);
    for (size_t index = first; index < job->count; index++)
        if (job->hashes[index] == own && job->names[index].size == size && !memcmp(job->names[index].at, at, size))
            return declined(job);
    return note(job, at, size, own);
}

/* Write the name that comes next as it was written for the document before, if that had it in the same place. Where all
 * names up to here were the same in the same places, this one is as new here as it was there. */
static int again(struct job *job, struct reader *in, int depth, uint32_t ordinal) {
    if (job->at >= job->seen_count) return 0;
    const struct seen *known = job->seen + job->at;
    if (known->depth != depth || known->ordinal != ordinal) return 0;
    if ((size_t)(in->end - in->at) <= known->size || memcmp(in->at, known->name, known->size + 1)) return 0;
    if (!reserve(job->out, known->length + 1)) return 0;
    char *to = job->out->data + job->out->size;
    if (ordinal) *to++ = ',';
    memcpy(to, job->out->data + known->written, known->length);
    job->out->size = (size_t)(to - job->out->data) + known->length;
    return 1;
}

/* The name of the field number `ordinal` of a document whose names begin at `first`: `in` is moved behind it. */
static int name(struct job *job, struct reader *in, size_t first, int depth, uint32_t ordinal) {
    if (again(job, in, depth, ordinal)) {
        const struct seen *known = job->seen + job->at++;
        const uint8_t *found = in->at;
        in->at += known->size + 1;
        return note(job, found, known->size, known->hash);
    }
    size_t size;
    const uint8_t *found = terminated(in, &size);
    if (!found) return declined(job);
    if (size == 4 && !memcmp(found, "$ref", 4)) return declined(job); /* a DBRef has an order of its own */
    uint32_t own = hash(found, size);
    if (!is_new(job, first, found, size, own)) return 0;
    if (ordinal && !put(job, ",", 1)) return 0;
    size_t written = job->out->size;
    if (!string(job, found, size) || !put(job, ":", 1)) return 0;
    if (job->at < MOST_SEEN) {
        job->seen[job->at] = (struct seen){found, size, written, job->out->size - written, own, ordinal, depth};
        job->seen_count = job->at + 1;
    }
    job->at++;
    return 1;
}

/* A document or an array: `in` is moved behind it. */
static int container(struct job *job, struct reader *in, int array, int depth) {
    if (depth > DEEPEST || in->end - in->at < 5) return declined(job);
    uint32_t size = little32(in->at);
    if (size < 5 || size > (size_t)(in->end - in->at)) return declined(job);
    struct reader own = {in->at + 4, in->at + size - 1};
    if (*own.end) return declined(job);
    in->at += size;
    size_t names = job->count;
    if (!put(job, array ? "[" : "{", 1)) return 0;
    for (uint32_t ordinal = 0; own.at < own.end; ordinal++) {
        uint8_t type = *own.at++;
        size_t length;
        if (array) {
            if (!terminated(&own, &length)) return declined(job);
            if (ordinal && !put(job, ",", 1)) return 0;
        } else if (!name(job, &own, names, depth, ordinal)) {
            return 0;
        }
        if (!value(job, &own, type, depth)) return 0;
    }
    job->count = names;
    return put(job, array ? "]" : "}", 1);
}

static int value(struct job *job, struct reader *in, uint8_t type, int depth) {
    const uint8_t *at;
    enum mode mode = job->mode;
    switch (type) {
    case 0x01:
        at = take(in, 8);
        return at ? real(job, little64(at)) : declined(job);
    case 0x02: return counted(job, in);
    case 0x0E: return counted(job, in);
    case 0x0D:
        if (mode == PLAIN) return counted(job, in);
        return PUT(job, "{\"$code\":") && counted(job, in) && PUT(job, "}");
    case 0x03: return container(job, in, 0, depth + 1);
    case 0x04: return container(job, in, 1, depth + 1);
    case 0x05: return binary(job, in);
    case 0x07:
        at = take(in, 12);
        return at ? identifier(job, at) : declined(job);
    case 0x08:
        at = take(in, 1);
        if (!at || *at > 1) return declined(job);
        return *at ? PUT(job, "true") : PUT(job, "false");
    case 0x09:
        at = take(in, 8);
        return at ? moment(job, (int64_t)little64(at)) : declined(job);
    case 0x06:
    case 0x0A: return PUT(job, "null");
    case 0x0B: return regular_expression(job, in);
    case 0x10:
        at = take(in, 4);
        if (!at) return declined(job);
        if (mode == CANONICAL) return wrapped(job, "{\"$numberInt\":\"", (int32_t)little32(at));
        return integer(job, (int32_t)little32(at));
    case 0x11:
        at = take(in, 8);
        return at ? timestamp(job, little64(at)) : declined(job);
    case 0x12:
        at = take(in, 8);
        if (!at) return declined(job);
        if (mode == CANONICAL || (mode == JAVASCRIPT && !is_safe((int64_t)little64(at))))
            return wrapped(job, "{\"$numberLong\":\"", (int64_t)little64(at));
        return integer(job, (int64_t)little64(at));
    case 0x13:
        at = take(in, 16);
        return at ? decimal(job, little64(at), little64(at + 8)) : declined(job);
    case 0xFF: return mode == PLAIN ? PUT(job, "{}") : PUT(job, "{\"$minKey\":1}");
    case 0x7F: return mode == PLAIN ? PUT(job, "{}") : PUT(job, "{\"$maxKey\":1}");
    default: return declined(job);
    }
}

enum outcome transcode(struct text *out, const uint8_t *bson, size_t size, enum mode mode, int plus) {
    struct job job; /* what was seen is set when it is */
    job.out = out;
    job.mode = mode;
    job.plus = plus;
    job.outcome = WRITTEN;
    job.names = NULL;
    job.hashes = NULL;
    job.count = job.room = job.seen_count = 0;
    struct reader in = {bson, bson + size};
    for (int first = 1; in.at < in.end; first = 0) {
        job.at = 0;
        if (!first && !put(&job, ",", 1)) break;
        if (!container(&job, &in, 0, 0)) break;
    }
    free(job.names);
    free(job.hashes);
    return job.outcome;
}
