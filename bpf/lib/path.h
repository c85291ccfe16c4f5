/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_PATH_H
#define FALCO_PY_PATH_H

/*
 * A dentry and a mount become the absolute path that the task itself sees. The kernel's objects are walked, not
 * the strings of the process, so symbolic links, `..` and later renames of the string change nothing.
 */

#include "record.h"

#define PATH_DEPTH   256 /* components and mount crossings; deeper is marked as cut */
#define TOP_DEPTH    64	 /* of top_walk() */
#define CGROUP_DEPTH 24
#define NAME_BYTES   256

/* What a walk returns: where the path starts in path_buf.b, and what is to be known of it. */
#define WALK_START    0x1fff
#define WALK_CUT      0x2000
#define WALK_DETACHED 0x4000
#define WALK_FAILED   0x8000

struct dentry_facts {
	u64 parent;
	u32 hash;
	u32 len;
	u64 name;
};

/* d_parent and d_name are neighbours in every kernel so far: one read instead of three. */
static __always_inline void read_dentry(u64 at, struct dentry_facts *facts)
{
	struct dentry *dentry = (void *)at;
	u32 parent = bpf_core_field_offset(dentry->d_parent);

	if (bpf_core_field_offset(dentry->d_name) == parent + sizeof(u64)) {
		bpf_probe_read_kernel(facts, sizeof(*facts), (void *)(at + parent));
		return;
	}
	facts->parent = (u64)BPF_CORE_READ(dentry, d_parent);
	facts->name = (u64)BPF_CORE_READ(dentry, d_name.name);
	facts->len = BPF_CORE_READ(dentry, d_name.len);
}

/* The mount that the walk is in, from its vfsmount. */
static __always_inline void enter_mount(struct path_buf *p)
{
	u64 mount = p->walk.vfsmount - bpf_core_field_offset(struct mount, mnt);

	p->walk.mount = mount;
	p->walk.parent_mount = (u64)READ_AT(struct mount, mount, mnt_parent);
	p->walk.mountpoint = (u64)READ_AT(struct mount, mount, mnt_mountpoint);
	p->walk.mount_root = (u64)READ_AT(struct mount, mount, mnt.mnt_root);
}

/* From the root of a mount to the place that it stands on; false where it stands on none. */
static __always_inline bool leave_mount(struct path_buf *p)
{
	u64 parent = p->walk.parent_mount;

	if (parent == p->walk.mount)
		return false;
	p->walk.dentry = p->walk.mountpoint;
	p->walk.vfsmount = parent + bpf_core_field_offset(struct mount, mnt);
	enter_mount(p);
	return true;
}

static __always_inline bool at_root(struct path_buf *p)
{
	return p->walk.dentry == p->walk.root_dentry && p->walk.vfsmount == p->walk.root_mount;
}

/* Puts "/name" in front of what is there; false when there is no room. */
static __always_inline bool prepend(struct path_buf *p, u32 len, u64 name)
{
	u32 off = p->off;

	if (off < len + 1)
		return false;
	off -= len + 1;
	p->off = off;
	p->b[bounded(off, PATH_BYTES)] = '/';
	bpf_probe_read_kernel(&p->b[bounded(off + 1, PATH_BYTES)], len & (NAME_BYTES - 1),
			      (void *)name);
	return true;
}

static __always_inline int finish(struct path_buf *p, u32 state)
{
	u32 off = p->off;

	if (off == PATH_BYTES && state == 0) {
		off--;
		p->b[PATH_BYTES - 1] = '/';
	}
	return off | state;
}

/*
 * Fills this CPU's path_buf from PATH_BYTES downwards, from where begin_walk() put it. A global function: it is verified once,
 * with nothing known of its arguments, which keeps the programs that call it small.
 */
__attribute__((noinline)) int path_walk(void)
{
	struct path_buf *p = path_scratch();
	struct dentry_facts d = {};
	u32 state = WALK_CUT;

	if (!p || !p->walk.dentry)
		return WALK_FAILED;
	p->off = PATH_BYTES;
	enter_mount(p);
	for (int i = 0; i < PATH_DEPTH; i++) {
		u64 dentry = p->walk.dentry;

		if (at_root(p)) {
			state = 0;
			break;
		}
		if (dentry == p->walk.mount_root) {
			if (!leave_mount(p)) {
				state = 0;
				break;
			}
			continue;
		}
		read_dentry(dentry, &d);
		if (d.len > NAME_BYTES - 1)
			d.len = NAME_BYTES - 1;
		if (!prepend(p, d.len, d.name))
			break;
		if (d.parent == dentry) {
			/* pipe, memfd, anonymous inode, or a mount taken away: the name stands alone */
			state = WALK_DETACHED;
			break;
		}
		p->walk.dentry = d.parent;
	}
	return finish(p, state);
}

