/* The Python module around transcode.c, for the stable interface of 3.11 and later. */
#include "encode.h"

#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "cut.h"
#include "head.h"
#include "parts.h"
#include "read.h"
#include "reply.h"
#include "transcode.h"
#include "values.h"

/* From so many bytes on other threads go on meanwhile. */
#define LONG_WORK (32 * 1024)
#define LARGE_BLOCK (1024 * 1024)

static PyObject *finished(struct text *out, enum outcome outcome) {
    PyObject *result = NULL;
    if (outcome == WRITTEN)
        result = PyBytes_FromStringAndSize(out->data, (Py_ssize_t)out->size);
    else if (outcome == DECLINED)
        result = Py_NewRef(Py_None);
    else
        PyErr_NoMemory();
    free(out->data);
    return result;
}

static int mode_of(long mode) {
    if (mode >= PLAIN && mode <= JAVASCRIPT) return 1;
    PyErr_SetString(PyExc_ValueError, "mode: expected 0 to 3");
    return 0;
}

static PyObject *document(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *given;
    char *bson;
    Py_ssize_t size;
    long mode;
    int plus;
    struct text out = {NULL, 0, 0};
    /* No format with a #: those that 3.13 compiles do not work before 3.13. */
    if (!PyArg_ParseTuple(arguments, "Slp", &given, &mode, &plus) || !mode_of(mode)) return NULL;
    if (PyBytes_AsStringAndSize(given, &bson, &size) < 0) return NULL;
    return finished(&out, transcode(&out, (const uint8_t *)bson, (size_t)size, (enum mode)mode, plus));
}

struct batch {
    const char *bson;
    Py_ssize_t size;
};

/* The array of `batches`, between what stands before and behind it. */
static enum outcome all(struct text *out, const struct batch *batches, Py_ssize_t count, enum mode mode, int plus,
                        const struct batch *head, const struct batch *tail) {
    size_t size = (size_t)head->size + (size_t)tail->size;
    for (Py_ssize_t index = 0; index < count; index++) size += (size_t)batches[index].size;
    /* JSON is mostly a little longer than BSON; what is too much is given back at the end. */
    if (!reserve(out, size + size / 4 + 64) || !append(out, head->bson, (size_t)head->size))
        return NO_MEMORY;
    if (!append(out, "[", 1)) return NO_MEMORY;
    for (Py_ssize_t index = 0; index < count; index++) {
        if (index && !append(out, ",", 1)) return NO_MEMORY;
        const uint8_t *bson = (const uint8_t *)batches[index].bson;
        enum outcome outcome = transcode(out, bson, (size_t)batches[index].size, mode, plus);
        if (outcome != WRITTEN) return outcome;
    }
    return append(out, "]", 1) && append(out, tail->bson, (size_t)tail->size) ? WRITTEN : NO_MEMORY;
}

static PyObject *documents(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *given, *held, *before = NULL, *behind = NULL;
    long mode;
    int plus;
    struct batch head = {"", 0}, tail = {"", 0};
    if (!PyArg_ParseTuple(arguments, "O!lp|SS", &PyList_Type, &given, &mode, &plus, &before, &behind)) return NULL;
    if (!mode_of(mode)) return NULL;
    if (before && PyBytes_AsStringAndSize(before, (char **)&head.bson, &head.size) < 0) return NULL;
    if (behind && PyBytes_AsStringAndSize(behind, (char **)&tail.bson, &tail.size) < 0) return NULL;
    held = PyList_AsTuple(given); /* others may change the list meanwhile, and nobody this */
    if (!held) return NULL;
    Py_ssize_t count = PyTuple_Size(held), total = 0, kept = 0;
    struct batch *batches = malloc((size_t)(count ? count : 1) * sizeof *batches);
    struct text out = {NULL, 0, 0};
    enum outcome outcome = NO_MEMORY;
    PyObject *result = NULL;
    if (!batches) goto done;
    for (Py_ssize_t index = 0; index < count; index++) {
        char *bson;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(held, index), &bson, &size) < 0) goto failed;
        if (!size) continue;
        batches[kept].bson = bson;
        batches[kept++].size = size;
        total += size;
    }
    if (total >= LONG_WORK) {
        Py_BEGIN_ALLOW_THREADS;
        outcome = all(&out, batches, kept, (enum mode)mode, plus, &head, &tail);
        Py_END_ALLOW_THREADS;
    } else {
        outcome = all(&out, batches, kept, (enum mode)mode, plus, &head, &tail);
    }
