/* The Python type BlobMarks. */
#include "blob_marks.h"
#include "module.h"

typedef struct {
    PyObject_HEAD
    PyObject *owner; /* the IndexTable */
    Py_buffer memory;
    BlobMarks all;
} BlobMarksObject;

static inline const BlobMarks *marks_of(PyObject *self) { return &((BlobMarksObject *)self)->all; }

static PyObject *marks_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"", "", NULL};
    PyObject *table_object, *memory;
    const ModuleState *state = PyType_GetModuleState(type);
    if (state == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "OO:BlobMarks", names, &table_object, &memory)) {
        return NULL;
    }
    const IndexTable *table = index_table_argument(state, table_object);
    if (table == NULL) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    BlobMarksObject *self = (BlobMarksObject *)allocate(type, 0);
    if (self == NULL || PyObject_GetBuffer(memory, &self->memory, PyBUF_WRITABLE) < 0) {
        Py_XDECREF((PyObject *)self);
        return NULL;
    }
    Py_INCREF(table_object);
    self->owner = table_object;
    self->all = (BlobMarks){table, self->memory.buf, table->entries.count};
    if ((size_t)self->memory.len < self->all.count) {
        PyErr_SetString(PyExc_ValueError, "the memory must have a byte for each entry of the table");
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    return (PyObject *)self;
}

static void marks_dealloc(PyObject *self) {
    BlobMarksObject *object = (BlobMarksObject *)self;
    if (object->memory.obj != NULL) {
        PyBuffer_Release(&object->memory);
    }
    Py_XDECREF(object->owner);
    free_object(self);
}

/* The byte of the blob in the arguments of a call; NULL with an exception, KeyError for a blob that has none. */
static uint8_t *mark_argument(const char *function, PyObject *self, PyObject *const *args, Py_ssize_t count) {
    uint32_t kind;
    if (argument_count(function, count, 2) < 0 || unsigned_argument(args[0], "the kind", 1, &kind) < 0) {
        return NULL;
    }
    const uint8_t *id = id_argument(args[1]);
    uint8_t *mark = id == NULL ? NULL : blob_marks_of(marks_of(self), kind, id);
    if (id != NULL && mark == NULL) {
        PyErr_SetObject(PyExc_KeyError, args[1]);
    }
    return mark;
}

static PyObject *marks_set(const char *function, PyObject *self, PyObject *const *args, Py_ssize_t count,
                           uint8_t value) {
    uint8_t *mark = mark_argument(function, self, args, count);
    if (mark == NULL) {
        return NULL;
    }
    uint8_t before = *mark;
    *mark = value;
    return PyBool_FromLong(before != value);
}

static PyObject *marks_mark(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    return marks_set("mark", self, args, count, 1);
}

static PyObject *marks_unmark(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    return marks_set("unmark", self, args, count, 0);
}

static PyObject *marks_is_marked(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    uint8_t *mark = mark_argument("is_marked", self, args, count);
    if (mark == NULL && PyErr_ExceptionMatches(PyExc_KeyError)) {
        PyErr_Clear();
        Py_RETURN_FALSE;
    }
    return mark == NULL ? NULL : PyBool_FromLong(*mark != 0);
}

static PyObject *marks_mark_listed(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    uint32_t kind;
    if (argument_count("mark_listed", count, 2) < 0 || unsigned_argument(args[0], "the kind", 1, &kind) < 0) {
        return NULL;
    }
    if (!PyList_Check(args[1])) {
        PyErr_Format(PyExc_TypeError, "ids must be a list, not %R", (PyObject *)Py_TYPE(args[1]));
        return NULL;
    }
    Py_ssize_t length = PyList_Size(args[1]);
    PyObject *unknown = PyList_New(0);
    for (Py_ssize_t i = 0; unknown != NULL && i < length; i++) {
        PyObject *text = PyList_GetItem(args[1], i);
        Py_ssize_t size = 0;
        const char *digits = PyUnicode_Check(text) ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
        if (digits == NULL) {
            PyErr_Clear(); /* a lone surrogate: no id either */
        }
        uint8_t *mark = digits == NULL ? NULL : blob_marks_of_hex(marks_of(self), kind, digits, (size_t)size);
        if (mark != NULL) {
            *mark = 1;
        } else if (PyList_Append(unknown, text) < 0) {
            Py_CLEAR(unknown);
        }
    }
    return unknown;
}

