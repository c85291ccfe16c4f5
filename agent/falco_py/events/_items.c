/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The items of a record as Python reads them, one at a time: nearly every rule
 * about files asks of every open which file it was and with which flags.
 * Invariant: no byte outside the given bytes is touched whatever they say; what
 * is cut off or of another kind is None.
 *
 * The layout is that of bpf/lib/types.h: each item is a size (16 bits), a tag
 * and flags (8 bits each), then `size` bytes. Numbers are in native order.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define ITEM_VALUE  1
#define ITEM_FD	    6

#define FD_SOCK	    1
#define FD_CUT	    2
#define FD_DELETED  4
#define FD_DETACHED 8
#define FD_FILE	    16
#define FD_MEMBERS  12

struct item {
	uint16_t size;
	uint8_t tag;
	uint8_t flags;
};

struct fd_facts {
	int32_t num;
	uint16_t mode;
	uint8_t layer;
	uint8_t flags;
	uint32_t dev;
	uint32_t magic;
	uint64_t ino;
	uint32_t file_flags;
	uint32_t file_mode;
};

/* The item at *at, and *at past it; 0 when there is none that is whole. */
static int next_item(const uint8_t *raw, Py_ssize_t len, Py_ssize_t *at, struct item *item)
{
	if (*at + (Py_ssize_t)sizeof(*item) > len)
		return 0;
	memcpy(item, raw + *at, sizeof(*item));
	if (*at + (Py_ssize_t)sizeof(*item) + item->size > len)
		return 0;
	*at += sizeof(*item) + item->size;
	return 1;
}

static int is_bytes(PyObject *payload)
{
	if (PyBytes_Check(payload))
		return 1;
	PyErr_SetString(PyExc_TypeError, "a record is bytes");
	return 0;
}

static PyObject *items_starts(PyObject *module, PyObject *payload)
{
	Py_ssize_t at = 0, start = 0;
	struct item item;
	PyObject *out;

	(void)module;
	if (!is_bytes(payload))
		return NULL;
	out = PyList_New(0);
	while (out && next_item((uint8_t *)PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload),
				&at, &item)) {
		PyObject *number = PyLong_FromSsize_t(start);

		if (!(start == 0 && item.tag == ITEM_FD) && (!number || PyList_Append(out, number)))
			Py_CLEAR(out);
		Py_XDECREF(number);
		start = at;
	}
	return out;
}

static PyObject *items_number(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
	Py_ssize_t at = 0, place, start = 0;
	struct item item;
	const uint8_t *raw;
	int64_t value;

	(void)module;
	if (count != 2) {
		PyErr_SetString(PyExc_TypeError, "number(payload, place)");
		return NULL;
	}
	place = PyLong_AsSsize_t(args[1]);
	if (!is_bytes(args[0]) || (place == -1 && PyErr_Occurred()))
		return NULL;
	raw = (uint8_t *)PyBytes_AS_STRING(args[0]);
	while (next_item(raw, PyBytes_GET_SIZE(args[0]), &at, &item)) {
		int counts = !(start == 0 && item.tag == ITEM_FD);

		if (counts && place-- == 0) {
			if (item.tag != ITEM_VALUE || item.size < sizeof(value))
				break;
			memcpy(&value, raw + start + sizeof(item), sizeof(value));
			return PyLong_FromLongLong(value);
		}
		start = at;
	}
	Py_RETURN_NONE;
}

static PyObject *text(const char *raw, Py_ssize_t len)
{
	return PyUnicode_DecodeUTF8(raw, len, "surrogateescape");
}

static PyObject *items_fd(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
	PyObject *values[FD_MEMBERS], *made;
	PyTypeObject *type;
	struct fd_facts f;
	const char *rest;
	Py_ssize_t len;
	int failed;

	(void)module;
	if (count != 2 || !PyType_Check(args[0]) ||
	    !PyType_IsSubtype((PyTypeObject *)args[0], &PyTuple_Type)) {
		PyErr_SetString(PyExc_TypeError, "fd(a kind of tuple, raw)");
		return NULL;
	}
	if (!is_bytes(args[1]))
		return NULL;
	len = PyBytes_GET_SIZE(args[1]);
	if (len < (Py_ssize_t)sizeof(f))
		Py_RETURN_NONE;
	memcpy(&f, PyBytes_AS_STRING(args[1]), sizeof(f));
	rest = PyBytes_AS_STRING(args[1]) + sizeof(f);
	len -= sizeof(f);
	type = (PyTypeObject *)args[0];
	values[0] = PyLong_FromLong(f.num);
	values[1] = PyLong_FromUnsignedLong(f.mode);
	values[2] = PyLong_FromUnsignedLong(f.dev);
	values[3] = PyLong_FromUnsignedLongLong(f.ino);
	values[4] = PyLong_FromUnsignedLong(f.magic);
	values[5] = PyLong_FromUnsignedLong(f.file_flags);
	values[6] = PyLong_FromUnsignedLong(f.file_mode);
	values[7] = PyLong_FromUnsignedLong(f.layer);
	if (f.flags & FD_SOCK || !(f.flags & FD_FILE))
		values[8] = Py_NewRef(Py_None);
	else if (f.flags & FD_DETACHED && len > 0)
		values[8] = text(rest + 1, len - 1);
	else
		values[8] = text(rest, len);
	values[9] = PyBool_FromLong(f.flags & FD_CUT);
	values[10] = PyBool_FromLong(f.flags & FD_DELETED);
	values[11] = f.flags & FD_SOCK ? PyBytes_FromStringAndSize(rest, len) : Py_NewRef(Py_None);
	made = type->tp_alloc(type, FD_MEMBERS);
	failed = !made;
	for (int i = 0; i < FD_MEMBERS; i++) {
		if (!values[i])
			failed = 1;
		if (made)
			PyTuple_SET_ITEM(made, i, values[i]);
		else
			Py_XDECREF(values[i]);
	}
	if (failed)
		Py_CLEAR(made);
	return made;
}

static PyMethodDef methods[] = {
	{ "starts", items_starts, METH_O,
	  "starts(payload) -> where each item begins, a leading fd item left out" },
	{ "number", (PyCFunction)(void (*)(void))items_number, METH_FASTCALL,
	  "number(payload, place) -> the number in an item, counted as by starts; None: it holds "
	  "none" },
	{ "fd", (PyCFunction)(void (*)(void))items_fd, METH_FASTCALL,
	  "fd(type, raw) -> the value of an fd item as `type`, of a socket with the bytes of its "
	  "facts" },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT, .m_name = "_items",   .m_doc = "Reads single items of a record.",
	.m_size = -1,	       .m_methods = methods,
};

PyMODINIT_FUNC PyInit__items(void)
{
	return PyModule_Create(&module);
}
