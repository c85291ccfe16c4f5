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

/*
 * Reads the path at b[at] to its end. Its text alone tells where it leads unless it has a component `.` or `..`, an
 * empty one, or goes on after SCAN_BYTES. `dots` counts the characters of a component while all of them are dots, 3 is any
 * other. The state lies in the map so that the verifier sees one turn like the next.
 */
static __always_inline bool scan_passed(struct path_buf *p, u32 at, bool absolute)
{
	p->dots = absolute ? 3 : 0;
	p->last_slash = at - 1;
	for (u32 i = 0; i < SCAN_BYTES; i++) {
		u32 here = at + i;
		u32 dots = p->dots;
		u8 c = p->b[bounded(here, 2 * PATH_BYTES)];

		if (!c)
			return dots == 3;
		if (c == '/') {
			if (dots < 3)
				return false;
			p->dots = 0;
			p->last_slash = here;
		} else if (c == '.' && dots < 3) {
			p->dots = dots + 1;
		} else {
			p->dots = 3;
		}
	}
	return false;
}

#define PASSED_AT (PATH_BYTES + sizeof(u32)) /* an absolute path as passed, with room in front */

/* Looks up the path as passed, joined to its directory. */
static __always_inline int filter_passed(struct record *r, struct row *row, struct path_buf *p,
					 struct vector *open)
{
	u64 from = r->args[bounded(row->path_arg, ARGS)];
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fs_struct *fs;
	struct file *dir;
	u32 start, at;
	int walked;
	s32 dirfd;
	u8 first = 0;

	if (bpf_probe_read_user(&first, 1, (void *)from))
		return KEEP;
	if (first == '/') {
		at = start = PASSED_AT;
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
	}
	at = clamped(at, PASSED_AT);
	if (bpf_probe_read_user_str(&p->b[at], SCAN_BYTES, (void *)from) <= 0)
		return KEEP;
	if (!scan_passed(p, at, first == '/'))
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
		p->b[PATH_BYTES] = 0;
		if (path_hits(p, walked & WALK_START, open))
			return KEEP;
		dentry = BPF_CORE_READ(file, f_path.dentry);
		if (name_hits((u64)BPF_CORE_READ(dentry, d_name.name), open))
			return KEEP;
	}
	return filter_passed(r, row, p, open);
}

#endif
