/* The Python type Chunker. */
#include "chunker.h"
#include "module.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    PyObject_HEAD
    Chunker chunker;
} ChunkerObject;

enum { MIN_SIZE = 512 << 10, MAX_SIZE = 8 << 20 };

/* The level of that name, or with NULL the fastest, for the polynomial; NULL with ValueError. */
static const ChunkerLevel *choose_level(const char *name, uint64_t polynomial) {
    int full_degree = polynomial >> MOST_DEGREE == 1;
    for (const ChunkerLevel *const *level = chunker_levels(); *level != NULL; level++) {
        if ((full_degree || (*level)->any_degree) && (name == NULL || strcmp(name, (*level)->name) == 0)) {
            return *level;
        }
    }
    PyErr_Format(PyExc_ValueError, "this machine has no chunker level '%s'", name);
    return NULL;
}

static PyObject *chunker_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"polynomial", "min_size", "max_size", "average_bits", "level", NULL};
    PyObject *number;
    Py_ssize_t min_size = MIN_SIZE, max_size = MAX_SIZE;
    int average_bits = MOST_AVERAGE_BITS;
    const char *level_name = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|$nniz:Chunker", names, &PyLong_Type, &number, &min_size,
                                     &max_size, &average_bits, &level_name)) {
        return NULL;
    }
    long long polynomial = PyLong_AsLongLong(number);
    if (polynomial == -1 && PyErr_Occurred()) {
        PyErr_Clear();
    }
    if (polynomial < 1 << LEAST_DEGREE || polynomial >> MOST_DEGREE > 1) {
        PyErr_SetString(PyExc_ValueError, "the polynomial must have a degree from 8 to 53");
        return NULL;
    }
    if (min_size < WINDOW_SIZE || max_size < min_size) {
        PyErr_SetString(PyExc_ValueError, "the sizes must be 64 <= min_size <= max_size");
        return NULL;
    }
    if (average_bits < 0 || average_bits > MOST_AVERAGE_BITS) {
        PyErr_SetString(PyExc_ValueError, "average_bits must be from 0 to 20");
        return NULL;
    }
    const ChunkerLevel *level = choose_level(level_name, (uint64_t)polynomial);
    if (level == NULL) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    ChunkerObject *self = (ChunkerObject *)allocate(type, 0);
    if (self != NULL) {
        chunker_init(&self->chunker, (uint64_t)polynomial, (size_t)min_size, (size_t)max_size, (unsigned)average_bits,
                     level);
    }
    return (PyObject *)self;
}

/* The lengths of the certain chunks, in memory of their own; their number goes to `count`. NULL without memory. */
static size_t *find_cuts(const Chunker *chunker, const uint8_t *data, size_t size, int is_last, size_t *count) {
    size_t *lengths = malloc((size / chunker->min_size + 1) * sizeof *lengths);
    *count = 0;
    while (lengths != NULL && size > 0) {
        size_t length = chunker_cut(chunker, data, size);
        if (!is_last && length == size && length < chunker->max_size) {
            break; /* no cut was found: more bytes may follow before the next */
        }
        lengths[(*count)++] = length;
        data += length;
        size -= length;
    }
    return lengths;
}

static PyObject *chunker_cuts(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"buffer", "is_last", NULL};
    const Chunker *chunker = &((ChunkerObject *)self)->chunker;
    Py_buffer buffer;
    int is_last;
    size_t count;
    size_t *lengths;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*p:cuts", names, &buffer, &is_last)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    lengths = find_cuts(chunker, buffer.buf, (size_t)buffer.len, is_last, &count);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    if (lengths == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *length = PyLong_FromSize_t(lengths[i]);
        if (length == NULL || PyList_SetItem(list, (Py_ssize_t)i, length) < 0) {
            Py_CLEAR(list);
        }
    }
    free(lengths);
    return list;
}

static PyObject *chunker_polynomial(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(((ChunkerObject *)self)->chunker.polynomial);
}

static PyObject *chunker_level(PyObject *self, void *unused) {
    (void)unused;
    return PyUnicode_FromString(((ChunkerObject *)self)->chunker.level->name);
}

PyObject *chunker_level_names(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    PyObject *names = PyList_New(0);
    for (const ChunkerLevel *const *level = chunker_levels(); names != NULL && *level != NULL; level++) {
        PyObject *name = PyUnicode_FromString((*level)->name);
        if (name == NULL || PyList_Append(names, name) < 0) {
            Py_CLEAR(names);
        }
        Py_XDECREF(name);
    }
    return names;
}

static PyMethodDef chunker_methods[] = {
    {"cuts", (PyCFunction)(void (*)(void))chunker_cuts, METH_VARARGS | METH_KEYWORDS,
     "cuts($self, buffer, is_last)\n--\n\n"
     "The lengths in bytes of the chunks that are certain. With is_last they cover the buffer exactly;\n"
     "without it what follows the last cut is left over. Other threads run meanwhile."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef chunker_attributes[] = {
    {"polynomial", chunker_polynomial, NULL, "The polynomial; bit i is the coefficient of x^i.", NULL},
    {"level", chunker_level, NULL, "The name of the implementation in use.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot chunker_slots[] = {
    {Py_tp_doc, "Chunker(polynomial, *, min_size=524288, max_size=8388608, average_bits=20, level=None)\n--\n\n"
                "Cuts bytes into chunks where the fingerprint of the last 64 bytes ends in 20 zero bits."},
    {Py_tp_new, chunker_new},
    {Py_tp_dealloc, free_object},
    {Py_tp_methods, chunker_methods},
    {Py_tp_getset, chunker_attributes},
    {0, NULL},
};

PyType_Spec chunker_spec = {
    .name = "limpet.format._native.Chunker",
    .basicsize = sizeof(ChunkerObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = chunker_slots,
};
