// SPDX-License-Identifier: GPL-2.0
/*
 * hostcount FILE: runs in L1 beside a VM. Counts the instructions of CPU 0 that are the host's
 * (exclude_guest), creates FILE, waits for SIGTERM, and writes the line
 *
 *	USER KERNEL ENABLED RUNNING
 *
 * into FILE: instructions, and the kernel event's times in ns. Sets the emulator's mark 1 where it
 * begins to count and mark 2 where it ends, so that check_marks.py can compare. It has a real-time priority: were it
 * preempted between a mark and its events, others would be in the window that are not in the count.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MARK_PORT	0x510

struct reading {
	uint64_t count;
	uint64_t enabled;
	uint64_t running;
};

static int event(int user)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
		.disabled = 1,
		.exclude_guest = 1,
		.exclude_kernel = user,
		.exclude_user = !user,
	};
	int fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0) {
		perror("hostcount: perf_event_open");
		exit(1);
	}
	return fd;
}

static void mark(int port, unsigned char id)
{
	if (pwrite(port, &id, 1, MARK_PORT) != 1) {
		perror("hostcount: /dev/port");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	const struct sched_param priority = { .sched_priority = 1 };
	struct reading user, kernel;
	char tmp[4096];
	sigset_t set;
	int fds[2];
	FILE *f;
	int port, sig;

	if (argc != 2) {
		fprintf(stderr, "usage: hostcount FILE\n");
		return 2;
	}
	if (sched_setscheduler(0, SCHED_FIFO, &priority)) {
		perror("hostcount: SCHED_FIFO");
		return 1;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);

	port = open("/dev/port", O_WRONLY);
	fds[0] = event(1);
	fds[1] = event(0);
	f = fopen(argv[1], "w");
	if (!f || fclose(f)) {
		perror(argv[1]);
		return 1;
	}
	mark(port, 1);
	ioctl(fds[0], PERF_EVENT_IOC_ENABLE, 0);
	ioctl(fds[1], PERF_EVENT_IOC_ENABLE, 0);
	sigwait(&set, &sig);
	ioctl(fds[1], PERF_EVENT_IOC_DISABLE, 0);
	ioctl(fds[0], PERF_EVENT_IOC_DISABLE, 0);
	mark(port, 2);

	if (read(fds[0], &user, sizeof(user)) != sizeof(user) || read(fds[1], &kernel, sizeof(kernel)) != sizeof(kernel)) {
		perror("hostcount: reading the events");
		return 1;
	}
	snprintf(tmp, sizeof(tmp), "%s.tmp", argv[1]);
	f = fopen(tmp, "w");
	if (!f || fprintf(f, "%llu %llu %llu %llu\n", (unsigned long long)user.count, (unsigned long long)kernel.count,
			  (unsigned long long)kernel.enabled, (unsigned long long)kernel.running) < 0 ||
	    fclose(f) || rename(tmp, argv[1])) {
		perror(tmp);
		return 1;
	}
	return 0;
}
