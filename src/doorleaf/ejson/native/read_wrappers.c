/* What the wrappers of Extended JSON stand for: those that are common, written as they mostly are. */
#include "reading.h"

#include <math.h>
#include <stdlib.h>

static const char *const names[] = {
    "$oid",           "$date",   "$uuid",              "$numberInt", "$numberLong", "$numberDouble",
    "$numberDecimal", "$binary", "$regularExpression", "$timestamp", "$minKey",     "$maxKey",
    "$undefined",     "$symbol", "$code",              "$dbPointer",
};

static int same(const char *at, size_t size, const char *name) {
    return strlen(name) == size && !memcmp(at, name, size);
}

int is_wrapper(const char *name, size_t size) {
    for (size_t index = 0; index < sizeof names / sizeof *names; index++)
        if (same(name, size, names[index])) return 1;
    return 0;
}

static int is_digit(char byte) { return byte >= '0' && byte <= '9'; }

static int nibble(char byte) {
    if (is_digit(byte)) return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

/* `bytes` bytes in hexadecimal digits. */
static int from_hexadecimal(struct input *in, const char *at, size_t bytes) {
    for (; bytes--; at += 2) {
        int high = nibble(at[0]), low = nibble(at[1]);
        if (high < 0 || low < 0) return refuse(in);
        char byte = (char)(high << 4 | low);
        if (!write_bytes(in, &byte, 1)) return 0;
    }
    return 1;
}

/* The key `name` of an object that is being read, and its colon. */
static int key(struct input *in, const char *name) {
    const char *begin;
    size_t size;
    return simple(in, &begin, &size) && (same(begin, size, name) || refuse(in)) && expect(in, ':');
}

/* Digits that fill all of `size` characters, with a minus before them if there is one. */
static int whole(struct input *in, const char *at, size_t size, int64_t *found) {
    int negative = size && *at == '-';
    uint64_t digits = 0;
    if (size > LONGEST_NUMBER) return refuse(in);
    if (negative) at++, size--;
    if (!size) return refuse(in);
    for (; size--; at++) {
        if (!is_digit(*at) || digits > (UINT64_MAX - 9) / 10) return refuse(in);
        digits = digits * 10 + (uint64_t)(*at - '0');
    }
    if (digits > (uint64_t)INT64_MAX + (uint64_t)negative) return refuse(in);
    *found = negative ? (int64_t)(0 - digits) : (int64_t)digits;
    return 1;
}

static int whole_text(struct input *in, int64_t *found) {
    const char *begin;
    size_t size;
    return simple(in, &begin, &size) && whole(in, begin, size, found);
}

/* An integer of JSON, without a point or an exponent. */
static int whole_number(struct input *in, int64_t *found) {
    skip_space(in);
    const char *begin = (const char *)in->at;
    if (in->at < in->end && *in->at == '-') in->at++;
    const uint8_t *digits = in->at;
    while (in->at < in->end && is_digit((char)*in->at)) in->at++;
    if (in->at - digits > 1 && *digits == '0') return refuse(in);
    if (in->at < in->end && (*in->at == '.' || (*in->at | 0x20) == 'e')) return refuse(in);
    return whole(in, begin, (size_t)((const char *)in->at - begin), found);
}

static int object_id(struct input *in) {
    const char *begin;
    size_t size;
    return simple(in, &begin, &size) && (size == 24 || refuse(in)) && from_hexadecimal(in, begin, 12);
}

/* --- dates ------------------------------------------------------------------------------------------------------- */

/* `count` digits as a number, or -1. */
static int digits_of(const char *at, int count) {
    int found = 0;
    for (; count--; at++) {
        if (!is_digit(*at)) return -1;
        found = found * 10 + *at - '0';
    }
    return found;
}

static int64_t days_before(int year, int month, int day) {
    /* By eras of 400 years that begin on 1 March. */
    year -= month <= 2;
    int64_t era = year / 400;
    int of_era = year - (int)era * 400;
    int of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Minutes of an offset: Z, +hh, +hhmm or +hh:mm. */
static int offset_of(struct input *in, const char *at, size_t size, int *minutes) {
    *minutes = 0;
    if (size == 1 && *at == 'Z') return 1;
    if ((size != 3 && size != 5 && size != 6) || (*at != '+' && *at != '-') || (size == 6 && at[3] != ':'))
        return refuse(in);
    int hour = digits_of(at + 1, 2), minute = size == 3 ? 0 : digits_of(at + size - 2, 2);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return refuse(in);
    *minutes = (hour * 60 + minute) * (*at == '-' ? -1 : 1);
    return 1;
}

static int iso_date(struct input *in) {
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *at;
    size_t size;
    if (!simple(in, &at, &size)) return 0;
    if (size < 20 || at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':') return refuse(in);
    int year = digits_of(at, 4), month = digits_of(at + 5, 2), day = digits_of(at + 8, 2);
    int hour = digits_of(at + 11, 2), minute = digits_of(at + 14, 2), second = digits_of(at + 17, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23) return refuse(in);
    if (minute < 0 || minute > 59 || second < 0 || second > 59) return refuse(in);
    int leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > lengths[month - 1] + leap) return refuse(in);
    const char *end = at + size;
    int milliseconds = 0, minutes;
    at += 19;
    if (*at == '.') {
        int places = 0;
        for (at++; at < end && is_digit(*at); at++, places++)
            if (places < 3) milliseconds = milliseconds * 10 + *at - '0';
        if (places < 1 || places > 9) return refuse(in);
        for (; places < 3; places++) milliseconds *= 10;
    }
    if (at == end || !offset_of(in, at, (size_t)(end - at), &minutes)) return refuse(in);
    int64_t seconds = days_before(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - minutes * 60;
    return write64(in, (uint64_t)(seconds * 1000 + milliseconds));
}

static int date(struct input *in) {
    int64_t found;
    skip_space(in);
    if (in->at == in->end) return refuse(in);
    if (*in->at == '"') return iso_date(in);
    if (*in->at == '{') {
        in->at++;
        if (!key(in, "$numberLong") || !whole_text(in, &found) || !expect(in, '}')) return 0;
    } else if (!whole_number(in, &found)) {
        return 0;
    }
    return write64(in, (uint64_t)found);
}

/* --- numbers ----------------------------------------------------------------------------------------------------- */

static int number_int(struct input *in) {
    int64_t found;
    if (!whole_text(in, &found)) return 0;
    return found < INT32_MIN || found > INT32_MAX ? refuse(in) : write32(in, (uint32_t)(int32_t)found);
}

static int number_long(struct input *in) {
    int64_t found;
    return whole_text(in, &found) && write64(in, (uint64_t)found);
}

static size_t run_of_digits(const char *at, const char *end) {
    const char *begin = at;
    while (at < end && is_digit(*at)) at++;
    return (size_t)(at - begin);
}

static int number_double(struct input *in) {
    const char *begin, *at;
    size_t size, before, behind = 0;
    double value;
    uint64_t bits;
    if (!simple(in, &begin, &size)) return 0;
    if (size > LONGEST_NUMBER) return refuse(in);
    if (same(begin, size, "NaN")) return write64(in, 0x7FF8000000000000ULL);
    if (same(begin, size, "Infinity")) return write64(in, 0x7FF0000000000000ULL);
    if (same(begin, size, "-Infinity")) return write64(in, 0xFFF0000000000000ULL);
    const char *end = begin + size;
    at = begin;
    if (at < end && (*at == '+' || *at == '-')) at++;
    at += before = run_of_digits(at, end);
    if (at < end && *at == '.') {
        at++;
        at += behind = run_of_digits(at, end);
    }
    if (!before && !behind) return refuse(in);
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        size_t exponent = run_of_digits(at, end);
        if (!exponent) return refuse(in);
        at += exponent;
    }
    if (at != end || !double_of(begin, size, &value) || !isfinite(value)) return refuse(in);
    memcpy(&bits, &value, sizeof bits);
    return write64(in, bits);
}

/* Decimal128 of up to 34 digits that fit without another form: its sign, exponent and digits as one integer. */
static int number_decimal(struct input *in) {
    const char *at;
    size_t size;
    if (!simple(in, &at, &size)) return 0;
    const char *end = at + size;
    int negative = at < end && *at == '-', count = 0;
    if (at < end && (*at == '-' || *at == '+')) at++;
    uint32_t parts[4] = {0, 0, 0, 0};
    int64_t power = 0;
    int places = 0, point = 0;
    for (; at < end && (is_digit(*at) || (*at == '.' && !point && places)); at++) {
        if (*at == '.') {
            point = 1;
            continue;
        }
        if (++places > 40) return refuse(in);
        if ((count || *at != '0') && ++count > 34) return refuse(in);
        power -= point;
        uint64_t carry = (uint64_t)(*at - '0');
        for (int part = 3; part >= 0; part--) {
            carry += (uint64_t)parts[part] * 10;
            parts[part] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    if (!places) return refuse(in);
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        int down = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+')) at++;
        size_t digits = run_of_digits(at, end);
        if (digits < 1 || digits > 5) return refuse(in);
        int64_t exponent = digits_of(at, (int)digits);
        power += down ? -exponent : exponent;
        at += digits;
    }
    if (at != end || power < -6176 || power > 6111) return refuse(in);
    uint64_t low = (uint64_t)parts[2] << 32 | parts[3], high = (uint64_t)parts[0] << 32 | parts[1];
    high |= (uint64_t)(power + 6176) << 49 | (uint64_t)negative << 63;
    return write64(in, low) && write64(in, high);
}

/* --- the other types --------------------------------------------------------------------------------------------- */

static int uuid(struct input *in) {
    static const struct { int at, bytes; } groups[] = {{0, 4}, {9, 2}, {14, 2}, {19, 2}, {24, 6}};
    const char *begin;
    size_t size;
    if (!simple(in, &begin, &size)) return 0;
    if (size != 36 || begin[8] != '-' || begin[13] != '-' || begin[18] != '-' || begin[23] != '-') return refuse(in);
    if (!write32(in, 16) || !write_bytes(in, "\4", 1)) return 0;
    for (int group = 0; group < 5; group++)
        if (!from_hexadecimal(in, begin + groups[group].at, (size_t)groups[group].bytes)) return 0;
    return 1;
}

static int of_base64(char byte) {
    if (byte >= 'A' && byte <= 'Z') return byte - 'A';
    if (byte >= 'a' && byte <= 'z') return byte - 'a' + 26;
    if (is_digit(byte)) return byte - '0' + 52;
    return byte == '+' ? 62 : byte == '/' ? 63 : -1;
}

static int from_base64(struct input *in, const char *at, size_t size) {
    if (size % 4) return refuse(in);
    for (; size; size -= 4, at += 4) {
        int missing = size == 4 ? (at[3] == '=') + (at[3] == '=' && at[2] == '=') : 0;
        uint32_t bits = 0;
        for (int place = 0; place < 4; place++) {
            int part = place < 4 - missing ? of_base64(at[place]) : 0;
            if (part < 0) return refuse(in);
            bits = bits << 6 | (uint32_t)part;
        }
        if (missing && bits & (missing == 1 ? 0xFFu : 0xFFFFu)) return refuse(in);
        char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        if (!write_bytes(in, bytes, (size_t)(3 - missing))) return 0;
    }
    return 1;
}

static int binary(struct input *in) {
    const char *begin;
    size_t size;
    size_t head = in->out->size;
    if (!expect(in, '{') || !write_bytes(in, "\0\0\0\0\0", 5)) return 0;
    if (!key(in, "base64") || !simple(in, &begin, &size) || !from_base64(in, begin, size)) return 0;
    store32(in->out->data + head, (uint32_t)(in->out->size - head - 5));
    if (!expect(in, ',') || !key(in, "subType") || !simple(in, &begin, &size) || !expect(in, '}')) return 0;
    if (size < 1 || size > 2) return refuse(in);
    int high = size == 2 ? nibble(begin[0]) : 0, low = nibble(begin[size - 1]);
    if (high < 0 || low < 0 || (high << 4 | low) == 2) return refuse(in); /* the old kind has a length inside */
    in->out->data[head + 4] = (char)(high << 4 | low);
    return 1;
}

static int regular_expression(struct input *in) {
    static const char letters[] = "ilmsux";
    const char *begin;
    size_t size, count = 0, start = in->out->size;
    char sorted[8];
    if (!expect(in, '{') || !key(in, "pattern") || !expect(in, '"') || !text(in)) return 0;
    if (memchr(in->out->data + start, 0, in->out->size - start)) return refuse(in);
    if (!expect(in, ',') || !key(in, "options") || !simple(in, &begin, &size) || !expect(in, '}')) return 0;
    for (const char *letter = letters; *letter; letter++)
        if (size && memchr(begin, *letter, size)) sorted[count++] = *letter;
    if (count != size) return refuse(in); /* unknown letters, or twice the same */
    return write_bytes(in, "", 1) && write_bytes(in, sorted, count) && write_bytes(in, "", 1);
}

static int timestamp(struct input *in) {
    int64_t seconds, ordinal;
    if (!expect(in, '{') || !key(in, "t") || !whole_number(in, &seconds) || !expect(in, ',')) return 0;
    if (!key(in, "i") || !whole_number(in, &ordinal) || !expect(in, '}')) return 0;
    if (seconds < 0 || seconds > UINT32_MAX || ordinal < 0 || ordinal > UINT32_MAX) return refuse(in);
    return write32(in, (uint32_t)ordinal) && write32(in, (uint32_t)seconds);
}

static int bound(struct input *in) {
    int64_t found;
    return whole_number(in, &found) && (found == 1 || refuse(in));
}

static const struct {
    const char *name;
    uint8_t type;
    int (*read)(struct input *);
} known[] = {
    {"$oid", 0x07, object_id},
    {"$date", 0x09, date},
    {"$numberLong", 0x12, number_long},
    {"$numberInt", 0x10, number_int},
    {"$numberDouble", 0x01, number_double},
    {"$numberDecimal", 0x13, number_decimal},
    {"$uuid", 0x05, uuid},
    {"$binary", 0x05, binary},
    {"$regularExpression", 0x0B, regular_expression},
    {"$timestamp", 0x11, timestamp},
    {"$minKey", 0xFF, bound},
    {"$maxKey", 0x7F, bound},
};

enum kind wrapper(struct input *in, size_t type_at) {
    const uint8_t *begin = in->at;
    const char *name;
    size_t size;
    skip_space(in);
    if (in->end - in->at < 2 || in->at[0] != '"' || in->at[1] != '$') {
        in->at = begin;
        return PLAIN_OBJECT;
    }
    if (!simple(in, &name, &size)) return BROKEN;
    for (size_t index = 0; index < sizeof known / sizeof *known; index++) {
        if (!same(name, size, known[index].name)) continue;
        set_type(in, type_at, known[index].type);
        return expect(in, ':') && known[index].read(in) && expect(in, '}') ? WRAPPED : BROKEN;
    }
    in->at = begin;
    return PLAIN_OBJECT;
}