done:
    result = finished(&out, outcome);
failed:
    free(batches);
    Py_DECREF(held);
    return result;
}

static PyObject *bson(PyObject *module, PyObject *given) {
    (void)module;
    char *json;
    Py_ssize_t size;
    struct text out = {NULL, 0, 0};
    enum outcome outcome;
    if (PyBytes_AsStringAndSize(given, &json, &size) < 0) return NULL;
    if (size >= LONG_WORK) {
        Py_BEGIN_ALLOW_THREADS;
        outcome = read_json(&out, (const uint8_t *)json, (size_t)size);
        Py_END_ALLOW_THREADS;
    } else {
        outcome = read_json(&out, (const uint8_t *)json, (size_t)size);
    }
    return finished(&out, outcome);
}

static PyObject *values(PyObject *module, PyObject *given) {
    (void)module;
    char *json;
    Py_ssize_t size;
    struct text out = {NULL, 0, 0};
    if (PyBytes_AsStringAndSize(given, &json, &size) < 0) return NULL;
    enum outcome outcome = read_json(&out, (const uint8_t *)json, (size_t)size);
    if (outcome != WRITTEN) return finished(&out, outcome);
    PyObject *found = values_of((const uint8_t *)out.data, out.size);
    free(out.data);
    return found || PyErr_Occurred() ? found : Py_NewRef(Py_None);
}

/* A list of the fields of `head`: pairs of bytes, the names in lower case. */
static PyObject *fields(const char *given, const struct head *head) {
    PyObject *listed = PyList_New((Py_ssize_t)head->count);
    for (size_t index = 0; listed && index < head->count; index++) {
        const struct part *name = head->names + index, *value = head->values + index;
        PyObject *first = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)name->size);
        PyObject *second = PyBytes_FromStringAndSize(given + value->at, (Py_ssize_t)value->size);
        PyObject *pair = first && second ? PyTuple_Pack(2, first, second) : NULL;
        if (pair) {
            char *written = PyBytes_AsString(first); /* nobody else has seen it yet */
            for (size_t byte = 0; byte < name->size; byte++)
                written[byte] = (char)lower((uint8_t)given[name->at + byte]);
            PyList_SetItem(listed, (Py_ssize_t)index, pair);
        } else {
            Py_CLEAR(listed);
        }
        Py_XDECREF(first);
        Py_XDECREF(second);
    }
    return listed;
}

static PyObject *request(PyObject *module, PyObject *came) {
    (void)module;
    char *given;
    Py_ssize_t size;
    struct head head;
    if (PyBytes_AsStringAndSize(came, &given, &size) < 0) return NULL;
    if (!ordinary((const uint8_t *)given, (size_t)size, &head)) Py_RETURN_NONE;
    PyObject *listed = fields(given, &head);
    PyObject *target = PyBytes_FromStringAndSize(given + head.target.at, (Py_ssize_t)head.target.size);
    PyObject *body = PyBytes_FromStringAndSize(given + head.body.at, (Py_ssize_t)head.body.size);
    PyObject *found = listed && target && body ? PyTuple_Pack(3, target, listed, body) : NULL;
    Py_XDECREF(listed);
    Py_XDECREF(target);
    Py_XDECREF(body);
    return found;
}

