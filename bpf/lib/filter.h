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
static __always_inline bool left_at_level(struct row *row, struct path_buf *p, struct slot *rules,
					  struct vector *open)
{
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

/* Whether something of `open` holds where the clauses of `found` do; what was shed does not count, but is remembered. */
static __always_inline bool holds(struct path_buf *p, struct vector *found, struct vector *open)
{
	if (p->shedding && vector_meets(found, &p->shed))
		p->lost = 1;
	return vector_meets(found, open);
}

/* Whether a clause is open, or was until it was shed. */
static __always_inline bool asks_more(struct path_buf *p, struct vector *open)
{
	return vector_any(open) || (p->shedding && vector_any(&p->shed));
}

static __always_inline u32 slot_number(void)
{
	return control.generation & (SLOTS - 1);
}

/*
 * The NUL-terminated path at b[start], looked up in place: the room in front takes the length of the key and the slot, which
 * overwrites what stands there.
 */
static __always_inline bool path_hits(struct path_buf *p, u32 start, u32 slot, struct vector *open)
{
	struct vector *found;
	u64 at = start;
	u8 *key;

	if (start < KEY_FRONT)
		return true;
	at = bounded(at - KEY_FRONT, 2 * PATH_BYTES);
	at = clamped(at, PATH_BYTES + SCAN_BYTES);
	key = &p->b[at];
	*(u32 *)key = TRIE_KEY_BYTES * 8;
	key[sizeof(u32)] = slot;
	found = bpf_map_lookup_elem(&paths, key);
	return found && holds(p, found, open);
}

static __always_inline bool name_hits(struct path_buf *p, u64 name, u32 slot, struct vector *open)
{
	struct name_key key = { .slot = slot };
	struct vector *found;

	if (bpf_probe_read_kernel_str(key.name, sizeof(key.name), (void *)name) < 0)
		return true;
	found = bpf_map_lookup_elem(&names, &key);
	return found && holds(p, found, open);
}

/* 1 or 0 without a branch: each branch in a loop is another path for the verifier. Both below 2^31. */
static __always_inline u32 equal(u32 a, u32 b)
{
	u32 x = a ^ b;

	barrier_var(x);
	x -= 1;
	barrier_var(x);
	return x >> 31;
}

/*
 * Reads the path at b[at] to its end. Its text alone tells where it leads unless it has a component `.` or `..`, an
 * empty one, or goes on after SCAN_BYTES; "../" anywhere is not decided either, so that rules about it see all of it. `dots`
 * counts the dots just read, `length` the characters of the component. The state lies in the map so that the
 * verifier sees one turn like the next.
 */
static __always_inline bool scan_passed(struct path_buf *p, u32 at, bool absolute)
{
	p->dots = 0;
	p->length = absolute; /* nothing stands before the first slash */
	p->last_slash = at - 1;
	for (u32 i = 0; i < SCAN_BYTES; i++) {
		u32 here = at + i;
		u32 dots = p->dots;
		u32 length = p->length;
		u32 last = p->last_slash;
		u32 c = p->b[bounded(here, 2 * PATH_BYTES)];
		u32 slash, undecided;

		if (!c)
			return length && !(dots && dots == length);
		slash = equal(c, '/');
		undecided = equal(length, 0) | equal(dots, length) | ((1 - dots) >> 31);
		if (slash & undecided)
			return false;
		p->dots = (dots + 1) * equal(c, '.');
		p->length = (length + 1) * (1 - slash);
		p->last_slash = last + (here - last) * slash;
	}
	return false;
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

/*
 * Whether the path at b[at] is plain at first sight, eight characters at a time: no slash before a slash, a dot or the end, no
 * dot before a slash or the end. What is not goes through scan_passed().
 */
static __always_inline bool looks_plain(struct path_buf *p, u32 at)
{
	u64 carry = 0; /* classes of the character before the word: 1 slash, 2 dot */

	for (u32 i = 0; i < SCAN_BYTES / WORD; i++) {
		u64 word = word_at(p, at + i * WORD);
		u64 slash = bytes_equal(word, '/');
		u64 dot = bytes_equal(word, '.');
		u64 end = bytes_equal(word, 0);
		u64 after_slash = slash << 8 | (carry & 0x80);
		u64 after_dot = dot << 8 | (carry >> 8 & 0x80);

		if ((after_slash & (slash | dot | end)) | (after_dot & (slash | end)))
			return false;
		if (end)
			return true;
		carry = slash >> 56 | (dot >> 56) << 8;
		barrier_var(carry);
	}
	return false;
}

/* Whether the path at b[passed], of `len` characters, is the one at b[start]. */
static __always_inline bool same_path(struct path_buf *p, u32 start, u32 passed, u32 len)
{
	if (PATH_BYTES - start != len || len >= SCAN_BYTES)
		return false;
	for (u32 i = 0; i < SCAN_BYTES / WORD; i++) {
		u32 done = i * WORD;
		u64 differ;

		if (done >= len)
			return true;
		differ = word_at(p, start + done) ^ word_at(p, passed + done);
		if (len - done < WORD)
			differ &= (1ULL << ((len - done) * 8 & 63)) - 1;
		if (differ)
			return false;
	}
	return true;
}

#define PASSED_AT (PATH_BYTES + 8) /* an absolute path as passed, with room in front */

/* Last components are looked up only where a clause that is still open, or was until it was shed, names one. */
static __always_inline bool wants_names(struct path_buf *p, u32 slot, struct vector *open)
{
	struct vector *named = &control.slots[slot & (SLOTS - 1)].named;

	return vector_meets(open, named) || (p->shedding && vector_meets(&p->shed, named));
}

/* Where a relative path starts from. False when it cannot be told. */
static __always_inline bool base_of(struct record *r, struct row *row, struct path *base)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fs_struct *fs;
	struct file *dir;
	s32 dirfd;

	dirfd = row->dir_arg == OPERAND_CWD ? AT_FDCWD : (s32)r->args[bounded(row->dir_arg, ARGS)];
	if (dirfd == AT_FDCWD) {
		fs = BPF_CORE_READ(task, fs);
		return !bpf_core_read(base, sizeof(*base), &fs->pwd);
	}
	dir = file_of(dirfd);
	return dir && !bpf_core_read(base, sizeof(*base), &dir->f_path);
}

/*
 * The path as passed, joined to its directory. `resolved` is where the resolved path starts in path_buf, 0 when the file was
 * not opened; it is decided already, so a passed path that is the same needs no look-up.
 */
static __always_inline int filter_passed(struct record *r, struct row *row, struct path_buf *p,
					 struct vector *open, u32 slot, u32 resolved)
{
	u64 from = r->args[bounded(row->path_arg, ARGS)];
	struct path base = {};
	u32 start, at;
	int walked;
	long n;

