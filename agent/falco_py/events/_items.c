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
#include <unistd.h>

#define ITEM_VALUE   1
#define ITEM_PATH    3
#define ITEM_FD	     6
#define ITEM_DIR     7
#define ITEM_NULL    8
#define ITEM_LEFT    10
#define ITEM_CUT     1 /* of an item's flags */

#define FD_SOCK	     1
#define FD_CUT	     2
#define FD_DELETED   4
#define FD_DETACHED  8
#define FD_FILE	     16
#define FD_MEMBERS   12
#define FILE_MEMBERS 5
#define EXEC_MEMBERS 35

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

/* The items of a record of an exec, in this order. */
#define EXEC_FACTS     0
#define EXEC_FILE      1
#define EXEC_CWD       2
#define EXEC_NAME      3
#define EXEC_CGROUPS   4 /* one for each of SUBSYSTEMS */
#define EXEC_ARGS      10
#define EXEC_ENV       11
#define EXEC_ITEMS     12

#define EXE_FROM_MEMFD 4

static const char *const SUBSYSTEMS[EXEC_ARGS - EXEC_CGROUPS] = { "",	    "memory",  "cpu",
								  "cpuset", "devices", "pids" };

struct exec_facts {
	uint32_t at;
	uint32_t exe_flags;
	uint32_t loginuid;
	uint32_t sessionid;
	uint32_t ruid;
	uint32_t rgid;
	uint32_t euid;
	uint32_t egid;
	uint32_t suid;
	uint32_t fsuid;
	uint32_t tty;
	int32_t sid;
	int32_t pgid;
	int32_t vpgid;
	uint32_t pidns;
	uint32_t exe_dev;
	uint64_t pidns_start;
	uint64_t exe_ino;
	uint64_t exe_ctime;
	uint64_t exe_mtime;
	uint64_t vm_size_pages;
	uint64_t vm_rss_pages;
	uint64_t vm_swap_pages;
	uint64_t pgft_maj;
	uint64_t pgft_min;
	uint64_t fdlimit;
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

/* What a struct fd_facts with `len` bytes behind it names: a text, or None for a socket and for what is no file. */
static PyObject *fd_name(const struct fd_facts *f, const char *rest, Py_ssize_t len)
{
	if (f->flags & FD_SOCK || !(f->flags & FD_FILE))
		return Py_NewRef(Py_None);
	if (f->flags & FD_DETACHED && len > 0)
		return text(rest + 1, len - 1);
	return text(rest, len);
}

static int is_memfd(const struct fd_facts *f, const char *rest, Py_ssize_t len)
{
	Py_ssize_t skipped = f->flags & FD_DETACHED && len > 0;

	return len - skipped >= (Py_ssize_t)strlen(MEMFD) &&
	       !memcmp(rest + skipped, MEMFD, strlen(MEMFD));
}

/* A tuple of the given kind; takes the references, any of which may be NULL after a failure. */
static PyObject *tuple_of(PyTypeObject *type, PyObject *const *values, Py_ssize_t count)
{
	PyObject *made = type->tp_alloc(type, count);
	int failed = !made;

	for (Py_ssize_t i = 0; i < count; i++) {
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

static int is_tuple_type(PyObject *type)
{
	return PyType_Check(type) && PyType_IsSubtype((PyTypeObject *)type, &PyTuple_Type);
}

static PyObject *items_fd(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
	PyObject *values[FD_MEMBERS];
	struct fd_facts f;
	const char *rest;
	Py_ssize_t len;

	(void)module;
	if (count != 2 || !is_tuple_type(args[0])) {
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
	values[0] = PyLong_FromLong(f.num);
	values[1] = PyLong_FromUnsignedLong(f.mode);
	values[2] = PyLong_FromUnsignedLong(f.dev);
	values[3] = PyLong_FromUnsignedLongLong(f.ino);
	values[4] = PyLong_FromUnsignedLong(f.magic);
	values[5] = PyLong_FromUnsignedLong(f.file_flags);
	values[6] = PyLong_FromUnsignedLong(f.file_mode);
	values[7] = PyLong_FromUnsignedLong(f.layer);
	values[8] = fd_name(&f, rest, len);
	values[9] = PyBool_FromLong(f.flags & FD_CUT);
	values[10] = PyBool_FromLong(f.flags & FD_DELETED);
	values[11] = f.flags & FD_SOCK ? PyBytes_FromStringAndSize(rest, len) : Py_NewRef(Py_None);
	return tuple_of((PyTypeObject *)args[0], values, FD_MEMBERS);
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

static PyObject *items_split(PyObject *module, PyObject *payload)
{
	Py_ssize_t at = 0, start = 0;
	struct item item;
	const char *raw;
	PyObject *out;

	(void)module;
	if (!is_bytes(payload))
		return NULL;
	raw = PyBytes_AS_STRING(payload);
	out = PyList_New(0);
	while (out && next_item((const uint8_t *)raw, PyBytes_GET_SIZE(payload), &at, &item)) {
		PyObject *values[] = {
			PyLong_FromLong(item.tag),
			PyLong_FromLong(item.flags),
			PyBytes_FromStringAndSize(raw + start + sizeof(item), item.size),
		};
		PyObject *one = tuple_of(&PyTuple_Type, values, 3);

		if (!one || PyList_Append(out, one))
			Py_CLEAR(out);
		Py_XDECREF(one);
		start = at;
	}
	return out;
}

static PyObject *items_first(PyObject *module, PyObject *payload)
{
	struct item item;
	Py_ssize_t at = 0;

	(void)module;
	if (!is_bytes(payload))
		return NULL;
	if (!next_item((uint8_t *)PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), &at,
		       &item))
		return PyBytes_FromStringAndSize(NULL, 0);
	return PyBytes_FromStringAndSize(PyBytes_AS_STRING(payload) + sizeof(item), item.size);
}

static PyObject *items_left(PyObject *module, PyObject *payload)
{
	Py_ssize_t at = 0, start = 0;
	struct item item = { 0 }, last = { 0 };

	(void)module;
	if (!is_bytes(payload))
		return NULL;
	while (next_item((uint8_t *)PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), &at,
			 &item)) {
		last = item;
		start = at - item.size;
	}
	if (last.tag != ITEM_LEFT || last.size < sizeof(uint64_t))
		Py_RETURN_NONE;
	return PyBytes_FromStringAndSize(PyBytes_AS_STRING(payload) + start, last.size);
}

/* NUL-separated strings; the last may lack its NUL when it was cut. */
static PyObject *strings(const char *raw, Py_ssize_t len)
{
	Py_ssize_t count = len > 0, number = 0;
	PyObject *out;

	if (len > 0 && !raw[len - 1])
		len--;
	for (Py_ssize_t i = 0; i < len; i++)
		count += !raw[i];
	out = PyTuple_New(count);
	while (out && number < count) {
		const char *end = memchr(raw, 0, len);
		Py_ssize_t size = end ? end - raw : len;
		PyObject *one = text(raw, size);

		if (!one)
			Py_CLEAR(out);
		else
			PyTuple_SET_ITEM(out, number++, one);
		raw += size + 1;
		len -= size + 1;
	}
	return out;
}

static PyObject *items_strings(PyObject *module, PyObject *raw)
{
	(void)module;
	if (!is_bytes(raw))
		return NULL;
	return strings(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw));
}

/* Pairs of a subsystem and the path of the cgroup in it, for those that the kernel has. */
static PyObject *cgroups(const char *const *at, const struct item *items)
{
	PyObject *pairs[EXEC_ARGS - EXEC_CGROUPS];
	Py_ssize_t count = 0;

	for (int i = 0; i < EXEC_ARGS - EXEC_CGROUPS; i++) {
		PyObject *values[2];

		if (items[i].tag != ITEM_DIR)
			continue;
		values[0] = PyUnicode_InternFromString(SUBSYSTEMS[i]);
		values[1] = text(at[i], items[i].size);
		pairs[count++] = tuple_of(&PyTuple_Type, values, 2);
	}
	return tuple_of(&PyTuple_Type, pairs, count);
}

static PyObject *items_exec(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
	struct item items[EXEC_ITEMS] = { 0 };
	const char *at[EXEC_ITEMS], *raw, *path = "";
	PyObject *values[EXEC_MEMBERS];
	Py_ssize_t position = 0, path_len = 0;
	struct fd_facts exe = { 0 };
	long long page_kb = sysconf(_SC_PAGESIZE) / 1024;
	struct exec_facts f;

	(void)module;
	if (count != 2 || !is_tuple_type(args[0])) {
		PyErr_SetString(PyExc_TypeError, "exec(a kind of tuple, payload)");
		return NULL;
	}
	if (!is_bytes(args[1]))
		return NULL;
	raw = PyBytes_AS_STRING(args[1]);
	for (int i = 0; i < EXEC_ITEMS; i++) {
		Py_ssize_t start = position;

		at[i] = raw;
		if (!next_item((const uint8_t *)raw, PyBytes_GET_SIZE(args[1]), &position,
			       &items[i])) {
			items[i] = (struct item){ .tag = ITEM_NULL };
			continue;
		}
		at[i] = raw + start + sizeof(struct item);
	}
	if (items[EXEC_FACTS].size < sizeof(f))
		Py_RETURN_NONE;
	memcpy(&f, at[EXEC_FACTS], sizeof(f));
	if (items[EXEC_FILE].size >= sizeof(exe)) {
		memcpy(&exe, at[EXEC_FILE], sizeof(exe));
		path = at[EXEC_FILE] + sizeof(exe);
		path_len = items[EXEC_FILE].size - sizeof(exe);
	}
	values[1] = fd_name(&exe, path, path_len);
	if (values[1] == Py_None)
		Py_SETREF(values[1], PyUnicode_FromStringAndSize(NULL, 0));
	else if (is_memfd(&exe, path, path_len))
		f.exe_flags |= EXE_FROM_MEMFD;
	values[0] = PyBool_FromLong(f.at);
	values[2] = PyBool_FromLong(exe.flags & FD_CUT);
	values[3] = text(at[EXEC_NAME], items[EXEC_NAME].size);
	values[4] = strings(at[EXEC_ARGS], items[EXEC_ARGS].size);
	values[5] = PyBool_FromLong(items[EXEC_ARGS].flags & ITEM_CUT ||
				    items[EXEC_ARGS].tag == ITEM_NULL);
	values[6] = PyBytes_FromStringAndSize(at[EXEC_ENV], items[EXEC_ENV].size);
	values[7] = PyBool_FromLong(items[EXEC_ENV].flags & ITEM_CUT ||
				    items[EXEC_ENV].tag == ITEM_NULL);
	values[8] = text(at[EXEC_CWD], items[EXEC_CWD].size);
	values[9] = cgroups(&at[EXEC_CGROUPS], &items[EXEC_CGROUPS]);
	values[10] = PyLong_FromLongLong(f.loginuid == UINT32_MAX ? -1 : (long long)f.loginuid);
	values[11] = PyLong_FromUnsignedLong(f.ruid);
	values[12] = PyLong_FromUnsignedLong(f.rgid);
	values[13] = PyLong_FromUnsignedLong(f.euid);
	values[14] = PyLong_FromUnsignedLong(f.egid);
	values[15] = PyLong_FromUnsignedLong(f.suid);
	values[16] = PyLong_FromUnsignedLong(f.fsuid);
	values[17] = PyLong_FromUnsignedLong(f.sessionid);
	values[18] = PyLong_FromUnsignedLong(f.tty);
	values[19] = PyLong_FromLong(f.sid);
	values[20] = PyLong_FromLong(f.pgid);
	values[21] = PyLong_FromLong(f.vpgid);
	values[22] = PyLong_FromUnsignedLong(f.pidns);
	values[23] = PyLong_FromUnsignedLongLong(f.pidns_start);
	values[24] = PyLong_FromUnsignedLong(f.exe_flags);
	values[25] = PyLong_FromUnsignedLong(f.exe_dev);
	values[26] = PyLong_FromUnsignedLongLong(f.exe_ino);
	values[27] = PyLong_FromUnsignedLongLong(f.exe_ctime);
	values[28] = PyLong_FromUnsignedLongLong(f.exe_mtime);
	values[29] = PyLong_FromUnsignedLongLong(f.vm_size_pages * page_kb);
	values[30] = PyLong_FromUnsignedLongLong(f.vm_rss_pages * page_kb);
	values[31] = PyLong_FromUnsignedLongLong(f.vm_swap_pages * page_kb);
	values[32] = PyLong_FromUnsignedLongLong(f.pgft_maj);
	values[33] = PyLong_FromUnsignedLongLong(f.pgft_min);
	values[34] = PyLong_FromUnsignedLongLong(f.fdlimit);
	return tuple_of((PyTypeObject *)args[0], values, EXEC_MEMBERS);
}

static PyMethodDef methods[] = {
	{ "split", items_split, METH_O, "split(payload) -> (tag, flags, bytes) of each item" },
	{ "first", items_first, METH_O, "first(payload) -> bytes of the first item, or none" },
	{ "left", items_left, METH_O,
	  "left(payload) -> why a call was told, the last item (struct left), or None" },
	{ "strings", items_strings, METH_O, "strings(raw) -> a tuple of NUL-separated strings" },
	{ "exec", (PyCFunction)(void (*)(void))items_exec, METH_FASTCALL,
	  "exec(type, payload) -> a record of an exec as `type`; None: it holds no facts" },
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
