/* The Python type Sha256 and the function sha256_all. */
#include "sha256.h"
#include "module.h"

#ifdef HAVE_SHA256

#include <stdlib.h>

/* From here on other threads run meanwhile: below, the lock's way back and forth costs more than it gives. */
enum { LEAST_FOR_THREADS = 64 << 10 };

typedef struct {
    PyObject_HEAD
    Sha256 stream;
} Sha256Object;

/* What a call hashes: borrowed memory, and where the digests go. */
typedef struct {
    Py_buffer *buffers;
    Sha256Job *jobs;
    uint8_t *digests;
    size_t count; /* of buffers that are held */
    size_t bytes;
} Messages;

static void messages_free(Messages *messages) {
    for (size_t i = 0; i < messages->count; i++) {
        PyBuffer_Release(&messages->buffers[i]);
    }
    free(messages->buffers);
    free(messages->jobs);
    free(messages->digests);
}

/* Takes hold of all buffers of a sequence; 0, or -1 with an exception. `messages_free` follows in any case. */
static int messages_hold(Messages *messages, PyObject *sequence) {
    *messages = (Messages){.count = 0};
    Py_ssize_t count = PySequence_Size(sequence);
    if (count < 0) {
        return -1;
    }
    size_t room = count > 0 ? (size_t)count : 1;
    messages->buffers = calloc(room, sizeof *messages->buffers);
    messages->jobs = calloc(room, sizeof *messages->jobs);
    messages->digests = calloc(room, SHA256_SIZE);
    if (messages->buffers == NULL || messages->jobs == NULL || messages->digests == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < (size_t)count; i++) {
        Py_buffer *buffer = &messages->buffers[i];
        PyObject *item = PySequence_GetItem(sequence, (Py_ssize_t)i);
        int result = item == NULL ? -1 : PyObject_GetBuffer(item, buffer, PyBUF_SIMPLE);
        Py_XDECREF(item);
        if (result < 0) {
            return -1;
        }
        messages->count++;
        messages->bytes += (size_t)buffer->len;
        messages->jobs[i] = (Sha256Job){buffer->buf, (size_t)buffer->len, messages->digests + i * SHA256_SIZE};
    }
    return 0;
}

