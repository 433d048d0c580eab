/* The append step of the primary: data into the ring, its record into its slot.

   It is controller/volume/append.py, line by line, and that one is its
   reference in the tests. No locks, no pointers, no policy. */

#include "hot.h"

#include <endian.h>
#include <structmember.h>
#include <time.h>

static uint32_t crc_table[256];

void append_prepare(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
        crc_table[byte] = crc;
    }
}

static uint32_t crc32c_short(const unsigned char *bytes, size_t count)
{
    uint32_t crc = 0xFFFFFFFFu;
    while (count--)
        crc = crc_table[(crc ^ *bytes++) & 0xFF] ^ crc >> 8;
    return crc ^ 0xFFFFFFFFu;
}

/* The same; a page that is begun is filled with zeros, of the free bytes behind it: controller/journal/access.py. */
static int write_pages(int file, const char *data, size_t count, uint64_t offset, uint64_t free)
{
    size_t tail = (offset + count) % PAGE_BYTES;
    if (tail == 0 || tail > count || PAGE_BYTES - tail > free)
        return write_fully(file, data, count, (off_t)offset);
    char page[PAGE_BYTES];
    memcpy(page, data + count - tail, tail);
    memset(page + tail, 0, PAGE_BYTES - tail);
    if (write_fully(file, data, count - tail, (off_t)offset) < 0)
        return -1;
    return write_fully(file, page, PAGE_BYTES, (off_t)(offset + count - tail));
}

typedef struct {
    PyObject_HEAD
    Py_buffer map;    /* the whole journal volume, mapped */
    PyObject *crc32c; /* checksum of a buffer, in hardware */
    PyObject *clock;  /* UTC nanoseconds, or NULL: the system's clock */
    int file;
    unsigned int generation, tag;
    unsigned long long data_start, data_bytes, slots_start, slot_count;
    unsigned long long sequence, data_position, time_ns; /* of the newest record */
    unsigned long long sequence_limit, data_limit;
} Append;

static int append_init(PyObject *object, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"file", "map", "data_start", "data_bytes", "slots_start", "slot_count", "generation",
                            "tag", "sequence", "data_position", "time_ns", "crc32c", "clock", NULL};
    Append *self = (Append *)object;
    PyObject *map, *crc32c, *clock;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "iOKKKKIIKKKOO", names, &self->file, &map, &self->data_start,
                                     &self->data_bytes, &self->slots_start, &self->slot_count, &self->generation,
                                     &self->tag, &self->sequence, &self->data_position, &self->time_ns, &crc32c,
                                     &clock))
        return -1;
    if (PyObject_GetBuffer(map, &self->map, PyBUF_WRITABLE) < 0)
        return -1;
    if (self->data_bytes == 0 || self->slot_count == 0 ||
        self->data_start + self->data_bytes > (unsigned long long)self->map.len ||
        self->slots_start + self->slot_count * RECORD_BYTES > (unsigned long long)self->map.len) {
        PyErr_SetString(PyExc_ValueError, "the areas do not lie within the map");
        return -1;
    }
    self->crc32c = Py_NewRef(crc32c);
    self->clock = clock == Py_None ? NULL : Py_NewRef(clock);
    return 0;
}

