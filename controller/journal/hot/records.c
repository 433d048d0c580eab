/* The checks of records, before they are used.

   It says how many are right from the first on, and not what is wrong with the
   next: that is for the plain ones, controller/restore/verify.py, which are the
   reference in the tests. A processor without an instruction for checksums
   finds none right, and leaves all to them. */

#include "hot.h"

#define VOLUMES_MAX 64
#define DATA_BLOCKS_MAX (DATA_BYTES_MAX / BLOCK_BYTES)
#define MARKER_BLOCKS_MAX (MARKER_BYTES_MAX / BLOCK_BYTES)
#define FLAGS_MAX 3 /* zero, trim */

struct expected {
    uint64_t sequence, data_position; /* of the first */
    uint32_t tag, generation_min, generation_max;
    const int64_t *limit; /* blocks of each volume; -1: there is none */
};

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t sum_of(const struct record *record)
{
    const unsigned char *at = (const unsigned char *)record;
    uint64_t crc = 0xFFFFFFFFu, word;
    size_t done = 0;
    for (; done + 8 <= offsetof(struct record, record_crc); done += 8) {
        memcpy(&word, at + done, sizeof word);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    return __builtin_ia32_crc32si((uint32_t)crc, record->reserved) ^ 0xFFFFFFFFu;
}

static int can_sum(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#else
static uint32_t sum_of(const struct record *record)
{
    return ~record->record_crc;
}

static int can_sum(void)
{
    return 0;
}
#endif

static int fits_volume(const struct record *record, const int64_t *limits)
{
    int64_t limit = limits[record->volume < VOLUMES_MAX ? record->volume : VOLUMES_MAX];
    return limit >= 0 && record->volume_lba <= (uint64_t)limit &&
           record->block_count <= limit - (int64_t)record->volume_lba;
}

static int is_right(const struct record *record, const struct expected *expected)
{
    if (record->record_crc != sum_of(record) || record->sequence != expected->sequence ||
        record->group_tag != expected->tag || record->generation < expected->generation_min ||
        record->generation > expected->generation_max || record->data_position != expected->data_position ||
        record->kind < KIND_UPDATE || record->kind > KIND_MARKER || record->flags > FLAGS_MAX)
        return 0;
    if (record->kind == KIND_MARKER)
        return record->block_count == 0 && record->flags == 0 && record->data_blocks <= MARKER_BLOCKS_MAX;
    return fits_volume(record, expected->limit) && record->data_blocks <= DATA_BLOCKS_MAX &&
           record->data_blocks == (record->flags ? 0 : record->block_count);
}

static size_t count_right(const char *records, size_t count, struct expected expected)
{
    struct record record;
    for (size_t at = 0; at < count; at++) {
        memcpy(&record, records + at * RECORD_BYTES, sizeof record);
        if (!is_right(&record, &expected))
            return at;
        expected.sequence++;
        expected.data_position += record.data_blocks;
    }
    return count;
}

PyObject *right_records(PyObject *module, PyObject *args)
{
    Py_buffer records, limits;
    struct expected expected;
    unsigned long long sequence, data_position;
    if (!PyArg_ParseTuple(args, "y*KKIIIy*", &records, &sequence, &data_position, &expected.tag,
                          &expected.generation_min, &expected.generation_max, &limits))
        return NULL;
    size_t good = 0;
    int right = records.len % RECORD_BYTES == 0 && limits.len == (VOLUMES_MAX + 1) * (Py_ssize_t)sizeof(int64_t);
    expected.sequence = sequence, expected.data_position = data_position, expected.limit = limits.buf;
    if (right && can_sum())
        good = count_right(records.buf, (size_t)records.len / RECORD_BYTES, expected);
    PyBuffer_Release(&records);
    PyBuffer_Release(&limits);
    if (!right) {
        PyErr_SetString(PyExc_ValueError, "not whole records, or not a limit for each volume");
        return NULL;
    }
    return PyLong_FromSize_t(good);
}
