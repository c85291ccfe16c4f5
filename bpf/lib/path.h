/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_PATH_H
#define FALCO_PY_PATH_H

/*
 * A dentry and a mount become the absolute path that the task itself sees. The kernel's objects are walked, not
 * the strings of the process, so symbolic links, `..` and later renames of the string change nothing.
 */

#include "record.h"

#define PATH_DEPTH   256 /* components and mount crossings; deeper is marked as cut */
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

struct mount_facts {
	u64 parent;
	u64 mountpoint;
	u64 root;
};

static __always_inline void read_mount(u64 at, struct mount_facts *facts)
{
	struct mount *mount = (void *)at;
	u32 parent = bpf_core_field_offset(mount->mnt_parent);

	if (bpf_core_field_offset(mount->mnt_mountpoint) == parent + sizeof(u64) &&
	    bpf_core_field_offset(mount->mnt.mnt_root) == parent + 2 * sizeof(u64)) {
		bpf_probe_read_kernel(facts, sizeof(*facts), (void *)(at + parent));
		return;
	}
	facts->parent = (u64)BPF_CORE_READ(mount, mnt_parent);
	facts->mountpoint = (u64)BPF_CORE_READ(mount, mnt_mountpoint);
	facts->root = (u64)BPF_CORE_READ(mount, mnt.mnt_root);
}

/* From the root of a mount to the place that it stands on; false where it stands on none. */
static __always_inline bool leave_mount(u64 *dentry, u64 *vfsmount, u64 *mount,
					struct mount_facts *m)
{
	if (m->parent == *mount)
		return false;
	*dentry = m->mountpoint;
	*mount = m->parent;
	*vfsmount = *mount + bpf_core_field_offset(struct mount, mnt);
	read_mount(*mount, m);
	return true;
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
 * Fills this CPU's path_buf from PATH_BYTES downwards. A global function: it is verified once, with nothing known of
 * its arguments, which keeps the programs that call it small.
 */
__attribute__((noinline)) int path_walk(u64 dentry, u64 vfsmount, u64 root_dentry, u64 root_mount)
{
	struct path_buf *p = path_scratch();
	struct dentry_facts d = {};
	struct mount_facts m = {};
	u32 state = WALK_CUT;
	u64 mount;

	if (!p || !dentry)
		return WALK_FAILED;
	p->off = PATH_BYTES;
	mount = vfsmount - bpf_core_field_offset(struct mount, mnt);
	read_mount(mount, &m);
	for (int i = 0; i < PATH_DEPTH; i++) {
		if (dentry == root_dentry && vfsmount == root_mount) {
			state = 0;
			break;
		}
		if (dentry == m.root) {
			if (!leave_mount(&dentry, &vfsmount, &mount, &m)) {
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
		dentry = d.parent;
	}
	return finish(p, state);
}

/*
 * As path_walk, but only the first component of the path, "" for the root, is written, to path_buf.top. Returns 0 when it is
 * known.
 */
__attribute__((noinline)) int top_walk(u64 dentry, u64 vfsmount, u64 root_dentry, u64 root_mount)
{
	struct path_buf *p = path_scratch();
	struct mount_facts m = {};
	u32 state = WALK_CUT;
	u64 top = 0;
	u64 mount, parent;
	u32 len;

	if (!p || !dentry)
		return WALK_FAILED;
	mount = vfsmount - bpf_core_field_offset(struct mount, mnt);
	read_mount(mount, &m);
	for (int i = 0; i < PATH_DEPTH; i++) {
		if (dentry == root_dentry && vfsmount == root_mount) {
			state = 0;
			break;
		}
		if (dentry == m.root) {
			if (!leave_mount(&dentry, &vfsmount, &mount, &m)) {
				state = 0;
				break;
			}
			continue;
		}
		parent = (u64)READ_AT(struct dentry, dentry, d_parent);
		if (parent == dentry)
			return WALK_DETACHED;
		top = dentry;
		dentry = parent;
	}
	if (state)
		return state;
	__builtin_memset(p->top.name, 0, sizeof(p->top.name));
	if (!top)
		return 0;
	len = BPF_CORE_READ((struct dentry *)top, d_name.len);
	if (len >= TOP_BYTES)
		return WALK_CUT;
	bpf_probe_read_kernel(p->top.name, len & (TOP_BYTES - 1),
			      BPF_CORE_READ((struct dentry *)top, d_name.name));
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

/* Of the root directory that the task sees; a typed pointer may not be passed on as a number, so it is copied. */
static __always_inline void read_root(struct path *root)
{
	if (HAS_TYPED_TASK) {
		struct task_struct *task = bpf_get_current_task_btf();

		bpf_core_read(root, sizeof(*root), &task->fs->root);
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();
		struct fs_struct *fs = BPF_CORE_READ(task, fs);

		bpf_core_read(root, sizeof(*root), &fs->root);
	}
}

/* As path_walk from a path that was read, up to the root that the task sees. */
static __always_inline int walk_to_root(struct path *at)
{
	struct path root = {};

	read_root(&root);
	return path_walk((u64)at->dentry, (u64)at->mnt, (u64)root.dentry, (u64)root.mnt);
}

static __always_inline int walk_from_root(struct path *path)
{
	struct path at = {};

	bpf_core_read(&at, sizeof(at), path);
	return walk_to_root(&at);
}

/* As top_walk from a path that was read, up to the root that the task sees. */
static __always_inline int top_to_root(struct path *at)
{
	struct path root = {};

	read_root(&root);
	return top_walk((u64)at->dentry, (u64)at->mnt, (u64)root.dentry, (u64)root.mnt);
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
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fs_struct *fs = BPF_CORE_READ(task, fs);

	if (!fs) {
		put_null(r);
		return;
	}
	put_walked(r, walk_from_root(__builtin_preserve_access_index(&fs->pwd)), ITEM_DIR);
}

#endif