static PyObject *reply(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *content;
    Py_buffer came; /* nobody changes it while this has the interpreter */
    int asked;
    unsigned long long known;
    struct answer found;
    if (!PyArg_ParseTuple(arguments, "y*iK", &came, &asked, &known)) return NULL;
    if (!answers(came.buf, (size_t)came.len, asked, known, &found)) {
        content = Py_NewRef(Py_None);
    } else if (found.batch) {
        content = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)found.size);
        if (content) gather(&found, (uint8_t *)PyBytes_AsString(content)); /* nobody else has seen it yet */
    } else {
        content = Py_BuildValue("(ii)", found.matched, found.changed);
    }
    PyBuffer_Release(&came);
    return content;
}

/* `document` without its last `length` bytes but one, or None. */
static PyObject *shorter(PyObject *document, const char *fields, Py_ssize_t length) {
    char *bson;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(document, &bson, &size) < 0) return NULL;
    if (!ends_with((const uint8_t *)bson, (size_t)size, (const uint8_t *)fields, (size_t)length)) Py_RETURN_NONE;
    PyObject *left = PyBytes_FromStringAndSize(bson, size - length);
    if (left) {
        char *written = PyBytes_AsString(left); /* nobody else has seen it yet */
        for (int byte = 0; byte < 4; byte++) written[byte] = (char)((uint32_t)(size - length) >> 8 * byte);
        written[size - length - 1] = 0;
    }
    return left;
}

static PyObject *without(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *given, *last;
    char *fields;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "O!S", &PyList_Type, &given, &last)) return NULL;
    if (PyBytes_AsStringAndSize(last, &fields, &length) < 0) return NULL;
    Py_ssize_t count = PyList_Size(given);
    PyObject *found = PyList_New(count);
    for (Py_ssize_t index = 0; found && index < count; index++) {
        PyObject *left = shorter(PyList_GetItem(given, index), fields, length);
        if (left)
            PyList_SetItem(found, index, left);
        else
            Py_CLEAR(found);
    }
    return found;
}

/* Without this the library of C gives a large block back to the system only until it has been freed once, and of small
 * ones only those behind the last that is in use. */
static PyObject *give_back(PyObject *module, PyObject *nothing) {
    (void)module;
    (void)nothing;
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BLOCK);
    Py_BEGIN_ALLOW_THREADS
    malloc_trim(0);
    Py_END_ALLOW_THREADS
#endif
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"bson", bson, METH_O, "bson(json): a JSON object with Extended JSON inside as BSON, or None for Python to read."},
    {"document", document, METH_VARARGS,
     "document(bson, mode, plus): one BSON document as a JSON object, or None when it is left to Python."},
    {"documents", documents, METH_VARARGS,
     "documents(batches, mode, plus, head=b'', tail=b''): a list of bytes, each whole BSON documents, as a JSON array "
     "between the two, or None."},
    {"encode", encode, METH_O, "encode(document): a document of Python's values as BSON, or None for one of others."},
    {"give_back", give_back, METH_NOARGS, "give_back(): give back what is free, and have a megabyte and more given back when it is freed."},
    {"reply", reply, METH_VARARGS,
     "reply(message, asked, known): of MongoDB's whole answer to the request asked, all documents of a cursor as BSON, "
     "end to end, or what a write matched and changed; None where it says more, or a later cluster time than known."},
    {"request", request, METH_O,
     "request(came): the target, the fields and the body of a whole POST with a body or GET without one, and without "
     "anything rare; or None."},
    {"values", values, METH_O,
     "values(json): the values of a JSON object with Extended JSON inside, or None where it has others than most do."},
    {"without", without, METH_VARARGS,
     "without(documents, fields): a list of BSON documents without their last fields, where those are the elements in "
     "fields; None in the place of any other."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_transcode", "BSON to JSON and JSON to BSON, bytes to bytes.", 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__transcode(void) { return prepare_encoding() && prepare_values() ? PyModule_Create(&definition) : NULL; }
