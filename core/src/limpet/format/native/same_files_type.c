/* The Python type SameFiles: which files of a folder are as their parent snapshot's nodes say.
 *
 * Whatever is not plainly the same is left to the caller, odd values and damaged nodes too: this is asked for every file
 * of every backup, and knows the plain case alone.
 */
#include "index_table.h"
#include "module.h"

#include <string.h>

#define NS_PER_S 1000000000LL
#define LONGEST_TIME 64
enum { DATA = 0, TYPE_BITS = 0170000, REGULAR = 0100000 };

/* What is read of an entry, of its status and of a node, in the order of NAMES. */
enum {
    ENTRY_NAME, ENTRY_STAT, ENTRY_MADE,
    ST_INO, ST_SIZE, ST_NLINK, ST_DEV, ST_MODE, ST_UID, ST_GID, ST_MTIME, ST_CTIME,
    TYPE, INODE, SIZE, LINKS, DEVICE, MODE, UID, GID, USER, GROUP, MTIME, ATIME, CTIME, CONTENT,
    NAME_COUNT
};

static const char *const NAMES[NAME_COUNT] = {
    "name", "stat", "made",
    "st_ino", "st_size", "st_nlink", "st_dev", "st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_ctime_ns",
    "type", "inode", "size", "links", "device_id", "mode", "uid", "gid", "user", "group",
    "mtime", "atime", "ctime", "content",
};

typedef struct {
    PyObject_HEAD
    PyObject *table_object, *make, *local_second, *mode_and_owner;
    const IndexTable *table;
    PyObject *names[NAME_COUNT];
    /* The answers of the last calls: neighbours in a folder have much in common. */
    long long second;
    PyObject *second_text;
    long long mode, uid, gid;
    PyObject *owner;
} SameFilesObject;

typedef struct {
    long long inode, size, links, device, mode, uid, gid, mtime_ns, ctime_ns;
} Status;

static inline SameFilesObject *same_files(PyObject *self) { return (SameFilesObject *)self; }

static void same_files_dealloc(PyObject *self) {
    SameFilesObject *files = same_files(self);
    Py_XDECREF(files->table_object);
    Py_XDECREF(files->make);
    Py_XDECREF(files->local_second);
    Py_XDECREF(files->mode_and_owner);
    Py_XDECREF(files->second_text);
    Py_XDECREF(files->owner);
    for (int i = 0; i < NAME_COUNT; i++) {
        Py_XDECREF(files->names[i]);
    }
    free_object(self);
}

static PyObject *same_files_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"", "", "", "", NULL};
    PyObject *table, *make, *local_second, *mode_and_owner;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO:SameFiles", names, &table, &make, &local_second,
                                     &mode_and_owner)) {
        return NULL;
    }
    const IndexTable *own = index_table_argument(PyType_GetModuleState(type), table);
    if (own == NULL) {
        return NULL;
    }
    SameFilesObject *files = same_files(((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0));
    if (files == NULL) {
        return NULL;
    }
    files->table = own;
    files->table_object = Py_NewRef(table);
    files->make = Py_NewRef(make);
    files->local_second = Py_NewRef(local_second);
    files->mode_and_owner = Py_NewRef(mode_and_owner);
    for (int i = 0; i < NAME_COUNT; i++) {
        files->names[i] = PyUnicode_InternFromString(NAMES[i]);
        if (files->names[i] == NULL) {
            Py_DECREF(files);
            return NULL;
        }
    }
    return (PyObject *)files;
}

/* 1 and the number, 0 where it is no integer of 64 bits, -1 with an exception where there is none. */
static int status_number(const SameFilesObject *files, PyObject *status, int name, long long *number) {
    PyObject *value = PyObject_GetAttr(status, files->names[name]);
    if (value == NULL) {
        return -1;
    }
    int overflow = 1;
    *number = PyLong_Check(value) ? PyLong_AsLongLongAndOverflow(value, &overflow) : 0;
    Py_DECREF(value);
    return overflow == 0;
}

