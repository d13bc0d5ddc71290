/* Numbers as text. */
#include "parts.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The digits of `number` before `end`; where they begin. */
static char *backwards(char *end, uint64_t number) {
    do *--end = (char)('0' + number % 10);
    while (number /= 10);
    return end;
}

int integer(struct job *job, int64_t number) {
    char digits[24];
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t at = (size_t)(backwards(digits + sizeof digits, left) - digits);
    if (number < 0) digits[--at] = '-';
    return put(job, digits + at, sizeof digits - at);
}

int wrapped(struct job *job, const char *name, int64_t number) {
    return put(job, name, strlen(name)) && integer(job, number) && PUT(job, "\"}");
}

/* The shortest digits that read back as `number`, which is finite, positive and not 0, and the decimal exponent of the
 * first of them; their count, or 0 where fewer may do or the shortest may not be the nearest (the smallest numbers, and
 * powers of two). */
static int shortest(double number, char digits[20], int *exponent) {
    /* Decimals of up to 15 digits name different doubles: one of them that reads back is the shortest. */
    static const double tens[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9, 1e10,
                                  1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20};
    for (int places = 0; places < (int)(sizeof tens / sizeof *tens); places++) {
        double scaled = number * tens[places];
        if (!(scaled < 1e15)) break;
        uint64_t whole = (uint64_t)(scaled + 0.5);
        if (whole == 0 || (double)whole / tens[places] != number) continue;
        char *begin = backwards(digits + 20, whole);
        int count = (int)(digits + 20 - begin);
        memmove(digits, begin, (size_t)count);
        *exponent = count - 1 - places;
        while (count > 1 && digits[count - 1] == '0') count--;
        return count;
    }
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    if (!(bits & 0xFFFFFFFFFFFFFULL) || number < DBL_MIN) return 0;
    char written[32];
    for (int precision = 14; precision <= 16; precision++) {
        snprintf(written, sizeof written, "%.*e", precision, number);
        if (written[1] != '.') return 0; /* a locale of its own */
        if (precision == 16 || strtod(written, NULL) == number) break;
    }
    int count = 0;
    char *at = written;
    for (; *at && *at != 'e'; at++)
        if (*at != '.') digits[count++] = *at;
    *exponent = atoi(at + 1);
    while (count > 1 && digits[count - 1] == '0') count--;
    return count;
}

/* `number` as orjson writes it, or as Python does: they differ in where exponents begin and how they look. */
static int decimal_text(struct job *job, double number, int python) {
    char digits[20], written[48];
    int exponent = 0, count = 1;
    size_t at = 0;
    if (signbit(number)) written[at++] = '-';
    number = fabs(number);
    if (number == 0)
        digits[0] = '0';
    else if (!(count = shortest(number, digits, &exponent)))
        return declined(job);
    if (exponent >= 16 || exponent < (python ? -4 : -5)) {
        written[at++] = digits[0];
        if (count > 1) {
            written[at++] = '.';
            memcpy(written + at, digits + 1, (size_t)count - 1);
            at += (size_t)count - 1;
        }
        const char *form = python ? "e%+03d" : job->plus ? "e%+d" : "e%d";
        at += (size_t)snprintf(written + at, 8, form, exponent);
    } else if (exponent < 0) {
        written[at++] = '0';
        written[at++] = '.';
        for (int zero = -1; zero > exponent; zero--) written[at++] = '0';
        memcpy(written + at, digits, (size_t)count);
        at += (size_t)count;
    } else {
        for (int digit = 0; digit <= exponent || digit < count; digit++) {
            if (digit == exponent + 1) written[at++] = '.';
            written[at++] = digit < count ? digits[digit] : '0';
        }
        if (count <= exponent + 1) {
            written[at++] = '.';
            written[at++] = '0';
        }
    }
    return put(job, written, at);
}

int real(struct job *job, uint64_t bits) {
    double number;
    memcpy(&number, &bits, sizeof number);
    if (isnan(number)) return PUT(job, "{\"$numberDouble\":\"NaN\"}");
    if (isinf(number)) {
        if (number > 0) return PUT(job, "{\"$numberDouble\":\"Infinity\"}");
        return PUT(job, "{\"$numberDouble\":\"-Infinity\"}");
    }
    if (job->mode != CANONICAL) return decimal_text(job, number, 0);
    return PUT(job, "{\"$numberDouble\":\"") && decimal_text(job, number, 1) && PUT(job, "\"}");
}

/* Decimal128 by the specification's "to string": digits, with a point or an exponent as its exponent asks. */
int decimal(struct job *job, uint64_t low, uint64_t high) {
    char digits[40], written[64];
    int count = 0, exponent;
    size_t at = 0;
    int negative = (int)(high >> 63);
    unsigned combination = (unsigned)(high >> 58) & 31;
    if (combination >= 30) {
        const char *name = combination == 31 ? "NaN" : negative ? "-Infinity" : "Infinity";
        if (job->mode == PLAIN) return PUT(job, "\"") && put(job, name, strlen(name)) && PUT(job, "\"");
        return PUT(job, "{\"$numberDecimal\":\"") && put(job, name, strlen(name)) && PUT(job, "\"}");
    }
    if (combination >= 24) return declined(job); /* a coefficient beyond 34 digits, which stands for 0 */
    exponent = (int)(high >> 49 & 0x3FFF) - 6176;
    high &= 0x1FFFFFFFFFFFFULL;
    uint32_t parts[4] = {(uint32_t)(high >> 32), (uint32_t)high, (uint32_t)(low >> 32), (uint32_t)low};
    do { /* divide by ten, the high parts first */
        uint64_t rest = 0;
        for (int part = 0; part < 4; part++) {
            rest = rest << 32 | parts[part];
            parts[part] = (uint32_t)(rest / 10);
            rest %= 10;
        }
        digits[count++] = (char)('0' + rest);
    } while (parts[0] | parts[1] | parts[2] | parts[3]);
    if (count > 34) return declined(job);
    if (negative) written[at++] = '-';
    int scientific = count - 1 + exponent;
    if (exponent > 0 || scientific < -6) {
        written[at++] = digits[count - 1];
        if (count > 1) {
            written[at++] = '.';
            for (int digit = count - 2; digit >= 0; digit--) written[at++] = digits[digit];
        }
        at += (size_t)snprintf(written + at, 12, "E%+d", scientific);
    } else {
        if (scientific < 0) {
            written[at++] = '0';
            written[at++] = '.';
            for (int zero = -1; zero > scientific; zero--) written[at++] = '0';
        }
        for (int digit = count - 1; digit >= 0; digit--) {
            written[at++] = digits[digit];
            if (digit == -exponent && digit && scientific >= 0) written[at++] = '.';
        }
    }
    if (job->mode == PLAIN) return PUT(job, "\"") && put(job, written, at) && PUT(job, "\"");
    return PUT(job, "{\"$numberDecimal\":\"") && put(job, written, at) && PUT(job, "\"}");
}
