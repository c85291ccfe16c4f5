/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#ifndef FALCO_PY_TYPES_H
#define FALCO_PY_TYPES_H

/*
 * What goes through the rings and the tables that user space fills. agent/falco_py/events/record.py and
 * agent/falco_py/kernel/tables.py hold the same layout; a test compares the two.
 */

#include "kernel.h"

#define MAX_CPUS     512
#define MAX_SYSCALLS 1024 /* rows of 64-bit calls; those of 32-bit calls follow */
#define MAX_OPS	     12
#define X32_BIT	     0x40000000

enum record_kind {
	KIND_SYSCALL,
	KIND_EXEC,
	KIND_FORK,
	KIND_EXIT,
	KIND_STATE,
};

enum record_flag {
	FLAG_COMPAT = 1,
	FLAG_CUT = 2,
};

enum item_tag {
	ITEM_VALUE = 1,
	ITEM_STRING,
	ITEM_PATH,
	ITEM_DATA,
	ITEM_SOCKADDR,
	ITEM_FD,
	ITEM_DIR,
	ITEM_NULL,
	ITEM_FACTS,
	ITEM_LEFT, /* the clauses on whose account a call is told: see struct left */
};

#define ITEM_CUT 1

struct header {
	u32 len; /* of the whole record */
	u16 kind;
	u16 flags;
	u64 ts;
	s64 ret;
	u32 nr;
	u32 cpu;
	u32 pid;
	u32 tid;
	u32 ppid;
	u32 uid;
	u32 gid;
	u32 vpid;
	u32 vtid;
	u32 mntns;
	u64 start;
	u64 pstart;
	u64 cgroup;
	char comm[16];
	u64 cap_effective;
	u64 cap_permitted;
	u64 cap_inheritable;
	u64 exec_id; /* how many execs led to the image: task_struct.self_exec_id */
};

struct item {
	u16 size;
	u8 tag;
	u8 flags;
};

enum op_code {
	OP_NONE,
	OP_VALUE,
	OP_STRING,
	OP_PATH,
	OP_DATA,
	OP_SOCKADDR,
	OP_MEMORY,
	OP_MSGNAME,
	OP_IOVEC,
};

#define OPERAND_CWD    255
#define OPERAND_RESULT 255
#define FD_NONE	       254

struct op {
	u8 op;
	u8 arg;
	u8 a;
	u8 b;
};

enum row_flag {
	ROW_EXEC = 1, /* success is told by sched_process_exec */
	ROW_CHDIR = 2,
	ROW_PRCTL = 4,
	ROW_OPEN = 8,	  /* filtered by path */
	ROW_CONNECT = 16, /* the server is at the other end */
	ROW_ACCEPT = 32,  /* the server is at this end */
};

#define VALUE_BITS 8
#define NO_BIT	   255

struct row {
	u8 nops;
	u8 fd;	  /* argument index, OPERAND_RESULT or FD_NONE */
	u8 class; /* drop counter */
	u8 flags;
	u8 path_arg; /* of an open: the argument that holds the name, and that of the directory or OPERAND_CWD */
	u8 dir_arg;
	u8 flags_arg; /* of an open: the argument that holds the flags, or OPEN_UNKNOWN, or OPEN_CREAT */
	u8 value_arg; /* the argument that is looked up by value, or VALUE_NONE */
	struct op ops[MAX_OPS];
	u8 value_bits
		[VALUE_BITS]; /* numbers of the bits of flags that are looked up together, or NO_BIT */
};

/* bits of wanted[nr] */
#define WANTED_64 1
#define WANTED_32 2
#define STATE_64  4
#define STATE_32  8

enum fd_flag {
	FD_SOCK = 1,
	FD_CUT = 2,
	FD_DELETED = 4,
	FD_DETACHED = 8,
	FD_FILE = 16,
};

enum layer {
	LAYER_NONE,
	LAYER_UPPER,
	LAYER_LOWER,
};

struct fd_facts {
	s32 num;
	u16 mode;
	u8 layer;
	u8 flags;
	u32 dev;
	u32 magic;
	u64 ino;
	u32 file_flags;
	u32 file_mode;
};

struct sock_facts {
	u16 family;
	u16 type;
	u16 protocol;
	u8 state;
	u8 path_len;
	u16 local_port;	 /* host order */
	u16 remote_port; /* network order */
	u32 pad;
	u8 local[16];
	u8 remote[16];
	u64 ptr;
	u64 peer;
	char path[108];
	u32 pad2;
};

