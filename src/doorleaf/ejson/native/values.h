/* From BSON that our own reader wrote to Python's values. */
#ifndef DOORLEAF_VALUES_H
#define DOORLEAF_VALUES_H

#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdint.h>

/* Find the classes of values; 0 with an exception. */
int prepare_values(void);

/* A dict of the `size` bytes, one document, as bson.decode makes it. NULL with an exception, or without one: it has a
 * value of a type that is rare in requests. */
PyObject *values_of(const uint8_t *bson, size_t size);

#endif
