// SPDX-License-Identifier: GPL-2.0
/*
 * exits WHAT N MARK|tsc [call]: N times WHAT, between the emulator's marks MARK and MARK + 1:
 *
 *	nothing		the marks alone
 *	set-cpuid	KVM_SET_CPUID2 of a vCPU that has not run yet
 *	set-cpuid-ran	KVM_SET_CPUID2 of one that has, as at a vCPU's hotplug: the CPUID is the same
 *	vcpu		a VM with a vCPU: created, CPUID, first KVM_RUN, closed
 *	user		exits to user space: KVM_RUN until the guest writes to a port
 *	cpuid		exits that KVM handles: the guest's CPUID instruction
 *	msr		the same: the guest reads IA32_APICBASE
 *	cpuid-no-pmu	CPUID exits of a VM whose PMU user space has disabled
 *	cpuid-watched	CPUID exits while the host has an event like the NMI watchdog's that leaves guests out
 *	cpuid-cycles	CPUID exits of a guest that counts cycles
 *	cpuid-insns	CPUID exits of a guest that counts instructions, which KVM then does for it
 *	cpuid-both	both have an event like the watchdog's, the host and the guest
 *	cpuid-three	three counters of the guest count cycles, and the host has three events that leave guests out
 *	cpuid-three-no-pmu	the host's three events alone: CPUID exits of a VM whose PMU user space has disabled
 *	cpuid-branches	CPUID exits of a guest that records branches
 *	interrupt	the guest spins, and a timer of the host interrupts it, about N times
 *	interrupt-no-pmu	the same with a VM whose PMU user space has disabled
 *	interrupt-cycles	the same with a guest that counts cycles
 *	fault		EPT or NPT violations: the guest touches a page for the first time; no instruction is emulated
 *	selector	the guest writes a selector, as when it switches to a task with another event
 *	turns		two vCPUs that take turns on a CPU: each exits to user space, then the other one runs
 *	turns-branches	the same, and both record branches
 *	cr4		KVM_SET_SREGS with another CR4: the runtime bits of CPUID change
 *
 * or, without a VM:
 *
 *	event		perf_event_open() of cycles of the own task, without modifiers, and its end
 *	fork		fork() of a task with four events that the child inherits, until the child is gone
 *
 * Exit status 3: KVM does not give guests what this needs, branch records.
 *
 * With "call" it runs in a guest, and asks the host to set the marks (see l2 -h). With "tsc" for MARK it prints
 * "exits: ticks N", those of the TSC between the marks, and needs no emulator.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <x86intrin.h>

#define MARK_PORT	0x510
#define GUEST_PAGE	0x1000UL
#define CR4_OSXSAVE	(1UL << 18)
#define ENTRIES		256
#define FIRST_PAGE	0x10000UL	/* of those for "fault" */
#define FAULTS_MAX	200
#define TIMER_NS	50000		/* between interrupts */
#define SPINS		1000		/* of the guest between them, about: the host takes its part of that time */

#define INTEL_SELECTOR	0x186		/* IA32_PERFEVTSEL0 */
#define AMD_SELECTOR	0xc0010200	/* PERF_CTL0 */
#define COUNTS		0x430000	/* in the kernel and in user mode */
#define INTEL_CYCLES	0x3c
#define AMD_CYCLES	0x76
#define INSTRUCTIONS	0xc0

#define DEBUGCTL	0x1d9		/* bit 0 enables branch records that are the model's */
#define LBR_CTL		0x14ce		/* the architectural ones, CPUID.7:EDX[19] */
#define LBR_CTL_ALL	0x7f0007	/* enabled, in the kernel and in user mode, all kinds */
#define DBG_EXTN_CFG	0xc000010f	/* AMD's */
#define LBRV2_ENABLED	0x40

