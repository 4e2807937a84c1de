/* The Python types IndexTable and its iterator. */
#include "index_encode.h"
#include "index_table.h"
#include "module.h"

typedef struct {
    PyObject_HEAD
    IndexTable table;
} IndexTableObject;

typedef struct {
    PyObject_HEAD
    IndexTableObject *owner;
    size_t next;
    int kind; /* 0, 1, or -1 for both */
} IndexIteratorObject;

static inline IndexTable *table_of(PyObject *self) { return &((IndexTableObject *)self)->table; }

IndexTable *index_table_argument(const ModuleState *state, PyObject *object) {
    if (!PyObject_TypeCheck(object, state->index_table_type)) {
        PyErr_Format(PyExc_TypeError, "expected an IndexTable, not %R", object);
        return NULL;
    }
    return table_of(object);
}

static PyObject *id_object(const uint8_t *id) {
    return PyBytes_FromStringAndSize((const char *)id, ID_SIZE);
}

static PyObject *index_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    SipKey key;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":IndexTable", names) || random_bytes(&key, sizeof key) < 0) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    IndexTableObject *self = (IndexTableObject *)allocate(type, 0);
    if (self != NULL) {
        index_table_init(&self->table, &key);
    }
    return (PyObject *)self;
}

static void index_dealloc(PyObject *self) {
    index_table_free(table_of(self));
    free_object(self);
}

static PyObject *index_add_pack(PyObject *self, PyObject *pack_id) {
    const uint8_t *id = id_argument(pack_id);
    if (id == NULL) {
        return NULL;
    }
    int64_t number = index_table_add_pack(table_of(self), id);
    return number < 0 ? PyErr_NoMemory() : PyLong_FromLongLong(number);
}

