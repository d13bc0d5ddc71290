/* See values.h: a third of what the driver's decoder takes for a short document, which looks at every option each time.
 * Every read is checked against the end of the document that it is in. */
#include "values.h"

#include "elements.h"
#include "encode.h"

#include <string.h>

#define DEEPEST 128 /* our reader nests no deeper than 101 */
#define DAY_MS 86400000LL
#define FIRST_MS (-62135596800000LL) /* of the years 1 to 9999, which Python's dates have */
#define LAST_MS 253402300799999LL

static PyObject *object_id, *int64, *moment, *raw_name, *nothing;
static newfunc new_id;

struct span {
    const uint8_t *at, *end;
};

int prepare_values(void) {
    object_id = class_of("bson.objectid", "ObjectId");
    int64 = object_id ? class_of("bson.int64", "Int64") : NULL;
    moment = int64 ? class_of("datetime", "datetime") : NULL;
    if (!moment) return 0;
    new_id = (newfunc)PyType_GetSlot((PyTypeObject *)object_id, Py_tp_new);
    raw_name = PyUnicode_InternFromString("_ObjectId__id");
    nothing = PyTuple_New(0);
    return new_id && raw_name && nothing;
}

static PyObject *id(const uint8_t *at) {
    PyObject *raw = PyBytes_FromStringAndSize((const char *)at, 12);
    PyObject *made = raw ? new_id((PyTypeObject *)object_id, nothing, NULL) : NULL;
    if (made && PyObject_SetAttr(made, raw_name, raw) < 0) Py_CLEAR(made);
    Py_XDECREF(raw);
    return made;
}

static PyObject *long_integer(int64_t value) {
    PyObject *plain = PyLong_FromLongLong(value);
    PyObject *made = plain ? PyObject_CallFunctionObjArgs(int64, plain, NULL) : NULL;
    Py_XDECREF(plain);
    return made;
}

/* A date of the proleptic Gregorian calendar, by the days of an era of 400 years that begins in March of the year 0. */
static PyObject *date(int64_t ms) {
    if (ms < FIRST_MS || ms > LAST_MS) return NULL;
    int64_t days = (ms - FIRST_MS) / DAY_MS + 306, rest = (ms - FIRST_MS) % DAY_MS;
    int64_t era = days / 146097, of_era = days % 146097;
    int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * years + years / 4 - years / 100), month = (5 * of_year + 2) / 153;
    int day = (int)(of_year - (153 * month + 2) / 5) + 1;
    int year = (int)(years + era * 400 + (month >= 10));
    int seconds = (int)(rest / 1000);
    return PyObject_CallFunction(moment, "iiiiiii", year, (int)(month < 10 ? month + 3 : month - 9), day, seconds / 3600,
                                 seconds / 60 % 60, seconds % 60, (int)(rest % 1000) * 1000);
}

static PyObject *members(struct span span, int depth, int array);

static PyObject *value_of(uint8_t kind, struct span value, int depth) {
    const uint8_t *at = value.at;
    double real;
    uint64_t bits;
    switch (kind) {
    case 0x01:
        bits = wide_number(at);
        memcpy(&real, &bits, sizeof real);
        return PyFloat_FromDouble(real);
    case 0x02: return PyUnicode_DecodeUTF8((const char *)at + 4, value.end - at - 5, NULL);
    case 0x03: return members(value, depth + 1, 0);
    case 0x04: return members(value, depth + 1, 1);
    case 0x07: return id(at);
    case 0x08: return PyBool_FromLong(*at);
    case 0x09: return date((int64_t)wide_number(at));
    case 0x0A: return Py_NewRef(Py_None);
    case 0x10: return PyLong_FromLong((int32_t)number(at));
    case 0x12: return long_integer((int64_t)wide_number(at));
    default: return NULL; /* rare */
    }
}

/* Put a value in its place; 0 when that fails. */
static int put(PyObject *found, struct span name, PyObject *value, int array) {
    if (array) return PyList_Append(found, value) == 0;
    PyObject *key = PyUnicode_DecodeUTF8((const char *)name.at, name.end - name.at, NULL);
    int done = key && PyDict_SetItem(found, key, value) == 0;
    Py_XDECREF(key);
    return done;
}

/* A dict, or a list, of what a document has. */
static PyObject *members(struct span span, int depth, int array) {
    size_t size = (size_t)(span.end - span.at);
    if (depth > DEEPEST || size < 5 || number(span.at) != size || span.end[-1]) return NULL;
    const uint8_t *at = span.at + 4, *end = span.end - 1;
    PyObject *found = array ? PyList_New(0) : PyDict_New();
    while (found && at < end) {
        uint8_t kind = *at++;
        const uint8_t *last = at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;
        struct span name = {at, last};
        size = last ? value_size(kind, last + 1, end) : NONE;
        /* A document with $ref may be a reference, which is for the driver to say. */
        int rare = size == NONE || (depth && last - at == 4 && !memcmp(at, "$ref", 4));
        PyObject *value = rare ? NULL : value_of(kind, (struct span){last + 1, last + 1 + size}, depth);
        if (!value || !put(found, name, value, array)) Py_CLEAR(found);
        Py_XDECREF(value);
        if (found) at = last + 1 + size;
    }
    return found;
}

PyObject *values_of(const uint8_t *bson, size_t size) { return members((struct span){bson, bson + size}, 0, 0); }
