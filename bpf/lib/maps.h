/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_MAPS_H
#define FALCO_PY_MAPS_H

#include "types.h"
#include "compat.h"

#define EVENTS_BYTES (16 * 1024 * 1024)
#define LIFE_BYTES   (8 * 1024 * 1024)

/* System calls. When it is full the newest records are lost and counted by class. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_BYTES);
} events SEC(".maps");

/* exec, fork, exit, name and directory changes: a lane of their own, so that no flood pushes them out. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, LIFE_BYTES);
} life SEC(".maps");

/* The system call table: row nr for 64-bit calls, row MAX_SYSCALLS + nr for 32-bit calls. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * MAX_SYSCALLS);
	__type(key, u32);
	__type(value, struct row);
} rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct record);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct path_buf);
} path_bufs SEC(".maps");

/* Paths and prefixes that some clause names. Each entry holds what its shorter prefixes give, too. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct trie_key);
	__type(value, struct vector);
} paths SEC(".maps");

/* Threads' names that some clause compares with, and those that were learnt. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct comm_key);
	__type(value, struct vector);
} comms SEC(".maps");

/* Values of arguments: slot << 31 | row << 8 | value. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, struct vector);
} values SEC(".maps");

/* Ports of servers that some clause compares with: slot << 16 | port. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, struct vector);
} ports SEC(".maps");

/* Networks of servers that some clause compares with. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address_key);
	__type(value, struct vector);
} addresses SEC(".maps");

#define MAX_PROCESSES 65536

/* By process id, written by user space; a process without an entry is not filtered by what it is. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROCESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, struct process_entry);
} processes SEC(".maps");

/* The time of the last exec of each process that did one, so that an entry made for another image is known for one. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROCESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, u64);
} images SEC(".maps");

/* First components of the paths that clauses name, with the clauses that they leave open. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct top_key);
	__type(value, struct top_entry);
} tops SEC(".maps");

/* Last components that some clause names. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct name_key);
	__type(value, struct vector);
} names SEC(".maps");

struct control control;

static __always_inline struct counters *cpu_counters(void)
{
	return &control.cpu[bpf_get_smp_processor_id() & (MAX_CPUS - 1)];
}

static __always_inline void count_error(enum error_place place)
{
	cpu_counters()->errors[place & 7]++;
}

static __always_inline struct record *record_scratch(void)
{
	u32 zero = 0;
	struct record *r = bpf_map_lookup_elem(&records, &zero);

	if (!r)
		count_error(ERROR_SCRATCH);
	return r;
}

static __always_inline struct path_buf *path_scratch(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&path_bufs, &zero);
}

#endif
