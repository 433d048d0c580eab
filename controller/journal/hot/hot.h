/* What the compiled steps share. Numbers are those of FORMAT.md. */

#ifndef PAIRVOL_HOT_H
#define PAIRVOL_HOT_H

#define _GNU_SOURCE /* preadv2 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES 512
#define RECORD_BYTES 64
#define DATA_BYTES_MAX (32 << 20)
#define MARKER_BYTES_MAX 65536
#define PAGE_BYTES 4096
#define UNLOCK_FROM_BYTES (32 * 1024) /* shorter copies cost less than handing the interpreter lock over */

enum kind { KIND_UPDATE = 1, KIND_BASE = 2, KIND_MARKER = 3 };

struct record { /* FORMAT.md, Record */
    uint64_t sequence, time_ns, volume_lba, data_position;
    uint32_t block_count, data_blocks;
    uint16_t volume;
    uint8_t kind, flags;
    uint32_t generation, data_crc, group_tag, reserved, record_crc;
} __attribute__((packed));
_Static_assert(sizeof(struct record) == RECORD_BYTES, "FORMAT.md");

/* append.c */
extern PyType_Spec append_spec;
void append_prepare(void);
/* pieces.c */
PyObject *write_pieces(PyObject *module, PyObject *args);
/* reads.c */
PyObject *read_at(PyObject *module, PyObject *const *args, Py_ssize_t count);
/* records.c */
PyObject *right_records(PyObject *module, PyObject *args);
/* sums.c */
PyObject *right_sums(PyObject *module, PyObject *args);

/* Write all of it; 0, or -1 with errno. */
static inline int write_fully(int file, const char *data, size_t count, off_t offset)
{
    while (count > 0) {
        ssize_t written = pwrite(file, data, count, offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        data += written, count -= (size_t)written, offset += written;
    }
    return 0;
}

#endif
