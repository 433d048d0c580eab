/* A read of a file.

   Data in the page cache is there in less time than it takes to hand the
   interpreter lock over, and to wait for its return beside threads that want
   it too. The plain one, its reference, is in controller/journal/access.py. */

#include "hot.h"

#include <sys/uio.h>

/* As os.preadv into one buffer. A short one is first tried without waiting for the disk, the interpreter lock held. */
PyObject *read_at(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "expected (file, buffer, offset)");
        return NULL;
    }
    Py_buffer buffer;
    int file = (int)PyLong_AsLong(args[0]);
    long long offset = PyLong_AsLongLong(args[2]);
    if (PyErr_Occurred() || PyObject_GetBuffer(args[1], &buffer, PyBUF_WRITABLE) < 0)
        return NULL;
    struct iovec whole = {buffer.buf, (size_t)buffer.len};
    ssize_t done = buffer.len < UNLOCK_FROM_BYTES ? preadv2(file, &whole, 1, (off_t)offset, RWF_NOWAIT) : -1;
    int error = 0;
    if (done != buffer.len) { /* not in the page cache, or not all of it; or this file knows no such reads */
        Py_BEGIN_ALLOW_THREADS
        do
            done = pread(file, buffer.buf, (size_t)buffer.len, (off_t)offset);
        while (done < 0 && errno == EINTR);
        error = errno;
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&buffer);
    if (done < 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromSsize_t(done);
}
