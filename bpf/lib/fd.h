/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_FD_H
#define FALCO_PY_FD_H

/*
 * An fd becomes what it stands for at this moment, read from its struct file: a path or a socket with both ends. There
 * is no table of fds to go stale.
 */

#include "path.h"
#include "task.h"

static __always_inline struct file *file_of(s64 fd)
{
	u64 files = (u64)READ_AT(struct task_struct, bpf_get_current_task(), files);
	u64 fdt = (u64)READ_AT(struct files_struct, files, fdt);
	u64 table = (u64)READ_AT(struct fdtable, fdt, fd);

	if (fd < 0 || fd >= READ_AT(struct fdtable, fdt, max_fds))
		return NULL;
	return (void *)WORD_OF(table + fd * sizeof(struct file *));
}

/*
 * Which layer of an overlay a file comes from. struct ovl_inode (fs/overlayfs/ovl_entry.h) keeps the upper dentry
 * right behind the inode that it wraps, since 4.8; overlayfs may be a module, so its BTF cannot be counted on.
 */
static __always_inline u8 overlay_layer(struct inode *inode)
{
	struct dentry *upper = NULL;

	if (BPF_CORE_READ(inode, i_sb, s_magic) != OVERLAYFS_SUPER_MAGIC)
		return LAYER_NONE;
	bpf_probe_read_kernel(&upper, sizeof(upper),
			      (void *)inode + bpf_core_type_size(struct inode));
	if (upper && BPF_CORE_READ(upper, d_inode))
		return LAYER_UPPER;
	return LAYER_LOWER;
}

static __always_inline void read_v6(u8 *to, struct in6_addr *from)
{
	bpf_probe_read_kernel(to, 16, from);
}

static __always_inline void read_sock(struct sock_facts *s, struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);

	s->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	s->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	s->type = BPF_CORE_READ(sk, sk_type);
	s->protocol = BPF_CORE_READ(sk, sk_protocol);
	s->ptr = (u64)sk;
	if (s->family == AF_INET || s->family == AF_INET6) {
		s->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
		s->remote_port = BPF_CORE_READ(sk, __sk_common.skc_dport);
	}
	if (s->family == AF_INET) {
		u32 local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		u32 remote = BPF_CORE_READ(sk, __sk_common.skc_daddr);

		__builtin_memcpy(s->local, &local, sizeof(local));
		__builtin_memcpy(s->remote, &remote, sizeof(remote));
	} else if (s->family == AF_INET6 && bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		read_v6(s->local,
			__builtin_preserve_access_index(&sk->__sk_common.skc_v6_rcv_saddr));
		read_v6(s->remote, __builtin_preserve_access_index(&sk->__sk_common.skc_v6_daddr));
	} else if (s->family == AF_UNIX && bpf_core_type_exists(struct unix_sock)) {
		struct unix_sock *us = (void *)sk;
		struct unix_sock *peer = (void *)BPF_CORE_READ(us, peer);
		struct unix_address *addr = BPF_CORE_READ(us, addr);
		int len;

		s->peer = (u64)peer;
		if (!addr && peer)
			addr = BPF_CORE_READ(peer, addr);
		if (!addr)
			return;
		len = BPF_CORE_READ(addr, len) - 2;
		if (len <= 0)
			return;
		len = clamped(len, sizeof(s->path));
		bpf_probe_read_kernel(s->path, len,
				      __builtin_preserve_access_index(&addr->name[0].sun_path[0]));
		s->path_len = len;
	}
}

/* A name that was removed while the file is open. The root of a file system is in no hash table either. */
static __always_inline bool is_unhashed(struct dentry *dentry)
{
	return !BPF_CORE_READ(dentry, d_hash.pprev) && BPF_CORE_READ(dentry, d_parent) != dentry;
}

/* Appends an fd item for a file: its facts, then its path or its socket. */
static __always_inline void put_file(struct record *r, struct file *file, s32 num)
{
	struct fd_facts f = { .num = num };
	struct inode *inode;
	u64 len = 0;
	u8 *to;

	if (record_full(r))
		return;
	if (!file) {
		put_facts(r, f, ITEM_FD);
		return;
	}
	inode = BPF_CORE_READ(file, f_inode);
	f.mode = BPF_CORE_READ(inode, i_mode);
	f.ino = BPF_CORE_READ(inode, i_ino);
	f.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	f.magic = BPF_CORE_READ(inode, i_sb, s_magic);
	f.file_flags = BPF_CORE_READ(file, f_flags);
	f.file_mode = BPF_CORE_READ(file, f_mode);
	f.layer = overlay_layer(inode);
	f.flags = FD_FILE;
	to = item_data(r);
	if ((f.mode & S_IFMT) == S_IFSOCK) {
		struct sock_facts s = {};

		read_sock(&s, file);
		f.flags |= FD_SOCK;
		__builtin_memcpy(to + sizeof(f), &s, sizeof(s));
		len = sizeof(s);
	} else {
		int walked = walk_from(path_of(file));

		if (!(walked & WALK_FAILED))
			len = copy_path(to + sizeof(f), walked);
		if (walked & WALK_CUT)
			f.flags |= FD_CUT;
		if (walked & WALK_DETACHED)
			f.flags |= FD_DETACHED;
		else if (is_unhashed(BPF_CORE_READ(file, f_path.dentry)))
			f.flags |= FD_DELETED;
	}
	__builtin_memcpy(to, &f, sizeof(f));
	item_close(r, sizeof(f) + len, ITEM_FD, 0);
}

#endif