/* Real mode. The counter is in CX: 65535 at most. */
static const uint8_t code_user[] = { 0xe6, 0x00, 0xeb, 0xfc };			/* out %al, $0; jmp to it */
static const uint8_t code_cpuid[] = {
	0x66, 0x89, 0xcf, 0x66, 0x31, 0xc0, 0x66, 0x31, 0xc9,		/* mov %ecx, %edi; xor %eax, %eax; xor %ecx, %ecx */
	0x0f, 0xa2, 0x66, 0x89, 0xf9, 0xe2, 0xf0, 0xe6, 0x00, 0xeb, 0xfc,	/* cpuid; mov %edi, %ecx; loop; out; jmp */
};
static const uint8_t code_msr[] = {
	0x66, 0x89, 0xcf, 0x66, 0xb9, 0x1b, 0x00, 0x00, 0x00,		/* mov %ecx, %edi; mov $0x1b, %ecx */
	0x0f, 0x32, 0x66, 0x89, 0xf9, 0xe2, 0xf0, 0xe6, 0x00, 0xeb, 0xfc,	/* rdmsr; mov %edi, %ecx; loop; out; jmp */
};

static const uint8_t code_spin[] = {
	0x66, 0x49, 0x75, 0xfc, 0xe6, 0x00, 0xeb, 0xfc,			/* dec %ecx; jnz; out %al, $0; jmp */
};
static const uint8_t code_fault[] = {
	0xb8, 0x00, 0x10,						/* mov $0x1000, %ax */
	0x8e, 0xc0, 0x26, 0xa2, 0x00, 0x00,				/* mov %ax, %es; mov %al, %es:0 */
	0x05, 0x00, 0x01, 0xe2, 0xf5, 0xe6, 0x00, 0xeb, 0xfc,		/* add $0x100, %ax; loop; out; jmp */
};
/* The MSR's number and the lower half of what it gets in turns with 0 are filled in. */
static uint8_t code_selector[] = {
	0x66, 0x89, 0xcf, 0x66, 0xb9, 0, 0, 0, 0,			/* mov %ecx, %edi; mov $MSR, %ecx */
	0x66, 0x31, 0xd2, 0x66, 0x31, 0xc0,				/* xor %edx, %edx; xor %eax, %eax */
	0x66, 0x35, 0, 0, 0, 0, 0x0f, 0x30,				/* xor $VALUE, %eax; wrmsr */
	0x66, 0x4f, 0x75, 0xf4, 0xe6, 0x00, 0xeb, 0xfc,			/* dec %edi; jnz; out; jmp */
};

static int kvm, run_size, port = -1;
static bool call, tsc;
static struct kvm_cpuid2 *cpuid;

struct vm {
	int fd;
	int vcpu;
	struct kvm_run *run;
	void *page;
	void *pages;
};

