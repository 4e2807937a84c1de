/* What the parts of the extension module share: the stable ABI of Python 3.11 and the conversion of arguments. */
#ifndef LIMPET_MODULE_H
#define LIMPET_MODULE_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

typedef struct {
    PyTypeObject *index_iterator_type, *index_table_type;
} ModuleState;

extern PyType_Spec index_table_spec, index_iterator_spec, blob_marks_spec, claim_table_spec, chunker_spec,
    same_files_spec;

PyObject *chunker_level_names(PyObject *module, PyObject *unused);
PyObject *die_with_parent(PyObject *module, PyObject *unused);
PyObject *keep_freed_memory(PyObject *module, PyObject *unused);
PyObject *open_cached(PyObject *module, PyObject *args);
PyObject *parse_plain_ns(PyObject *module, PyObject *text);
PyObject *return_freed_memory(PyObject *module, PyObject *unused);

struct IndexTable;
/* The table in an IndexTable object of Python's; NULL with TypeError if it is none. */
struct IndexTable *index_table_argument(const ModuleState *state, PyObject *object);

/* Adds a type to the module; 0, or -1 with an exception. */
int add_type(PyObject *module, PyType_Spec *spec);
/* Add what only some processors have instructions for; 0, or -1 with an exception. */
int add_sha256(PyObject *module);
int add_blob_cipher(PyObject *module);
/* Fills `bytes` from os.urandom; 0, or -1 with an exception. */
int random_bytes(void *bytes, Py_ssize_t size);
/* The 32 bytes of an id, borrowed; NULL with TypeError or ValueError. */
const uint8_t *id_argument(PyObject *object);
/* 0, or -1 with TypeError or ValueError naming `what` if the integer is above `most`. */
int unsigned_argument(PyObject *object, const char *what, uint32_t most, uint32_t *value);
/* 0, or -1 with TypeError if the number of arguments is not `wanted`. */
int argument_count(const char *function, Py_ssize_t given, Py_ssize_t wanted);
/* The end of every dealloc: frees the object and lets go of its type. */
void free_object(PyObject *self);

#endif