static PyObject *messages_digests(const Messages *messages) {
    PyObject *list = PyList_New((Py_ssize_t)messages->count);
    for (size_t i = 0; list != NULL && i < messages->count; i++) {
        PyObject *digest = PyBytes_FromStringAndSize((const char *)messages->digests + i * SHA256_SIZE, SHA256_SIZE);
        if (digest == NULL || PyList_SetItem(list, (Py_ssize_t)i, digest) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* Appends to the stream, if there is one, and hashes the messages beside it. */
static void hash_beside(Sha256 *stream, const Py_buffer *data, Messages *messages) {
    if (stream == NULL) {
        sha256_all(messages->jobs, messages->count);
    } else {
        sha256_update_beside(stream, data->buf, (size_t)data->len, messages->jobs, messages->count);
    }
}

static void hash_and_let_run(Sha256 *stream, const Py_buffer *data, Messages *messages) {
    if (messages->bytes + (data == NULL ? 0 : (size_t)data->len) < LEAST_FOR_THREADS) {
        hash_beside(stream, data, messages);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    hash_beside(stream, data, messages);
    Py_END_ALLOW_THREADS
}

static PyObject *sha256_all_of(PyObject *module, PyObject *buffers) {
    (void)module;
    Messages messages;
    PyObject *digests = NULL;
    if (messages_hold(&messages, buffers) == 0) {
        hash_and_let_run(NULL, NULL, &messages);
        digests = messages_digests(&messages);
    }
    messages_free(&messages);
    return digests;
}

static PyObject *sha256_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Sha256", names)) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Sha256Object *self = (Sha256Object *)allocate(type, 0);
    if (self != NULL) {
        sha256_init(&self->stream);
    }
    return (PyObject *)self;
}

/* The digests of the messages, which are hashed while `data` is appended. */
static PyObject *append(PyObject *self, PyObject *data, PyObject *beside) {
    Py_buffer buffer;
    Messages messages;
    PyObject *digests = NULL;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (messages_hold(&messages, beside) == 0) {
        /* On a copy: another thread's call on this object must not change it under our feet. */
        Sha256 stream = ((Sha256Object *)self)->stream;
        hash_and_let_run(&stream, &buffer, &messages);
        ((Sha256Object *)self)->stream = stream;
        digests = messages_digests(&messages);
    }
    messages_free(&messages);
    PyBuffer_Release(&buffer);
    return digests;
}

static PyObject *stream_update(PyObject *self, PyObject *data) {
    PyObject *nothing = PyTuple_New(0);
    PyObject *digests = nothing == NULL ? NULL : append(self, data, nothing);
    Py_XDECREF(nothing);
    if (digests == NULL) {
        return NULL;
    }
    Py_DECREF(digests);
    Py_RETURN_NONE;
}

static PyObject *stream_update_beside(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    return argument_count("update_beside", count, 2) < 0 ? NULL : append(self, args[0], args[1]);
}

static void update_two(Sha256 *streams, const Py_buffer *buffers) {
    sha256_update_two(&streams[0], buffers[0].buf, (size_t)buffers[0].len, &streams[1], buffers[1].buf,
                      (size_t)buffers[1].len);
}

static PyObject *stream_update_with(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (argument_count("update_with", count, 3) < 0) {
        return NULL;
    }
    PyObject *other = args[1];
    if (Py_TYPE(other) != Py_TYPE(self) || other == self) {
        PyErr_SetString(PyExc_TypeError, "update_with() takes another Sha256");
        return NULL;
    }
    Py_buffer buffers[2];
    if (PyObject_GetBuffer(args[0], &buffers[0], PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (PyObject_GetBuffer(args[2], &buffers[1], PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&buffers[0]);
        return NULL;
    }
    Sha256 streams[2] = {((Sha256Object *)self)->stream, ((Sha256Object *)other)->stream};
    if (buffers[0].len + buffers[1].len < LEAST_FOR_THREADS) {
        update_two(streams, buffers);
    } else {
        Py_BEGIN_ALLOW_THREADS
        update_two(streams, buffers);
        Py_END_ALLOW_THREADS
    }
    ((Sha256Object *)self)->stream = streams[0];
    ((Sha256Object *)other)->stream = streams[1];
    PyBuffer_Release(&buffers[0]);
    PyBuffer_Release(&buffers[1]);
    Py_RETURN_NONE;
}

static PyObject *stream_digest(PyObject *self, PyObject *unused) {
    (void)unused;
    uint8_t digest[SHA256_SIZE];
    sha256_digest(&((Sha256Object *)self)->stream, digest);
    return PyBytes_FromStringAndSize((const char *)digest, sizeof digest);
}

static PyMethodDef stream_methods[] = {
    {"update", stream_update, METH_O, "update($self, data, /)\n--\n\nAppends to the message."},
    {"update_beside", (PyCFunction)(void (*)(void))stream_update_beside, METH_FASTCALL,
     "update_beside($self, data, messages, /)\n--\n\n"
     "Appends to the message; the digests of the messages, which are hashed at the same time."},
    {"update_with", (PyCFunction)(void (*)(void))stream_update_with, METH_FASTCALL,
     "update_with($self, data, other, other_data, /)\n--\n\n"
     "Appends to the message, and at the same time the other data to the other message."},
    {"digest", stream_digest, METH_NOARGS, "digest($self, /)\n--\n\nThe digest of what was appended so far."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, "Sha256()\n--\n\nThe SHA-256 of a message that comes in parts. Belongs to one thread."},
    {Py_tp_new, sha256_new},
    {Py_tp_dealloc, free_object},
    {Py_tp_methods, stream_methods},
    {0, NULL},
};

static PyType_Spec stream_spec = {
    .name = "limpet.format._native.Sha256",
    .basicsize = sizeof(Sha256Object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = stream_slots,
};

static PyMethodDef all_methods[] = {
    {"sha256_all", sha256_all_of, METH_O,
     "sha256_all(messages, /)\n--\n\nThe digests of all the messages, two of which are hashed at the same time."},
    {NULL, NULL, 0, NULL},
};

int add_sha256(PyObject *module) {
    if (!sha256_is_supported() || !sha256_works()) {
        return 0; /* hashlib serves: it has code for every processor */
    }
    return add_type(module, &stream_spec) < 0 ? -1 : PyModule_AddFunctions(module, all_methods);
}

#else

int add_sha256(PyObject *module) {
    (void)module;
    return 0;
}

#endif
