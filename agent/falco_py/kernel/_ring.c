/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel's ring buffer as Python reads it: a drain hands over all records
 * that are ready, each as a header tuple and the bytes behind it. Invariant:
 * the consumer position moves only past records that were handed over or
 * discarded, and no byte outside the mapping is touched whatever the records
 * say.
 *
 * Layout (kernel/bpf/ringbuf.c): page 0 holds the consumer position (writable),
 * page 1 the producer position, then the data. The kernel would map the data
 * twice over, so that a record that wraps is contiguous; it is mapped once here,
 * for half the resident memory, and such a record is put together. Each record
 * starts with a 32-bit length, whose bit 31
 * says that it is being written and bit 30 that it was discarded, and 32 bits
 * more; records are aligned to 8.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUSY	      (1u << 31)
#define DISCARDED     (1u << 30)
#define RECORD_HEADER 8
#define FIELDS	      22

/* struct header of bpf/lib/types.h */
struct header {
	uint32_t len;
	uint16_t kind;
	uint16_t flags;
	uint64_t ts;
	int64_t ret;
	uint32_t nr;
	uint32_t cpu;
	uint32_t pid;
	uint32_t tid;
	uint32_t ppid;
	uint32_t uid;
	uint32_t gid;
	uint32_t vpid;
	uint32_t vtid;
	uint32_t mntns;
	uint64_t start;
	uint64_t pstart;
	uint64_t cgroup;
	char comm[16];
	uint64_t cap_effective;
	uint64_t cap_permitted;
	uint64_t cap_inheritable;
	uint64_t exec_id;
};

typedef struct {
	PyObject_HEAD PyTypeObject *header_type;
	uint64_t *consumer;
	uint64_t *producer;
	uint8_t *data;
	uint64_t size;
	size_t page;
} Ring;

static PyObject *header_tuple(Ring *self, const struct header *h)
{
	PyObject *t = self->header_type->tp_alloc(self->header_type, FIELDS);
	PyObject *values[FIELDS] = {
		PyLong_FromUnsignedLong(h->kind),
		PyLong_FromUnsignedLong(h->flags),
		PyLong_FromUnsignedLongLong(h->ts),
		PyLong_FromLongLong(h->ret),
		PyLong_FromUnsignedLong(h->nr),
		PyLong_FromUnsignedLong(h->cpu),
		PyLong_FromUnsignedLong(h->pid),
		PyLong_FromUnsignedLong(h->tid),
		PyLong_FromUnsignedLong(h->ppid),
		PyLong_FromUnsignedLong(h->uid),
		PyLong_FromUnsignedLong(h->gid),
		PyLong_FromUnsignedLong(h->vpid),
		PyLong_FromUnsignedLong(h->vtid),
		PyLong_FromUnsignedLong(h->mntns),
		PyLong_FromUnsignedLongLong(h->start),
		PyLong_FromUnsignedLongLong(h->pstart),
		PyLong_FromUnsignedLongLong(h->cgroup),
		PyBytes_FromStringAndSize(h->comm, strnlen(h->comm, sizeof(h->comm))),
		PyLong_FromUnsignedLongLong(h->cap_effective),
		PyLong_FromUnsignedLongLong(h->cap_permitted),
		PyLong_FromUnsignedLongLong(h->cap_inheritable),
		PyLong_FromUnsignedLongLong(h->exec_id),
	};
	int failed = t == NULL;

	for (int i = 0; i < FIELDS; i++) {
		if (!values[i])
			failed = 1;
		if (t)
			PyTuple_SET_ITEM(t, i, values[i]);
		else
			Py_XDECREF(values[i]);
	}
	if (failed)
		Py_CLEAR(t);
	return t;
}

/* `count` bytes from `position` on, which may go on at the start of the data; count is at most its size. */
static void copy_out(const Ring *self, void *to, uint64_t position, uint64_t count)
{
	uint64_t from = position & (self->size - 1);
	uint64_t first = self->size - from;

	if (first > count)
		first = count;
	memcpy(to, self->data + from, first);
	memcpy((uint8_t *)to + first, self->data, count - first);
}

static PyObject *record_tuple(Ring *self, uint64_t position, uint32_t len)
{
	struct header h;
	PyObject *header, *payload, *pair;

	copy_out(self, &h, position, sizeof(h));
	header = header_tuple(self, &h);
	payload = PyBytes_FromStringAndSize(NULL, len - sizeof(h));
	if (!header || !payload) {
		Py_XDECREF(header);
		Py_XDECREF(payload);
		return NULL;
	}
	copy_out(self, PyBytes_AS_STRING(payload), position + sizeof(h), len - sizeof(h));
	pair = PyTuple_Pack(2, header, payload);
	Py_DECREF(header);
	Py_DECREF(payload);
	return pair;
}

