/* The Python type BlobCipher. */
#include "blob_cipher.h"
#include "module.h"

#include <string.h>

#ifdef HAVE_BLOB_CIPHER

#define OVERHEAD (AES_BLOCK + TAG_SIZE)

typedef struct {
    PyObject_HEAD
    BlobCipher cipher;
} BlobCipherObject;

static PyObject *cipher_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"", "", "", NULL};
    const char *encrypt, *mac_k, *mac_r;
    Py_ssize_t encrypt_size, mac_k_size, mac_r_size;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y#y#y#:BlobCipher", names, &encrypt, &encrypt_size, &mac_k,
                                     &mac_k_size, &mac_r, &mac_r_size)) {
        return NULL;
    }
    if (encrypt_size != AES_256_KEY || mac_k_size != AES_128_KEY || mac_r_size != AES_BLOCK) {
        PyErr_SetString(PyExc_ValueError, "a key has parts of 32, 16 and 16 bytes");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    BlobCipherObject *self = (BlobCipherObject *)allocate(type, 0);
    if (self != NULL) {
        blob_cipher_init(&self->cipher, (const uint8_t *)encrypt, (const uint8_t *)mac_k, (const uint8_t *)mac_r);
    }
    return (PyObject *)self;
}

/* Whether the tag at the end of the sealed bytes, of which there are at least OVERHEAD, is right. */
static int is_authentic(const BlobCipher *cipher, const Py_buffer *sealed) {
    const uint8_t *bytes = sealed->buf;
    uint8_t tag[TAG_SIZE];
    size_t size = (size_t)sealed->len - OVERHEAD;
    blob_cipher_tag(cipher, bytes, bytes + AES_BLOCK, size, tag);
    return blob_cipher_same_tag(tag, bytes + AES_BLOCK + size);
}

/* Takes hold of sealed bytes; 0, or -1 with an exception. */
static int hold_sealed(PyObject *object, Py_buffer *sealed) {
    if (PyObject_GetBuffer(object, sealed, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    if (sealed->len < OVERHEAD) {
        PyErr_Format(PyExc_ValueError, "sealed data has at least %d bytes, not %zd", OVERHEAD, sealed->len);
        PyBuffer_Release(sealed);
        return -1;
    }
    return 0;
}

/* Takes hold of a buffer to write to; 0, or -1 with an exception. */
static int hold_output(PyObject *object, Py_ssize_t size, Py_buffer *out) {
    if (PyObject_GetBuffer(object, out, PyBUF_WRITABLE) < 0) {
        return -1;
    }
    if (out->len < size) {
        PyErr_Format(PyExc_ValueError, "the output needs room for at least %zd bytes, got %zd", size, out->len);
        PyBuffer_Release(out);
        return -1;
    }
    return 0;
}

static PyObject *cipher_open(PyObject *self, PyObject *object) {
    const BlobCipher *cipher = &((BlobCipherObject *)self)->cipher;
    Py_buffer sealed;
    if (hold_sealed(object, &sealed) < 0) {
        return NULL;
    }
    PyObject *plain = NULL;
    if (!is_authentic(cipher, &sealed)) {
        plain = Py_NewRef(Py_None);
    } else if ((plain = PyBytes_FromStringAndSize(NULL, sealed.len - OVERHEAD)) != NULL) {
        const uint8_t *bytes = sealed.buf;
        uint8_t *out = (uint8_t *)PyBytes_AsString(plain);
        blob_cipher_apply(cipher, bytes, bytes + AES_BLOCK, (size_t)sealed.len - OVERHEAD, out);
    }
    PyBuffer_Release(&sealed);
    return plain;
}

static PyObject *cipher_open_into(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    const BlobCipher *cipher = &((BlobCipherObject *)self)->cipher;
    Py_buffer sealed, out;
    if (argument_count("open_into", count, 2) < 0 || hold_sealed(args[0], &sealed) < 0) {
        return NULL;
    }
    if (hold_output(args[1], sealed.len - OVERHEAD, &out) < 0) {
        PyBuffer_Release(&sealed);
        return NULL;
    }
    const uint8_t *bytes = sealed.buf;
    int opens = is_authentic(cipher, &sealed);
    if (opens) {
        blob_cipher_apply(cipher, bytes, bytes + AES_BLOCK, (size_t)sealed.len - OVERHEAD, out.buf);
    }
    PyBuffer_Release(&out);
    PyBuffer_Release(&sealed);
    return PyBool_FromLong(opens);
}

static PyObject *cipher_seal_into(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    const BlobCipher *cipher = &((BlobCipherObject *)self)->cipher;
    Py_buffer plain, out;
    char *iv;
    Py_ssize_t iv_size;
    if (argument_count("seal_into", count, 3) < 0 || PyBytes_AsStringAndSize(args[0], &iv, &iv_size) < 0) {
        return NULL;
    }
    if (iv_size != AES_BLOCK) {
        PyErr_Format(PyExc_ValueError, "an IV has %d bytes, not %zd", AES_BLOCK, iv_size);
        return NULL;
    }
    if (PyObject_GetBuffer(args[1], &plain, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (hold_output(args[2], plain.len + OVERHEAD, &out) < 0) {
        PyBuffer_Release(&plain);
        return NULL;
    }
    uint8_t *sealed = out.buf;
    size_t size = (size_t)plain.len;
    blob_cipher_apply(cipher, (const uint8_t *)iv, plain.buf, size, sealed + AES_BLOCK);
    memcpy(sealed, iv, AES_BLOCK);
    blob_cipher_tag(cipher, sealed, sealed + AES_BLOCK, size, sealed + AES_BLOCK + size);
    PyBuffer_Release(&out);
    PyBuffer_Release(&plain);
    Py_RETURN_NONE;
}

static PyMethodDef cipher_methods[] = {
    {"open", cipher_open, METH_O,
     "open($self, sealed, /)\n--\n\nThe plaintext; None if the tag does not fit the bytes."},
    {"open_into", (PyCFunction)(void (*)(void))cipher_open_into, METH_FASTCALL,
     "open_into($self, sealed, out, /)\n--\n\n"
     "Writes the plaintext to the start of out; False, and nothing is written, if the tag does not fit."},
    {"seal_into", (PyCFunction)(void (*)(void))cipher_seal_into, METH_FASTCALL,
     "seal_into($self, iv, plaintext, out, /)\n--\n\n"
     "Writes IV, ciphertext and tag to the start of out, which does not overlap the plaintext."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot cipher_slots[] = {
    {Py_tp_doc, "BlobCipher(encrypt_key, mac_k, mac_r, /)\n--\n\n"
                "AES-256-CTR with Poly1305-AES for short blobs. Holds the interpreter lock."},
    {Py_tp_new, cipher_new},
    {Py_tp_dealloc, free_object},
    {Py_tp_methods, cipher_methods},
    {0, NULL},
};

static PyType_Spec cipher_spec = {
    .name = "limpet.format._native.BlobCipher",
    .basicsize = sizeof(BlobCipherObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = cipher_slots,
};

int add_blob_cipher(PyObject *module) {
    /* Without it the twin serves. */
    return blob_cipher_is_supported() && blob_cipher_works() ? add_type(module, &cipher_spec) : 0;
}

#else

int add_blob_cipher(PyObject *module) {
    (void)module;
    return 0;
}

#endif
