/* The last step of applying journals: mapped journal data into a volume.

   The interpreter lock is released, so that destage does not stand in the way
   of host requests. The plain one, its reference, is in
   controller/restore/apply.py. */

#include "hot.h"

#include <sys/uio.h>

#define PIECES_PER_CALL 256
#define RUN_BYTES_MAX (32ULL << 20)

/* Pieces in address order; those that touch go into one pwritev. 0, or -1 with errno. */
static int write_all_pieces(int target, char *map, uint64_t data_start, uint64_t data_bytes, const int64_t *lba,
                            const int64_t *position, const int64_t *blocks, size_t count)
{
    struct iovec run[PIECES_PER_CALL];
    for (size_t next = 0; next < count;) {
        uint64_t begin = (uint64_t)lba[next] * BLOCK_BYTES, length = 0;
        int parts = 0;
        while (next < count && parts + 2 <= PIECES_PER_CALL && (uint64_t)lba[next] * BLOCK_BYTES == begin + length &&
               length < RUN_BYTES_MAX) {
            uint64_t bytes = (uint64_t)blocks[next] * BLOCK_BYTES;
            uint64_t start = (uint64_t)position[next] % (data_bytes / BLOCK_BYTES) * BLOCK_BYTES;
            uint64_t first = bytes < data_bytes - start ? bytes : data_bytes - start;
            run[parts++] = (struct iovec){map + data_start + start, first};
            if (first < bytes)
                run[parts++] = (struct iovec){map + data_start, bytes - first};
            length += bytes;
            next++;
        }
        ssize_t written;
        do
            written = pwritev(target, run, parts, (off_t)begin);
        while (written < 0 && errno == EINTR);
        if (written < 0)
            return -1;
        for (int part = 0; part < parts; part++) { /* a short write is rare: finish piece by piece */
            size_t done = (size_t)written < run[part].iov_len ? (size_t)written : run[part].iov_len;
            written -= (ssize_t)done;
            if (write_fully(target, (char *)run[part].iov_base + done, run[part].iov_len - done, (off_t)(begin + done)))
                return -1;
            begin += run[part].iov_len;
        }
    }
    return 0;
}

PyObject *write_pieces(PyObject *module, PyObject *args)
{
    int target;
    unsigned long long data_start, data_bytes;
    Py_buffer map, lba, position, blocks;
    if (!PyArg_ParseTuple(args, "iy*KKy*y*y*", &target, &map, &data_start, &data_bytes, &lba, &position, &blocks))
        return NULL;
    int failed = -1, error = EINVAL;
    if (lba.len == position.len && lba.len == blocks.len && data_bytes > 0 &&
        data_start + data_bytes <= (unsigned long long)map.len) {
        Py_BEGIN_ALLOW_THREADS
        failed = write_all_pieces(target, map.buf, data_start, data_bytes, lba.buf, position.buf, blocks.buf,
                                  (size_t)lba.len / sizeof(int64_t));
        error = errno;
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&map);
    PyBuffer_Release(&lba);
    PyBuffer_Release(&position);
    PyBuffer_Release(&blocks);
    if (failed) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}
