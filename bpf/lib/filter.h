/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_FILTER_H
#define FALCO_PY_FILTER_H

/*
 * Whether some rule could match a call. What cannot be decided is kept: an answer of "drop" is proof that no clause holds,
 * of an open under either spelling of its path.
 */

#include "fd.h"
#include <bpf/bpf_endian.h>

#define SCAN_BYTES 256 /* of a passed path; longer is not decided */
#define KEY_FRONT  (sizeof(u32) + sizeof(u8))
#define PASSED_AT \
	(PATH_BYTES + 1) /* where the path as passed is read to, behind room for a slash */
#define O_ACCMODE  3
#define O_CREAT	   0100 /* as in include/uapi/asm-generic/fcntl.h: the machines that we know agree */
#define O_TRUNC	   01000
#define O_TMPFILE_ 020000000
#define KEEP	   1
#define DROP	   0

static __always_inline bool vector_any(struct vector *v)
{
	u64 any = 0;

#pragma unroll
	for (int i = 0; i < VECTOR_WORDS; i++)
		any |= v->w[i];
	return any;
}

static __always_inline bool vector_meets(struct vector *a, struct vector *b)
{
	u64 any = 0;

#pragma unroll
	for (int i = 0; i < VECTOR_WORDS; i++)
		any |= a->w[i] & b->w[i];
	return any;
}

static __always_inline void vector_and(struct vector *a, struct vector *b)
{
#pragma unroll
	for (int i = 0; i < VECTOR_WORDS; i++)
		a->w[i] &= b->w[i];
}

static __always_inline void vector_or(struct vector *a, struct vector *b)
{
#pragma unroll
	for (int i = 0; i < VECTOR_WORDS; i++)
		a->w[i] |= b->w[i];
}

static __always_inline void vector_without(struct vector *a, struct vector *b)
{
#pragma unroll
	for (int i = 0; i < VECTOR_WORDS; i++)
		a->w[i] &= ~b->w[i];
}

/*
 * When user space cannot keep up: the clauses of rules that are not severe enough for the level are taken from `open`. Whether
 * something is left. What starts a process is never shed, so that no record is left without its process.
 */
static __always_inline bool left_at_level(struct row *row, struct path_buf *p, struct slot *rules)
{
	struct vector *open = &p->open;
	u32 level = control.level;

	p->shedding = 0;
	p->lost = 0;
	if (!level || row->class <= CLASS_EXEC)
		return true;
	level = clamped(level, LEVELS - 1);
	p->shed = *open;
	vector_without(&p->shed, &rules->levels[level]);
	if (!vector_any(&p->shed))
		return true;
	vector_and(open, &rules->levels[level]);
	p->shedding = 1;
	p->lost = vector_meets(&p->shed, &rules->any_path) || !vector_any(open);
	return vector_any(open);
}

/*
 * Called when a record was sent. The level rises here, because the ring may be full before user space looks again; it is user
 * space that lowers it, and where nobody does (`steered`) it stays.
 */
static __always_inline void raise_level(void)
{
	u64 eighths;
	u32 level;

	if (!control.steered)
		return;
	eighths = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) / (EVENTS_BYTES / 8);
	if (eighths < FIRST_EIGHTHS)
		return;
	level = eighths - FIRST_EIGHTHS + 1;
	if (level > LEVELS - 1)
		level = LEVELS - 1;
	if (level > control.level)
		control.level = level;
}

/* A call that is dropped, counted when a rule that was shed could have matched it. */
static __always_inline int dropped(struct row *row, struct path_buf *p)
{
	if (p->lost)
		cpu_counters()->shed[row->class & (COUNTER_CLASSES - 1)]++;
	return DROP;
}

/* The clauses of `found`, if any, hold; of those that were shed it is remembered that one did. */
static __always_inline void hold(struct path_buf *p, struct vector *found)
{
	if (!found)
		return;
	if (p->shedding && vector_meets(found, &p->shed))
		p->lost = 1;
	vector_or(&p->hits, found);
}

/* Whether a clause is open, or was until it was shed. */
static __always_inline bool asks_more(struct path_buf *p)
{
	return vector_any(&p->open) || (p->shedding && vector_any(&p->shed));
}