static int read_status(const SameFilesObject *files, PyObject *object, Status *status) {
    const struct {
        int name;
        long long *number;
    } wanted[] = {
        {ST_MODE, &status->mode}, {ST_INO, &status->inode}, {ST_SIZE, &status->size}, {ST_NLINK, &status->links},
        {ST_DEV, &status->device}, {ST_UID, &status->uid}, {ST_GID, &status->gid}, {ST_MTIME, &status->mtime_ns},
        {ST_CTIME, &status->ctime_ns},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int found = status_number(files, object, wanted[i].name, wanted[i].number);
        if (found <= 0) {
            return found;
        }
    }
    return 1;
}

/* The node's field, borrowed; NULL where it has none. Keys are plain strings, so the look-up does not fail. */
static PyObject *field(const SameFilesObject *files, PyObject *node, int name) {
    return PyDict_GetItemWithError(node, files->names[name]);
}

/* Whether the field is this number; `missing` is what a node without it says. */
static int is_number(const SameFilesObject *files, PyObject *node, int name, long long number, long long missing) {
    PyObject *value = field(files, node, name);
    if (value == NULL) {
        return number == missing;
    }
    int overflow = 1;
    return PyLong_CheckExact(value) && PyLong_AsLongLongAndOverflow(value, &overflow) == number && overflow == 0;
}

static const char *text_of(PyObject *object, Py_ssize_t *length) {
    const char *text = object != NULL && PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, length) : NULL;
    if (text == NULL) {
        PyErr_Clear();
    }
    return text;
}

/* Date with time and zone of the second, as `local_second` gives them; NULL with an exception. Borrowed. */
static PyObject *second_text(SameFilesObject *files, long long second) {
    if (files->second_text == NULL || files->second != second) {
        PyObject *text = PyObject_CallFunction(files->local_second, "L", second);
        if (text == NULL) {
            return NULL;
        }
        Py_XDECREF(files->second_text);
        files->second_text = text;
        files->second = second;
    }
    return files->second_text;
}

/* Whether the field is how the time is written now: 1 or 0, -1 with an exception. */
static int is_time(SameFilesObject *files, PyObject *node, int name, long long ns) {
    Py_ssize_t given_length, head_length, zone_length;
    const char *given = text_of(field(files, node, name), &given_length);
    if (given == NULL) {
        return 0;
    }
    long long second = ns / NS_PER_S, fraction = ns % NS_PER_S;
    if (fraction < 0) {
        fraction += NS_PER_S;
        second--;
    }
    PyObject *pair = second_text(files, second);
    if (pair == NULL) {
        return -1;
    }
    const char *head = text_of(PyTuple_GetItem(pair, 0), &head_length);
    const char *zone = text_of(PyTuple_GetItem(pair, 1), &zone_length);
    if (head == NULL || zone == NULL || head_length + zone_length + 10 > LONGEST_TIME) {
        return 0;
    }
    char text[LONGEST_TIME];
    memcpy(text, head, (size_t)head_length);
    size_t length = (size_t)head_length;
    if (fraction) {
        int digits = 9;
        for (; fraction % 10 == 0; fraction /= 10) {
            digits--;
        }
        text[length] = '.';
        for (int i = digits; i > 0; i--, fraction /= 10) {
            text[length + (size_t)i] = (char)('0' + fraction % 10);
        }
        length += 1 + (size_t)digits;
    }
    memcpy(text + length, zone, (size_t)zone_length);
    length += (size_t)zone_length;
    return (size_t)given_length == length && memcmp(text, given, length) == 0;
}

