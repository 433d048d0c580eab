/* The comparison of data with its checksums, before it is used.

   It may stop early: a processor without an instruction for them stops at
   once. The plain one, controller/restore/verify.py, goes on there; it is the
   reference in the tests. */

#include "hot.h"

#define STREAMS 3 /* the instruction takes as many cycles as can be under way: one checksum would wait for itself */

#if defined(__x86_64__)
static uint64_t word_at(const unsigned char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

__attribute__((target("sse4.2"))) static void sum_words(const unsigned char *const *at, size_t bytes, uint64_t *crc)
{
    uint64_t first = crc[0], second = crc[1], third = crc[2];
    for (size_t done = 0; done < bytes; done += 8) {
        first = __builtin_ia32_crc32di(first, word_at(at[0] + done));
        second = __builtin_ia32_crc32di(second, word_at(at[1] + done));
        third = __builtin_ia32_crc32di(third, word_at(at[2] + done));
    }
    crc[0] = first, crc[1] = second, crc[2] = third;
}

static int can_sum(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#else
static void sum_words(const unsigned char *const *at, size_t bytes, uint64_t *crc)
{
    (void)at, (void)bytes, (void)crc;
}

static int can_sum(void)
{
    return 0;
}
#endif

/* How many ranges from the first on lie within the data and have their checksum. Three at a time, of one length each. */
static size_t count_right(const unsigned char *data, size_t size, const int64_t *start, const int64_t *length,
                          const uint32_t *stored, size_t count)
{
    size_t good = 0;
    while (good < count) {
        const unsigned char *at[STREAMS];
        uint64_t crc[STREAMS];
        size_t streams = 0, bytes = (size_t)length[good];
        for (; streams < STREAMS && good + streams < count; streams++) {
            size_t next = good + streams;
            if ((size_t)length[next] != bytes || start[next] < 0 || (size_t)start[next] > size ||
                bytes > size - (size_t)start[next])
                break;
            at[streams] = data + start[next];
        }
        if (streams == 0 || bytes % 8)
            return good;
        for (size_t stream = 0; stream < STREAMS; stream++) {
            crc[stream] = 0xFFFFFFFFu;
            if (stream >= streams)
                at[stream] = at[0];
        }
        sum_words(at, bytes, crc);
        for (size_t stream = 0; stream < streams; stream++)
            if ((uint32_t)(crc[stream] ^ 0xFFFFFFFFu) != stored[good + stream])
                return good + stream;
        good += streams;
    }
    return good;
}

PyObject *right_sums(PyObject *module, PyObject *args)
{
    Py_buffer data, start, length, stored;
    if (!PyArg_ParseTuple(args, "y*y*y*y*", &data, &start, &length, &stored))
        return NULL;
    size_t count = (size_t)start.len / sizeof(int64_t), good = 0;
    int right = length.len == start.len && (size_t)stored.len == count * sizeof(uint32_t);
    if (right && can_sum()) {
        Py_BEGIN_ALLOW_THREADS
        good = count_right(data.buf, (size_t)data.len, start.buf, length.buf, stored.buf, count);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&start);
    PyBuffer_Release(&length);
    PyBuffer_Release(&stored);
    if (!right) {
        PyErr_SetString(PyExc_ValueError, "starts, lengths and checksums are not as many");
        return NULL;
    }
    return PyLong_FromSize_t(good);
}