/* Whether one of these clauses is. */
static __always_inline bool meets(struct path_buf *p, struct vector *clauses)
{
	return vector_meets(&p->open, clauses) || (p->shedding && vector_meets(&p->shed, clauses));
}

static __always_inline u32 slot_of(struct path_buf *p)
{
	return p->generation & (SLOTS - 1);
}

/*
 * The NUL-terminated path at b[start], looked up in place: the room in front takes the length of the key and the slot, which
 * overwrites what stands there. False when there is no room.
 */
static __always_inline bool look_path_up(struct path_buf *p, u32 start, u32 slot)
{
	u64 at = start;
	u8 *key;

	if (start < KEY_FRONT)
		return false;
	at = bounded(at - KEY_FRONT, 2 * PATH_BYTES);
	at = clamped(at, PATH_BYTES + SCAN_BYTES);
	key = &p->b[at];
	*(u32 *)key = TRIE_KEY_BYTES * 8;
	key[sizeof(u32)] = slot;
	hold(p, bpf_map_lookup_elem(&paths, key));
	return true;
}

#define WORD	     sizeof(u64)
#define EACH_BYTE(c) (0x0101010101010101ULL * (c))

/* 0x80 in each byte of `word` that is `c`. */
static __always_inline u64 bytes_equal(u64 word, u8 c)
{
	u64 x = word ^ EACH_BYTE(c);

	return ~(((x & EACH_BYTE(0x7f)) + EACH_BYTE(0x7f)) | x | EACH_BYTE(0x7f));
}

static __always_inline u64 word_at(struct path_buf *p, u32 at)
{
	return *(u64 *)&p->b[bounded(at, 2 * PATH_BYTES)];
}

/* 1 when `x` is not 0, without a branch: each branch in a loop is another path for the verifier. */
static __always_inline u32 is_some(u32 x)
{
	barrier_var(x);
	x = (x | -x) >> 31;
	barrier_var(x);
	return x;
}

/* The number of the last byte that is marked by its top bit. */
static __always_inline u32 last_marked(u64 marks)
{
	u32 high = is_some(marks >> 32);
	u32 word = marks >> 32 * high;
	u32 half = is_some(word >> 16);

	word >>= 16 * half;
	return 4 * high + 2 * half + is_some(word >> 8 & 0xff);
}

/*
 * Whether the text of the passed path, `len` characters, tells where it leads: no component is empty, `.` or `..`. "../" anywhere
 * is not decided either, so that rules about it see all of it. Eight characters at a time; `slashes` and `dots` mark those of
 * the word before, a slash before a relative path. Leaves where the last component begins and ends.
 */
static __always_inline bool scan_passed(struct path_buf *p, u32 len, bool absolute)
{
	u64 slashes = absolute ? 0 : 0x80ULL << 56;
	u64 dots = 0;

	p->last = PASSED_AT;
	p->end = PASSED_AT + len;
	for (u32 i = 0; i < SCAN_BYTES / WORD; i++) {
		u64 word = word_at(p, PASSED_AT + i * WORD);
		u64 slash = bytes_equal(word, '/');
		u64 dot = bytes_equal(word, '.');
		u64 end = bytes_equal(word, 0);
		u64 over = slash | end; /* of a component */
		u64 slash_1 = slash << 8 | slashes >> 56;
		u64 slash_2 = slash << 16 | slashes >> 48;
		u64 slash_3 = slash << 24 | slashes >> 40;
		u64 dot_1 = dot << 8 | dots >> 56;
		u64 dot_2 = dot << 16 | dots >> 48;
		u64 bad = (slash_1 & over) | (slash_2 & dot_1 & over) | (dot_2 & dot_1 & slash) |
			  (slash_3 & dot_2 & dot_1 & end);
		u64 first = end & -end;
		u64 valid = first | (first - 1); /* all, when it goes on */

		if (bad & valid)
			return false;
		if (slash & valid)
			p->last = PASSED_AT + i * WORD + last_marked(slash & valid) + 1;
		if (end)
			return true;
		slashes = slash;
		dots = dot;
		barrier_var(slashes);
		barrier_var(dots);
	}
	return false;
}

