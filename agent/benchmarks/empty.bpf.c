/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The least that a program at the end of every system call costs. Needs no headers. */
#define SEC(name) __attribute__((section(name), used))

char LICENSE[] SEC("license") = "GPL";

SEC("tp_btf/sys_exit")
int benchmark_empty(void *ctx)
{
	(void)ctx;
	return 0;
}
