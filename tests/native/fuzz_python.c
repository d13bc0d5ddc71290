/* A module of encode.c and values.c alone, for a build with AddressSanitizer. Bytes are read from a block of their very
 * size: behind those of a Python object there is a NUL of its own. */
#include "encode.h"
#include "values.h"

#include <stdlib.h>
#include <string.h>

static PyObject *read_values(PyObject *module, PyObject *given) {
    (void)module;
    char *bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(given, &bytes, &size) < 0) return NULL;
    uint8_t *own = malloc((size_t)size);
    if (!own) return PyErr_NoMemory();
    memcpy(own, bytes, (size_t)size);
    PyObject *found = values_of(own, (size_t)size);
    free(own);
    return found || PyErr_Occurred() ? found : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"encode", encode, METH_O, "encode(document): as BSON, or None."},
    {"values", read_values, METH_O, "values(bson): the document, or None. UnicodeDecodeError for text that is none."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "fuzz_python", NULL, 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_fuzz_python(void) {
    return prepare_encoding() && prepare_values() ? PyModule_Create(&definition) : NULL;
}