/* Whether a last component that some clause names begins with this word; kernel/pushdown.py numbers the bits, too. */
static __always_inline bool may_be_named(struct slot *rules, u64 word)
{
	u64 bit = word * 0x9e3779b97f4a7c15ULL >> 52; /* Fibonacci hashing; 2^12 = NAME_BITS */

	return rules->name_bits[bounded(bit / 64, NAME_BITS / 64)] >> bit % 64 & 1;
}

/* As word_of_name, for the last component of the passed path. */
static __always_inline u64 word_of_passed(struct path_buf *p, u32 at, u32 len)
{
	u64 word;

	if (len <= at)
		return 0;
	word = word_at(p, p->last + at);
	return len - at < WORD ? word & ((1ULL << (len - at) * 8) - 1) : word;
}

/* The last component of the file that was opened. */
static __always_inline u64 name_of_file(struct path_buf *p, u32 *len)
{
	u64 dentry = (u64)READ_AT(struct file, p->file, f_path.dentry);

	*len = READ_AT(struct dentry, dentry, d_name.len);
	return (u64)READ_AT(struct dentry, dentry, d_name.name);
}

/*
 * Looks the last component up, of the passed path or of the file's. A global function, as those below: verified once, with
 * nothing known of what lies in path_buf.
 */
__attribute__((noinline)) int name_lookup(u32 of_file)
{
	struct path_buf *p = path_scratch();
	struct name_key key = {};
	u64 *words = (u64 *)key.name;
	u64 name = 0;
	u32 len;

	if (!p)
		return 0;
	key.slot = slot_of(p);
	if (of_file)
		name = name_of_file(p, &len);
	else
		len = p->end - p->last;
#pragma unroll
	for (int i = 0; i < NAME_KEY_BYTES / WORD; i++)
		words[i] = of_file ? word_of_name(name, i * WORD, len)
				   : word_of_passed(p, i * WORD, len);
	hold(p, bpf_map_lookup_elem(&names, &key));
	return 0;
}

/* Looks an end of a last component up; `ending`: its characters, the last of them in the highest byte. */
__attribute__((noinline)) int suffix_lookup(u64 ending)
{
	struct path_buf *p = path_scratch();
	struct name_key key = {};

	if (!p)
		return 0;
	key.slot = slot_of(p);
	__builtin_memcpy(key.name, &ending, sizeof(ending));
	key.name[SUFFIX_BYTES] = '/';
	hold(p, bpf_map_lookup_elem(&names, &key));
	return 0;
}

/* A component of `len` characters and how it ends; `first`, `last`: its first and last eight. */
static __always_inline void look_name_up(struct slot *rules, u32 len, u64 first, u64 last,
					 bool of_file)
{
	if (len < NAME_KEY_BYTES && may_be_named(rules, first))
		name_lookup(of_file);
	if (!rules->suffix_lengths)
		return;
	if (len < WORD)
		last = first << 8 * ((WORD - len) & 7);
	for (u32 i = 1; i <= SUFFIX_BYTES; i++) {
		u64 ending = last >> 8 * (SUFFIX_BYTES - i);

		if (i <= len && rules->suffix_lengths >> (i - 1) & 1 && may_be_named(rules, ending))
			suffix_lookup(ending);
	}
}

/* The last component and how it ends, of the passed path and of the file. Whether something that is open hits. */
static __always_inline bool name_hits(struct path_buf *p, struct slot *rules)
{
	u32 len = p->end - p->last;
	u64 name;

	if (!meets(p, &rules->named))
		return false;
	look_name_up(rules, len, word_of_passed(p, 0, len), word_at(p, p->end - WORD), false);
	if (p->file) {
		name = name_of_file(p, &len);
		look_name_up(rules, len, word_of_name(name, 0, len),
			     rules->suffix_lengths ? WORD_OF(name + len - WORD) : 0, true);
	}
	return vector_meets(&p->hits, &p->open);
}

/* Whether the passed path is the one at b[start], both of `len` characters. */
static __always_inline bool same_path(struct path_buf *p, u32 start, u32 len)
{
	if (PATH_BYTES - start != len || len >= SCAN_BYTES)
		return false;
	for (u32 i = 0; i < SCAN_BYTES / WORD; i++) {
		u32 done = i * WORD;
		u64 differ;

		if (done >= len)
			return true;
		differ = word_at(p, start + done) ^ word_at(p, PASSED_AT + done);
		if (len - done < WORD)
			differ &= (1ULL << ((len - done) * 8 & 63)) - 1;
		if (differ)
			return false;
	}
	return true;
}