static void append_dealloc(PyObject *object)
{
    Append *self = (Append *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyBuffer_Release(&self->map);
    Py_XDECREF(self->crc32c);
    Py_XDECREF(self->clock);
    type->tp_free(object);
    Py_DECREF(type);
}

/* Let go of the map, so that it can be closed. Nothing may be appended any more. */
static PyObject *append_detach(PyObject *object, PyObject *unused)
{
    PyBuffer_Release(&((Append *)object)->map);
    Py_RETURN_NONE;
}

static int now_ns(Append *self, unsigned long long *now)
{
    if (self->clock == NULL) {
        struct timespec time;
        clock_gettime(CLOCK_REALTIME, &time);
        *now = (unsigned long long)time.tv_sec * 1000000000ULL + (unsigned long long)time.tv_nsec;
        return 0;
    }
    PyObject *answer = PyObject_CallNoArgs(self->clock);
    if (answer == NULL)
        return -1;
    *now = PyLong_AsUnsignedLongLong(answer);
    Py_DECREF(answer);
    return *now == (unsigned long long)-1 && PyErr_Occurred() ? -1 : 0;
}

/* The record that follows the newest one, into its slot; then it is the newest. */
static int put_record(Append *self, unsigned long volume, unsigned long long lba, unsigned long blocks,
                      unsigned long data_blocks, uint8_t kind, unsigned long flags, uint32_t data_crc)
{
    unsigned long long now;
    if (self->map.obj == NULL) {
        PyErr_SetString(PyExc_ValueError, "the journal is closed");
        return -1;
    }
    if (now_ns(self, &now) < 0)
        return -1;
    if (now <= self->time_ns)
        now = self->time_ns + 1;
    struct record record = {
        .sequence = htole64(self->sequence + 1),
        .time_ns = htole64(now),
        .volume_lba = htole64(lba),
        .data_position = htole64(self->data_position),
        .block_count = htole32((uint32_t)blocks),
        .data_blocks = htole32((uint32_t)data_blocks),
        .volume = htole16((uint16_t)volume),
        .kind = kind,
        .flags = (uint8_t)flags,
        .generation = htole32(self->generation),
        .data_crc = htole32(data_crc),
        .group_tag = htole32(self->tag),
    };
    record.record_crc = htole32(crc32c_short((unsigned char *)&record, offsetof(struct record, record_crc)));
    unsigned long long slot = (self->sequence + 1) % self->slot_count;
    uint64_t offset = self->slots_start + slot * RECORD_BYTES;
    /* The slot of the newest record that is not needed is left: it answers who asks what that was. */
    uint64_t free = self->sequence + 2 < self->sequence_limit ? self->sequence_limit - self->sequence - 2 : 0;
    /* Not through the map: after each sync the first store into a page is a fault, which costs more than this call. */
    if (write_pages(self->file, (char *)&record, RECORD_BYTES, offset, free * RECORD_BYTES) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    self->sequence += 1;
    self->data_position += data_blocks;
    self->time_ns = now;
    return 0;
}

/* Data into the ring at the newest data position, in one piece or two. */
static int put_data(Append *self, const Py_buffer *data)
{
    unsigned long long start = self->data_position % (self->data_bytes / BLOCK_BYTES) * BLOCK_BYTES;
    size_t count = (size_t)data->len, first = count;
    uint64_t end = self->data_position + count / BLOCK_BYTES;
    uint64_t free = end < self->data_limit ? (self->data_limit - end) * BLOCK_BYTES : 0;
    PyThreadState *unlocked = count >= UNLOCK_FROM_BYTES ? PyEval_SaveThread() : NULL;
    if (first > self->data_bytes - start)
        first = (size_t)(self->data_bytes - start);
    int failed = write_pages(self->file, data->buf, first, self->data_start + start, free);
    if (!failed)
        failed = write_pages(self->file, (char *)data->buf + first, count - first, self->data_start, free);
    int error = errno;
    if (unlocked)
        PyEval_RestoreThread(unlocked);
    if (failed) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return failed;
}

/* Data and its record; the data position it is at, or NULL. */
static PyObject *put(Append *self, unsigned long volume, unsigned long long lba, PyObject *object, unsigned long blocks,
                     uint8_t kind)
{
    Py_buffer data;
    if (PyObject_GetBuffer(object, &data, PyBUF_SIMPLE) < 0)
        return NULL;
    unsigned long long position = self->data_position;
    PyObject *crc = NULL;
    if ((unsigned long long)data.len != (unsigned long long)blocks * BLOCK_BYTES ||
        (unsigned long long)data.len > self->data_bytes)
        PyErr_SetString(PyExc_ValueError, "data is not as long as its blocks, or longer than the journal");
    else if (put_data(self, &data) == 0)
        crc = PyObject_CallOneArg(self->crc32c, object);
    PyBuffer_Release(&data);
    if (crc == NULL)
        return NULL;
    unsigned long data_crc = PyLong_AsUnsignedLong(crc);
    Py_DECREF(crc);
    if (PyErr_Occurred() || put_record(self, volume, lba, kind == KIND_MARKER ? 0 : blocks, blocks, kind, 0,
                                       (uint32_t)data_crc) < 0)
        return NULL;
    return PyLong_FromUnsignedLongLong(position);
}

static PyObject *put_at(PyObject *object, PyObject *const *args, Py_ssize_t count, uint8_t kind)
{
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "expected (volume, lba, data, blocks)");
        return NULL;
    }
    unsigned long volume = PyLong_AsUnsignedLong(args[0]);
    unsigned long long lba = PyLong_AsUnsignedLongLong(args[1]);
    unsigned long blocks = PyLong_AsUnsignedLong(args[3]);
    if (PyErr_Occurred())
        return NULL;
    return put((Append *)object, volume, lba, args[2], blocks, kind);
}

