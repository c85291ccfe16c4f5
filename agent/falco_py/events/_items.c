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
#include <sys/stat.h>

#define ITEM_VALUE   1
#define ITEM_PATH    3
#define ITEM_FD	     6
#define ITEM_DIR     7
#define ITEM_CUT     1 /* of an item's flags */

#define FD_SOCK	     1
#define FD_CUT	     2
#define FD_DELETED   4
#define FD_DETACHED  8
#define FD_FILE	     16
#define FD_MEMBERS   12
#define FILE_MEMBERS 5

/* What has no path of its own, by its superblock magic (events/descriptor.py). */
#define ANON_INODE_FS 0x09041934
#define PIPE_FS	      0x50495045
#define PID_FS	      0x50494446
#define MEMFD	      "memfd:"

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

/* Is it an open file or directory, shown by a path that is whole? */
static int is_plain(const struct fd_facts *f, const char *name, Py_ssize_t len)
{
	if (f->num < 0 || f->flags & (FD_SOCK | FD_CUT | FD_DETACHED) || !(f->flags & FD_FILE))
		return 0;
	if (f->magic == ANON_INODE_FS || f->magic == PIPE_FS || f->magic == PID_FS)
		return 0;
	if (len >= (Py_ssize_t)strlen(MEMFD) && !memcmp(name, MEMFD, strlen(MEMFD)))
		return 0;
	return (f->mode & S_IFMT) != S_IFIFO;
}

/* The fd item that a record of an event about an fd begins with; NULL when there is none. */
static const char *leading_fd(PyObject *payload, struct fd_facts *f, Py_ssize_t *len)
{
	const char *raw = PyBytes_AS_STRING(payload);
	struct item item;
	Py_ssize_t at = 0;

	if (!next_item((const uint8_t *)raw, PyBytes_GET_SIZE(payload), &at, &item) ||
	    item.tag != ITEM_FD || item.size < sizeof(*f))
		return NULL;
	memcpy(f, raw + sizeof(item), sizeof(*f));
	*len = item.size - sizeof(*f);
	return raw + sizeof(item) + sizeof(*f);
}

static PyObject *items_file(PyObject *module, PyObject *payload)
{
	PyObject *made, *name, *directory, *filename;
	Py_ssize_t len, cut, end;
	struct fd_facts f;
	const char *raw;
	int is_dir;

	(void)module;
	if (!is_bytes(payload))
		return NULL;
	raw = leading_fd(payload, &f, &len);
	if (!raw || !is_plain(&f, raw, len))
		Py_RETURN_NONE;
	name = text(raw, len);
	if (!name)
		return NULL;
	is_dir = (f.mode & S_IFMT) == S_IFDIR;
	end = PyUnicode_GET_LENGTH(name);
	cut = PyUnicode_FindChar(name, '/', 0, end, -1);
	if (is_dir) {
		directory = Py_NewRef(name);
		filename = Py_NewRef(Py_None);
	} else {
		if (cut == end - 1)
			directory = cut < 0 ? PyUnicode_FromString("/") : Py_NewRef(name);
		else
			directory = cut <= 0 ? PyUnicode_FromString("/")
					     : PyUnicode_Substring(name, 0, cut);
		filename = cut < 0 ? PyUnicode_FromString("/")
				   : PyUnicode_Substring(name, cut + 1, end);
	}
	made = PyTuple_New(FILE_MEMBERS);
	if (!made || !directory || !filename) {
		Py_XDECREF(made);
		Py_DECREF(name);
		Py_XDECREF(directory);
		Py_XDECREF(filename);
		return NULL;
	}
	PyTuple_SET_ITEM(made, 0, PyLong_FromLong(f.num));
	PyTuple_SET_ITEM(made, 1, PyUnicode_FromStringAndSize(is_dir ? "d" : "f", 1));
	PyTuple_SET_ITEM(made, 2, name);
	PyTuple_SET_ITEM(made, 3, directory);
	PyTuple_SET_ITEM(made, 4, filename);
	if (!PyTuple_GET_ITEM(made, 0) || !PyTuple_GET_ITEM(made, 1))
		Py_CLEAR(made);
	return made;
}

/* Is a path as realpath(3) would give it: absolute, without empty, "." and ".." parts? */
static int is_normal(const char *path, Py_ssize_t len)
{
	if (len < 1 || path[0] != '/')
		return 0;
	for (Py_ssize_t i = 0; i < len; i++) {
		Py_ssize_t part;

		if (path[i] != '/')
			continue;
		part = i + 1;
		while (part < len && path[part] == '.')
			part++;
		if ((part == len || path[part] == '/') && part - i - 1 <= 2)
			return 0;
	}
	return 1;
}

static PyObject *items_as_passed(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
	Py_ssize_t at = 0, place, start, name_len;
	const char *raw, *name, *path;
	struct item item, base;
	struct fd_facts f;

	(void)module;
	if (count != 2) {
		PyErr_SetString(PyExc_TypeError, "as_passed(payload, place)");
		return NULL;
	}
	place = PyLong_AsSsize_t(args[1]);
	if (!is_bytes(args[0]) || (place == -1 && PyErr_Occurred()))
		return NULL;
	name = leading_fd(args[0], &f, &name_len);
	if (!name || !is_plain(&f, name, name_len) || !is_normal(name, name_len))
		Py_RETURN_FALSE;
	raw = PyBytes_AS_STRING(args[0]);
	do {
		start = at;
		if (!next_item((const uint8_t *)raw, PyBytes_GET_SIZE(args[0]), &at, &item))
			Py_RETURN_FALSE;
	} while (start == 0 || place-- > 0); /* the fd item is not counted */
	path = raw + start + sizeof(item);
	if (item.tag != ITEM_PATH)
		Py_RETURN_FALSE;
	if (item.size == name_len)
		return PyBool_FromLong(!memcmp(path, name, name_len));
	start = at; /* relative: the directory, a slash, the path */
	if (!next_item((const uint8_t *)raw, PyBytes_GET_SIZE(args[0]), &at, &base) ||
	    base.tag != ITEM_DIR || base.flags & ITEM_CUT)
		Py_RETURN_FALSE;
	return PyBool_FromLong(base.size + 1 + item.size == name_len &&
			       !memcmp(name, raw + start + sizeof(base), base.size) &&
			       name[base.size] == '/' &&
			       !memcmp(name + base.size + 1, path, item.size));
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
	{ "file", items_file, METH_O,
	  "file(payload) -> (number, letter, path, directory, file name) of an open file or "
	  "directory; None: it is about something else" },
	{ "as_passed", (PyCFunction)(void (*)(void))items_as_passed, METH_FASTCALL,
	  "as_passed(payload, place) -> whether the path in an item, counted as by starts, surely "
	  "is that of the fd item" },
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
