/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_COMPAT_H
#define FALCO_PY_COMPAT_H

/* One accessor for each thing that kernels spell differently, with the commit that changed it. */

#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* 633488947ef6 ("kernfs: Use RCU to access kernfs_node::parent."), 6.15 */
struct kernfs_node___v615 {
	struct kernfs_node___v615 *__parent;
};

struct timespec64 {
	s64 tv_sec;
	long tv_nsec;
};

struct inode___v58 {
	struct timespec64 i_ctime;
	struct timespec64 i_mtime;
};

/* 13bc24457850 ("fs: rename i_ctime field to __i_ctime"), 6.6 */
struct inode___v66 {
	struct timespec64 __i_ctime;
};

/* 12cd44023651 ("fs: rename inode i_atime and i_mtime fields"), 6.7 */
struct inode___v67 {
	struct timespec64 __i_mtime;
};

/* 3aa63a569c64 ("fs: switch timespec64 fields in inode to discrete integers"), 6.11 */
struct inode___v611 {
	s64 i_ctime_sec;
	s64 i_mtime_sec;
	u32 i_ctime_nsec;
	u32 i_mtime_nsec;
};

struct mm_rss_stat___v58 {
	atomic64_t count[4];
};

struct mm_struct___v58 {
	struct mm_rss_stat___v58 rss_stat;
};

/* f1a7941243c1 ("mm: convert mm's rss stats into percpu_counter"), 6.2 */
struct percpu_counter___v62 {
	s64 count;
};

struct mm_struct___v62 {
	struct percpu_counter___v62 rss_stat[4];
};

/* f122a08b197d ("capability: just use a 'u64' instead of a 'u32[2]' array"), 6.3 */
struct kernel_cap___v58 {
	u32 cap[2];
};

struct kernel_cap___v63 {
	u64 val;
};

struct cred___v58 {
	struct kernel_cap___v58 cap_inheritable;
	struct kernel_cap___v58 cap_permitted;
	struct kernel_cap___v58 cap_effective;
};

struct cred___v63 {
	struct kernel_cap___v63 cap_inheritable;
	struct kernel_cap___v63 cap_permitted;
	struct kernel_cap___v63 cap_effective;
};

#pragma clang attribute pop

#define NSEC_PER_SEC 1000000000ULL

/* 4e40ef53cab4 ("fs: add infrastructure for multigrain timestamps"), 6.13: a mark in the top bit */
#define I_CTIME_QUERIED (1U << 31)

/*
 * a35b9af4ec2c ("bpf: Add a kfunc for generic type cast"), 6.2: what is read through the result needs no helper, and a bad
 * address reads as zeros. READ_AT reads a member either way.
 */
extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) __ksym __weak;

#define READ_AT(type, at, member)                                                         \
	({                                                                                \
		typeof(((type *)0)->member) value_;                                       \
		if (bpf_rdonly_cast)                                                      \
			value_ = ((type *)bpf_rdonly_cast((void *)(at),                   \
							  bpf_core_type_id_kernel(type))) \
					 ->member;                                        \
		else                                                                      \
			bpf_core_read(&value_, sizeof(value_), &((type *)(at))->member);  \
		value_;                                                                   \
	})

/* Eight bytes of kernel memory; any type of the kernel that begins with a 64-bit number serves for the cast. */
#define WORD_OF(at) READ_AT(struct qstr, at, hash_len)

static __always_inline u64 kernfs_parent(u64 kn)
{
	struct kernfs_node___v615 *new = (void *)kn;
	struct kernfs_node *old = (void *)kn;

	if (bpf_core_field_exists(new->__parent))
		return (u64)BPF_CORE_READ(new, __parent);
	return (u64)BPF_CORE_READ(old, parent);
}

static __always_inline u64 timespec_ns(struct timespec64 ts)
{
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static __always_inline u64 inode_ctime_ns(struct inode *inode)
{
	struct inode___v611 *v611 = (void *)inode;
	struct inode___v66 *v66 = (void *)inode;
	struct inode___v58 *v58 = (void *)inode;

	if (bpf_core_field_exists(v611->i_ctime_sec))
		return BPF_CORE_READ(v611, i_ctime_sec) * NSEC_PER_SEC +
		       (BPF_CORE_READ(v611, i_ctime_nsec) & ~I_CTIME_QUERIED);
	if (bpf_core_field_exists(v66->__i_ctime))
		return timespec_ns(BPF_CORE_READ(v66, __i_ctime));
	return timespec_ns(BPF_CORE_READ(v58, i_ctime));
}

static __always_inline u64 inode_mtime_ns(struct inode *inode)
{
	struct inode___v611 *v611 = (void *)inode;
	struct inode___v67 *v67 = (void *)inode;
	struct inode___v58 *v58 = (void *)inode;

	if (bpf_core_field_exists(v611->i_mtime_sec))
		return BPF_CORE_READ(v611, i_mtime_sec) * NSEC_PER_SEC +
		       BPF_CORE_READ(v611, i_mtime_nsec);
	if (bpf_core_field_exists(v67->__i_mtime))
		return timespec_ns(BPF_CORE_READ(v67, __i_mtime));
	return timespec_ns(BPF_CORE_READ(v58, i_mtime));
}

#define MM_COUNTER(mm, member)                                                      \
	({                                                                          \
		struct mm_struct___v62 *v62 = (void *)(mm);                         \
		struct mm_struct___v58 *v58 = (void *)(mm);                         \
		s64 pages;                                                          \
		if (bpf_core_type_exists(struct mm_rss_stat___v58))                 \
			pages = BPF_CORE_READ(v58, rss_stat.count[member].counter); \
		else                                                                \
			pages = BPF_CORE_READ(v62, rss_stat[member].count);         \
		pages < 0 ? 0 : pages;                                              \
	})

#define CRED_CAPS(cred, which)                                                \
	({                                                                    \
		struct cred___v63 *v63 = (void *)(cred);                      \
		struct cred___v58 *v58 = (void *)(cred);                      \
		u64 caps;                                                     \
		if (bpf_core_field_exists(v63->which.val))                    \
			caps = BPF_CORE_READ(v63, which.val);                 \
		else                                                          \
			caps = BPF_CORE_READ(v58, which.cap[0]) |             \
			       ((u64)BPF_CORE_READ(v58, which.cap[1]) << 32); \
		caps;                                                         \
	})

#endif
