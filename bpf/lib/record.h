/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_RECORD_H
#define FALCO_PY_RECORD_H

/* Items are appended to the record of this CPU: {size, tag, flags}, then `size` bytes. */

#include "maps.h"

#ifndef barrier_var
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif

/* An offset that the verifier sees as below `size` (a power of two). */
static __always_inline u64 bounded(u64 value, u64 size)
{
	barrier_var(value);
	value &= size - 1;
	barrier_var(value);
	return value;
}

/* A length that the verifier sees as at most `most`. */
static __always_inline u64 clamped(u64 value, u64 most)
{
	barrier_var(value);
	if (value > most)
		value = most;
	barrier_var(value);
	return value;
}

static __always_inline bool record_full(struct record *r)
{
	if (r->len < RECORD_DATA - sizeof(struct item))
		return false;
	r->h.flags |= FLAG_CUT;
	return true;
}

static __always_inline void item_close(struct record *r, u64 size, u8 tag, u8 flags)
{
	struct item *it = (void *)&r->data[bounded(r->len, RECORD_DATA)];

	it->size = size;
	it->tag = tag;
	it->flags = flags;
	r->len += sizeof(*it) + size;
}

static __always_inline u8 *item_data(struct record *r)
{
	return &r->data[bounded(r->len, RECORD_DATA) + sizeof(struct item)];
}

static __always_inline void put_null(struct record *r)
{
	if (!record_full(r))
		item_close(r, 0, ITEM_NULL, 0);
}

static __always_inline void put_value(struct record *r, u64 value)
{
	if (record_full(r))
		return;
	__builtin_memcpy(item_data(r), &value, sizeof(value));
	item_close(r, sizeof(value), ITEM_VALUE, 0);
}

#define put_facts(r, facts, tag_)                                                \
	do {                                                                     \
		if (!record_full(r)) {                                           \
			__builtin_memcpy(item_data(r), &(facts), sizeof(facts)); \
			item_close(r, sizeof(facts), tag_, 0);                   \
		}                                                                \
	} while (0)

/* `at` is an address of user memory (`user`) or of the kernel. Returns the first byte, or 0. */
static __always_inline u8 put_string(struct record *r, u64 at, bool user, u32 most, u8 tag)
{
	u8 *to;
	long n;

	if (record_full(r))
		return 0;
	to = item_data(r);
	if (user)
		n = bpf_probe_read_user_str(to, most, (void *)at);
	else
		n = bpf_probe_read_kernel_str(to, most, (void *)at);
	if (n <= 0) {
		item_close(r, 0, ITEM_NULL, 0);
		return 0;
	}
	u8 first = n > 1 ? to[0] : 0;
	item_close(r, clamped(n - 1, ITEM_BYTES - 1), tag, n == most ? ITEM_CUT : 0);
	return first;
}

/* `size` bytes of user memory, at most `most` (< ITEM_BYTES). */
static __always_inline void put_user(struct record *r, u64 at, u64 size, u32 most, u8 tag)
{
	u8 flags = 0;

	if (record_full(r))
		return;
	if (size > most) {
		size = most;
		flags = ITEM_CUT;
	}
	size = clamped(size, ITEM_BYTES - 1);
	if (bpf_probe_read_user(item_data(r), size, (void *)at)) {
		put_null(r);
		return;
	}
	item_close(r, size, tag, flags);
}

static __always_inline void send(void *ring, struct record *r, u8 class)
{
	struct counters *c = cpu_counters();
	u64 size = sizeof(struct header) + r->len;

	r->h.len = size;
	size = clamped(size, sizeof(struct header) + RECORD_DATA + ITEM_BYTES);
	if (bpf_ringbuf_output(ring, r, size, 0))
		c->dropped[class & (COUNTER_CLASSES - 1)]++;
	else
		c->sent[class & (COUNTER_CLASSES - 1)]++;
}

#endif
