/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_TASK_H
#define FALCO_PY_TASK_H

/* A task_struct becomes the header of a record: who did it. */

#include "record.h"

/* Address of the upid of `pid` in the pid namespace at `level`. */
static __always_inline u64 upid_at(u64 pid, u32 level)
{
	return pid + bpf_core_field_offset(struct pid, numbers) +
	       level * bpf_core_type_size(struct upid);
}

/* The number of `pid` in the pid namespace at `level`, the namespace that `pid` itself lives in when deeper. */
static __always_inline s32 number_at(u64 pid, u32 level)
{
	if (!pid || level > READ_AT(struct pid, pid, level))
		return 0;
	return READ_AT(struct upid, upid_at(pid, level), nr);
}

static __always_inline u32 pidns_level(u64 task)
{
	u64 pid = (u64)READ_AT(struct task_struct, task, thread_pid);

	return READ_AT(struct pid, pid, level);
}

/* The pid namespace at `level` that `pid` has a number in. */
static __always_inline u64 pidns_of(u64 pid, u32 level)
{
	return (u64)READ_AT(struct upid, upid_at(pid, level), ns);
}

static __always_inline u64 start_of(u64 task)
{
	u64 leader = (u64)READ_AT(struct task_struct, task, group_leader);

	return READ_AT(struct task_struct, leader, start_boottime);
}

/*
 * Tells one place in the cgroup trees from another: the id in the unified tree and that in the memory tree (v1), which is
 * the same one where there is only v2.
 */
static __always_inline u64 id_of_cgroup(u64 cgroup)
{
	u64 kn = (u64)READ_AT(struct cgroup, cgroup, kn);

	return READ_AT(struct kernfs_node, kn, id);
}

static __always_inline u64 cgroup_token(u64 task)
{
	u64 set = (u64)READ_AT(struct task_struct, task, cgroups);
	u64 token = id_of_cgroup((u64)READ_AT(struct css_set, set, dfl_cgrp));

	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		u64 id = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
		u64 css = WORD_OF(set + bpf_core_field_offset(struct css_set, subsys) +
				  (id & 15) * sizeof(u64));

		token ^= id_of_cgroup((u64)READ_AT(struct cgroup_subsys_state, css, cgroup)) << 20;
	}
	return token;
}

static __always_inline void fill_header(struct record *r, u16 kind, s64 ret)
{
	u64 task = bpf_get_current_task();
	u64 leader = (u64)READ_AT(struct task_struct, task, group_leader);
	u64 parent = (u64)READ_AT(struct task_struct, task, real_parent);
	u64 proxy = (u64)READ_AT(struct task_struct, task, nsproxy);
	u64 mounts = (u64)READ_AT(struct nsproxy, proxy, mnt_ns);
	u64 cred = (u64)READ_AT(struct task_struct, task, cred);
	u32 level = pidns_level(task);

	__builtin_memset(&r->h, 0, sizeof(r->h));
	r->len = 0;
	r->h.kind = kind;
	r->h.ts = bpf_ktime_get_boot_ns();
	r->h.ret = ret;
	r->h.cpu = bpf_get_smp_processor_id();
	r->h.pid = READ_AT(struct task_struct, task, tgid);
	r->h.tid = READ_AT(struct task_struct, task, pid);
	r->h.ppid = READ_AT(struct task_struct, parent, tgid);
	r->h.uid = READ_AT(struct cred, cred, euid.val);
	r->h.gid = READ_AT(struct cred, cred, egid.val);
	r->h.vpid = number_at((u64)READ_AT(struct task_struct, leader, thread_pid), level);
	r->h.vtid = number_at((u64)READ_AT(struct task_struct, task, thread_pid), level);
	r->h.mntns = READ_AT(struct mnt_namespace, mounts, ns.inum);
	r->h.start = READ_AT(struct task_struct, leader, start_boottime);
	r->h.pstart = start_of(parent);
	r->h.cgroup = cgroup_token(task);
	bpf_get_current_comm(&r->h.comm, sizeof(r->h.comm));
	r->h.cap_effective = CRED_CAPS((void *)cred, cap_effective);
	r->h.cap_permitted = CRED_CAPS((void *)cred, cap_permitted);
	r->h.cap_inheritable = CRED_CAPS((void *)cred, cap_inheritable);
	r->h.exec_id = READ_AT(struct task_struct, task, self_exec_id);
}

#endif