/* The word of a name from its byte `at` on; what lies behind its `len` bytes is zero. */
static __always_inline u64 word_of_name(u64 name, u32 at, u32 len)
{
	u64 word;

	if (len <= at)
		return 0;
	word = WORD_OF(name + at);
	return len - at < sizeof(word) ? word & ((1ULL << (len - at) * 8) - 1) : word;
}

/*
 * As path_walk, but only the first component of the path, "" for the root, is written, to path_buf.top. Returns 0 when it is
 * known.
 */
__attribute__((noinline)) int top_walk(void)
{
	struct path_buf *p = path_scratch();
	u32 state = WALK_CUT;
	u64 top = 0, name = 0;
	u32 len = 0;

	if (!p || !p->walk.dentry)
		return WALK_FAILED;
	enter_mount(p);
	for (int i = 0; i < TOP_DEPTH; i++) {
		u64 dentry = p->walk.dentry;
		u64 parent;

		if (at_root(p)) {
			state = 0;
			break;
		}
		if (dentry == p->walk.mount_root) {
			if (!leave_mount(p)) {
				state = 0;
				break;
			}
			continue;
		}
		parent = (u64)READ_AT(struct dentry, dentry, d_parent);
		if (parent == dentry)
			return WALK_DETACHED;
		top = dentry;
		p->walk.dentry = parent;
	}
	if (state)
		return state;
	if (top) {
		len = READ_AT(struct dentry, top, d_name.len);
		name = (u64)READ_AT(struct dentry, top, d_name.name);
	}
	if (len >= TOP_BYTES)
		return WALK_CUT;
#pragma unroll
	for (int i = 0; i < TOP_BYTES / sizeof(u64); i++)
		((u64 *)p->top.name)[i] = word_of_name(name, i * sizeof(u64), len);
	return 0;
}

/* As path_walk, for a cgroup's kernfs node. The root is "/". */
__attribute__((noinline)) int cgroup_walk(u64 kn)
{
	struct path_buf *p = path_scratch();
	u32 state = WALK_CUT;

	if (!p || !kn)
		return WALK_FAILED;
	p->off = PATH_BYTES;
	for (int i = 0; i < CGROUP_DEPTH; i++) {
		u64 up = kernfs_parent(kn);
		long n;

		if (!up) {
			state = 0;
			break;
		}
		n = bpf_probe_read_kernel_str(&p->b[PATH_BYTES], NAME_BYTES,
					      BPF_CORE_READ((struct kernfs_node *)kn, name));
		if (n <= 0 || !prepend(p, n - 1, (u64)&p->b[PATH_BYTES]))
			break;
		kn = up;
	}
	return finish(p, state);
}

/* Appends to the item under way the path that a walk left in path_buf; returns its length. */
static __always_inline u64 copy_path(u8 *to, int walked)
{
	struct path_buf *p = path_scratch();
	u64 start = walked & WALK_START;
	u64 len;

	if (!p || start > PATH_BYTES)
		return 0;
	len = clamped(PATH_BYTES - start, PATH_BYTES);
	start = bounded(start, PATH_BYTES);
	bpf_probe_read_kernel(to, len, &p->b[start]);
	return len;
}

/* A walk from a struct path of the kernel up to the root that the task sees. */
static __always_inline void begin_walk(struct path_buf *p, u64 at)
{
	u64 fs = (u64)READ_AT(struct task_struct, p->task, fs);

	p->walk.dentry = (u64)READ_AT(struct path, at, dentry);
	p->walk.vfsmount = (u64)READ_AT(struct path, at, mnt);
	p->walk.root_dentry = (u64)READ_AT(struct fs_struct, fs, root.dentry);
	p->walk.root_mount = (u64)READ_AT(struct fs_struct, fs, root.mnt);
}

/* Addresses of the struct path of a file, and of the working directory. */
static __always_inline u64 path_of(struct file *file)
{
	return (u64)file + bpf_core_field_offset(struct file, f_path);
}

static __always_inline u64 working_directory(u64 task)
{
	return (u64)READ_AT(struct task_struct, task, fs) +
	       bpf_core_field_offset(struct fs_struct, pwd);
}

static __always_inline int walk_from(u64 at)
{
	struct path_buf *p = path_scratch();

	if (!p)
		return WALK_FAILED;
	p->task = bpf_get_current_task();
	begin_walk(p, at);
	return path_walk();
}

static __always_inline void put_walked(struct record *r, int walked, u8 tag)
{
	u64 len;

	if (record_full(r))
		return;
	if (walked & WALK_FAILED) {
		item_close(r, 0, ITEM_NULL, 0);
		return;
	}
	len = copy_path(item_data(r), walked);
	item_close(r, len, tag, walked & WALK_CUT ? ITEM_CUT : 0);
}

/* The path of the directory that relative names start from. */
static __always_inline void put_cwd(struct record *r)
{
	put_walked(r, walk_from(working_directory(bpf_get_current_task())), ITEM_DIR);
}

#endif
