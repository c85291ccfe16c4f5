/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_TASK_H
#define FALCO_PY_TASK_H

/* A task_struct becomes the header of a record: who did it. */

#include "record.h"

static __always_inline struct upid read_upid(struct pid *pid, u32 level)
{
	struct upid upid = {};
	u64 at = (u64)__builtin_preserve_access_index(&pid->numbers[0]);

	bpf_probe_read_kernel(&upid, sizeof(upid),
			      (void *)(at + level * bpf_core_type_size(struct upid)));
	return upid;
}

/* The number of `pid` in the pid namespace at `level`, the namespace that `pid` itself lives in when deeper. */
static __always_inline s32 number_at(struct pid *pid, u32 level)
{
	u32 own = BPF_CORE_READ(pid, level);

	if (!pid)
		return 0;
	if (level > own)
		return 0;
	return read_upid(pid, level).nr;
}

static __always_inline u32 pidns_level(struct task_struct *task)
{
	return BPF_CORE_READ(task, thread_pid, level);
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
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	const struct cred *cred = BPF_CORE_READ(task, cred);
	u64 ids = bpf_get_current_pid_tgid();
	u32 level = pidns_level(task);

	__builtin_memset(&r->h, 0, sizeof(r->h));
	r->len = 0;
	r->h.kind = kind;
	r->h.ts = bpf_ktime_get_boot_ns();
	r->h.ret = ret;
	r->h.cpu = bpf_get_smp_processor_id();
	r->h.pid = ids >> 32;
	r->h.tid = ids;
	r->h.ppid = BPF_CORE_READ(parent, tgid);
	r->h.uid = BPF_CORE_READ(cred, euid.val);
	r->h.gid = BPF_CORE_READ(cred, egid.val);
	r->h.vpid = number_at(BPF_CORE_READ(leader, thread_pid), level);
	r->h.vtid = number_at(BPF_CORE_READ(task, thread_pid), level);
	r->h.mntns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
	r->h.start = BPF_CORE_READ(leader, start_boottime);
	r->h.pstart = BPF_CORE_READ(parent, group_leader, start_boottime);
	r->h.cgroup = cgroup_token((u64)task);
	bpf_get_current_comm(&r->h.comm, sizeof(r->h.comm));
	r->h.cap_effective = CRED_CAPS(cred, cap_effective);
	r->h.cap_permitted = CRED_CAPS(cred, cap_permitted);
	r->h.cap_inheritable = CRED_CAPS(cred, cap_inheritable);
	r->h.exec_id = BPF_CORE_READ(task, self_exec_id);
}

#endif