/* Whether the node's mode, owner and their names are those of the status: 1 or 0, -1 with an exception. */
static int is_owner(SameFilesObject *files, PyObject *node, const Status *status) {
    if (files->owner == NULL || files->mode != status->mode || files->uid != status->uid ||
        files->gid != status->gid) {
        PyObject *owner =
            PyObject_CallFunction(files->mode_and_owner, "LLL", status->mode, status->uid, status->gid);
        if (owner == NULL) {
            return -1;
        }
        Py_XDECREF(files->owner);
        files->owner = owner;
        files->mode = status->mode;
        files->uid = status->uid;
        files->gid = status->gid;
    }
    static const int order[] = {MODE, UID, GID, USER, GROUP};
    for (int i = 0; i < 5; i++) {
        PyObject *wanted = PyTuple_GetItem(files->owner, i), *value = field(files, node, order[i]);
        if (wanted == NULL) {
            return -1;
        }
        int same = value == NULL ? i != 1 && i != 2 && !PyObject_IsTrue(wanted)
                                 : PyObject_RichCompareBool(value, wanted, Py_EQ);
        if (same <= 0) {
            return same;
        }
    }
    return 1;
}

static int hex_digit(char digit) {
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The id in hex as bytes; 0 where it is none. */
static int read_id(PyObject *object, uint8_t id[ID_SIZE]) {
    Py_ssize_t length;
    const char *text = text_of(object, &length);
    if (text == NULL || length != 2 * ID_SIZE) {
        return 0;
    }
    for (int i = 0; i < ID_SIZE; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return 0;
        }
        id[i] = (uint8_t)(high << 4 | low);
    }
    return 1;
}

/* The node's chunks as a new list if all are in the table; NULL without an exception if not. */
static PyObject *known_content(const SameFilesObject *files, PyObject *node) {
    PyObject *given = field(files, node, CONTENT);
    if (given == NULL || given == Py_None) {
        return PyList_New(0);
    }
    Py_ssize_t count = PyList_Check(given) ? PyList_Size(given) : -1;
    PyObject *content = count < 0 ? NULL : PyList_New(count);
    for (Py_ssize_t i = 0; content != NULL && i < count; i++) {
        uint8_t id[ID_SIZE];
        PyObject *known = NULL;
        if (read_id(PyList_GetItem(given, i), id) && index_table_find_entry(files->table, DATA, id) >= 0) {
            known = PyBytes_FromStringAndSize((const char *)id, ID_SIZE);
        }
        if (known == NULL) {
            Py_CLEAR(content);
        } else {
            PyList_SetItem(content, i, known);
        }
    }
    return content;
}

static int is_file(const SameFilesObject *files, PyObject *node) {
    Py_ssize_t length;
    const char *type = text_of(field(files, node, TYPE), &length);
    return type != NULL && length == 4 && memcmp(type, "file", 4) == 0;
}

/* Whether a node written now would be this one, its content aside: 1 or 0, -1 with an exception. */
static int is_same(SameFilesObject *files, PyObject *node, const Status *status) {
    if ((status->mode & TYPE_BITS) != REGULAR || !is_file(files, node) ||
        !is_number(files, node, INODE, status->inode, -1) || !is_number(files, node, SIZE, status->size, 0) ||
        !is_number(files, node, LINKS, status->links, -1) ||
        !is_number(files, node, DEVICE, status->links > 1 ? status->device : 0, 0)) {
        return 0;
    }
    PyObject *mtime = field(files, node, MTIME), *atime = field(files, node, ATIME);
    int same = mtime == NULL || atime == NULL ? 0 : PyObject_RichCompareBool(mtime, atime, Py_EQ);
    if (same > 0) {
        same = is_time(files, node, MTIME, status->mtime_ns);
    }
    if (same > 0) {
        same = is_time(files, node, CTIME, status->ctime_ns);
    }
    return same > 0 ? is_owner(files, node, status) : same;
}

