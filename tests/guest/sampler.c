// SPDX-License-Identifier: GPL-2.0
/*
 * sampler ITERATIONS PERIOD [call|tsc]
 *
 * Runs a loop of 2 instructions per iteration twice: alone, then sampled by an event that
 * interrupts after each PERIOD user instructions. Prints
 *
 *	sampler: count INSTRUCTIONS samples N lost N
 *
 * and with "call", for each of the two runs, what changed in the host's numbers meanwhile
 * (see "l2 -h"):
 *
 *	sampler: alone A B ... sampled A B ...
 *
 * or with "tsc" the ticks of the TSC that they took:
 *
 *	sampler: ticks ALONE SAMPLED
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>
#include <x86intrin.h>

#define PAGES	1024		/* of the ring buffer: 4 MiB, far more than any test fills */
#define NUMBERS	2

static void fail(const char *what)
{
	fprintf(stderr, "sampler: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void ask_host(long long numbers[NUMBERS])
{
	char line[256];

	printf("vpmu: call stats\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin) || sscanf(line, "%lld %lld", &numbers[0], &numbers[1]) != NUMBERS) {
		fprintf(stderr, "sampler: the host does not answer\n");
		exit(1);
	}
}

static void loop(unsigned long n)
{
	asm volatile("1: dec %0; jnz 1b" : "+r"(n) : : "cc");
}

/* Returns the ticks of the TSC that the loop took. */
static uint64_t counted_loop(unsigned long n, int fd, bool call, long long delta[NUMBERS])
{
	long long before[NUMBERS], after[NUMBERS];
	uint64_t ticks;

	if (call)
		ask_host(before);
	if (fd >= 0 && ioctl(fd, PERF_EVENT_IOC_ENABLE, 0))
		fail("enabling the event");
	ticks = __rdtsc();
	loop(n);
	ticks = __rdtsc() - ticks;
	if (fd >= 0 && ioctl(fd, PERF_EVENT_IOC_DISABLE, 0))
		fail("disabling the event");
	if (!call)
		return ticks;
	ask_host(after);
	for (int i = 0; i < NUMBERS; i++)
		delta[i] = after[i] - before[i];
	return ticks;
}

int main(int argc, char **argv)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_PERIOD,
		.disabled = 1,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};
	unsigned long iterations = argc > 1 ? strtoul(argv[1], NULL, 0) : 0;
	long long alone[NUMBERS], sampled[NUMBERS];
	bool call = argc > 3 && !strcmp(argv[3], "call");
	bool tsc = argc > 3 && !strcmp(argv[3], "tsc");
	struct perf_event_mmap_page *page;
	uint64_t at, samples = 0, lost = 0, ticks_alone, ticks_sampled;
	struct termios tty;
	uint64_t count;
	char *data;
	int fd;

	attr.sample_period = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	if (!iterations || !attr.sample_period) {
		fprintf(stderr, "usage: sampler ITERATIONS PERIOD [call|tsc]\n");
		return 2;
	}
	if (call && !tcgetattr(0, &tty)) {
		tty.c_lflag &= ~ECHO;
		tcsetattr(0, TCSANOW, &tty);
	}
	fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		fail("perf_event_open");
	page = mmap(NULL, (PAGES + 1) * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		fail("mapping the ring buffer");
	data = (char *)page + 4096;

	ticks_alone = counted_loop(iterations, -1, call, alone);
	ticks_sampled = counted_loop(iterations, fd, call, sampled);

	if (read(fd, &count, sizeof(count)) != sizeof(count))
		fail("reading the event");
	for (at = 0; at < page->data_head; ) {
		struct perf_event_header *header = (void *)(data + at % (PAGES * 4096));

		if (header->type == PERF_RECORD_SAMPLE)
			samples++;
		else if (header->type == PERF_RECORD_LOST)
			lost++;
		at += header->size;
	}
	printf("sampler: count %llu samples %llu lost %llu\n", (unsigned long long)count, (unsigned long long)samples,
	       (unsigned long long)lost);
	if (call)
		printf("sampler: alone %lld %lld sampled %lld %lld\n", alone[0], alone[1], sampled[0], sampled[1]);
	if (tsc)
		printf("sampler: ticks %llu %llu\n", (unsigned long long)ticks_alone, (unsigned long long)ticks_sampled);
	return 0;
}