static PyObject *ring_drain(Ring *self, PyObject *args)
{
	Py_ssize_t most = PY_SSIZE_T_MAX;
	uint64_t position, end;
	PyObject *out;

	if (!PyArg_ParseTuple(args, "|n", &most))
		return NULL;
	if (!self->consumer) {
		PyErr_SetString(PyExc_ValueError, "the ring is closed");
		return NULL;
	}
	out = PyList_New(0);
	if (!out)
		return NULL;
	position = *self->consumer;
	end = __atomic_load_n(self->producer, __ATOMIC_ACQUIRE);
	while (position < end && PyList_GET_SIZE(out) < most) {
		const uint8_t *at = self->data + (position & (self->size - 1));
		uint32_t word = __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
		uint32_t len = word & ~(BUSY | DISCARDED);

		if (word & BUSY)
			break;
		if (len > self->size - RECORD_HEADER)
			break;
		if (!(word & DISCARDED) && len >= sizeof(struct header)) {
			PyObject *pair = record_tuple(self, position + RECORD_HEADER, len);
			int failed = !pair || PyList_Append(out, pair);

			Py_XDECREF(pair);
			if (failed) {
				Py_DECREF(out);
				return NULL;
			}
		}
		position += (len + RECORD_HEADER + 7) & ~7ull;
		__atomic_store_n(self->consumer, position, __ATOMIC_RELEASE);
	}
	return out;
}

static PyObject *ring_pending(Ring *self, PyObject *unused)
{
	(void)unused;
	if (!self->consumer)
		return PyLong_FromLong(0);
	return PyLong_FromUnsignedLongLong(__atomic_load_n(self->producer, __ATOMIC_ACQUIRE) -
					   *self->consumer);
}

static void unmap(Ring *self)
{
	if (self->consumer)
		munmap(self->consumer, self->page);
	if (self->producer)
		munmap(self->producer, self->page + self->size);
	self->consumer = NULL;
	self->producer = NULL;
}

static PyObject *ring_close(Ring *self, PyObject *unused)
{
	(void)unused;
	unmap(self);
	Py_RETURN_NONE;
}

static int ring_init(Ring *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "fd", "size", "header_type", NULL };
	unsigned long long size;
	PyObject *type;
	void *at;
	int fd;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iKO!", names, &fd, &size, &PyType_Type,
					 &type))
		return -1;
	if (!PyType_IsSubtype((PyTypeObject *)type, &PyTuple_Type)) {
		PyErr_SetString(PyExc_TypeError, "header_type must be a kind of tuple");
		return -1;
	}
	if (!size || size & (size - 1)) {
		PyErr_SetString(PyExc_ValueError, "size must be a power of two");
		return -1;
	}
	unmap(self);
	self->page = sysconf(_SC_PAGESIZE);
	at = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		goto failed;
	self->consumer = at;
	self->size = size;
	at = mmap(NULL, self->page + size, PROT_READ, MAP_SHARED, fd, self->page);
	if (at == MAP_FAILED)
		goto failed;
	self->producer = at;
	self->data = (uint8_t *)at + self->page;
	Py_INCREF(type);
	Py_XSETREF(self->header_type, (PyTypeObject *)type);
	return 0;
failed:
	PyErr_SetFromErrno(PyExc_OSError);
	unmap(self);
	return -1;
}

static void ring_dealloc(Ring *self)
{
	PyTypeObject *type = Py_TYPE(self);

	unmap(self);
	Py_XDECREF(self->header_type);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef ring_methods[] = {
	{ "drain", (PyCFunction)ring_drain, METH_VARARGS,
	  "drain(most=no limit) -> list of (header, payload bytes), oldest first" },
	{ "pending", (PyCFunction)ring_pending, METH_NOARGS, "pending() -> bytes not yet read" },
	{ "close", (PyCFunction)ring_close, METH_NOARGS,
	  "close() -> None; drain raises afterwards" },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot ring_slots[] = {
	{ Py_tp_doc, "Ring(fd, size, header_type): the ring buffer map `fd` of `size` bytes" },
	{ Py_tp_init, ring_init },
	{ Py_tp_new, PyType_GenericNew },
	{ Py_tp_dealloc, ring_dealloc },
	{ Py_tp_methods, ring_methods },
	{ 0, NULL },
};

static PyType_Spec ring_spec = {
	.name = "falco_py.kernel._ring.Ring",
	.basicsize = sizeof(Ring),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = ring_slots,
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_ring",
	.m_doc = "Reads BPF ring buffers in batches.",
	.m_size = -1,
};

PyMODINIT_FUNC PyInit__ring(void)
{
	PyObject *m = PyModule_Create(&module);
	PyObject *type = PyType_FromSpec(&ring_spec);

	if (!m || !type || PyModule_AddObject(m, "Ring", type)) {
		Py_XDECREF(type);
		Py_XDECREF(m);
		return NULL;
	}
	return m;
}