/* What fills the slot of an entry that is as its node says; None for any other, NULL with an exception. */
static PyObject *taken_over(SameFilesObject *files, PyObject *entry, PyObject *name, PyObject *node,
                            long long *size) {
    PyObject *made = PyObject_GetAttr(entry, files->names[ENTRY_MADE]);
    PyObject *object = made == NULL ? NULL : PyObject_GetAttr(entry, files->names[ENTRY_STAT]);
    PyObject *result = NULL, *content = NULL;
    Status status;
    int same = object == NULL ? -1 : PyObject_IsTrue(made) ? 0 : read_status(files, object, &status);
    if (same > 0) {
        same = is_same(files, node, &status);
    }
    if (same > 0) {
        *size = status.size;
        content = known_content(files, node);
    }
    if (content != NULL) {
        result = PyObject_CallFunctionObjArgs(files->make, name, object, node, content, NULL);
    } else if (same >= 0 && !PyErr_Occurred()) {
        result = Py_NewRef(Py_None);
    }
    Py_XDECREF(content);
    Py_XDECREF(object);
    Py_XDECREF(made);
    return result;
}

/* Settles the slot, or adds the entry to the others; -1 with an exception. */
static int settle_one(SameFilesObject *files, PyObject *entry, Py_ssize_t slot, PyObject *old, PyObject *slots,
                      PyObject *others, long long *count, long long *size_bytes) {
    PyObject *name = PyObject_GetAttr(entry, files->names[ENTRY_NAME]);
    if (name == NULL) {
        return -1;
    }
    PyObject *node = PyDict_GetItemWithError(old, name);
    long long size = 0;
    PyObject *filled = NULL;
    if (node != NULL && PyDict_Check(node)) {
        filled = taken_over(files, entry, name, node, &size);
    } else if (!PyErr_Occurred()) {
        filled = Py_NewRef(Py_None);
    }
    Py_DECREF(name);
    if (filled == NULL) {
        return -1;
    }
    if (filled != Py_None) {
        *count += 1;
        *size_bytes += size;
        return PyList_SetItem(slots, slot, filled); /* takes the reference over */
    }
    Py_DECREF(filled);
    PyObject *other = Py_BuildValue("(nOO)", slot, entry, node == NULL ? Py_None : node);
    int result = other == NULL ? -1 : PyList_Append(others, other);
    Py_XDECREF(other);
    return result;
}

static PyObject *same_files_settle(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (argument_count("settle", count, 3) < 0) {
        return NULL;
    }
    PyObject *entries = args[0], *old = args[1], *slots = args[2];
    if (!PyList_Check(entries) || !PyDict_Check(old) || !PyList_Check(slots) ||
        PyList_Size(slots) != PyList_Size(entries)) {
        PyErr_SetString(PyExc_TypeError, "settle() takes a list of entries, a dict and a slot for each entry");
        return NULL;
    }
    PyObject *others = PyList_New(0);
    long long files = 0, size_bytes = 0;
    for (Py_ssize_t slot = 0; others != NULL && slot < PyList_Size(entries); slot++) {
        PyObject *entry = Py_NewRef(PyList_GetItem(entries, slot));
        if (settle_one(same_files(self), entry, slot, old, slots, others, &files, &size_bytes) < 0) {
            Py_CLEAR(others);
        }
        Py_DECREF(entry);
    }
    return others == NULL ? NULL : Py_BuildValue("(LLN)", files, size_bytes, others);
}

#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef same_files_methods[] = {
    {"settle", FAST(same_files_settle), METH_FASTCALL,
     "settle($self, entries, old, slots, /)\n--\n\n"
     "Fills the slots of files that are as in `old`; their number, their bytes, and the others: see _same_files_py."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot same_files_slots[] = {
    {Py_tp_doc, "SameFiles(table, make, local_second, mode_and_owner, /)\n--\n\n"
                "Tells the files of a folder that are as the parent's nodes say from all others."},
    {Py_tp_new, same_files_new},
    {Py_tp_dealloc, same_files_dealloc},
    {Py_tp_methods, same_files_methods},
    {0, NULL},
};

PyType_Spec same_files_spec = {
    .name = "limpet.format._native.SameFiles",
    .basicsize = sizeof(SameFilesObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = same_files_slots,
};
