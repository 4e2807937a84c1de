/* What a worker process asks of its system: to die with its parent, and to keep freed memory. */
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
