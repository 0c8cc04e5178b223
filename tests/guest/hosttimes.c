// SPDX-License-Identifier: GPL-2.0
/*
 * hosttimes KIND FILE PID CGROUP: runs in L1 beside a guest that computes all the time. Opens
 * events of the host that leave guests out (exclude_guest), creates FILE, waits for SIGTERM, and
 * writes into FILE how it went: "ok", or what is wrong.
 *
 * While the guest owns the PMU such an event is not enabled, as it were: its enabled time is less
 * than that of a software event, and it is running whenever it is enabled. Otherwise perf would
 * scale an exact count up.
 *
 * KIND:
 *	cpu		an event of CPU 0
 *	pinned		the same, pinned
 *	software-leader	a group of CPU 0 led by a software event that says nothing about guests
 *	hardware-leader	a group of CPU 0 in which such an event is a member
 *	cgroup		of CPU 0 in CGROUP, which is where the guest runs
 *	thread		of each thread of PID, which runs the guest
 *	turns		more events of CPU 0 than there are counters
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_EVENTS	32

struct reading {
	uint64_t nr;	/* of a member of a group: its count */
	uint64_t enabled;
	uint64_t running;
	uint64_t counts[4];
};

static int events[MAX_EVENTS];		/* under test */
static int refs[MAX_EVENTS];		/* software events beside them */
static int nr_events, nr_refs;

static void die(const char *what)
{
	fprintf(stderr, "hosttimes: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int event(uint32_t type, uint64_t config, pid_t pid, int cpu, int group, bool exclude_guest, bool pinned,
		 unsigned long flags)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = type,
		.config = config,
		/* Of a leader the whole group; it tells the leader's times. */
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING |
			       (group < 0 ? PERF_FORMAT_GROUP : 0),
		.exclude_guest = exclude_guest,
		.pinned = pinned,
	};
	int fd = syscall(SYS_perf_event_open, &attr, pid, cpu, group, PERF_FLAG_FD_CLOEXEC | flags);

	if (fd < 0)
		die("perf_event_open");
	return fd;
}

static int hardware(pid_t pid, int cpu, int group, bool pinned, unsigned long flags)
{
	return event(PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, pid, cpu, group, true, pinned, flags);
}

static int software(pid_t pid, int cpu, int group, unsigned long flags)
{
	return event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, pid, cpu, group, false, false, flags);
}

static void add_threads(const char *pid)
{
	char name[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(name, sizeof(name), "/proc/%s/task", pid);
	dir = opendir(name);
	if (!dir)
		die(name);
	while ((entry = readdir(dir)) && nr_events < MAX_EVENTS) {
		int tid = atoi(entry->d_name);

		if (!tid)
			continue;
		refs[nr_refs++] = software(tid, -1, -1, 0);
		events[nr_events++] = hardware(tid, -1, -1, false, 0);
	}
	closedir(dir);
}

static void add(const char *kind, const char *pid, const char *cgroup)
{
	int dir, i;

	if (!strcmp(kind, "thread")) {
		add_threads(pid);
		return;
	}
	if (!strcmp(kind, "cgroup")) {
		dir = open(cgroup, O_RDONLY | O_DIRECTORY);
		if (dir < 0)
			die(cgroup);
		refs[nr_refs++] = software(dir, 0, -1, PERF_FLAG_PID_CGROUP);
		events[nr_events++] = hardware(dir, 0, -1, false, PERF_FLAG_PID_CGROUP);
		return;
	}

	refs[nr_refs++] = software(-1, 0, -1, 0);
	if (!strcmp(kind, "software-leader")) {
		events[nr_events++] = software(-1, 0, -1, 0);
		hardware(-1, 0, events[0], false, 0);
	} else if (!strcmp(kind, "hardware-leader")) {
		events[nr_events++] = hardware(-1, 0, -1, false, 0);
		events[nr_events++] = software(-1, 0, events[0], 0);
	} else if (!strcmp(kind, "turns")) {
		for (i = 0; i < 20; i++)
			events[nr_events++] = hardware(-1, 0, -1, false, 0);
	} else if (!strcmp(kind, "pinned") || !strcmp(kind, "cpu")) {
		events[nr_events++] = hardware(-1, 0, -1, kind[0] == 'p', 0);
	} else {
		errno = EINVAL;
		die(kind);
	}
}

static struct reading reading(int fd)
{
	struct reading r = {};

	/* Nothing comes from an event that is in an error. */
	if (read(fd, &r, sizeof(r)) < 0)
		die("reading an event");
	return r;
}

static void judge(const char *kind, FILE *out)
{
	uint64_t enabled = 0, running = 0, all = 0;
	struct reading r;
	int i;

	for (i = 0; i < nr_events; i++) {
		r = reading(events[i]);
		enabled += r.enabled;
		running += r.running;
		if (!strcmp(kind, "turns") ? !r.running : r.running != r.enabled) {
			fprintf(out, "event %d of %d: enabled %llu ns, running %llu ns\n", i, nr_events,
				(unsigned long long)r.enabled, (unsigned long long)r.running);
			return;
		}
	}
	for (i = 0; i < nr_refs; i++)
		all += reading(refs[i]).enabled;
	all = all * nr_events / nr_refs;
	printf("# host, %s: enabled %llu ns, running %llu ns, in all %llu ns\n", kind, (unsigned long long)enabled,
	       (unsigned long long)running, (unsigned long long)all);
	/* Not before the reference was read: its time is the later. */
	if (!running || enabled > all - all / 5)
		fprintf(out, "enabled %llu ns, running %llu ns of %llu ns\n", (unsigned long long)enabled,
			(unsigned long long)running, (unsigned long long)all);
	else
		fprintf(out, "ok\n");
}

int main(int argc, char **argv)
{
	char tmp[4096];
	sigset_t set;
	FILE *f;
	int sig;

	if (argc != 5) {
		fprintf(stderr, "usage: hosttimes KIND FILE PID CGROUP\n");
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);

	add(argv[1], argv[3], argv[4]);
	f = fopen(argv[2], "w");
	if (!f || fclose(f))
		die(argv[2]);
	sigwait(&set, &sig);

	snprintf(tmp, sizeof(tmp), "%s.tmp", argv[2]);
	f = fopen(tmp, "w");
	if (!f)
		die(tmp);
	judge(argv[1], f);
	if (fclose(f) || rename(tmp, argv[2]))
		die(tmp);
	return 0;
}
