// SPDX-License-Identifier: GPL-2.0
/* openevent: opens an event that counts guests, too, and says how that went: "ok" or the error's name. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_INSTRUCTIONS,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);

	puts(fd >= 0 ? "ok" : strerrorname_np(errno));
	return 0;
}