static void fail(const char *what)
{
	fprintf(stderr, "exits: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void mark(int id)
{
	static uint64_t begin;
	unsigned char byte = id;
	uint64_t now;
	char line[80];

	if (tsc) {
		/* Neither earlier nor later than it stands here */
		_mm_lfence();
		now = __rdtsc();
		_mm_lfence();
		if (begin)
			printf("exits: ticks %llu\n", (unsigned long long)(now - begin));
		begin = now;
	} else if (call) {
		printf("vpmu: call mark %d\n", id);
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			fail("the host does not answer");
	} else if (pwrite(port, &byte, 1, MARK_PORT) != 1) {
		fail("/dev/port");
	}
}

static int new_event(unsigned long config, bool inherit)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_HARDWARE,
		.config = config,
		.inherit = inherit,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		fail("perf_event_open");
	return fd;
}

/* Each with an event, for good. */
static void on_all_cpus(struct perf_event_attr *attr)
{
	long cpu, n = sysconf(_SC_NPROCESSORS_ONLN);

	attr->size = sizeof(*attr);
	for (cpu = 0; cpu < n; cpu++) {
		if (syscall(SYS_perf_event_open, attr, -1, (int)cpu, -1, PERF_FLAG_FD_CLOEXEC) < 0)
			fail("perf_event_open");
	}
}

static void watch_cpus(void)
{
	on_all_cpus(&(struct perf_event_attr) {
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.sample_period = 1UL << 40,
		.pinned = true,
		.exclude_guest = true,
	});
}

/* A timer that interrupts, and then does as little as possible: what it interrupts is not what it samples. */
static void interrupt_cpus(void)
{
	on_all_cpus(&(struct perf_event_attr) {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = TIMER_NS,
		.exclude_kernel = true,
	});
}

static void fork_child(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		fail("fork");
}

static int without_vm(const char *what, unsigned int n, int id)
{
	static const unsigned long inherited[] = {
		PERF_COUNT_HW_CPU_CYCLES, PERF_COUNT_HW_INSTRUCTIONS,
		PERF_COUNT_HW_BRANCH_INSTRUCTIONS, PERF_COUNT_HW_BRANCH_MISSES,
	};
	bool event = !strcmp(what, "event");
	unsigned int i;

	if (event) {
		close(new_event(PERF_COUNT_HW_CPU_CYCLES, false));
	} else {
		for (i = 0; i < sizeof(inherited) / sizeof(inherited[0]); i++)
			new_event(inherited[i], true);
		fork_child();
	}
	mark(id);
	for (i = 0; i < n; i++) {
		if (event)
			close(new_event(PERF_COUNT_HW_CPU_CYCLES, false));
		else
			fork_child();
	}
	mark(id + 1);
	return 0;
}

static bool no_pmu;

static bool ends_in(const char *what, const char *end)
{
	size_t all = strlen(what), part = strlen(end);

	return all >= part && !strcmp(what + all - part, end);
}

static struct vm new_vm(const uint8_t *code, size_t size)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PMU_CAPABILITY, .args = { KVM_PMU_CAP_DISABLE } };
	struct kvm_userspace_memory_region region = { .guest_phys_addr = GUEST_PAGE, .memory_size = 4096 };
	struct kvm_userspace_memory_region pages = {
		.slot = 1, .guest_phys_addr = FIRST_PAGE, .memory_size = FAULTS_MAX * 4096,
	};
	struct vm vm;

	vm.fd = ioctl(kvm, KVM_CREATE_VM, 0);
	vm.page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (vm.fd < 0 || ioctl(vm.fd, KVM_CREATE_IRQCHIP) || vm.page == MAP_FAILED)
		fail("the VM");
	memcpy(vm.page, code, size);
	region.userspace_addr = (uintptr_t)vm.page;
	if (ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &region))
		fail("its memory");
	if (code == code_fault) {
		/* Present in the host, so that this is not what is measured */
		vm.pages = mmap(NULL, pages.memory_size, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		pages.userspace_addr = (uintptr_t)vm.pages;
		if (vm.pages == MAP_FAILED || ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &pages))
			fail("the VM's pages");
	}
	if (no_pmu && ioctl(vm.fd, KVM_ENABLE_CAP, &cap))
		fail("KVM_CAP_PMU_CAPABILITY");
	vm.vcpu = ioctl(vm.fd, KVM_CREATE_VCPU, 0);
	if (vm.vcpu < 0)
		fail("the vCPU");
	vm.run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm.vcpu, 0);
	if (vm.run == MAP_FAILED)
		fail("the vCPU's page");
	return vm;
}

static void close_vm(struct vm *vm)
{
	munmap(vm->run, run_size);
	munmap(vm->page, 4096);
	close(vm->vcpu);
	close(vm->fd);
}

static void set_cpuid(struct vm *vm)
{
	if (ioctl(vm->vcpu, KVM_SET_CPUID2, cpuid))
		fail("KVM_SET_CPUID2");
}

static void enter(struct vm *vm)
{
	if (ioctl(vm->vcpu, KVM_RUN, 0) || vm->run->exit_reason != KVM_EXIT_IO)
		fail("KVM_RUN");
}

static const struct kvm_cpuid_entry2 *leaf(uint32_t function)
{
	unsigned int i;

	for (i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == function && !cpuid->entries[i].index)
			return &cpuid->entries[i];
	}
	return NULL;
}

static bool is_amd(void)
{
	return leaf(0)->ebx == 0x68747541;	/* "Auth" */
}

static uint32_t selector(void)
{
	return is_amd() ? AMD_SELECTOR : INTEL_SELECTOR;
}