/* The struct path that a relative path starts from; 0 when it cannot be told. */
static __always_inline u64 base_of(struct record *r, struct row *row, struct path_buf *p)
{
	struct file *dir;
	s32 dirfd;

	dirfd = row->dir_arg == OPERAND_CWD ? AT_FDCWD : (s32)r->args[bounded(row->dir_arg, ARGS)];
	if (dirfd == AT_FDCWD)
		return working_directory(p->task);
	dir = file_of(dirfd);
	return dir ? path_of(dir) : 0;
}

/* The clauses that the first component in path_buf.top leaves open. */
static __always_inline struct top_entry *left_of_top(struct path_buf *p, struct slot *rules,
						     u32 slot)
{
	struct top_entry *found;

	p->top.slot = slot;
	found = bpf_map_lookup_elem(&tops, &p->top);
	return found ?: &rules->other_top;
}

/* The first component of the text at b[at] to path_buf.top; false when it is too long. */
static __always_inline bool top_of_text(struct path_buf *p, u32 at)
{
	u64 *words = (u64 *)p->top.name;
	bool over = false;

#pragma unroll
	for (int i = 0; i < TOP_BYTES / WORD; i++) {
		u64 word = word_at(p, at + i * WORD);
		u64 end = bytes_equal(word, '/') | bytes_equal(word, 0);
		u64 first = end & -end; /* the top bit of the first byte that ends it */

		if (over)
			word = 0;
		else if (first)
			word &= (first >> 7) - 1;
		over |= first != 0;
		words[i] = word;
	}
	return over;
}

enum tops {
	TOPS_NONE,  /* nothing is left */
	TOPS_NAMES, /* only last components have to be looked up */
	TOPS_PATHS, /* only a look-up of the paths themselves can tell */
};

static __always_inline bool same_top(struct path_buf *p, u64 *top)
{
	u64 *words = (u64 *)p->top.name;
	u64 differ = 0;

#pragma unroll
	for (int i = 0; i < TOP_BYTES / WORD; i++)
		differ |= words[i] ^ top[i];
	return !differ;
}

/* What the first components of both spellings leave open, without a walk that copies names: most opens end here. */
static __always_inline enum tops filter_tops(struct path_buf *p, struct slot *rules, u32 slot)
{
	struct top_entry *of_file = NULL, *of_passed;
	u64 base = p->base;
	struct vector left;
	u64 top[TOP_BYTES / WORD];

	if (p->file) {
		begin_walk(p, path_of((void *)p->file));
		if (top_walk())
			return TOPS_PATHS;
		__builtin_memcpy(top, p->top.name, sizeof(top));
		of_file = left_of_top(p, rules, slot);
	}
	if (base) {
		begin_walk(p, base);
		if (top_walk())
			return TOPS_PATHS;
	}
	if ((!base || !p->top.name[0]) && !top_of_text(p, PASSED_AT + !base))
		return TOPS_PATHS;
	if (of_file && same_top(p, top))
		of_passed = of_file;
	else
		of_passed = left_of_top(p, rules, slot);
	left = of_passed->left;
	if (of_file && of_file != of_passed)
		vector_or(&left, &of_file->left);
	vector_and(&p->open, &left);
	if (p->shedding)
		vector_and(&p->shed, &left);
	if (!asks_more(p))
		return TOPS_NONE;
	return meets(p, &of_passed->placed) || (of_file && meets(p, &of_file->placed)) ? TOPS_PATHS
										       : TOPS_NAMES;
}

/*
 * The path of the file and the path as passed, joined to its directory. False when one of them cannot be told. Global as
 * above.
 */
