/* SPDX-License-Identifier: Apache-2.0 */
/* Loops of system calls: `loops NAME COUNT PATH` prints nanoseconds for each turn. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void turn(const char *name, const char *path)
{
	struct stat st;

	if (!strcmp(name, "getppid")) {
		syscall(SYS_getppid);
	} else if (!strcmp(name, "stat")) {
		stat(path, &st);
	} else {
		int fd = open(path, O_RDONLY);

		if (fd >= 0)
			close(fd);
	}
}

int main(int argc, char **argv)
{
	struct timespec from, to;
	cpu_set_t one;
	long count;

	if (argc != 4)
		return 1;
	count = atol(argv[2]);
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (long i = 0; i < count / 20; i++)
		turn(argv[1], argv[3]);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (long i = 0; i < count; i++)
		turn(argv[1], argv[3]);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%.1f\n", ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / count);
	return 0;
}