static PyObject *append_write(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    return put_at(object, args, count, KIND_UPDATE);
}

static PyObject *append_base(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    return put_at(object, args, count, KIND_BASE);
}

static PyObject *append_marker(PyObject *object, PyObject *args)
{
    PyObject *data;
    unsigned long blocks;
    if (!PyArg_ParseTuple(args, "Ok", &data, &blocks))
        return NULL;
    PyObject *position = put((Append *)object, 0, 0, data, blocks, KIND_MARKER);
    if (position == NULL)
        return NULL;
    Py_DECREF(position);
    Py_RETURN_NONE;
}

static PyObject *put_clear(PyObject *object, PyObject *args, uint8_t kind)
{
    unsigned long volume, blocks, flag;
    unsigned long long lba;
    if (!PyArg_ParseTuple(args, "kKkk", &volume, &lba, &blocks, &flag) ||
        put_record((Append *)object, volume, lba, blocks, 0, kind, flag, 0) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *append_clear(PyObject *object, PyObject *args)
{
    return put_clear(object, args, KIND_UPDATE);
}

static PyObject *append_base_clear(PyObject *object, PyObject *args)
{
    return put_clear(object, args, KIND_BASE);
}

static PyObject *append_fits(PyObject *object, PyObject *argument)
{
    Append *self = (Append *)object;
    unsigned long long blocks = PyLong_AsUnsignedLongLong(argument);
    if (PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(self->sequence < self->sequence_limit && self->data_position + blocks <= self->data_limit);
}

static PyMethodDef append_methods[] = {
    {"write", (PyCFunction)(void (*)(void))append_write, METH_FASTCALL, NULL},
    {"clear", append_clear, METH_VARARGS, NULL},
    {"base", (PyCFunction)(void (*)(void))append_base, METH_FASTCALL, NULL},
    {"base_clear", append_base_clear, METH_VARARGS, NULL},
    {"marker", append_marker, METH_VARARGS, NULL},
    {"fits", append_fits, METH_O, NULL},
    {"detach", append_detach, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef append_members[] = {
    {"sequence", T_ULONGLONG, offsetof(Append, sequence), READONLY, NULL},
    {"data_position", T_ULONGLONG, offsetof(Append, data_position), READONLY, NULL},
    {"time_ns", T_ULONGLONG, offsetof(Append, time_ns), READONLY, NULL},
    {"sequence_limit", T_ULONGLONG, offsetof(Append, sequence_limit), 0, NULL},
    {"data_limit", T_ULONGLONG, offsetof(Append, data_limit), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot append_slots[] = {
    {Py_tp_init, append_init},       {Py_tp_dealloc, append_dealloc}, {Py_tp_methods, append_methods},
    {Py_tp_members, append_members}, {Py_tp_new, PyType_GenericNew},  {0, NULL},
};

PyType_Spec append_spec = {
    .name = "controller.journal._hot.Append",
    .basicsize = sizeof(Append),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = append_slots,
};