__attribute__((noinline)) int look_paths_up(void)
{
	struct path_buf *p = path_scratch();
	u32 start = PASSED_AT;
	int walked;
	u32 slot;

	if (!p)
		return false;
	slot = slot_of(p);
	if (p->file) {
		walked = walk_from(path_of((void *)p->file));
		if (walked & (WALK_FAILED | WALK_CUT | WALK_DETACHED))
			return false;
		start = walked & WALK_START;
		p->b[PATH_BYTES] = 0;
		if (!look_path_up(p, start, slot))
			return false;
		if (!p->base && same_path(p, start, p->end - PASSED_AT))
			return true;
	}
	if (!p->base)
		return look_path_up(p, PASSED_AT, slot);
	walked = walk_from(p->base);
	if (walked & (WALK_FAILED | WALK_CUT | WALK_DETACHED))
		return false;
	p->b[PATH_BYTES] = '/';
	start = walked & WALK_START;
	/* "/" ends in its slash already */
	return look_path_up(p, start == PATH_BYTES - 1 ? PATH_BYTES : start, slot);
}

static __always_inline u32 result_class(s64 ret)
{
	if (ret >= 0)
		return ret < EXACT_RESULTS ? ret : EXACT_RESULTS;
	return ret >= -ERRNOS ? EXACT_RESULTS - ret : RESULT_CLASSES - 1;
}

static __always_inline u32 open_class(struct record *r, struct row *row)
{
	u64 flags;

	if (row->flags_arg >= OPEN_UNKNOWN)
		return row->flags_arg;
	flags = r->args[row->flags_arg & (ARGS - 1)];
	return (flags & O_ACCMODE) | (flags & O_CREAT ? 4 : 0) | (flags & O_TRUNC ? 8 : 0) |
	       (flags & O_TMPFILE_ ? 16 : 0);
}

/* By what an argument is looked up: the number that it is, or some of its bits, put together. */
static __always_inline u64 value_class(struct row *row, u64 value)
{
	u64 made = 0;

	if (row->value_bits[0] == NO_BIT)
		return value;
#pragma unroll
	for (int i = 0; i < VALUE_BITS; i++) {
		u8 bit = row->value_bits[i];

		made |= bit == NO_BIT ? 0 : (value >> (bit & 63) & 1) << i;
	}
	return made;
}

