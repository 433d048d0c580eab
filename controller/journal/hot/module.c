/* controller.journal._hot: the hot steps of the data path, each in a file of its own; their types are in _hot.pyi. */

#include "hot.h"

static PyMethodDef methods[] = {
    {"read_at", (PyCFunction)(void (*)(void))read_at, METH_FASTCALL, NULL},
    {"right_records", right_records, METH_VARARGS, NULL},
    {"right_sums", right_sums, METH_VARARGS, NULL},
    {"write_pieces", write_pieces, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_hot", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__hot(void)
{
    append_prepare();
    PyObject *module = PyModule_Create(&definition);
    PyObject *type = module ? PyType_FromSpec(&append_spec) : NULL;
    if (type == NULL || PyModule_AddObjectRef(module, "Append", type) < 0) {
        Py_XDECREF(type);
        Py_XDECREF(module);
        return NULL;
    }
    Py_DECREF(type);
    return module;
}