/* EXE_* are Falco's execve_flags */
enum exe_flag {
	EXE_WRITABLE = 1,
	EXE_UPPER_LAYER = 2,
	EXE_FROM_MEMFD = 4,
	EXE_LOWER_LAYER = 8,
};

struct exec_facts {
	u32 at;
	u32 exe_flags;
	u32 loginuid;
	u32 sessionid;
	u32 ruid;
	u32 rgid;
	u32 euid;
	u32 egid;
	u32 suid;
	u32 fsuid;
	u32 tty;
	s32 sid;
	s32 pgid;
	s32 vpgid;
	u32 pidns;
	u32 exe_dev;
	u64 pidns_start;
	u64 exe_ino;
	u64 exe_ctime;
	u64 exe_mtime;
	u64 vm_size_pages;
	u64 vm_rss_pages;
	u64 vm_swap_pages;
	u64 pgft_maj;
	u64 pgft_min;
	u64 fdlimit;
};

struct fork_facts {
	u32 pid;
	u32 vpid;
	u32 ppid;
	u32 pidns;
	u64 start;
	u64 pstart;
	u64 cgroup;
	char comm[16];
};

struct exit_facts {
	u32 status;
	u32 reaper;
};

#define PATH_BYTES  4096  /* PATH_MAX */
#define RECORD_DATA 16384 /* start of the last item at the latest */
#define ITEM_BYTES  4096
#define ARGS	    8 /* six, and a power of two for the verifier */

/* One record being written. Items are appended at `len`; the room behind RECORD_DATA takes the last one. */
struct record {
	struct header h;
	u8 data[RECORD_DATA + ITEM_BYTES + 64];
	u64 args[ARGS];
	u32 len;
	u32 compat;
};

/* A set of clauses, see below. */
#define VECTOR_WORDS 8 /* 512 clauses */

struct vector {
	u64 w[VECTOR_WORDS];
};

/* As a record ends: the set of rules that the numbers are of, and the clauses that were left, as far as there are any. */
struct left {
	u64 generation;
	struct vector clauses;
};

/* The first component of a path; longer ones are not decided. */
#define TOP_BYTES 32

/* `left`: the clauses that paths with this first component can meet; `placed`: those of them that name whole paths or prefixes. */
struct top_entry {
	struct vector left;
	struct vector placed;
};

struct top_key {
	char name[TOP_BYTES];
	u32 slot;
};

/* Where a walk from a dentry up to the root stands, and the mount that it is in. */
struct walk {
	u64 dentry;
	u64 vfsmount;
	u64 root_dentry;
	u64 root_mount;
	u64 mount;
	u64 parent_mount;
	u64 mountpoint;
	u64 mount_root;
};

/*
 * Paths grow from PATH_BYTES down to `off`; the second half takes a name before its length is known. `off`, `walk` and what is
 * known of a passed path lie in the map, volatile so that the compiler keeps them there: the verifier knows nothing of them, and
 * one turn of a loop looks like the next.
 */
struct path_buf {
	u8 b[2 * PATH_BYTES + 8]; /* the last word may be read whole */
	u32 off;
	volatile u32 last; /* where the last component of the passed path begins */
	volatile u32 end;  /* and where it ends */
	u32 pid;
	u32 generation; /* of the rules that the call in hand is compared with, read once: they may change meanwhile */
	u32 pad;
	u64 task; /* the current one: each call of a helper costs as much as several reads */
	u64 file; /* that an open opened, or 0 */
	u64 base; /* struct path that a relative path starts from, 0 for an absolute one */
	volatile struct walk walk;
	struct top_key top; /* where top_walk() puts what it finds */
	/* Of the call in hand: whether the level took clauses away, which, and whether one of them could hold. */
	u32 shedding;
	u32 lost;
	struct vector shed;
	struct vector open; /* the clauses that can hold yet */
	struct vector hits; /* those that a path or a last component was found for */
};

/*
 * The filter. A clause is a conjunction of conditions on a call; each fact gives the set of clauses whose condition on it can
 * hold, and the AND of the sets is the answer. kernel/pushdown.py makes the sets. Every key holds the number of a slot: a
 * reload fills the idle slot, then `control.generation` moves on and with it all programs.
 */
#define TRIE_KEY_BYTES 256
#define NAME_KEY_BYTES 64
#define SLOTS	       2

/* A slot, then prefixes as they are, whole paths with their NUL. */
struct trie_key {
	u32 bits;
	u8 slot;
	u8 path[TRIE_KEY_BYTES - 1];
};

