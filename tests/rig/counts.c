// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exact counts through the kernel's unmodified perf events: user code, kernel code,
 * both; RDPMC of user space with and without permission.
 *
 * `counts CPU` prints KTAP; `counts --la57` asks the processor for 5-level paging.  Needs rig_pmu.ko or
 * rig_amd.ko loaded (the parameter "loop" is the kernel code of known length).
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define N_SHORT 1000
#define N_LONG 5000
#define TRIES 40

static int tests, failures;

static void report(int ok, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d ", ok ? "" : "not ", ++tests);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	failures += !ok;
}

static void expect(const char *name, long long got, long long want)
{
	if (got != want)
		printf("# %s: expected %lld, got %lld\n", name, want, got);
	report(got == want, "%s", name);
}

enum { USER = 1, KERNEL = 2, BOTH = 3 };

static int event(uint64_t config, int who)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = config,
		.disabled = 1,
		.exclude_user = !(who & USER),
		.exclude_kernel = !(who & KERNEL),
	};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static void user_loop(uint64_t n)
{
	asm volatile("1: dec %0; jnz 1b" : "+r" (n) : : "cc");
}

static const char *loop_file = "/sys/module/rig_pmu/parameters/loop";
static const char amd_loop_file[] = "/sys/module/rig_amd/parameters/loop";
static int loop_fd = -1, amd;

static void kernel_loop(uint64_t n)
{
	/* the same number of digits, the same path */
	char text[16];
	int len = snprintf(text, sizeof(text), "%06llu", (unsigned long long)n);

	if (pwrite(loop_fd, text, len, 0) != len) {
		perror(loop_file);
		exit(1);
	}
}

static void both_loops(uint64_t n)
{
	user_loop(n);
	kernel_loop(n);
}

/* User code under a debugger's worst enemy: an instruction that faults and is skipped. */
void skip_ud2(void);
void restore(void);
asm(".text\n"
    "skip_ud2: addq $2, 168(%rdx)\n\t"	/* ucontext: RIP */
    "ret\n"
    "restore: mov $15, %eax\n\t"	/* rt_sigreturn */
    "syscall\n");

static void fault_loop(uint64_t n)
{
	asm volatile("1: ud2; dec %0; jnz 1b" : "+r" (n) : : "cc");
}

static void syscall_loop(uint64_t n)
{
	asm volatile("1: mov $110, %%eax; syscall; dec %0; jnz 1b"
		     : "+r" (n) : : "cc", "rax", "rcx", "r11", "memory");
}

/*
 * What @code counts.  Interrupts add to kernel counts only, and never take away: the
 * least of several runs is the one that had none.
 */
static long long count(uint64_t config, int who, void (*code)(uint64_t), uint64_t n, int *runs_differ)
{
	long long least = -1, first = -1, val;
	int fd = event(config, who), i;

	*runs_differ = 0;
	if (fd < 0) {
		printf("# perf_event_open: %s\n", strerror(errno));
		return -1;
	}
	for (i = 0; i < (who & KERNEL ? TRIES : 3); i++) {
		ioctl(fd, PERF_EVENT_IOC_RESET, 0);
		ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
		code(n);
		ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
		if (read(fd, &val, sizeof(val)) != sizeof(val))
			val = -1;
		/* The first run warms things up: page faults. */
		if (i == 0)
			continue;
		if (first < 0)
			first = val;
		else if (first != val)
			*runs_differ = 1;
		if (least < 0 || val < least)
			least = val;
	}
	close(fd);
	return least;
}

static long long difference(uint64_t config, int who, void (*code)(uint64_t), int *runs_differ)
{
	int differ[2];
	long long few = count(config, who, code, N_SHORT, &differ[0]);
	long long many = count(config, who, code, N_LONG, &differ[1]);

	*runs_differ = differ[0] || differ[1];
	if (few < 0 || many < 0)
		return -1;
	return many - few;
}

