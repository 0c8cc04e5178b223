// SPDX-License-Identifier: GPL-2.0-only
/*
 * Has the kernel's driver trace a loop with Intel PT: into a buffer that takes it all, into a small
 * one that somebody reads, which takes interrupts, and into one that nobody reads.  Prints KTAP.
 *
 * The machine puts out 64 bytes for each 1024 instructions, and for each time that it begins anew.
 */
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE	4096
#define BLOCK	64
#define PERIOD	1024

struct tracer {
	int fd;
	struct perf_event_mmap_page *page;
	uint8_t *aux;
	size_t size;
};

static int failed, n;

static void result(bool ok, const char *what)
{
	printf("%sok %d %s\n", ok ? "" : "not ", ++n, what);
	failed |= !ok;
}

static __attribute__((noinline)) void loop(uint64_t turns)
{
	__asm__ volatile("1: dec %0; jnz 1b" : "+r" (turns));
}

static bool begin(struct tracer *t, int type, int pages)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = type,
		.disabled = 1,
		.exclude_kernel = 1,
		.exclude_hv = 1,
		/* Where it interrupts: soon enough for a reader to make room before the end. */
		.aux_watermark = pages * PAGE / 4,
	};
	void *map;

	t->size = pages * PAGE;
	t->fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (t->fd < 0) {
		perror("# perf_event_open");
		return false;
	}
	map = mmap(NULL, 9 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
	if (map == MAP_FAILED) {
		perror("# mmap");
		return false;
	}
	t->page = map;
	t->page->aux_offset = 9 * PAGE;
	t->page->aux_size = t->size;
	t->aux = mmap(NULL, t->size, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, t->page->aux_offset);
	if (t->aux == MAP_FAILED) {
		perror("# mmap of the trace's buffer");
		return false;
	}
	return true;
}

static void end(struct tracer *t)
{
	munmap(t->aux, t->size);
	munmap(t->page, 9 * PAGE);
	close(t->fd);
}

/* The flags of all records about the buffer */
static uint64_t flags(struct tracer *t)
{
	uint64_t head = __atomic_load_n(&t->page->data_head, __ATOMIC_ACQUIRE), tail = t->page->data_tail;
	uint64_t all = 0;

	while (tail < head) {
		struct { struct perf_event_header h; uint64_t offset, size, flags; } r;
		const uint8_t *data = (uint8_t *)t->page + PAGE;
		size_t i;

		for (i = 0; i < sizeof(r); i++)
			((uint8_t *)&r)[i] = data[(tail + i) % (8 * PAGE)];
		if (r.h.type == PERF_RECORD_AUX)
			all |= r.flags;
		tail += r.h.size;
	}
	__atomic_store_n(&t->page->data_tail, tail, __ATOMIC_RELEASE);
	return all;
}

/* Blocks whose packets say that execution was in the loop */
static int in_loop(const struct tracer *t, uint64_t bytes)
{
	static const uint8_t psb[] = { 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82 };
	uint64_t at, ip;
	int there = 0, i;

	for (at = 0; at + BLOCK <= bytes; at += BLOCK) {
		const uint8_t *p = memmem(t->aux + at, BLOCK, psb, sizeof(psb));

		if (!p)
			continue;
		/* MODE.Exec: 64 bits; FUP: all of the address; PSBEND */
		p += sizeof(psb);
		if (p[0] != 0x99 || p[1] != 1 || p[2] != 0xdd || p[11] != 2 || p[12] != 0x23)
			continue;
		for (ip = 0, i = 7; i >= 0; i--)
			ip = ip << 8 | p[3 + i];
		there += ip - (uintptr_t)loop < 32;
	}
	return there;
}

static bool about(uint64_t bytes, uint64_t turns)
{
	uint64_t blocks = 2 * turns / PERIOD;

	printf("# %llu blocks, %llu expected, and a few more\n", (unsigned long long)bytes / BLOCK,
	       (unsigned long long)blocks);
	return bytes / BLOCK >= blocks && bytes / BLOCK <= blocks + blocks / 20 + 8;
}

static void all_of_it(int type)
{
	const uint64_t turns = 1000000;
	struct tracer t;
	uint64_t head;
	int there;

	if (!begin(&t, type, 64)) {
		result(false, "all of it: begins");
		return;
	}
	ioctl(t.fd, PERF_EVENT_IOC_ENABLE, 0);
	loop(turns);
	ioctl(t.fd, PERF_EVENT_IOC_DISABLE, 0);
	head = __atomic_load_n(&t.page->aux_head, __ATOMIC_ACQUIRE);
	result(about(head, turns), "all of it: size");
	result(head % BLOCK == 0, "all of it: whole blocks");
	there = in_loop(&t, head);
	printf("# %d of them in the loop\n", there);
	result(there >= (int)(2 * turns / PERIOD) - 2, "all of it: places");
	result(!(flags(&t) & PERF_AUX_FLAG_TRUNCATED), "all of it: nothing is missing");
	end(&t);
}

static void read_meanwhile(int type)
{
	const uint64_t turns = 50000;
	uint64_t total, all = 0;
	struct tracer t;
	int i;

	if (!begin(&t, type, 16)) {
		result(false, "read meanwhile: begins");
		return;
	}
	ioctl(t.fd, PERF_EVENT_IOC_ENABLE, 0);
	for (i = 0; i < 40; i++) {
		loop(turns);
		__atomic_store_n(&t.page->aux_tail, __atomic_load_n(&t.page->aux_head, __ATOMIC_ACQUIRE),
				 __ATOMIC_RELEASE);
		all |= flags(&t);
	}
	ioctl(t.fd, PERF_EVENT_IOC_DISABLE, 0);
	total = __atomic_load_n(&t.page->aux_head, __ATOMIC_ACQUIRE);
	all |= flags(&t);
	result(about(total, 40 * turns), "read meanwhile: size");
	result(!(all & PERF_AUX_FLAG_TRUNCATED), "read meanwhile: nothing is missing");
	end(&t);
}

static void nobody_reads(int type)
{
	struct tracer t;
	uint64_t head;

	if (!begin(&t, type, 4)) {
		result(false, "nobody reads: begins");
		return;
	}
	ioctl(t.fd, PERF_EVENT_IOC_ENABLE, 0);
	loop(1000000);
	ioctl(t.fd, PERF_EVENT_IOC_DISABLE, 0);
	head = __atomic_load_n(&t.page->aux_head, __ATOMIC_ACQUIRE);
	printf("# %llu bytes of %zu\n", (unsigned long long)head, t.size);
	result(head > t.size / 2 && head <= t.size, "nobody reads: not more than the buffer takes");
	result(flags(&t) & PERF_AUX_FLAG_TRUNCATED, "nobody reads: told that there was more");
	end(&t);
}

int main(void)
{
	FILE *f = fopen("/sys/bus/event_source/devices/intel_pt/type", "r");
	int type = 0;

	puts("KTAP version 1");
	if (!f || fscanf(f, "%d", &type) != 1) {
		puts("1..0 # SKIP no Intel PT");
		return 0;
	}
	fclose(f);
	all_of_it(type);
	read_meanwhile(type);
	nobody_reads(type);
	printf("1..%d\n", n);
	return failed;
}
