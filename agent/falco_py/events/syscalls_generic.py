# SPDX-License-Identifier: Apache-2.0
"""Rows of the calls of which Falco knows only the name, and names of events that never happen here.

Invariant: a generic row has no parameters, no fd and no result. What Falco's table gives such events is known by name,
so that a rule on it loads, and is missing; but for ID, which is the name of the call.
"""

from __future__ import annotations

# Falco's generic events, those of other machines included: a rule may name them.
_GENERIC = """
syscall restart_syscall exit time getpid sync times acct umask ustat getppid getpgrp sethostname getrusage
gettimeofday settimeofday readlink swapon reboot truncate ftruncate getpriority setpriority statfs fstatfs
setitimer getitimer uname vhangup wait4 swapoff sysinfo fsync setdomainname adjtimex getpgid sysfs personality
msync getsid fdatasync sched_setscheduler sched_getscheduler sched_yield sched_get_priority_max
sched_get_priority_min sched_rr_get_interval mremap arch_prctl rt_sigaction rt_sigprocmask rt_sigpending
rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend capget getgroups setgroups setfsuid setfsgid pivot_root mincore
madvise gettid setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr
removexattr lremovexattr fremovexattr sched_setaffinity sched_getaffinity set_thread_area get_thread_area
io_setup io_destroy io_getevents io_submit io_cancel exit_group remap_file_pages set_tid_address timer_create
timer_settime timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime clock_getres
clock_nanosleep utimes mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr kexec_load waitid
add_key request_key ioprio_set ioprio_get inotify_add_watch inotify_rm_watch futimesat readlinkat faccessat
set_robust_list get_robust_list tee vmsplice getcpu epoll_pwait utimensat timerfd_settime timerfd_gettime
rt_tgsigqueueinfo perf_event_open fanotify_init clock_adjtime syncfs msgsnd msgrcv msgget msgctl shmdt shmget
shmctl statfs64 fstatfs64 fstatat64 bdflush sigprocmask ipc _newselect sgetmask ssetmask sigpending olduname
signal nice stime waitpid shmat rt_sigreturn fallocate sigaltstack getrandom fadvise64 socketcall fspick fsmount
fsopen open_tree move_mount mount_setattr memfd_secret ioperm kexec_file_load pidfd_send_signal pkey_alloc
pkey_mprotect pkey_free landlock_create_ruleset quotactl_fd landlock_restrict_self landlock_add_rule
epoll_pwait2 migrate_pages move_pages preadv2 pwritev2 query_module statx set_mempolicy fanotify_mark
sync_file_range readahead process_mrelease mbind process_madvise membarrier modify_ldt semtimedop
name_to_handle_at kcmp epoll_ctl_old epoll_wait_old futex_waitv create_module _sysctl lookup_dcookie iopl
io_pgetevents getpmsg sched_setattr get_kernel_syms rseq get_mempolicy sched_getattr nfsservctl
set_mempolicy_home_node faccessat2 epoll_ctl sched_getparam pselect6 sched_setparam pause utime syslog uselib
alarm timerfd s390_pci_mmio_read sigaction s390_pci_mmio_write readdir s390_sthyi sigsuspend idle
s390_runtime_instr sigreturn s390_guarded_storage cachestat fchmodat2 map_shadow_stack riscv_flush_icache
riscv_hwprobe futex_wake futex_requeue futex_wait oldolduname subpage_prot pciconfig_iobase oldstat
switch_endian multiplexer oldlstat spu_create sync_file_range2 oldfstat spu_run swapcontext pciconfig_write rtas
pciconfig_read sys_debug_setcontext vm86 lsm_set_self_attr lsm_list_modules listmount statmount
lsm_get_self_attr mseal uretprobe listxattrat getxattrat setxattrat removexattrat open_tree_attr file_getattr
file_setattr listns uprobe rseq_slice_yield
"""
GENERIC = tuple(_GENERIC.split())

# Events that Falco makes from other sources than calls and process ends; known names, so that a rule on them loads.
_NEVER = """
asyncevent container cpu_hotplug drop groupadded groupdeleted infra notification page_fault pluginevent procinfo
scapevent signaldeliver switch task task_file_anon_inode task_file_directory task_file_memfd task_file_pipe
task_file_regular task_file_socket_inet task_file_socket_inet6 task_file_socket_netlink task_file_socket_unix
useradded userdeleted
"""
NEVER = frozenset(_NEVER.split())

# Parameters that only these and generic events have, each with its type.
_UNREAD = """
nativeID UINT16 action UINT32 argv CHARBUFARRAY container_id CHARBUF cpu UINT32 cpu_sys UINT64 cpu_usr UINT64
desc CHARBUF description CHARBUF dpid PID error FLAGS32 event_data BYTEBUF event_type UINT32 exe_ino_num UINT64
exepath FSPATH fd_type FLAGS8 home CHARBUF ino_num UINT64 ip UINT64 json CHARBUF local_ip CHARBUF local_port PORT
mnt_id UINT32 next PID plugin_id UINT32 ppid PID ratio UINT32 remote_ip CHARBUF remote_port PORT root FSPATH
scope CHARBUF shell CHARBUF sid PID sk_pointer UINT64 sk_proto UINT16 sk_type UINT16 spid PID start_time ABSTIME
sun_path FSPATH vtgid PID
"""
UNREAD = dict(zip(_UNREAD.split()[::2], _UNREAD.split()[1::2], strict=True))