static void exact(void)
{
	static const struct {
		const char *name;
		int who;
		void (*code)(uint64_t);
		int loops;
	} v[] = {
		{ "user", USER, user_loop, 1 },
		{ "kernel", KERNEL, kernel_loop, 1 },
		{ "user+kernel", BOTH, both_loops, 2 },
		{ "user part of both", USER, both_loops, 1 },
		{ "kernel part of both", KERNEL, both_loops, 1 },
	};
	const long long n = N_LONG - N_SHORT;
	long long syscalls;
	char name[100];
	int differ;

	for (unsigned int i = 0; i < sizeof(v) / sizeof(*v); i++) {
		snprintf(name, sizeof(name), "instructions, %s", v[i].name);
		expect(name, difference(PERF_COUNT_HW_INSTRUCTIONS, v[i].who, v[i].code, &differ),
		       2 * n * v[i].loops);
		if (v[i].who == USER)
			report(!differ, "%s: each run the same", name);
		snprintf(name, sizeof(name), "branches, %s", v[i].name);
		expect(name, difference(PERF_COUNT_HW_BRANCH_INSTRUCTIONS, v[i].who, v[i].code,
					&differ), n * v[i].loops);
		if (v[i].who == USER)
			report(!differ, "%s: each run the same", name);
	}

	/* The manual leaves open to which side SYSCALL belongs: measure it. */
	syscalls = difference(PERF_COUNT_HW_INSTRUCTIONS, USER, syscall_loop, &differ) / n - 3;
	printf("# SYSCALL counts as %s instruction\n", syscalls ? "a user" : "no user");
	report(syscalls == 0 || syscalls == 1, "instructions, user, system calls");
	report(!differ, "instructions, user, system calls: each run the same");

	struct { void (*handler)(void); unsigned long flags; void (*restorer)(void); uint64_t mask; }
		sa = { skip_ud2, 0x04000000 | SA_SIGINFO | SA_NODEFER, restore, 0 };
	if (syscall(SYS_rt_sigaction, SIGILL, &sa, NULL, 8)) {
		perror("rt_sigaction");
		exit(1);
	}
	/* DEC, JNZ, handler 2, restorer MOV and SYSCALL; not the UD2 */
	expect("instructions, user, faults do not retire",
	       difference(PERF_COUNT_HW_INSTRUCTIONS, USER, fault_loop, &differ),
	       n * (5 + syscalls));
}

/*
 * Published tests of PMUs read as many new lines of memory, one after the other, and accept from one
 * miss to as many as there are lines, and from as many references as lines to twice that.
 */
#define LINES 100000