static uint32_t cycles(void)
{
	return is_amd() ? AMD_CYCLES : INTEL_CYCLES;
}

/* Counter @i of the guest counts @event from its first instruction on. */
static void count(struct vm *vm, unsigned int i, uint32_t event)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = {
		.head.nmsrs = 1,
		.entry = { .index = selector() + i * (is_amd() ? 2 : 1), .data = COUNTS | event },
	};

	if (ioctl(vm->vcpu, KVM_SET_MSRS, &msrs) != 1)
		fail("KVM_SET_MSRS");
}

/* Some values KVM takes and drops. */
static bool set_msr(struct vm *vm, uint32_t index, uint64_t data)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = { .index = index, .data = data } };

	return ioctl(vm->vcpu, KVM_SET_MSRS, &msrs) == 1 && ioctl(vm->vcpu, KVM_GET_MSRS, &msrs) == 1 &&
	       msrs.entry.data == data;
}

/* The guest records branches from its first instruction on. */
static void record_branches(struct vm *vm)
{
	const struct kvm_cpuid_entry2 *seven = leaf(7);
	bool done;

	if (is_amd())
		done = set_msr(vm, DBG_EXTN_CFG, LBRV2_ENABLED);
	else if (seven && seven->edx & 1u << 19)
		done = set_msr(vm, LBR_CTL, LBR_CTL_ALL);
	else
		done = set_msr(vm, DEBUGCTL, 1);
	if (!done) {
		fprintf(stderr, "exits: KVM gives guests no branch records\n");
		exit(3);
	}
}

static void prepare_selector(void)
{
	uint32_t value = COUNTS | cycles(), msr = selector();

	memcpy(code_selector + 5, &msr, sizeof(msr));
	memcpy(code_selector + 17, &value, sizeof(value));
}

static void start(struct vm *vm, unsigned int n);

/* Another process has a vCPU, too, and runs it whenever it is told to. */
static int there[2], back[2];

static void let_other_take_turns(const uint8_t *code, size_t size, bool branches)
{
	char byte;

	if (pipe(there) || pipe(back))
		fail("pipe");
	switch (fork()) {
	case -1:
		fail("fork");
		break;
	case 0:
		break;
	default:
		close(there[0]);
		close(back[1]);
		return;
	}
	close(there[1]);
	close(back[0]);

	struct vm vm = new_vm(code, size);

	set_cpuid(&vm);
	if (branches)
		record_branches(&vm);
	start(&vm, 1);
	while (read(there[0], &byte, 1) == 1) {
		enter(&vm);
		if (write(back[1], &byte, 1) != 1)
			fail("the other's turn");
	}
	_exit(0);
}

static void take_turns(struct vm *vm)
{
	char byte = 0;

	enter(vm);
	if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
		fail("the other's turn");
}

