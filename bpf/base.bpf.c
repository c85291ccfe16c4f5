/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The base layer: everything that needs only BTF tracepoints, so that it loads where kprobes, ftrace and BPF LSM are
 * switched off. One object, because the four programs share the rings and the tables.
 */

#include "kernel.h"
#include "compat.h"
#include <bpf/bpf_tracing.h>
#include "lib/exec.h"
#include "lib/extract.h"
#include "lib/filter.h"

char LICENSE[] SEC("license") = "GPL";

#if defined(__TARGET_ARCH_x86)
#define TS_COMPAT 2 /* arch/x86/include/asm/thread_info.h */

static __always_inline u64 call_number(struct pt_regs *regs)
{
	return regs->orig_ax;
}

static __always_inline bool is_compat(u64 task)
{
	return READ_AT(struct task_struct, task, thread_info.status) & TS_COMPAT;
}

static __always_inline void read_arguments(struct record *r, struct pt_regs *regs)
{
	if (r->compat) {
		r->args[0] = (u32)regs->bx;
		r->args[1] = (u32)regs->cx;
		r->args[2] = (u32)regs->dx;
		r->args[3] = (u32)regs->si;
		r->args[4] = (u32)regs->di;
		r->args[5] = (u32)regs->bp;
		return;
	}
	r->args[0] = regs->di;
	r->args[1] = regs->si;
	r->args[2] = regs->dx;
	r->args[3] = regs->r10;
	r->args[4] = regs->r8;
	r->args[5] = regs->r9;
}
#elif defined(__TARGET_ARCH_arm64)
#define TIF_32BIT 22 /* arch/arm64/include/asm/thread_info.h */

static __always_inline u64 call_number(struct pt_regs *regs)
{
	return (u32)regs->syscallno;
}

static __always_inline bool is_compat(u64 task)
{
	return READ_AT(struct task_struct, task, thread_info.flags) & (1UL << TIF_32BIT);
}

/* x0 holds the result by now; the kernel keeps the first argument in orig_x0. */
static __always_inline void read_arguments(struct record *r, struct pt_regs *regs)
{
	u64 mask = r->compat ? 0xffffffff : ~0ULL;

	r->args[0] = regs->orig_x0 & mask;
	r->args[1] = regs->regs[1] & mask;
	r->args[2] = regs->regs[2] & mask;
	r->args[3] = regs->regs[3] & mask;
	r->args[4] = regs->regs[4] & mask;
	r->args[5] = regs->regs[5] & mask;
}
#endif

/*
 * The process table follows what a process does to itself without exec: its name and its directory. Told on the life lane.
 * The header already holds the new name.
 */
static __always_inline void send_state(struct record *r, struct row *row, s64 ret)
{
	if (ret)
		return;
	if (row->flags & ROW_PRCTL && r->args[0] != PR_SET_NAME)
		return;
	fill_header(r, KIND_STATE, ret);
	if (row->flags & ROW_CHDIR)
		put_cwd(r);
	else
		put_null(r);
	send(&life, r, row->class);
}

/*
 * The end of every system call. The result is there, the kernel's objects are in their new state, and on x86-64 the
 * argument registers are still those of the entry.
 */
