// SPDX-License-Identifier: GPL-2.0
/*
 * openevent [cpu]: opens an event that counts guests, too, of its own task or of CPU 0, and says how that went: "ok" or
 * the error's name.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_INSTRUCTIONS,
	};
	bool cpu = argc > 1 && !strcmp(argv[1], "cpu");
	int fd = syscall(SYS_perf_event_open, &attr, cpu ? -1 : 0, cpu ? 0 : -1, -1, 0);

	puts(fd >= 0 ? "ok" : strerrorname_np(errno));
	return 0;
}
