/* Opens files whose way and inode are in the kernel's memory, and no others: never waits for a disk or a network. */
#define _GNU_SOURCE
#include "module.h"

#if defined(__linux__)
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#endif

/* Headers may be older than the kernel: what they lack is openat2(2)'s, the same on all processors. */
#if defined(__linux__) && defined(STATX_BASIC_STATS) && defined(AT_STATX_DONT_SYNC)
#define HAVE_OPEN_CACHED
#ifndef SYS_openat2
#define SYS_openat2 437
#endif

enum { NO_CROSSING = 0x01, NO_LINKS = 0x04, BENEATH = 0x08, CACHED = 0x20 };

typedef struct {
    uint64_t flags, mode, resolve;
} OpenHow;

/* A descriptor, or -1 where it has to be waited for, also where the system knows no such call. */
static int open_now(int folder, const char *path, int flags, int resolve) {
    OpenHow how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = (uint64_t)(resolve | CACHED)};
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

static int is_on(int descriptor, unsigned long long device) {
    struct statx status;
    return statx(descriptor, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) == 0 &&
           makedev(status.stx_dev_major, status.stx_dev_minor) == device;
}

static int open_beneath(const char *root, unsigned long long device, const char *path, struct stat *status) {
    int folder = open_now(AT_FDCWD, root, O_PATH | O_DIRECTORY, 0);
    if (folder < 0) {
        return -1;
    }
    /* Without O_NOATIME reading may have to write. O_NONBLOCK: no pipe is waited for. */
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME;
    int file = is_on(folder, device) ? open_now(folder, path, flags, BENEATH | NO_LINKS | NO_CROSSING) : -1;
    close(folder);
    if (file >= 0 && (fstat(file, status) < 0 || !S_ISREG(status->st_mode))) {
        close(file);
        return -1;
    }
    return file;
}
#endif

PyObject *open_cached(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *root, *path, *result = NULL;
    unsigned long long device;
    if (!PyArg_ParseTuple(args, "O&KO&:open_cached", PyUnicode_FSConverter, &root, &device, PyUnicode_FSConverter,
                          &path)) {
        return NULL;
    }
#if defined(HAVE_OPEN_CACHED)
    struct stat status;
    int file = open_beneath(PyBytes_AsString(root), device, PyBytes_AsString(path), &status);
    if (file >= 0) {
        result = Py_BuildValue("iL", file, (long long)status.st_size);
        if (result == NULL) {
            close(file);
        }
    } else {
        result = Py_NewRef(Py_None);
    }
#else
    (void)device;
    result = Py_NewRef(Py_None);
#endif
    Py_DECREF(root);
    Py_DECREF(path);
    return result;
}
