/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_FILTER_H
#define FALCO_PY_FILTER_H

/*
 * Whether some rule could match an open. Cheap first: how the file was opened, then its resolved path, then the path as it
 * was passed. What cannot be decided is kept: an answer of "drop" is proof that no clause holds under either spelling.
 */

#include "fd.h"

#define SCAN_BYTES 256 /* of a passed path; longer is not decided */
#define O_ACCMODE  3
#define KEEP	   1
#define DROP	   0

static __always_inline bool vector_any(struct vector *v)
{
	return v->w[0] | v->w[1] | v->w[2] | v->w[3];
}

static __always_inline bool vector_meets(struct vector *a, struct vector *b)
{
	return (a->w[0] & b->w[0]) | (a->w[1] & b->w[1]) | (a->w[2] & b->w[2]) |
	       (a->w[3] & b->w[3]);
}

/* The NUL-terminated path at b[start], looked up in place: the room in front takes the length of the key. */
static __always_inline bool path_hits(struct path_buf *p, u32 start, struct vector *open)
{
	struct vector *found;
	u64 at = start;

	if (start < sizeof(u32))
		return true;
	at = bounded(at - sizeof(u32), 2 * PATH_BYTES);
	at = clamped(at, PATH_BYTES + SCAN_BYTES);
	*(u32 *)&p->b[at] = TRIE_KEY_BYTES * 8;
	found = bpf_map_lookup_elem(&paths, &p->b[at]);
	return found && vector_meets(found, open);
}

static __always_inline bool name_hits(u64 name, struct vector *open)
{
	struct name_key key = {};
	struct vector *found;

	if (bpf_probe_read_kernel_str(key.name, sizeof(key.name), (void *)name) < 0)
		return true;
	found = bpf_map_lookup_elem(&names, &key);
	return found && vector_meets(found, open);
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

#define PASSED_AT (PATH_BYTES + sizeof(u32)) /* an absolute path as passed, with room in front */

/* Last components are looked up only where a clause that is still open names one. */
static __always_inline bool wants_names(struct vector *open)
{
	return vector_meets(open, &control.named);
}

/*
 * The path as passed, joined to its directory. `resolved` is where the resolved path starts in path_buf, 0 when the file was
 * not opened; it is decided already, so a passed path that is the same needs no look-up.
 */
static __always_inline int filter_passed(struct record *r, struct row *row, struct path_buf *p,
					 struct vector *open, u32 resolved)
{
	u64 from = r->args[bounded(row->path_arg, ARGS)];
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fs_struct *fs;
	struct file *dir;
	u32 start, at;
	int walked;
	s32 dirfd;
	long n;

	n = bpf_probe_read_user_str(&p->b[PASSED_AT], SCAN_BYTES, (void *)from);
	if (n <= 1)
		return KEEP;
	if (p->b[PASSED_AT] == '/') {
		at = start = PASSED_AT;
		if (resolved && same_path(p, resolved, PASSED_AT, n - 1))
			return DROP;
	} else {
		dirfd = row->dir_arg == OPERAND_CWD ? AT_FDCWD
						    : (s32)r->args[bounded(row->dir_arg, ARGS)];
		if (dirfd == AT_FDCWD) {
			fs = BPF_CORE_READ(task, fs);
			walked = walk_from_root(__builtin_preserve_access_index(&fs->pwd));
		} else {
			dir = file_of(dirfd);
			if (!dir)
				return KEEP;
			walked = walk_from_root(__builtin_preserve_access_index(&dir->f_path));
		}
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
	if (!wants_names(open) && looks_plain(p, at))
		return path_hits(p, start, open) ? KEEP : DROP;
	if (!scan_passed(p, at, at == PASSED_AT))
		return KEEP;
	if (path_hits(p, start, open))
		return KEEP;
	return name_hits((u64)&p->b[bounded(p->last_slash + 1, 2 * PATH_BYTES)], open) ? KEEP
										       : DROP;
}

/* A global function, verified once; the call's facts lie in this CPU's record. */
__attribute__((noinline)) int open_filter(u32 row_index)
{
	struct record *r = record_scratch();
	struct row *row = bpf_map_lookup_elem(&rows, &row_index);
	struct path_buf *p = path_scratch();
	u32 class = OPEN_FAILED;
	struct vector *open;
	struct file *file;
	struct dentry *dentry;
	u32 resolved = 0;
	int walked;

	if (!r || !row || !p)
		return KEEP;
	if (r->h.ret >= 0) {
		file = file_of(r->h.ret);
		if (!file)
			return KEEP;
		class = BPF_CORE_READ(file, f_flags) & O_ACCMODE;
	}
	open = &control.open_class[class & (OPEN_CLASSES - 1)];
	if (!vector_any(open))
		return DROP;
	if (vector_meets(open, &control.any_path))
		return KEEP;
	if (class != OPEN_FAILED) {
		walked = walk_from_root(__builtin_preserve_access_index(&file->f_path));
		if (walked & (WALK_FAILED | WALK_CUT | WALK_DETACHED))
			return KEEP;
		resolved = walked & WALK_START;
		p->b[PATH_BYTES] = 0;
		if (path_hits(p, resolved, open))
			return KEEP;
		if (wants_names(open)) {
			dentry = BPF_CORE_READ(file, f_path.dentry);
			if (name_hits((u64)BPF_CORE_READ(dentry, d_name.name), open))
				return KEEP;
		}
	}
	return filter_passed(r, row, p, open, resolved);
}

#endif
