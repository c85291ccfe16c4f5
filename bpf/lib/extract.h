/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_EXTRACT_H
#define FALCO_PY_EXTRACT_H

/* One operation of a row of the system call table becomes one item (a relative path: two). */

#include "fd.h"

#define STRING_BYTES   4096 /* with the NUL: PATH_MAX */
#define SNAPLEN	       80   /* bytes of I/O data, Falco's default */
#define SOCKADDR_BYTES 128  /* sizeof(struct sockaddr_storage) */

static __always_inline u64 argument(struct record *r, u32 i)
{
	return r->args[bounded(i, ARGS)];
}

static __always_inline u64 read_user_word(u64 at, bool compat)
{
	u64 value = 0;

	bpf_probe_read_user(&value, compat ? 4 : 8, (void *)at);
	return value;
}

static __always_inline void put_argument(struct record *r, struct op op)
{
	u64 value = argument(r, op.arg);

	if (op.a == 1)
		value = op.b ? (u64)(s64)(__s8)value : (u8)value;
	else if (op.a == 2)
		value = op.b ? (u64)(s64)(__s16)value : (u16)value;
	else if (op.a == 4)
		value = op.b ? (u64)(s64)(s32)value : (u32)value;
	put_value(r, value);
}

static __always_inline void put_no_dir(struct record *r)
{
	if (!record_full(r))
		item_close(r, 0, ITEM_DIR, ITEM_CUT);
}

static __always_inline void put_path(struct record *r, struct op op)
{
	u8 first = put_string(r, argument(r, op.arg), true, STRING_BYTES, ITEM_PATH);
	s32 dirfd = op.a == OPERAND_CWD ? AT_FDCWD : (s32)argument(r, op.a);
	struct file *dir;

	/* always two items, so that the reader need not guess */
	if (first == '/') {
		put_no_dir(r);
		return;
	}
	if (dirfd == AT_FDCWD) {
		put_cwd(r);
		return;
	}
	dir = file_of(dirfd);
	if (!dir) {
		put_no_dir(r);
		return;
	}
	put_walked(r, walk_from(path_of(dir)), ITEM_DIR);
}

static __always_inline void put_memory(struct record *r, struct op op)
{
	u64 value = 0;
	u64 at = argument(r, op.arg);
	u32 size = op.b;

	if (size > sizeof(value))
		size = sizeof(value);
	barrier_var(size);
	if (!at || bpf_probe_read_user(&value, size & 15, (void *)(at + op.a))) {
		put_null(r);
		return;
	}
	put_value(r, value);
}

static __always_inline void put_sockaddr(struct record *r, u64 at, u64 size)
{
	if (!at || !size) {
		put_null(r);
		return;
	}
	put_user(r, at, size, SOCKADDR_BYTES, ITEM_SOCKADDR);
}

static __always_inline void put_iovec(struct record *r, struct op op)
{
	u64 word = r->compat ? 4 : 8;
	u64 iov = argument(r, op.arg);
	u64 base, size;

	if (op.a)
		iov = read_user_word(iov + 2 * word, r->compat);
	base = read_user_word(iov, r->compat);
	size = read_user_word(iov + word, r->compat);
	if (r->h.ret >= 0 && size > r->h.ret)
		size = r->h.ret;
	put_user(r, base, size, SNAPLEN, ITEM_DATA);
}

/* A global function, verified once; what it needs of the call lies in this CPU's record. */
__attribute__((noinline)) int extract(u32 row_index, u32 op_index)
{
	struct record *r = record_scratch();
	struct row *row = bpf_map_lookup_elem(&rows, &row_index);
	struct op op;

	if (!r || !row || op_index >= MAX_OPS)
		return 0;
	op = row->ops[op_index];
	switch (op.op) {
	case OP_VALUE:
		put_argument(r, op);
		break;
	case OP_STRING:
		put_string(r, argument(r, op.arg), true, STRING_BYTES, ITEM_STRING);
		break;
	case OP_PATH:
		put_path(r, op);
		break;
	case OP_DATA: {
		s64 size = op.a == OPERAND_RESULT ? r->h.ret : (s64)argument(r, op.a);

		put_user(r, argument(r, op.arg), size < 0 ? 0 : size, SNAPLEN, ITEM_DATA);
		break;
	}
	case OP_SOCKADDR: {
		u64 size = argument(r, op.a);

		if (op.b)
			size = read_user_word(size, true);
		put_sockaddr(r, argument(r, op.arg), (u32)size);
		break;
	}
	case OP_MEMORY:
		put_memory(r, op);
		break;
	case OP_MSGNAME: {
		u64 msg = argument(r, op.arg);
		u64 word = r->compat ? 4 : 8;

		put_sockaddr(r, read_user_word(msg, r->compat),
			     (u32)read_user_word(msg + word, true));
		break;
	}
	case OP_IOVEC:
		put_iovec(r, op);
		break;
	default:
		put_null(r);
	}
	return 0;
}

/* The fd that the event is about. Global for the same reason. */
__attribute__((noinline)) int extract_fd(u32 which)
{
	struct record *r = record_scratch();
	s64 fd;

	if (!r)
		return 0;
	fd = which == OPERAND_RESULT ? r->h.ret : (s64)(s32)argument(r, which);
	put_file(r, file_of(fd), fd < 0 ? (s32)fd : fd);
	return 0;
}

#endif
