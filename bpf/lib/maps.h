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

/* A table whose entries take memory only once they are there. */
#define GROWING(kind, entries, key_type, value_type) \
	__uint(type, kind);                          \
	__uint(max_entries, entries);                \
	__uint(map_flags, BPF_F_NO_PREALLOC);        \
	__type(key, key_type);                       \
	__type(value, value_type)

/* Paths and prefixes that some clause names. Each entry holds what its shorter prefixes give, too. */
struct {
	GROWING(BPF_MAP_TYPE_LPM_TRIE, 65536, struct trie_key, struct vector);
} paths SEC(".maps");

/* Threads' names that some clause compares with, and those that were learnt. */
struct {
	GROWING(BPF_MAP_TYPE_HASH, 16384, struct comm_key, struct vector);
} comms SEC(".maps");

/* Values of arguments: slot << 31 | row << 8 | value. */
struct {
	GROWING(BPF_MAP_TYPE_HASH, 16384, u32, struct vector);
} values SEC(".maps");

/* Ports of servers that some clause compares with: slot << 16 | port. */
struct {
	GROWING(BPF_MAP_TYPE_HASH, 16384, u32, struct vector);
} ports SEC(".maps");

/* Networks of servers that some clause compares with. */
struct {
	GROWING(BPF_MAP_TYPE_LPM_TRIE, 16384, struct address_key, struct vector);
} addresses SEC(".maps");

#define MAX_PROCESSES 65536

/* By process id, written by user space; a process without an entry is not filtered by what it is. */
struct {
	GROWING(BPF_MAP_TYPE_HASH, MAX_PROCESSES, u32, struct process_entry);
} processes SEC(".maps");

/* First components of the paths that clauses name, with the clauses that they leave open. */
struct {
	GROWING(BPF_MAP_TYPE_HASH, 8192, struct top_key, struct top_entry);
} tops SEC(".maps");

/* Last components that some clause names. */
struct {
	GROWING(BPF_MAP_TYPE_HASH, 16384, struct name_key, struct vector);
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
