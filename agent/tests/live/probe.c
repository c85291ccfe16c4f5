/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * One program that does what an attack does, and nothing worse: `probe ACTION ARGUMENTS... [MARKER]`.
 *
 * It is linked statically, so that it runs in a container without libraries, and is copied or linked under other
 * names where the name matters. A word that an action does not use (the marker) is only there to show in the
 * command line. Exit code: 0 done, 1 the system said no, 2 wrong usage.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANY_PORT 0

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

/* A connection to a listener of our own; the peer is in the backlog and never accepted. */
static int connection(const char *address, int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	socklen_t size = sizeof(at);
	int one = 1, listener, client;

	inet_pton(AF_INET, address, &at.sin_addr);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&at, &size))
		return -1;
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(client, (struct sockaddr *)&at, size))
		return -1;
	return client;
}

static int do_connect(const char *address, const char *port)
{
	return connection(address, atoi(port)) < 0 ? fail("connect") : 0;
}

/* The connection becomes descriptor `target`. */
static int do_redirect(const char *target)
{
	int client = connection("127.0.0.1", ANY_PORT);

	return client < 0 || dup2(client, atoi(target)) < 0 ? fail("redirect") : 0;
}

/* A file becomes descriptor 0. */
static int do_redirect_file(const char *path)
{
	int file = open(path, O_RDONLY);

	return file < 0 || dup2(file, STDIN_FILENO) < 0 ? fail("redirect-file") : 0;
}

static int do_socket(const char *kind)
{
	int fd;

	if (!strcmp(kind, "packet"))
		fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	else
		fd = socket(AF_INET, SOCK_DGRAM, 0);
	return fd < 0 ? fail("socket") : 0;
}

/* Not a module, so the kernel refuses it whatever rights we have. */
static int do_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return fail("open");
	if (!syscall(SYS_finit_module, fd, "", 0))
		return 2;
	printf("%d\n", errno);
	return 0;
}

static int do_attach(void)
{
	pid_t child = fork();

	if (child == 0) {
		for (;;)
			pause();
	}
	if (ptrace(PTRACE_ATTACH, child, NULL, NULL)) {
		kill(child, SIGKILL);
		return fail("ptrace");
	}
	waitpid(child, NULL, 0);
	ptrace(PTRACE_DETACH, child, NULL, NULL);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}

static int do_traceme(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) ? fail("traceme") : 0;
}

/* Run a copy of this program with `action`, out of memory (`path` NULL) or out of the file `path`. */
static int run_copy(const char *path, char *action, char *marker)
{
	char *arguments[] = { "copy", action, marker, NULL };
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int copy = path ? open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0755) : memfd_create("copy", MFD_CLOEXEC);
	struct stat size;
	off_t done = 0;

	if (self < 0 || copy < 0 || fstat(self, &size))
		return fail("copy");
	while (done < size.st_size) {
		if (sendfile(copy, self, &done, size.st_size - done) <= 0)
			return fail("sendfile");
	}
	if (path) { /* a file that is open for writing does not run */
		close(copy);
		copy = open(path, O_RDONLY | O_CLOEXEC);
	}
	fexecve(copy, arguments, environ);
	return fail("fexecve");
}

static int do_spawn(char **command)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		execv(command[0], command);
		_exit(127);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int do_spawn_as(const char *uid, char **command)
{
	if (setgid(atoi(uid)) || setuid(atoi(uid)))
		return fail("setuid");
	return do_spawn(command);
}

static int do_read_late(const char *path, const char *after_ms)
{
	long ms = atol(after_ms);
	struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&pause, NULL);
	return open(path, O_RDONLY | O_CLOEXEC) < 0 ? fail("open") : 0;
}

/* `count` times an open and a close of one file. */
static int do_flood(const char *path, const char *count)
{
	long left = atol(count);

	while (left-- > 0) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return fail("open");
		close(fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *action = argc > 1 ? argv[1] : "";
	int left = argc - 2;

	if (!strcmp(action, "nothing"))
		return 0;
	if (!strcmp(action, "connect") && left >= 2)
		return do_connect(argv[2], argv[3]);
	if (!strcmp(action, "redirect") && left >= 1)
		return do_redirect(argv[2]);
	if (!strcmp(action, "redirect-file") && left >= 1)
		return do_redirect_file(argv[2]);
	if (!strcmp(action, "socket") && left >= 1)
		return do_socket(argv[2]);
	if (!strcmp(action, "module") && left >= 1)
		return do_module(argv[2]);
	if (!strcmp(action, "attach"))
		return do_attach();
	if (!strcmp(action, "traceme"))
		return do_traceme();
	if (!strcmp(action, "memory") && left >= 1)
		return run_copy(NULL, "nothing", argv[2]);
	if (!strcmp(action, "file") && left >= 2)
		return run_copy(argv[2], "nothing", argv[3]);
	if (!strcmp(action, "spawn") && left >= 1)
		return do_spawn(argv + 2);
	if (!strcmp(action, "spawn-as") && left >= 2)
		return do_spawn_as(argv[2], argv + 3);
	if (!strcmp(action, "read-late") && left >= 2)
		return do_read_late(argv[2], argv[3]);
	if (!strcmp(action, "flood") && left >= 2)
		return do_flood(argv[2], argv[3]);
	fprintf(stderr, "usage: probe ACTION ARGUMENTS...\n");
	return 2;
}