SEC("tp_btf/sys_exit")
int BPF_PROG(falco_sys_exit, struct pt_regs *regs, long ret)
{
	u64 nr = call_number(regs);
	struct path_buf *p;
	struct record *r;
	struct row *row;
	u32 index, pid;
	u64 task;
	u8 want;

#if defined(__TARGET_ARCH_x86)
	/* x32 calls are 64-bit calls but for a bit of the number */
	nr &= ~(u64)X32_BIT;
#endif
	if (nr >= MAX_SYSCALLS) {
		if ((s32)nr != -1)
			count_error(ERROR_NUMBER);
		return 0;
	}
	want = control.wanted[nr];
	if (!want)
		return 0;
	task = bpf_get_current_task();
	pid = READ_AT(struct task_struct, task, tgid);
	if (pid == control.self)
		return 0;
	r = record_scratch();
	p = path_scratch();
	if (!r || !p)
		return 0;
	p->task = task;
	p->pid = pid;
	r->compat = is_compat(task);
	index = nr;
	if (r->compat) {
		index += MAX_SYSCALLS;
		want = (want >> 1) & (WANTED_64 | STATE_64);
	} else {
		want &= WANTED_64 | STATE_64;
	}
	if (!want)
		return 0;
	row = bpf_map_lookup_elem(&rows, &index);
	if (!row)
		return 0;
	read_arguments(r, regs);
	if (want & STATE_64)
		send_state(r, row, ret);
	if (!(want & WANTED_64))
		return 0;
	if (row->flags & ROW_EXEC && !ret)
		return 0;
	r->h.ret = ret;
	if (call_filter(r, row, p, index) == DROP)
		return 0;
	fill_header(r, KIND_SYSCALL, ret);
	r->h.nr = nr;
	if (r->compat)
		r->h.flags |= FLAG_COMPAT;
	if (row->fd != FD_NONE)
		extract_fd(row->fd);
	for (u32 i = 0; i < MAX_OPS; i++) {
		if (i >= row->nops)
			break;
		extract(index, i);
	}
	put_left(r, p);
	send(&events, r, row->class);
	raise_level();
	return 0;
}

/*
 * A new image is in place: credentials, memory and name are the new ones and no instruction of it has run, so argv is
 * what the kernel copied and cannot have been rewritten.
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(falco_exec, struct task_struct *p, int old_pid, struct linux_binprm *bprm)
{
	struct record *r = record_scratch();
	u64 name;

	if (!r)
		return 0;
	r->compat = 0;
	fill_header(r, KIND_EXEC, 0);
	bpf_map_delete_elem(&processes, &r->h.pid); /* it was of the last image */
	name = (u64)BPF_CORE_READ(bprm, filename);
	exec_facts(BPF_CORE_READ(bprm, fdpath) != NULL);
	put_string(r, name, false, FILENAME_BYTES, ITEM_STRING);
	exec_cgroups();
	exec_vectors();
	send(&life, r, CLASS_EXEC);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(falco_fork, struct task_struct *parent, struct task_struct *child)
{
	struct fork_facts f = {};
	struct pid_namespace *ns;
	struct record *r;
	u32 level;
	u64 pid;

	if (BPF_CORE_READ(child, tgid) == BPF_CORE_READ(parent, tgid))
		return 0;
	r = record_scratch();
	if (!r)
		return 0;
	fill_header(r, KIND_FORK, 0);
	pid = (u64)BPF_CORE_READ(child, thread_pid);
	level = READ_AT(struct pid, pid, level);
	ns = (void *)pidns_of(pid, level);
	f.pid = BPF_CORE_READ(child, tgid);
	f.vpid = number_at(pid, level);
	f.ppid = BPF_CORE_READ(child, real_parent, tgid);
	f.pidns = BPF_CORE_READ(ns, ns.inum);
	f.start = BPF_CORE_READ(child, start_boottime);
	f.pstart = BPF_CORE_READ(child, real_parent, group_leader, start_boottime);
	f.cgroup = cgroup_token((u64)child);
	bpf_probe_read_kernel_str(f.comm, sizeof(f.comm), child->comm);
	put_facts(r, f, ITEM_FACTS);
	send(&life, r, CLASS_FORK);
	return 0;
}

/* Only the last thread of a process tells its end. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(falco_exit, struct task_struct *p)
{
	struct signal_struct *signal = BPF_CORE_READ(p, signal);
	struct exit_facts f = {};
	struct record *r;

	if (BPF_CORE_READ(signal, live.counter))
		return 0;
	r = record_scratch();
	if (!r)
		return 0;
	fill_header(r, KIND_EXIT, 0);
	bpf_map_delete_elem(&processes, &r->h.pid);
	f.status = BPF_CORE_READ(signal, group_exit_code);
	if (!f.status)
		f.status = BPF_CORE_READ(p, exit_code);
	f.reaper = BPF_CORE_READ(p, real_parent, tgid);
	put_facts(r, f, ITEM_FACTS);
	send(&life, r, CLASS_PROC);
	return 0;
}
