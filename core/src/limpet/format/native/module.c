/* The extension module limpet.format._native: its types, its functions and the conversion of arguments. */
#include "module.h"

#include "claim_table.h"

#include <string.h>

int random_bytes(void *bytes, Py_ssize_t size) {
    PyObject *os = PyImport_ImportModule("os");
    if (os == NULL) {
        return -1;
    }
    PyObject *random = PyObject_CallMethod(os, "urandom", "n", size);
    Py_DECREF(os);
    char *data;
    Py_ssize_t length;
    if (random == NULL || PyBytes_AsStringAndSize(random, &data, &length) < 0) {
        Py_XDECREF(random);
        return -1;
    }
    memcpy(bytes, data, (size_t)(length < size ? length : size));
    Py_DECREF(random);
    return 0;
}

const uint8_t *id_argument(PyObject *object) {
    char *data;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(object, &data, &length) < 0) {
        return NULL;
    }
    if (length != 32) {
        PyErr_Format(PyExc_ValueError, "an id has 32 bytes, not %zd", length);
        return NULL;
    }
    return (const uint8_t *)data;
}

int unsigned_argument(PyObject *object, const char *what, uint32_t most, uint32_t *value) {
    long long number = PyLong_AsLongLong(object);
    if (number == -1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return -1;
        }
        PyErr_Clear();
    }
    if (number < 0 || number > (long long)most) {
        PyErr_Format(PyExc_ValueError, "%s must be from 0 to %u, not %R", what, (unsigned)most, object);
        return -1;
    }
    *value = (uint32_t)number;
    return 0;
}

int argument_count(const char *function, Py_ssize_t given, Py_ssize_t wanted) {
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments (%zd given)", function, wanted, given);
        return -1;
    }
    return 0;
}

void free_object(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc free_function = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_function(self);
    Py_DECREF(type);
}

int add_type(PyObject *module, PyType_Spec *spec) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int result = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return result;
}

static int module_exec(PyObject *module) {
    ModuleState *state = PyModule_GetState(module);
    state->index_iterator_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &index_iterator_spec, NULL);
    state->index_table_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &index_table_spec, NULL);
    if (state->index_iterator_type == NULL || state->index_table_type == NULL ||
        PyModule_AddType(module, state->index_table_type) < 0 || add_type(module, &blob_marks_spec) < 0 ||
        add_type(module, &chunker_spec) < 0 || add_type(module, &same_files_spec) < 0) {
        return -1;
    }
#ifdef HAVE_CLAIM_TABLE
    if (add_type(module, &claim_table_spec) < 0) {
        return -1;
    }
#endif
    return add_sha256(module) < 0 ? -1 : add_blob_cipher(module);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    ModuleState *state = PyModule_GetState(module);
    Py_VISIT(state->index_iterator_type);
    Py_VISIT(state->index_table_type);
    return 0;
}

static int module_clear(PyObject *module) {
    ModuleState *state = PyModule_GetState(module);
    Py_CLEAR(state->index_iterator_type);
    Py_CLEAR(state->index_table_type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static PyMethodDef module_methods[] = {
    {"chunker_levels", chunker_level_names, METH_NOARGS,
     "chunker_levels()\n--\n\nThe names of the chunker's implementations that this machine can run, fastest first."},
    {"die_with_parent", die_with_parent, METH_NOARGS,
     "die_with_parent()\n--\n\nThe system kills this process when its parent ends (Linux; elsewhere nothing)."},
    {"keep_freed_memory", keep_freed_memory, METH_NOARGS,
     "keep_freed_memory()\n--\n\nLarge freed buffers stay mapped for the next one (glibc; elsewhere nothing)."},
    {"open_cached", open_cached, METH_VARARGS,
     "open_cached(root, device, path)\n--\n\nA descriptor and the size of the regular file below the folder, without a wait; "
     "None where that cannot be."},
    {"parse_plain_ns", parse_plain_ns, METH_O,
     "parse_plain_ns(text, /)\n--\n\nNanoseconds since 1970 of an RFC 3339 time; None for what is none, or a rare one."},
    {"return_freed_memory", return_freed_memory, METH_NOARGS,
     "return_freed_memory()\n--\n\nLarge freed buffers go back to the system at once (glibc; elsewhere nothing)."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "limpet.format._native",
    .m_doc = "The hot loops of the format in C; each has a twin in plain Python.",
    .m_size = sizeof(ModuleState),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__native(void) {
    return PyModuleDef_Init(&module_definition);
}
