/* The Python type ClaimTable. */
#include "claim_table.h"
#include "module.h"

#ifdef HAVE_CLAIM_TABLE

typedef struct {
    PyObject_HEAD
    ClaimTable table;
} ClaimTableObject;

static PyObject *claims_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":ClaimTable", names)) {
        return NULL;
    }
    struct {
        SipKey key;
        uint64_t mask[CLAIM_WORDS];
    } secret;
    if (random_bytes(&secret, sizeof secret) < 0) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    ClaimTableObject *self = (ClaimTableObject *)allocate(type, 0);
    if (self != NULL && claim_table_init(&self->table, &secret.key, secret.mask) < 0) {
        Py_DECREF(self);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return (PyObject *)self;
}

static void claims_dealloc(PyObject *self) {
    claim_table_free(&((ClaimTableObject *)self)->table);
    free_object(self);
}

static PyObject *claims_claim(PyObject *self, PyObject *blob_id) {
    const uint8_t *id = id_argument(blob_id);
    return id == NULL ? NULL : PyBool_FromLong(claim_table_claim(&((ClaimTableObject *)self)->table, id));
}

static PyObject *claims_contains(PyObject *self, PyObject *blob_id) {
    const uint8_t *id = id_argument(blob_id);
    return id == NULL ? NULL : PyBool_FromLong(claim_table_contains(&((ClaimTableObject *)self)->table, id));
}

static Py_ssize_t claims_length(PyObject *self) {
    return (Py_ssize_t)claim_table_count(&((ClaimTableObject *)self)->table);
}

static PyMethodDef claims_methods[] = {
    {"claim", claims_claim, METH_O, "claim($self, blob_id, /)\n--\n\nWhether this call is the first to claim the id."},
    {"contains", claims_contains, METH_O, "contains($self, blob_id, /)\n--\n\nWhether somebody has claimed the id."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot claims_slots[] = {
    {Py_tp_doc, "ClaimTable()\n--\n\nIds of blobs shared between forked processes: the first claim of an id wins."},
    {Py_tp_new, claims_new},
    {Py_tp_dealloc, claims_dealloc},
    {Py_tp_methods, claims_methods},
    {Py_sq_length, claims_length},
    {0, NULL},
};

PyType_Spec claim_table_spec = {
    .name = "limpet.format._native.ClaimTable",
    .basicsize = sizeof(ClaimTableObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = claims_slots,
};

#endif