/* The socket of an fd, or NULL for anything else. */
static __always_inline struct sock *sock_of(struct file *file)
{
	struct socket *socket;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

/* `inet`: the class of an inet socket of which the protocol is not asked; those of TCP and UDP stand before it. */
static __always_inline enum fd_kind protocol_of(struct sock *sk, enum fd_kind inet)
{
	u16 protocol = BPF_CORE_READ(sk, sk_protocol);
	u16 type = BPF_CORE_READ(sk, sk_type);

	if (protocol == IPPROTO_TCP && type == SOCK_STREAM)
		return inet - (IS_INET - IS_TCP);
	if (protocol == IPPROTO_UDP && type == SOCK_DGRAM)
		return inet - (IS_INET - IS_UDP);
	return inet;
}

static __always_inline enum fd_kind kind_of(struct file *file)
{
	struct sock *sk;
	u16 mode;

	if (!file)
		return IS_OTHER;
	mode = BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT;
	if (mode == S_IFDIR)
		return IS_DIRECTORY;
	if (mode == S_IFIFO)
		return IS_PIPE;
	sk = sock_of(file);
	if (!sk)
		return IS_OTHER;
	switch (BPF_CORE_READ(sk, __sk_common.skc_family)) {
	case AF_INET:
		return protocol_of(sk, IS_INET);
	case AF_INET6:
		return protocol_of(sk, IS_INET6);
	case AF_UNIX:
		return IS_UNIX;
	case AF_NETLINK:
		return IS_NETLINK;
	}
	return IS_OTHER;
}

/*
 * Port and address of the server's end. A socket without a peer leaves all: then the call's own words count, which another
 * thread may change.
 */
static __always_inline void left_of_server(struct slot *rules, u32 slot, struct vector *open,
					   struct sock *sk, bool remote)
{
	struct address_key key = { .bits = 8 * (1 + sizeof(key.address)), .slot = slot };
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	u16 peer = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	u32 port = peer;
	struct vector *found;
	u32 v4;

	if (!peer || (family != AF_INET && family != AF_INET6))
		return;
	if (!remote)
		port = BPF_CORE_READ(sk, __sk_common.skc_num);
	port |= slot << 16;
	found = bpf_map_lookup_elem(&ports, &port);
	vector_and(open, found ?: &rules->other_port);
	if (!vector_meets(open, &rules->asks_address))
		return;
	if (family == AF_INET) {
		v4 = remote ? BPF_CORE_READ(sk, __sk_common.skc_daddr)
			    : BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		key.address[10] = key.address[11] = 0xff;
		__builtin_memcpy(&key.address[12], &v4, sizeof(v4));
	} else if (!bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		return;
	} else if (remote) {
		read_v6(key.address,
			__builtin_preserve_access_index(&sk->__sk_common.skc_v6_daddr));
	} else {
		read_v6(key.address,
			__builtin_preserve_access_index(&sk->__sk_common.skc_v6_rcv_saddr));
	}
	found = bpf_map_lookup_elem(&addresses, &key);
	vector_and(open, found ?: &rules->other_address);
}

/* What the fd of a call that is no open leaves open. */
static __always_inline void left_of_fd(struct record *r, struct row *row, struct slot *rules,
				       u32 slot, struct vector *open)
{
	bool server =
		row->flags & (ROW_CONNECT | ROW_ACCEPT) &&
		(vector_meets(open, &rules->asks_port) || vector_meets(open, &rules->asks_address));
	struct file *file;
	struct sock *sk;
	s64 fd;

	if (!server && !vector_meets(open, &rules->asks_fd))
		return;
	if (row->fd == OPERAND_RESULT) {
		fd = r->h.ret;
	} else {
		fd = (s32)r->args[row->fd & (ARGS - 1)];
		vector_and(open, &rules->numbers[clamped((u64)fd, FD_NUMBERS - 1)]);
	}
	file = file_of(fd);
	vector_and(open, &rules->kinds[kind_of(file)]);
	sk = server ? sock_of(file) : NULL;
	if (sk)
		left_of_server(rules, slot, open, sk, row->flags & ROW_CONNECT);
}

/* The name of the thread, padded with zeros. */
static __always_inline void name_of_task(u64 task, u64 *comm)
{
	u64 at = task + bpf_core_field_offset(struct task_struct, comm);

	if (!bpf_rdonly_cast) {
		bpf_get_current_comm(comm, sizeof(char[16]));
		return;
	}
	comm[0] = WORD_OF(at);
	comm[1] = WORD_OF(at + WORD);
}

/* What is left for this process, or nothing when its entry is not for what it is now. */
static __always_inline struct vector *left_of_process(struct path_buf *p, u64 *comm)
{
	struct process_entry *entry = bpf_map_lookup_elem(&processes, &p->pid);
	u64 task = p->task;

	if (!entry || entry->generation != p->generation)
		return NULL;
	if (comm[0] != ((u64 *)entry->comm)[0] || comm[1] != ((u64 *)entry->comm)[1])
		return NULL;
	if (entry->exec_id != READ_AT(struct task_struct, task, self_exec_id))
		return NULL;
	if (entry->start != start_of(task))
		return NULL;
	return entry->cgroup == cgroup_token(task) ? &entry->left : NULL;
}

/* What the thread and its program leave open; where nothing is known of the program, what the name does. */
__attribute__((noinline)) int left_of_task(void)
{
	struct path_buf *p = path_scratch();
	struct comm_key key = {};
	struct vector *found;

	if (!p)
		return 0;
	key.slot = slot_of(p);
	name_of_task(p->task, (u64 *)key.comm);
	found = left_of_process(p, (u64 *)key.comm);
	if (!found) {
		found = bpf_map_lookup_elem(&comms, &key);
		found = found ?: &control.slots[key.slot & (SLOTS - 1)].other_comm;
	}
	vector_and(&p->open, found);
	if (p->shedding)
		vector_and(&p->shed, found);
	return 0;
}

/* The path of an open, last. `asked`: whether left_of_task was. Global as above. */
__attribute__((noinline)) int open_filter(u32 row_index, u32 asked)
{
	struct record *r = record_scratch();
	struct row *row = bpf_map_lookup_elem(&rows, &row_index);
	struct path_buf *p = path_scratch();
	struct file *file = NULL;
	bool decided = false;
	enum tops tops_say;
	struct slot *rules;
	u32 slot;
	long n;

	if (!r || !row || !p)
		return KEEP;
	slot = slot_of(p);
	rules = &control.slots[slot];
	if (r->h.ret >= 0) {
		file = file_of(r->h.ret);
		if (!file)
			return KEEP;
	}
	p->file = (u64)file;
	p->base = 0;
	n = bpf_probe_read_user_str(&p->b[PASSED_AT], SCAN_BYTES,
				    (void *)r->args[bounded(row->path_arg, ARGS)]);
	if (n > 1 && n < SCAN_BYTES) {
		bool absolute = p->b[PASSED_AT] == '/';

		decided = scan_passed(p, n - 1, absolute);
		if (decided && !absolute) {
			p->base = base_of(r, row, p);
			decided = p->base != 0;
		}
	}
	p->hits = (struct vector){};
	tops_say = decided ? filter_tops(p, rules, slot) : TOPS_PATHS;
	if (tops_say == TOPS_NONE)
		return dropped(row, p);
	/* looking for a name costs less than for the program; but what the program rules out is not shed */
	if (tops_say == TOPS_NAMES && !p->shedding && !name_hits(p, rules))
		return dropped(row, p);
	if (!asked && meets(p, &rules->asks_task))
		left_of_task();
	if (!asks_more(p))
		return dropped(row, p);
	if (!decided || (tops_say == TOPS_PATHS && !look_paths_up()))
		return KEEP;
	if (tops_say == TOPS_PATHS || p->shedding)
		name_hits(p, rules);
	vector_and(&p->open, &p->hits);
	return vector_any(&p->open) ? KEEP : dropped(row, p);
}

/*
 * Whether some rule could match a call. Cheap first: event type, result, flags, argument; what an fd is; who does it; what is
 * shed; the path of an open. `p` has the task and its process id, and gets the clauses that are left.
 */
static __always_inline int call_filter(struct record *r, struct row *row, struct path_buf *p,
				       u32 row_index)
{
	bool by_path = row->flags & ROW_OPEN;
	bool asked = false;
	struct vector *found;
	struct slot *rules;
	u32 slot;

	p->generation = control.generation;
	slot = slot_of(p);
	rules = &control.slots[slot];
	p->open = rules->rows[bounded(row_index, 2 * MAX_SYSCALLS)];
	vector_and(&p->open, &rules->results[clamped(result_class(r->h.ret), RESULT_CLASSES - 1)]);
	if (by_path)
		vector_and(&p->open, &rules->opens[clamped(open_class(r, row), OPEN_CLASSES - 1)]);
	if (!vector_any(&p->open))
		return DROP;
	if (row->value_arg < ARGS && vector_meets(&p->open, &rules->asks_value)) {
		u64 value = value_class(row, r->args[row->value_arg & (ARGS - 1)]);
		u32 key = slot << 31 | row_index << 8 | (u8)value;

		found = value < VALUES ? bpf_map_lookup_elem(&values, &key) : NULL;
		if (found)
			vector_and(&p->open, found);
	}
	if (row->fd != FD_NONE && !by_path)
		left_of_fd(r, row, rules, slot, &p->open);
	if (!vector_any(&p->open))
		return DROP;
	/* the program is dear: before the path it is asked only for what no path can rule out */
	if (!by_path || vector_meets(&p->open, &rules->any_path)) {
		asked = true;
		if (vector_meets(&p->open, &rules->asks_task))
			left_of_task();
		if (!vector_any(&p->open))
			return DROP;
	}
	if (!left_at_level(row, p, rules))
		return dropped(row, p);
	if (!by_path || vector_meets(&p->open, &rules->any_path))
		return KEEP;
	return open_filter(row_index, asked);
}

/* Why a call is told. */
static __always_inline void put_left(struct record *r, struct path_buf *p)
{
	struct left left = { .generation = p->generation, .clauses = p->open };
	u32 words = 0;

	if (record_full(r))
		return;
#pragma unroll
	for (int i = 0; i < VECTOR_WORDS; i++)
		if (left.clauses.w[i])
			words = i + 1;
	__builtin_memcpy(item_data(r), &left, sizeof(left));
	item_close(r, sizeof(left.generation) + words * WORD, ITEM_LEFT, 0);
}

#endif