	n = bpf_probe_read_user_str(&p->b[PASSED_AT], SCAN_BYTES, (void *)from);
	if (n <= 1)
		return KEEP;
	if (p->b[PASSED_AT] == '/') {
		at = start = PASSED_AT;
		if (resolved && same_path(p, resolved, PASSED_AT, n - 1))
			return DROP;
	} else {
		if (!base_of(r, row, &base))
			return KEEP;
		walked = walk_to_root(&base);
		if (walked & (WALK_FAILED | WALK_CUT | WALK_DETACHED))
			return KEEP;
		start = walked & WALK_START;
		at = PATH_BYTES;
		/* "/" ends in its slash already */
		if (start != PATH_BYTES - 1) {
			p->b[PATH_BYTES] = '/';
			at++;
		}
		at = clamped(at, PASSED_AT);
		if (bpf_probe_read_user_str(&p->b[at], SCAN_BYTES, (void *)from) <= 0)
			return KEEP;
	}
	if (!wants_names(p, slot, open) && looks_plain(p, at))
		return path_hits(p, start, slot, open) ? KEEP : DROP;
	if (!scan_passed(p, at, at == PASSED_AT))
		return KEEP;
	if (path_hits(p, start, slot, open))
		return KEEP;
	return name_hits(p, (u64)&p->b[bounded(p->last_slash + 1, 2 * PATH_BYTES)], slot, open)
		       ? KEEP
		       : DROP;
}

static __always_inline void vector_or(struct vector *a, struct vector *b)
{
#pragma unroll
	for (int i = 0; i < VECTOR_WORDS; i++)
		a->w[i] |= b->w[i];
}

/* The clauses that the first component in path_buf.top leaves open. */
static __always_inline struct top_entry *left_of_top(struct path_buf *p, u32 slot)
{
	struct top_entry *found;

	p->top.slot = slot;
	found = bpf_map_lookup_elem(&tops, &p->top);
	return found ?: &control.slots[slot & (SLOTS - 1)].other_top;
}

/* Whether a clause that is open, or was until it was shed, names a path with this first component. */
static __always_inline bool is_placed(struct path_buf *p, struct vector *open,
				      struct top_entry *top)
{
	return vector_meets(open, &top->placed) ||
	       (p->shedding && vector_meets(&p->shed, &top->placed));
}

/* Cuts path_buf.top at its first slash; false when the component goes on. */
static __always_inline bool cut_top(struct path_buf *p)
{
	u64 *words = (u64 *)p->top.name;
	bool over = false;

#pragma unroll
	for (int i = 0; i < TOP_BYTES / WORD; i++) {
		u64 word = words[i];
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

/* Whether the last component of the path at b[at], of `len` characters, is this one. */
static __always_inline bool ends_in(struct path_buf *p, u32 at, u32 len, struct file *file)
{
	u64 dentry = (u64)READ_AT(struct file, file, f_path.dentry);
	u32 own = READ_AT(struct dentry, dentry, d_name.len);
	u64 name = (u64)READ_AT(struct dentry, dentry, d_name.name);
	u32 from = at + len - own;
	char own_name[NAME_KEY_BYTES];

	if (own > len || own >= sizeof(own_name))
		return false;
	if (own < len && p->b[bounded(from - 1, 2 * PATH_BYTES)] != '/')
		return false;
	__builtin_memset(own_name, 0, sizeof(own_name));
	bpf_probe_read_kernel(own_name, own & (NAME_KEY_BYTES - 1), (void *)name);
	for (int i = 0; i < NAME_KEY_BYTES / WORD; i++) {
		u64 differ = word_at(p, from + i * WORD) ^ ((u64 *)own_name)[i];
		u32 done = i * WORD;

		if (done >= own)
			return true;
		if (own - done < WORD)
			differ &= (1ULL << ((own - done) * 8 & 63)) - 1;
		if (differ)
			return false;
	}
	return true;
}

/*
 * What the first components of both spellings leave open, without a walk that copies names: most opens end here. `file` is the
 * opened file, or NULL. Returns TOPS_DROP; TOPS_OPEN where only a look-up of the paths themselves can tell; TOPS_NAMES where only
 * the last component is left to be looked up, and that of the passed path is that of the file.
 */
#define TOPS_DROP  1
#define TOPS_OPEN  2
#define TOPS_NAMES 3

static __always_inline int filter_tops(struct record *r, struct row *row, struct path_buf *p,
				       struct vector *open, u32 slot, struct file *file)
{
	struct top_entry *of_file = NULL, *of_passed;
	struct path from = {};
	struct vector left;
	u32 at = PASSED_AT;
	bool absolute;
	long n;

	n = bpf_probe_read_user_str(&p->b[PASSED_AT], SCAN_BYTES,
				    (void *)r->args[bounded(row->path_arg, ARGS)]);
	if (n <= 1 || n >= SCAN_BYTES || !looks_plain(p, at))
		return TOPS_OPEN;
	if (file) {
		if (bpf_core_read(&from, sizeof(from), &file->f_path) || top_to_root(&from))
			return TOPS_OPEN;
		of_file = left_of_top(p, slot);
	}
	absolute = p->b[PASSED_AT] == '/';
	if (!absolute) {
		if (!base_of(r, row, &from) || top_to_root(&from))
			return TOPS_OPEN;
	}
	if (absolute || !p->top.name[0]) {
		bpf_probe_read_kernel(p->top.name, sizeof(p->top.name),
				      &p->b[PASSED_AT + absolute]);
		if (!cut_top(p))
			return TOPS_OPEN;
	}
	of_passed = left_of_top(p, slot);
	left = of_passed->left;
	if (of_file && of_file != of_passed)
		vector_or(&left, &of_file->left);
	vector_and(open, &left);
	if (p->shedding)
		vector_and(&p->shed, &left);
	if (!asks_more(p, open))
		return TOPS_DROP;
	if (is_placed(p, open, of_passed) || (of_file && is_placed(p, open, of_file)))
		return TOPS_OPEN;
	return file && ends_in(p, at, n - 1, file) ? TOPS_NAMES : TOPS_OPEN;
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

	if (!server && !vector_meets(open, &rules->asks_kind))
		return;
	fd = row->fd == OPERAND_RESULT ? r->h.ret : (s64)(s32)r->args[row->fd & (ARGS - 1)];
	file = file_of(fd);
	vector_and(open, &rules->kinds[kind_of(file)]);
	sk = server ? sock_of(file) : NULL;
	if (sk)
		left_of_server(rules, slot, open, sk, row->flags & ROW_CONNECT);
}

/* What is left for this process, or nothing when its entry is not for what it is now. */
static __always_inline struct vector *left_of_process(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct process_entry *entry = bpf_map_lookup_elem(&processes, &pid);
	u64 *image;
	u64 comm[2] = {};

	if (!entry || entry->generation != control.generation)
		return NULL;
	image = bpf_map_lookup_elem(&images, &pid);
	if (entry->image != (image ? *image : 0))
		return NULL;
	if (entry->start != BPF_CORE_READ(task, group_leader, start_boottime))
		return NULL;
	if (entry->cgroup != cgroup_token(task))
		return NULL;
	bpf_get_current_comm(comm, sizeof(comm));
	if (comm[0] != ((u64 *)entry->comm)[0] || comm[1] != ((u64 *)entry->comm)[1])
		return NULL;
	return &entry->left;
}

/*
 * What the name of the thread and the program leave open. The program is dear, so that before the path of an open is looked at
 * (`unplaced`) it is asked only for clauses that no path can rule out.
 */
static __always_inline void left_of_task(struct slot *rules, u32 slot, struct vector *open,
					 bool unplaced)
{
	struct comm_key key = { .slot = slot };
	struct vector *found;

	if (vector_meets(open, &rules->asks_comm)) {
		bpf_get_current_comm(key.comm, sizeof(key.comm));
		found = bpf_map_lookup_elem(&comms, &key);
		vector_and(open, found ?: &rules->other_comm);
	}
	if (unplaced && !vector_meets(open, &rules->any_path))
		return;
	if (vector_meets(open, &rules->asks_process)) {
		found = left_of_process();
		if (found)
			vector_and(open, found);
	}
}

/*
 * Whether some rule could match a call. Cheap first: event type, result, flags, argument; what an fd is; who does it; what is
 * shed; the path of an open last. A global function, verified once; the call's facts lie in this CPU's record.
 */
__attribute__((noinline)) int call_filter(u32 row_index)
{
	struct record *r = record_scratch();
	struct row *row = bpf_map_lookup_elem(&rows, &row_index);
	struct path_buf *p = path_scratch();
	u32 slot = slot_number();
	struct slot *rules = &control.slots[slot];
	struct vector open, *found;
	struct file *file = NULL;
	struct dentry *dentry;
	u64 at, name = 0;
	u32 resolved = 0;
	int walked, tops_say;

	if (!r || !row || !p || row_index >= 2 * MAX_SYSCALLS)
		return KEEP;
	open = rules->rows[row_index & (2 * MAX_SYSCALLS - 1)];
	vector_and(&open, &rules->results[clamped(result_class(r->h.ret), RESULT_CLASSES - 1)]);
	if (row->flags & ROW_OPEN)
		vector_and(&open, &rules->opens[clamped(open_class(r, row), OPEN_CLASSES - 1)]);
	if (!vector_any(&open))
		return DROP;
	if (row->value_arg < ARGS && vector_meets(&open, &rules->asks_value)) {
		u64 value = r->args[row->value_arg & (ARGS - 1)];
		u32 key = slot << 31 | row_index << 8 | (u8)value;

		found = value < VALUES ? bpf_map_lookup_elem(&values, &key) : NULL;
		if (found)
			vector_and(&open, found);
	}
	if (row->fd != FD_NONE && !(row->flags & ROW_OPEN))
		left_of_fd(r, row, rules, slot, &open);
	if (!vector_any(&open))
		return DROP;
	if (vector_meets(&open, &rules->any_path) || !(row->flags & ROW_OPEN)) {
		left_of_task(rules, slot, &open, row->flags & ROW_OPEN);
		if (!vector_any(&open))
			return DROP;
	}
	if (!left_at_level(row, p, rules, &open))
		return dropped(row, p);
	if (!(row->flags & ROW_OPEN) || vector_meets(&open, &rules->any_path))
		return KEEP;
	if (r->h.ret >= 0) {
		file = file_of(r->h.ret);
		if (!file)
			return KEEP;
	}
	tops_say = filter_tops(r, row, p, &open, slot, file);
	if (tops_say == TOPS_DROP)
		return dropped(row, p);
	if (tops_say == TOPS_NAMES) {
		at = (u64)READ_AT(struct file, file, f_path.dentry);
		name = (u64)READ_AT(struct dentry, at, d_name.name);
		if (!name_hits(p, name, slot, &open))
			return dropped(row, p);
	}
	left_of_task(rules, slot, &open, false);
	/* what the task left may be other clauses than the name hit; so late, a second look-up is rare */
	if (tops_say == TOPS_NAMES)
		return name_hits(p, name, slot, &open) ? KEEP : dropped(row, p);
	if (!asks_more(p, &open))
		return dropped(row, p);
	if (file) {
		walked = walk_from_root(__builtin_preserve_access_index(&file->f_path));
		if (walked & (WALK_FAILED | WALK_CUT | WALK_DETACHED))
			return KEEP;
		resolved = walked & WALK_START;
		p->b[PATH_BYTES] = 0;
		if (path_hits(p, resolved, slot, &open))
			return KEEP;
		if (wants_names(p, slot, &open)) {
			dentry = BPF_CORE_READ(file, f_path.dentry);
			if (name_hits(p, (u64)BPF_CORE_READ(dentry, d_name.name), slot, &open))
				return KEEP;
		}
	}
	return filter_passed(r, row, p, &open, slot, resolved) ? KEEP : dropped(row, p);
}

#endif
