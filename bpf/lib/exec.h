/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_EXEC_H
#define FALCO_PY_EXEC_H

/* The facts of a new image, read when its memory is in place and nothing of it has run yet. */

#include "fd.h"

#define FILENAME_BYTES 4096
#define ARGS_BYTES     4095
#define ENV_BYTES      4095
#define GROUPS_TRIED   64

static __always_inline bool in_group(const struct cred *cred, u32 gid)
{
	struct group_info *info = BPF_CORE_READ(cred, group_info);
	int n = BPF_CORE_READ(info, ngroups);
	u64 at = (u64)__builtin_preserve_access_index(&info->gid[0]);

	if (BPF_CORE_READ(cred, fsgid.val) == gid)
		return true;
	for (int i = 0; i < GROUPS_TRIED && i < n; i++) {
		u32 one = 0;

		bpf_probe_read_kernel(&one, sizeof(one), (void *)(at + i * sizeof(one)));
		if (one == gid)
			return true;
	}
	return false;
}

/* Whether the task could write to the file: by its bits, or because it may change or ignore them. */
static __always_inline bool may_write(struct inode *inode, const struct cred *cred)
{
	u32 fsuid = BPF_CORE_READ(cred, fsuid.val);
	u16 mode = BPF_CORE_READ(inode, i_mode);
	u64 caps = CRED_CAPS(cred, cap_effective);

	if (caps & (1ULL << CAP_DAC_OVERRIDE) || caps & (1ULL << CAP_FOWNER))
		return true;
	if (fsuid == BPF_CORE_READ(inode, i_uid.val))
		return true;
	if (mode & S_IWOTH)
		return true;
	return mode & S_IWGRP && in_group(cred, BPF_CORE_READ(inode, i_gid.val));
}

static __always_inline u32 terminal(struct signal_struct *signal)
{
	struct tty_struct *tty = BPF_CORE_READ(signal, tty);
	struct tty_driver *driver = BPF_CORE_READ(tty, driver);
	u32 minor;

	if (!tty)
		return 0;
	/* new_encode_dev(), include/linux/kdev_t.h */
	minor = BPF_CORE_READ(driver, minor_start) + BPF_CORE_READ(tty, index);
	return (minor & 0xff) | BPF_CORE_READ(driver, major) << 8 | (minor & ~0xff) << 12;
}

static __always_inline void put_cgroup(struct record *r, struct kernfs_node *kn)
{
	put_walked(r, cgroup_walk((u64)kn), ITEM_DIR);
}

#define PUT_SUBSYSTEM(r, set, which)                                                             \
	do {                                                                                     \
		if (bpf_core_enum_value_exists(enum cgroup_subsys_id, which)) {                  \
			int id = bpf_core_enum_value(enum cgroup_subsys_id, which);              \
			struct cgroup_subsys_state *css = BPF_CORE_READ((set), subsys[id & 15]); \
			put_cgroup(r, BPF_CORE_READ(css, cgroup, kn));                           \
		} else {                                                                         \
			put_null(r);                                                             \
		}                                                                                \
	} while (0)

__attribute__((noinline)) int exec_cgroups(void)
{
	struct record *r = record_scratch();
	struct task_struct *task = (void *)bpf_get_current_task();
	struct css_set *set = BPF_CORE_READ(task, cgroups);

	if (!r)
		return 0;
	put_cgroup(r, BPF_CORE_READ(set, dfl_cgrp, kn));
	PUT_SUBSYSTEM(r, set, memory_cgrp_id);
	PUT_SUBSYSTEM(r, set, cpu_cgrp_id);
	PUT_SUBSYSTEM(r, set, cpuset_cgrp_id);
	PUT_SUBSYSTEM(r, set, devices_cgrp_id);
	PUT_SUBSYSTEM(r, set, pids_cgrp_id);
	return 0;
}

__attribute__((noinline)) int exec_facts(u32 at)
{
	struct record *r = record_scratch();
	struct task_struct *task = (void *)bpf_get_current_task();
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct file *file = BPF_CORE_READ(mm, exe_file);
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	struct exec_facts f = {};
	struct pid_namespace *ns;
	struct inode *inode;
	u32 level;
	u8 layer;

	if (!r)
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	level = BPF_CORE_READ(pid, level);
	f.at = at;
	layer = overlay_layer(inode);
	if (layer == LAYER_UPPER)
		f.exe_flags |= EXE_UPPER_LAYER;
	if (layer == LAYER_LOWER)
		f.exe_flags |= EXE_LOWER_LAYER;
	if (may_write(inode, cred))
		f.exe_flags |= EXE_WRITABLE;
	f.loginuid = -1;
	if (bpf_core_field_exists(task->loginuid)) {
		f.loginuid = BPF_CORE_READ(task, loginuid.val);
		f.sessionid = BPF_CORE_READ(task, sessionid);
	}
	f.ruid = BPF_CORE_READ(cred, uid.val);
	f.rgid = BPF_CORE_READ(cred, gid.val);
	f.euid = BPF_CORE_READ(cred, euid.val);
	f.egid = BPF_CORE_READ(cred, egid.val);
	f.suid = BPF_CORE_READ(cred, suid.val);
	f.fsuid = BPF_CORE_READ(cred, fsuid.val);
	f.tty = terminal(signal);
	f.sid = number_at((u64)BPF_CORE_READ(signal, pids[PIDTYPE_SID]), level);
	f.pgid = number_at((u64)BPF_CORE_READ(signal, pids[PIDTYPE_PGID]), 0);
	f.vpgid = number_at((u64)BPF_CORE_READ(signal, pids[PIDTYPE_PGID]), level);
	ns = (void *)pidns_of((u64)pid, level);
	f.pidns = BPF_CORE_READ(ns, ns.inum);
	f.pidns_start = BPF_CORE_READ(ns, child_reaper, start_boottime);
	f.exe_dev = BPF_CORE_READ(inode, i_sb, s_dev);
	f.exe_ino = BPF_CORE_READ(inode, i_ino);
	f.exe_ctime = inode_ctime_ns(inode);
	f.exe_mtime = inode_mtime_ns(inode);
	f.vm_size_pages = BPF_CORE_READ(mm, total_vm);
	f.vm_rss_pages = MM_COUNTER(mm, MM_FILEPAGES) + MM_COUNTER(mm, MM_ANONPAGES) +
			 MM_COUNTER(mm, MM_SHMEMPAGES);
	f.vm_swap_pages = MM_COUNTER(mm, MM_SWAPENTS);
	f.pgft_maj = BPF_CORE_READ(task, maj_flt);
	f.pgft_min = BPF_CORE_READ(task, min_flt);
	f.fdlimit = BPF_CORE_READ(signal, rlim[RLIMIT_NOFILE].rlim_cur);
	put_facts(r, f, ITEM_FACTS);
	put_file(r, file, -1);
	put_cwd(r);
	return 0;
}

/* argv and the environment, NUL between the strings, as the stack of the new image holds them. */
__attribute__((noinline)) int exec_vectors(void)
{
	struct record *r = record_scratch();
	struct task_struct *task = (void *)bpf_get_current_task();
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	u64 at;

	if (!r)
		return 0;
	at = BPF_CORE_READ(mm, arg_start);
	put_user(r, at, BPF_CORE_READ(mm, arg_end) - at, ARGS_BYTES, ITEM_DATA);
	at = BPF_CORE_READ(mm, env_start);
	put_user(r, at, BPF_CORE_READ(mm, env_end) - at, ENV_BYTES, ITEM_DATA);
	return 0;
}

#endif
