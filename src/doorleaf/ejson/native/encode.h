/* From Python's values to BSON. */
#ifndef DOORLEAF_ENCODE_H
#define DOORLEAF_ENCODE_H

#define Py_LIMITED_API 0x030B0000
#include <Python.h>

/* A class of a module; NULL with an exception. */
PyObject *class_of(const char *module, const char *name);

/* Find the classes that are known; 0 with an exception where one is not there. */
int prepare_encoding(void);

/* The BSON of a document, or None for one that has something left to the library that knows everything; NULL with an
 * exception where there is no memory for it. */
PyObject *encode(PyObject *module, PyObject *document);

#endif
