/* What a process asks of its system: to die with its parent, to keep freed memory or to give it back. */
#include "module.h"

#if defined(__linux__)
#include <signal.h>
#include <sys/prctl.h>
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif

PyObject *die_with_parent(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
#if defined(__linux__)
    if (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0, 0, 0) < 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
#endif
    Py_RETURN_NONE;
}

PyObject *keep_freed_memory(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
#if defined(__GLIBC__)
    /* 32 MiB is the most that glibc takes for the first. */
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
    Py_RETURN_NONE;
}

PyObject *return_freed_memory(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
#if defined(__GLIBC__)
    /* Left alone, glibc raises the threshold with every large buffer that is freed, and gives each thread a heap. */
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_ARENA_MAX, 1);
#endif
    Py_RETURN_NONE;
}