static PyObject *index_add(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    IndexEntry entry;
    uint32_t kind, pack;
    if (argument_count("add", count, 6) < 0) {
        return NULL;
    }
    const uint8_t *id = id_argument(args[1]);
    if (id == NULL || unsigned_argument(args[0], "the kind", 1, &kind) < 0 ||
        unsigned_argument(args[2], "the pack number", MAX_PACKS - 1, &pack) < 0 ||
        unsigned_argument(args[3], "the offset", UINT32_MAX, &entry.offset) < 0 ||
        unsigned_argument(args[4], "the length", UINT32_MAX, &entry.length) < 0 ||
        unsigned_argument(args[5], "the plain length", UINT32_MAX, &entry.plain_length) < 0) {
        return NULL;
    }
    if (pack >= table_of(self)->packs.count) {
        return PyErr_Format(PyExc_ValueError, "no pack has the number %u", (unsigned)pack);
    }
    memcpy(entry.id, id, ID_SIZE);
    entry.pack_and_kind = pack << 1 | kind;
    if (index_table_add(table_of(self), &entry) < 0) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

static PyObject *index_load_json(PyObject *self, PyObject *data) {
    Py_buffer buffer;
    ScannedIndex scanned;
    ScanResult result;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    result = index_json_scan(buffer.buf, (size_t)buffer.len, &scanned);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    /* The table is changed only with the GIL held: no lock of its own, none to be caught in a fork. */
    int64_t added = result == SCAN_DONE ? index_table_add_scanned(table_of(self), &scanned) : -1;
    index_json_free(&scanned);
    if (result == SCAN_UNEXPECTED) {
        PyErr_SetString(PyExc_ValueError, "not an index file in a layout that restic or Limpet writes");
        return NULL;
    }
    return added < 0 ? PyErr_NoMemory() : PyLong_FromLongLong(added);
}

/* Both arguments of a look-up; NULL with an exception. */
static const uint8_t *key_arguments(const char *function, PyObject *const *args, Py_ssize_t count, uint32_t *kind) {
    if (argument_count(function, count, 2) < 0 || unsigned_argument(args[0], "the kind", 1, kind) < 0) {
        return NULL;
    }
    return id_argument(args[1]);
}

static PyObject *index_contains(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    uint32_t kind;
    const uint8_t *id = key_arguments("contains", args, count, &kind);
    if (id == NULL) {
        return NULL;
    }
    IndexCursor cursor = index_table_start(table_of(self), kind, id);
    return PyBool_FromLong(index_table_next(table_of(self), &cursor, kind, id) != NULL);
}

static PyObject *location(const IndexTable *table, const IndexEntry *entry) {
    return Py_BuildValue("(NIII)", id_object(index_pack(table, entry_pack(entry))->id), (unsigned)entry->offset,
                         (unsigned)entry->length, (unsigned)entry->plain_length);
}

static PyObject *index_find(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    uint32_t kind;
    const uint8_t *id = key_arguments("find", args, count, &kind);
    if (id == NULL) {
        return NULL;
    }
    IndexCursor cursor = index_table_start(table_of(self), kind, id);
    const IndexEntry *entry = index_table_next(table_of(self), &cursor, kind, id);
    if (entry == NULL) {
        Py_RETURN_NONE;
    }
    return location(table_of(self), entry);
}

/* Appends a new reference, which it takes over; 0, or -1 with an exception. */
static int append(PyObject *list, PyObject *item) {
    int result = item == NULL ? -1 : PyList_Append(list, item);
    Py_XDECREF(item);
    return result;
}

static PyObject *index_find_all(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    uint32_t kind;
    const uint8_t *id = key_arguments("find_all", args, count, &kind);
    PyObject *found = id == NULL ? NULL : PyList_New(0);
    if (found == NULL) {
        return NULL;
    }
    IndexCursor cursor = index_table_start(table_of(self), kind, id);
    const IndexEntry *entry;
    while ((entry = index_table_next(table_of(self), &cursor, kind, id)) != NULL) {
        if (append(found, location(table_of(self), entry)) < 0) {
            Py_DECREF(found);
            return NULL;
        }
    }
    return found;
}

static PyObject *index_pack_ids(PyObject *self, PyObject *unused) {
    (void)unused;
    PyObject *ids = PyList_New(0);
    for (size_t i = 0; ids != NULL && i < table_of(self)->packs.count; i++) {
        if (append(ids, id_object(index_pack(table_of(self), i)->id)) < 0) {
            Py_CLEAR(ids);
        }
    }
    return ids;
}

/* The number of the pack given by number or id; -1 with an exception. */
static int64_t pack_argument(const IndexTable *table, PyObject *pack) {
    if (PyLong_Check(pack)) {
        uint32_t number;
        if (unsigned_argument(pack, "the pack number", MAX_PACKS - 1, &number) < 0) {
            return -1;
        }
        if (number < table->packs.count) {
            return number;
        }
    } else {
        const uint8_t *id = id_argument(pack);
        if (id == NULL) {
            return -1;
        }
        int64_t number = index_table_find_pack(table, id);
        if (number >= 0) {
            return number;
        }
    }
    PyErr_SetObject(PyExc_KeyError, pack);
    return -1;
}

static PyObject *index_pack_blobs(PyObject *self, PyObject *pack) {
    const IndexTable *table = table_of(self);
    int64_t number = pack_argument(table, pack);
    if (number < 0) {
        return NULL;
    }
    size_t total;
    const IndexEntry **entries = index_pack_entries(table, (size_t)number, &total);
    if (entries == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *blobs = PyList_New((Py_ssize_t)total);
    for (size_t i = 0; blobs != NULL && i < total; i++) {
        const IndexEntry *entry = entries[i];
        PyObject *blob = Py_BuildValue("(INIII)", (unsigned)entry_kind(entry), id_object(entry->id),
                                       (unsigned)entry->offset, (unsigned)entry->length, (unsigned)entry->plain_length);
        if (blob == NULL || PyList_SetItem(blobs, (Py_ssize_t)i, blob) < 0) {
            Py_CLEAR(blobs);
        }
    }
    free(entries);
    return blobs;
}

static PyObject *index_pack_json_object(PyObject *self, PyObject *pack) {
    const IndexTable *table = table_of(self);
    int64_t number = pack_argument(table, pack);
    if (number < 0) {
        return NULL;
    }
    size_t count;
    const IndexEntry **entries = index_pack_entries(table, (size_t)number, &count);
    char *json = entries == NULL ? NULL : malloc(index_pack_json_room(count));
    PyObject *result = NULL;
    if (json != NULL) {
        size_t length = index_pack_json(index_pack(table, (size_t)number)->id, entries, count, json);
        result = PyBytes_FromStringAndSize(json, (Py_ssize_t)length);
    } else {
        PyErr_NoMemory();
    }
    free(json);
    free(entries);
    return result;
}

static PyObject *index_find_pack(PyObject *self, PyObject *pack_id) {
    const uint8_t *id = id_argument(pack_id);
    if (id == NULL) {
        return NULL;
    }
    int64_t number = index_table_find_pack(table_of(self), id);
    if (number < 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLongLong(number);
}

static PyObject *index_pack_id(PyObject *self, PyObject *pack) {
    int64_t number = pack_argument(table_of(self), pack);
    return number < 0 ? NULL : id_object(index_pack(table_of(self), (size_t)number)->id);
}

/* The size of a pack is its blobs, an entry of the header for each, the header's seal and its length. */
enum { PLAIN_ENTRY = 1 + 4 + ID_SIZE, COMPRESSED_ENTRY = PLAIN_ENTRY + 4, HEADER_OVERHEAD = 32 + 4 };

static PyObject *index_pack_sizes(PyObject *self, PyObject *unused) {
    (void)unused;
    const IndexTable *table = table_of(self);
    PyObject *sizes = PyDict_New();
    for (size_t i = 0; sizes != NULL && i < table->packs.count; i++) {
        const IndexPack *pack = index_pack(table, i);
        unsigned long long size = HEADER_OVERHEAD;
        for (uint32_t run = pack->first_run; run; run = index_run(table, run - 1)->next_run) {
            for (uint32_t k = 0; k < index_run(table, run - 1)->count; k++) {
                const IndexEntry *entry = index_entry(table, index_run(table, run - 1)->first_entry + k);
                size += (entry->plain_length ? COMPRESSED_ENTRY : PLAIN_ENTRY) + (unsigned long long)entry->length;
            }
        }
        if (pack->first_run) {
            PyObject *id = id_object(pack->id), *value = PyLong_FromUnsignedLongLong(size);
            if (id == NULL || value == NULL || PyDict_SetItem(sizes, id, value) < 0) {
                Py_CLEAR(sizes);
            }
            Py_XDECREF(id);
            Py_XDECREF(value);
        }
    }
    return sizes;
}

static PyObject *index_pack_count(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromSize_t(table_of(self)->packs.count);
}

static PyObject *index_memory_bytes(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromSize_t(index_table_bytes(table_of(self)));
}

static Py_ssize_t index_length(PyObject *self) {
    return (Py_ssize_t)table_of(self)->entries.count;
}

static PyObject *index_iterate(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    uint32_t kind = 0;
    int any = count == 0 || (count == 1 && args[0] == Py_None);
    if (!any && (argument_count("iterate", count, 1) < 0 || unsigned_argument(args[0], "the kind", 1, &kind) < 0)) {
        return NULL;
    }
    ModuleState *state = PyType_GetModuleState(Py_TYPE(self));
    if (state == NULL) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(state->index_iterator_type, Py_tp_alloc);
    IndexIteratorObject *iterator = (IndexIteratorObject *)allocate(state->index_iterator_type, 0);
    if (iterator != NULL) {
        Py_INCREF(self);
        iterator->owner = (IndexTableObject *)self;
        iterator->kind = any ? -1 : (int)kind;
    }
    return (PyObject *)iterator;
}

static void iterator_dealloc(PyObject *self) {
    Py_XDECREF((PyObject *)((IndexIteratorObject *)self)->owner);
    free_object(self);
}

static PyObject *iterator_next(PyObject *self) {
    IndexIteratorObject *iterator = (IndexIteratorObject *)self;
    const IndexTable *table = &iterator->owner->table;
    while (iterator->next < table->entries.count) {
        const IndexEntry *entry = index_entry(table, iterator->next++);
        if (iterator->kind < 0 || (uint32_t)iterator->kind == entry_kind(entry)) {
            return Py_BuildValue("(INI)", (unsigned)entry_kind(entry), id_object(entry->id),
                                 (unsigned)entry_pack(entry));
        }
    }
    return NULL;
}

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef index_methods[] = {
    {"add_pack", index_add_pack, METH_O, "add_pack($self, pack_id, /)\n--\n\nThe number of the pack, new or known."},
    {"add", FAST(index_add), METH_FASTCALL,
     "add($self, kind, blob_id, pack_number, offset, length, plain_length, /)\n--\n\n"
     "Adds one location unless exactly it is there; ValueError for what does not fit."},
    {"load_json", index_load_json, METH_O,
     "load_json($self, data, /)\n--\n\n"
     "Adds all blobs of an index file's JSON and returns how many were new; ValueError and nothing added otherwise."},
    {"contains", FAST(index_contains), METH_FASTCALL, "contains($self, kind, blob_id, /)\n--\n\nWhether it is known."},
    {"find", FAST(index_find), METH_FASTCALL,
     "find($self, kind, blob_id, /)\n--\n\n(pack id, offset, length, plain length) as first added, or None."},
    {"find_all", FAST(index_find_all), METH_FASTCALL,
     "find_all($self, kind, blob_id, /)\n--\n\nEvery location of the blob, in the order added."},
    {"pack_ids", index_pack_ids, METH_NOARGS, "pack_ids($self, /)\n--\n\nThe ids of all packs, by number."},
    {"pack_blobs", index_pack_blobs, METH_O,
     "pack_blobs($self, pack, /)\n--\n\n"
     "(kind, blob id, offset, length, plain length) of a pack's blobs by offset; KeyError for an unknown pack."},
    {"pack_json", index_pack_json_object, METH_O,
     "pack_json($self, pack, /)\n--\n\nThe pack and its blobs by offset, as JSON of an index file; KeyError for an unknown one."},
    {"pack_count", index_pack_count, METH_NOARGS, "pack_count($self, /)\n--\n\nHow many packs there are."},
    {"find_pack", index_find_pack, METH_O, "find_pack($self, pack_id, /)\n--\n\nThe number of the pack, or None."},
    {"pack_id", index_pack_id, METH_O, "pack_id($self, number, /)\n--\n\nThe id of the pack; KeyError for none."},
    {"pack_sizes", index_pack_sizes, METH_NOARGS,
     "pack_sizes($self, /)\n--\n\nThe file size in bytes that follows from a pack's entries, of packs that have any."},
    {"iterate", FAST(index_iterate), METH_FASTCALL,
     "iterate($self, kind=None, /)\n--\n\n(kind, blob id, pack number) of every entry, in the order added."},
    {"memory_bytes", index_memory_bytes, METH_NOARGS, "memory_bytes($self, /)\n--\n\nBytes that the table takes."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot index_slots[] = {
    {Py_tp_doc, "IndexTable()\n--\n\nThe locations of all blobs of a repository in little memory."},
    {Py_tp_new, index_new},
    {Py_tp_dealloc, index_dealloc},
    {Py_tp_methods, index_methods},
    {Py_sq_length, index_length},
    {0, NULL},
};

PyType_Spec index_table_spec = {
    .name = "limpet.format._native.IndexTable",
    .basicsize = sizeof(IndexTableObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = index_slots,
};

static PyType_Slot iterator_slots[] = {
    {Py_tp_dealloc, iterator_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, iterator_next},
    {0, NULL},
};

PyType_Spec index_iterator_spec = {
    .name = "limpet.format._native.IndexIterator",
    .basicsize = sizeof(IndexIteratorObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = iterator_slots,
};
