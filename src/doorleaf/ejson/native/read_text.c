/* Strings and numbers of JSON. */
#include "reading.h"

#include <math.h>
#include <stdlib.h>

#define EACH 0x0101010101010101ULL

static int hexadecimal(struct input *in, uint32_t *found) {
    *found = 0;
    if (in->end - in->at < 4) return refuse(in);
    for (int digit = 0; digit < 4; digit++) {
        uint8_t byte = *in->at++;
        uint32_t part;
        if (byte >= '0' && byte <= '9')
            part = byte - '0';
        else if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
            part = (byte | 0x20) - 'a' + 10u;
        else
            return refuse(in);
        *found = *found << 4 | part;
    }
    return 1;
}

/* What follows a backslash. Half a surrogate pair is declined. */
static int escape(struct input *in) {
    if (in->at == in->end) return refuse(in);
    char written[4];
    uint32_t point, low;
    switch (*in->at++) {
    case '"': return write_bytes(in, "\"", 1);
    case '\\': return write_bytes(in, "\\", 1);
    case '/': return write_bytes(in, "/", 1);
    case 'b': return write_bytes(in, "\b", 1);
    case 'f': return write_bytes(in, "\f", 1);
    case 'n': return write_bytes(in, "\n", 1);
    case 'r': return write_bytes(in, "\r", 1);
    case 't': return write_bytes(in, "\t", 1);
    case 'u': break;
    default: return refuse(in);
    }
    if (!hexadecimal(in, &point)) return 0;
    if (point >= 0xD800 && point < 0xE000) {
        if (point >= 0xDC00 || in->end - in->at < 6 || in->at[0] != '\\' || in->at[1] != 'u') return refuse(in);
        in->at += 2;
        if (!hexadecimal(in, &low)) return 0;
        if (low < 0xDC00 || low >= 0xE000) return refuse(in);
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    size_t size = 0;
    if (point < 0x80) {
        written[size++] = (char)point;
    } else if (point < 0x800) {
        written[size++] = (char)(0xC0 | point >> 6);
        written[size++] = (char)(0x80 | (point & 63));
    } else if (point < 0x10000) {
        written[size++] = (char)(0xE0 | point >> 12);
        written[size++] = (char)(0x80 | (point >> 6 & 63));
        written[size++] = (char)(0x80 | (point & 63));
    } else {
        written[size++] = (char)(0xF0 | point >> 18);
        written[size++] = (char)(0x80 | (point >> 12 & 63));
        written[size++] = (char)(0x80 | (point >> 6 & 63));
        written[size++] = (char)(0x80 | (point & 63));
    }
    return write_bytes(in, written, size);
}

int text(struct input *in) {
    const uint8_t *run = in->at;
    for (;;) {
        /* Eight at a time while all are printable ASCII, and neither a quote nor a backslash. */
        while (in->end - in->at >= 8) {
            uint64_t eight;
            memcpy(&eight, in->at, 8);
            uint64_t quote = eight ^ (EACH * '"'), backslash = eight ^ (EACH * '\\');
            uint64_t odd = (eight - EACH * 0x20) | (quote - EACH) | (backslash - EACH) | eight;
            if (odd & (EACH * 0x80)) break;
            in->at += 8;
        }
        if (in->at == in->end) return refuse(in);
        uint8_t byte = *in->at;
        if (byte >= 0x80) {
            size_t length = wide(in->at, in->end);
            if (!length) return refuse(in);
            in->at += length;
        } else if (byte == '"') {
            if (!write_bytes(in, run, (size_t)(in->at - run))) return 0;
            in->at++;
            return 1;
        } else if (byte == '\\') {
            if (!write_bytes(in, run, (size_t)(in->at - run))) return 0;
            in->at++;
            if (!escape(in)) return 0;
            run = in->at;
        } else if (byte < 0x20) {
            return refuse(in);
        } else {
            in->at++;
        }
    }
}

int simple(struct input *in, const char **begin, size_t *size) {
    if (!expect(in, '"')) return 0;
    *begin = (const char *)in->at;
    while (in->at < in->end && *in->at >= 0x20 && *in->at < 0x80 && *in->at != '"' && *in->at != '\\') in->at++;
    if (in->at == in->end || *in->at != '"') return refuse(in);
    *size = (size_t)((const char *)in->at - *begin);
    in->at++;
    return 1;
}

/* --- numbers ---------------------------------------------------------------------------------------------------- */

static int is_digit(int byte) { return byte >= '0' && byte <= '9'; }

/* The double nearest to `size` characters that are a number of JSON, or such a one with a sign or a point in unusual
 * places; 0 when they are too many or mean something else here. */
int double_of(const char *begin, size_t size, double *value) {
    char copy[72], *end;
    if (!size || size >= sizeof copy) return 0;
    memcpy(copy, begin, size);
    copy[size] = 0;
    *value = strtod(copy, &end);
    return end == copy + size;
}

/* Exact where the digits and the power of ten are both exact doubles; the rest takes strtod. */
static int real_number(struct input *in, const uint8_t *begin, uint64_t digits, int count, int64_t power, double *value) {
    static const double tens[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (count <= 19 && digits <= 1ULL << 53 && power >= -22 && power <= 22) {
        *value = power < 0 ? (double)digits / tens[-power] : (double)digits * tens[power];
        if (*begin == '-') *value = -*value;
        return 1;
    }
    return double_of((const char *)begin, (size_t)(in->at - begin), value) ? 1 : refuse(in);
}

int number(struct input *in, size_t type_at) {
    const uint8_t *begin = in->at;
    int negative = *in->at == '-', count = 0, whole = 1;
    int64_t power = 0;
    uint64_t digits = 0;
    if (negative) in->at++;
    if (in->at == in->end || !is_digit(*in->at)) return refuse(in);
    if (*in->at == '0' && in->at + 1 < in->end && is_digit(in->at[1])) return refuse(in);
    for (; in->at < in->end && is_digit(*in->at); in->at++)
        if (count || *in->at != '0') {
            if (++count <= 19) digits = digits * 10 + (uint64_t)(*in->at - '0');
        }
    if (in->at < in->end && *in->at == '.') {
        whole = 0;
        in->at++;
        if (in->at == in->end || !is_digit(*in->at)) return refuse(in);
        for (; in->at < in->end && is_digit(*in->at); in->at++, power--)
            if (count || *in->at != '0') {
                if (++count <= 19) digits = digits * 10 + (uint64_t)(*in->at - '0');
            }
    }
    if (in->at < in->end && (*in->at | 0x20) == 'e') {
        whole = 0;
        in->at++;
        int down = in->at < in->end && *in->at == '-';
        if (in->at < in->end && (*in->at == '-' || *in->at == '+')) in->at++;
        if (in->at == in->end || !is_digit(*in->at)) return refuse(in);
        int64_t exponent = 0;
        for (; in->at < in->end && is_digit(*in->at); in->at++)
            if (exponent < 100000) exponent = exponent * 10 + (*in->at - '0');
        power += down ? -exponent : exponent;
    }
    if (in->at - begin > LONGEST_NUMBER) return refuse(in);
    if (whole) {
        if (count > 19 || digits > (uint64_t)INT64_MAX + (uint64_t)negative) return refuse(in);
        int64_t found = negative ? (int64_t)(0 - digits) : (int64_t)digits;
        int small = found >= INT32_MIN && found <= INT32_MAX;
        set_type(in, type_at, small ? 0x10 : 0x12);
        return small ? write32(in, (uint32_t)(int32_t)found) : write64(in, (uint64_t)found);
    }
    double value;
    uint64_t bits;
    if (!real_number(in, begin, digits, count, power, &value)) return 0;
    if (!(value > -9223372036854775808.0 && value < 9223372036854775808.0)) return refuse(in);
    memcpy(&bits, &value, sizeof bits);
    set_type(in, type_at, 0x01);
    return write64(in, bits);
}
