/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops of system calls on one CPU: `loops NAME COUNT PATH [INTERVAL_NS]` prints nanoseconds for each turn.
 *
 * One turn in twenty more goes before the count. With an interval there is none of these, and a turn begins at most every so often; a turn that is late is made up for. Ends when whoever started
 * it has ended.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000L

static const char *path;
static const char *name;
static int directory = -1;
static int file = -1;
static int listener = -1;
static struct sockaddr_in address;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void do_getppid(void)
{
	syscall(SYS_getppid);
}

static void do_open(void)
{
	close_if_open(open(path, O_RDONLY));
}

static void do_openat(void)
{
	close_if_open(openat(directory, name, O_RDONLY));
}

static void do_read(void)
{
	char byte;

	if (read(file, &byte, 1) == 0)
		lseek(file, 0, SEEK_SET);
}

static void do_stat(void)
{
	struct stat st;

	stat(path, &st);
}

/* A reset instead of an orderly end leaves no socket behind that would wait for its time to pass. */
static void reset(int fd)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void do_connect(void)
{
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int server;

	if (connect(client, (struct sockaddr *)&address, sizeof(address)))
		fail("connect");
	server = accept(listener, NULL, NULL);
	reset(client);
	close(server);
}

static void do_exec(void)
{
	pid_t child = vfork();

	if (child == 0) {
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	if (child < 0)
		fail("vfork");
	waitpid(child, NULL, 0);
}

/* A network of its own, so that neither the machine's ports nor its firewall play a part. */
static void prepare_connect(void)
{
	struct ifreq loopback = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	socklen_t size = sizeof(address);

	if (unshare(CLONE_NEWNET))
		fail("unshare");
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ioctl(listener, SIOCSIFFLAGS, &loopback))
		fail("lo");
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)&address, &size))
		fail("listen");
}

static void prepare_openat(void)
{
	char *copy = strdup(path);
	char *slash = strrchr(copy, '/');

	if (!slash)
		exit(1);
	*slash = 0;
	directory = open(copy, O_PATH | O_DIRECTORY);
	name = slash + 1;
	if (directory < 0)
		fail(copy);
}

static void prepare_read(void)
{
	file = open(path, O_RDONLY);
	if (file < 0)
		fail(path);
}

static const struct {
	const char *name;
	void (*turn)(void);
	void (*prepare)(void);
} loops[] = {
	{ "getppid", do_getppid, NULL },
	{ "open", do_open, NULL },
	{ "openat", do_openat, prepare_openat },
	{ "read", do_read, prepare_read },
	{ "stat", do_stat, NULL },
	{ "connect", do_connect, prepare_connect },
	{ "exec", do_exec, NULL },
};

static long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static void sleep_until(long ns)
{
	struct timespec until = { .tv_sec = ns / SECOND_NS, .tv_nsec = ns % SECOND_NS };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

int main(int argc, char **argv)
{
	void (*turn)(void) = NULL;
	long count, interval, from;
	cpu_set_t one;

	if (argc < 4)
		return 1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	count = atol(argv[2]);
	path = argv[3];
	interval = argc > 4 ? atol(argv[4]) : 0;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
		if (strcmp(argv[1], loops[i].name))
			continue;
		turn = loops[i].turn;
		if (loops[i].prepare)
			loops[i].prepare();
	}
	if (!turn)
		return 1;
	for (long i = 0; !interval && i < count / 20; i++)
		turn();
	from = now_ns();
	for (long i = 0; i < count; i++) {
		if (interval)
			sleep_until(from + i * interval);
		turn();
	}
	printf("%.1f\n", (double)(now_ns() - from) / count);
	return 0;
}