/* A last component; or how one ends, SUFFIX_BYTES padded with NUL, then a slash, which no name has. */
#define SUFFIX_BYTES 8

struct name_key {
	char name[NAME_KEY_BYTES];
	u32 slot;
};

/* A slot, then an address as IPv6 has it. */
struct address_key {
	u32 bits;
	u8 slot;
	u8 address[16];
	u8 pad[3];
};

struct comm_key {
	char comm[16];
	u32 slot;
};

/*
 * The clauses that are left for a process, by the name of the thread and by what its program, its arguments and its container
 * are. They hold for one image (`start` and `exec_id`), one control group, one name of the thread and one set of rules.
 */
struct process_entry {
	u64 start;
	u64 exec_id;
	u64 cgroup;
	char comm[16];
	u32 generation;
	u32 pad;
	struct vector left;
};

/* Results: 0, 1, 2, greater, each errno, other negative numbers. */
#define EXACT_RESULTS  3
#define ERRNOS	       133
#define RESULT_CLASSES (EXACT_RESULTS + 1 + ERRNOS + 1)

/* How a file is opened: access mode, then bits for O_CREAT, O_TRUNC and O_TMPFILE; or what cannot be told by flags. */
#define OPEN_UNKNOWN 32
#define OPEN_CREAT   33
#define OPEN_CLASSES 34

/* What an fd is, as far as its inode and its socket tell. */
enum fd_kind {
	IS_DIRECTORY,
	IS_PIPE,
	IS_TCP,
	IS_UDP,
	IS_INET,
	IS_TCP6,
	IS_UDP6,
	IS_INET6,
	IS_UNIX,
	IS_NETLINK,
	IS_OTHER,
	FD_KINDS,
};

/* One bit for each beginning that a named last component may have, see name_bit(). */
#define NAME_BITS 4096

/* Numbers of fds that are arguments: 0, 1, 2, and all others. */
#define FD_NUMBERS 4

#define VALUE_NONE 255
#define VALUES	   256

/* Of shedding: at level 0 all rules are asked, at each further one only those that are more severe. */
#define LEVELS	      5
#define FIRST_EIGHTHS 2 /* of the ring that wait: level 1; one more for each further level */

/* One set of rules. `asks_*`: the clauses that ask something of a fact. */
struct slot {
	struct vector any_path;	    /* clauses that hold for any path */
	struct vector named;	    /* clauses that name a last component */
	struct top_entry other_top; /* of a first component that no clause names */
	struct vector asks_task;    /* of the name of the thread or the program */
	struct vector asks_fd;	    /* of its kind or its number */
	struct vector asks_value;
	struct vector asks_port;
	struct vector asks_address;
	struct vector other_comm; /* of a thread with a name that no clause has */
	struct vector other_port;
	struct vector other_address;
	struct vector levels[LEVELS]; /* what is asked at each level of shedding */
	struct vector results[RESULT_CLASSES];
	struct vector opens[OPEN_CLASSES];
	struct vector kinds[FD_KINDS];
	struct vector numbers[FD_NUMBERS];
	u64 name_bits[NAME_BITS / 64];
	u64 suffix_lengths; /* bit n: some clause names an end of n + 1 characters */
	u64 pad[7];
	struct vector rows[2 * MAX_SYSCALLS];
};

/* kernel/tables.py names the classes */
#define CLASS_FORK 0
#define CLASS_EXEC 1
#define CLASS_PROC 6

/* One row a CPU, so that no two CPUs share a cache line. */
#define COUNTER_CLASSES 8
struct counters {
	u64 sent[COUNTER_CLASSES];
	u64 dropped[COUNTER_CLASSES];
	u64 shed[COUNTER_CLASSES];
	u64 errors[8];
};

/*
 * What user space maps (the .bss): `wanted` says for each number which calling conventions some rule, or the process table,
 * needs; `self` is the agent, whose own calls are not told; `level` is how much is shed.
 */
struct control {
	u8 wanted[MAX_SYSCALLS];
	u32 self;
	u32 generation; /* its last bit is the slot in use */
	u32 level;
	u32 steered; /* user space lowers the level */
	u32 pad[12]; /* what follows starts on a cache line, and so does each vector */
	struct counters cpu[MAX_CPUS];
	struct slot slots[SLOTS];
};

enum error_place {
	ERROR_SCRATCH,
	ERROR_NUMBER,
	ERROR_FULL,
	ERROR_FD,
};

#endif