static PyObject *marks_survey(PyObject *self, PyObject *unused) {
    (void)unused;
    const BlobMarks *all = marks_of(self);
    if (all->count != all->table->entries.count) {
        PyErr_SetString(PyExc_ValueError, "blobs have been added to the table since");
        return NULL;
    }
    Py_ssize_t size = (Py_ssize_t)(all->table->packs.count * sizeof(PackUse));
    PyObject *packs = PyByteArray_FromStringAndSize(NULL, size);
    if (packs == NULL) {
        return NULL;
    }
    UseTotals totals;
    char *memory = PyByteArray_AsString(packs);
    memset(memory, 0, (size_t)size);
    blob_marks_survey(all, (PackUse *)(void *)memory, &totals);
    return Py_BuildValue("(N(KKKKKK))", packs, (unsigned long long)totals.used_blobs,
                         (unsigned long long)totals.duplicate_blobs, (unsigned long long)totals.unused_blobs,
                         (unsigned long long)totals.used_bytes, (unsigned long long)totals.duplicate_bytes,
                         (unsigned long long)totals.unused_bytes);
}

static PyObject *marks_clear_packs(PyObject *self, PyObject *kept) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(kept, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if ((size_t)buffer.len < marks_of(self)->table->packs.count) {
        PyBuffer_Release(&buffer);
        PyErr_SetString(PyExc_ValueError, "a byte for each pack of the table is needed");
        return NULL;
    }
    blob_marks_clear_packs(marks_of(self), buffer.buf);
    PyBuffer_Release(&buffer);
    Py_RETURN_NONE;
}

static Py_ssize_t marks_length(PyObject *self) {
    return (Py_ssize_t)blob_marks_number(marks_of(self));
}

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef marks_methods[] = {
    {"mark", FAST(marks_mark), METH_FASTCALL,
     "mark($self, kind, blob_id, /)\n--\n\nWhether it was not marked yet; KeyError for a blob without a mark."},
    {"unmark", FAST(marks_unmark), METH_FASTCALL,
     "unmark($self, kind, blob_id, /)\n--\n\nWhether it was marked; KeyError for a blob without a mark."},
    {"is_marked", FAST(marks_is_marked), METH_FASTCALL, "is_marked($self, kind, blob_id, /)\n--\n\nWhether it is."},
    {"mark_listed", FAST(marks_mark_listed), METH_FASTCALL,
     "mark_listed($self, kind, ids, /)\n--\n\nMarks the blobs with these ids in hex; those that are unknown or no ids."},
    {"survey", marks_survey, METH_NOARGS,
     "survey($self, /)\n--\n\n"
     "A record of 32 bytes for each pack, and six totals: see the twin in _marks_py. ValueError if the table has grown."},
    {"clear_packs", marks_clear_packs, METH_O,
     "clear_packs($self, kept, /)\n--\n\nUnmarks every blob of which a pack has a copy whose byte in `kept` is set."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot marks_slots[] = {
    {Py_tp_doc, "BlobMarks(table, memory, /)\n--\n\nA mark for each blob of the table, in memory given by the caller."},
    {Py_tp_new, marks_new},
    {Py_tp_dealloc, marks_dealloc},
    {Py_tp_methods, marks_methods},
    {Py_sq_length, marks_length},
    {0, NULL},
};

PyType_Spec blob_marks_spec = {
    .name = "limpet.format._native.BlobMarks",
    .basicsize = sizeof(BlobMarksObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = marks_slots,
};