/* To the code's beginning, with N in ECX */
static void start(struct vm *vm, unsigned int n)
{
	struct kvm_regs regs = { .rip = GUEST_PAGE, .rflags = 2, .rcx = n, .rdi = n };
	struct kvm_sregs sregs;

	if (ioctl(vm->vcpu, KVM_GET_SREGS, &sregs))
		fail("KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vm->vcpu, KVM_SET_SREGS, &sregs) || ioctl(vm->vcpu, KVM_SET_REGS, &regs))
		fail("the vCPU's registers");
}

int main(int argc, char **argv)
{
	const uint8_t *code = code_user;
	size_t size = sizeof(code_user);
	struct kvm_sregs sregs;
	struct termios tty;
	unsigned int n, i;
	const char *what;
	struct vm vm;
	int id;

	if (argc < 4) {
		fprintf(stderr, "usage: exits WHAT N MARK|tsc [call]\n");
		return 2;
	}
	what = argv[1];
	n = atoi(argv[2]);
	id = atoi(argv[3]);
	tsc = !strcmp(argv[3], "tsc");
	call = argc > 4;
	if (!n || n > 65535) {
		fprintf(stderr, "exits: 1 to 65535 times\n");
		return 2;
	}
	if (call && !tcgetattr(0, &tty)) {
		tty.c_lflag &= ~ECHO;
		tcsetattr(0, TCSANOW, &tty);
	}
	if (!call && !tsc)
		port = open("/dev/port", O_WRONLY);
	if (!strcmp(what, "event") || !strcmp(what, "fork"))
		return without_vm(what, n, id);
	no_pmu = ends_in(what, "-no-pmu");
	if (!strcmp(what, "fault") && n > FAULTS_MAX) {
		fprintf(stderr, "exits: 1 to %d faults\n", FAULTS_MAX);
		return 2;
	}
	if (!strcmp(what, "cpuid-watched") || !strcmp(what, "cpuid-both"))
		watch_cpus();
	for (i = 0; i < 3 && !strncmp(what, "cpuid-three", 11); i++)
		watch_cpus();
	if (!strncmp(what, "interrupt", 9))
		interrupt_cpus();
	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		fail("/dev/kvm");
	run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	cpuid = calloc(1, sizeof(*cpuid) + ENTRIES * sizeof(cpuid->entries[0]));
	if (!cpuid)
		fail("memory");
	cpuid->nent = ENTRIES;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid))
		fail("KVM_GET_SUPPORTED_CPUID");

	if (!strncmp(what, "cpuid", 5)) {
		code = code_cpuid;
		size = sizeof(code_cpuid);
	} else if (!strcmp(what, "msr")) {
		code = code_msr;
		size = sizeof(code_msr);
	} else if (!strncmp(what, "interrupt", 9)) {
		code = code_spin;
		size = sizeof(code_spin);
		n *= SPINS;
	} else if (!strcmp(what, "fault")) {
		code = code_fault;
		size = sizeof(code_fault);
	} else if (!strcmp(what, "selector")) {
		prepare_selector();
		code = code_selector;
		size = sizeof(code_selector);
	} else if (!strncmp(what, "turns", 5)) {
		let_other_take_turns(code, size, ends_in(what, "-branches"));
	}
	vm = new_vm(code, size);
	set_cpuid(&vm);
	if (ends_in(what, "-cycles") || !strcmp(what, "cpuid-both"))
		count(&vm, 0, cycles());
	else if (!strcmp(what, "cpuid-insns"))
		count(&vm, 0, INSTRUCTIONS);
	else if (ends_in(what, "-branches"))
		record_branches(&vm);
	for (i = 0; i < 3 && !strcmp(what, "cpuid-three"); i++)
		count(&vm, i, cycles());
	if (strcmp(what, "set-cpuid")) {
		start(&vm, 1);
		enter(&vm);
		start(&vm, n);
	}
	if (!strncmp(what, "turns", 5))
		take_turns(&vm);
	if (ioctl(vm.vcpu, KVM_GET_SREGS, &sregs))
		fail("KVM_GET_SREGS");
	/* The first time is not like the others: caches, lazily allocated things. */
	if (!strncmp(what, "set-cpuid", 9))
		set_cpuid(&vm);

	mark(id);
	if (code != code_user) {
		enter(&vm);
	} else if (strcmp(what, "nothing")) {
		for (i = 0; i < n; i++) {
			if (!strncmp(what, "set-cpuid", 9)) {
				set_cpuid(&vm);
			} else if (!strcmp(what, "user")) {
				enter(&vm);
			} else if (!strncmp(what, "turns", 5)) {
				take_turns(&vm);
			} else if (!strcmp(what, "cr4")) {
				sregs.cr4 ^= CR4_OSXSAVE;
				if (ioctl(vm.vcpu, KVM_SET_SREGS, &sregs))
					fail("KVM_SET_SREGS");
			} else if (!strcmp(what, "vcpu")) {
				struct vm other = new_vm(code, size);

				set_cpuid(&other);
				start(&other, 1);
				enter(&other);
				close_vm(&other);
			} else {
				fprintf(stderr, "exits: what is %s?\n", what);
				return 2;
			}
		}
	}
	mark(id + 1);
	close_vm(&vm);
	return 0;
}