static void read_lines(uint64_t n)
{
	static char *memory;

	if (!memory) {
		memory = mmap(NULL, LINES * 64, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (memory == MAP_FAILED) {
			perror("mmap");
			exit(1);
		}
	}
	for (uint64_t i = 0; i < n; i++)
		(void)*(volatile char *)(memory + i * 64);
}

static long long count_lines(uint64_t config)
{
	long long val;
	int fd;

	read_lines(0);
	fd = event(config, USER);
	if (fd < 0)
		return -1;
	ioctl(fd, PERF_EVENT_IOC_RESET, 0);
	ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
	read_lines(LINES);
	ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
	if (read(fd, &val, sizeof(val)) != sizeof(val))
		val = -1;
	close(fd);
	return val;
}

static void cache(void)
{
	long long misses = count_lines(PERF_COUNT_HW_CACHE_MISSES);
	long long references = count_lines(PERF_COUNT_HW_CACHE_REFERENCES);

	printf("# %d lines: %lld cache references, %lld misses\n", LINES, references, misses);
	report(misses >= 1 && misses <= LINES, "cache misses of new lines in a row");
	report(references >= LINES && references <= 2 * LINES, "cache references of new lines in a row");
}

static sigjmp_buf jump;

static void on_segv(int sig)
{
	(void)sig;
	siglongjmp(jump, 1);
}

/* Returns 0 and the value, or -1 if RDPMC faults. */
static int rdpmc(uint32_t index, uint64_t *val)
{
	uint32_t lo, hi;

	if (sigsetjmp(jump, 1))
		return -1;
	asm volatile("rdpmc" : "=a" (lo), "=d" (hi) : "c" (index));
	*val = (uint64_t)hi << 32 | lo;
	return 0;
}

static int set_rdpmc(const char *mode)
{
	int fd = open("/sys/bus/event_source/devices/cpu/rdpmc", O_WRONLY);
	int ok = fd >= 0 && write(fd, mode, 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok ? 0 : -1;
}

/* CR4.PCE decides at CPL 3; the kernel sets it for whom it allows. */
static void user_rdpmc(void)
{
	struct sigaction sa = { .sa_handler = on_segv };
	volatile struct perf_event_mmap_page *page;
	uint64_t a, b, val, mask;
	uint32_t index;
	int fd;

	sigaction(SIGSEGV, &sa, NULL);
	if (set_rdpmc("0")) {
		report(0, "the host's switch for RDPMC");
		return;
	}
	report(rdpmc(0, &val) < 0, "RDPMC at CPL 3 faults without CR4.PCE");
	set_rdpmc("2");
	/* The kernel tells every CPU; be scheduled anew. */
	sched_yield();
	report(!rdpmc(0, &val), "RDPMC at CPL 3 works with CR4.PCE: general-purpose");
	if (!amd)
		report(!rdpmc(0x40000000, &val), "RDPMC at CPL 3 works with CR4.PCE: fixed");
	report(rdpmc(amd ? 6 : 0x40000010, &val) < 0, "RDPMC of a counter that is not there faults");
	set_rdpmc("1");
	report(rdpmc(0, &val) < 0, "RDPMC at CPL 3 faults without a mapped event");

	fd = event(PERF_COUNT_HW_INSTRUCTIONS, USER);
	page = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED, fd, 0);
	if (fd < 0 || page == MAP_FAILED) {
		report(0, "mapping an event");
		return;
	}
	ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
	index = page->index;
	mask = page->pmc_width >= 64 ? ~0ULL : (1ULL << page->pmc_width) - 1;
	report(page->cap_user_rdpmc && index, "a mapped event may be read with RDPMC");
	if (!index)
		return;
	for (int i = 0; i < 3; i++) {
		uint32_t lo[2], hi[2];
		uint64_t n = 10000;

		asm volatile("rdpmc; mov %%eax, %0; mov %%edx, %1\n\t"
			     "1: dec %4; jnz 1b\n\t"
			     "rdpmc; mov %%eax, %2; mov %%edx, %3"
			     : "=&r" (lo[0]), "=&r" (hi[0]), "=&r" (lo[1]), "=&r" (hi[1]), "+r" (n)
			     : "c" (index - 1) : "rax", "rdx", "cc");
		a = (uint64_t)hi[0] << 32 | lo[0];
		b = (uint64_t)hi[1] << 32 | lo[1];
		/* RDPMC itself and two moves */
		expect("user's RDPMC around a loop", (b - a) & mask, 2 * 10000 + 3);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	cpu_set_t set;
	int fd;

	if (argc > 1 && !strcmp(argv[1], "--la57")) {
		unsigned int a, b, c, d;

		return !(__get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & 1 << 16));
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	CPU_ZERO(&set);
	CPU_SET(argc > 1 ? atoi(argv[1]) : 0, &set);
	printf("KTAP version 1\n");
	if (sched_setaffinity(0, sizeof(set), &set)) {
		printf("1..0 # SKIP no such CPU\n");
		return 0;
	}
	fd = event(PERF_COUNT_HW_INSTRUCTIONS, USER);
	if (fd < 0) {
		printf("1..0 # SKIP no hardware events: %s\n", strerror(errno));
		return 4;
	}
	close(fd);
	if (!access(amd_loop_file, W_OK)) {
		amd = 1;
		loop_file = amd_loop_file;
	}
	loop_fd = open(loop_file, O_WRONLY);
	if (loop_fd < 0) {
		perror(loop_file);
		return 1;
	}
	exact();
	cache();
	user_rdpmc();
	printf("1..%d\n", tests);
	return failures != 0;
}
