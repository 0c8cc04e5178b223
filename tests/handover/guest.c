// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest on CPU 0 whose first counter counts instructions
 *
 *	guest intel|amd SELECTOR_BITS STATUS [plant]
 *	guest intel|amd CPU
 *
 * The selector has SELECTOR_BITS besides, and the overflow status is STATUS when the guest
 * begins.  With "plant" the guest runs until the module has done its work, from another CPU;
 * otherwise for a moment.  Prints what came of it, one NAME=VALUE a line:
 *
 *	counter		what the guest's counter counted
 *	status		the guest's overflow status
 *	host		the overflow status of the host's CPU afterwards
 *	instructions	what an event of the host then counts on that CPU
 *	pmis		interrupts of counters that KVM took for the guest's
 *
 * Without a guest it prints the overflow status of that CPU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PLANT "/sys/module/plant/parameters/in_guest"
#define PMIS "/sys/kernel/debug/kvm/passthrough_pmu_pmis"

/* Where things are in the guest's memory. */
#define CODE 0x1000
#define FLAG 0x2000
#define BEGUN 0x2001

/* Say so, loop until the flag is set, then tell: in real mode. */
static const uint8_t code[] = {
	0xc6, 0x06, BEGUN & 0xff, BEGUN >> 8, 0x01,	/* movb $1, BEGUN */
	0x80, 0x3e, FLAG & 0xff, FLAG >> 8, 0x00,	/* cmpb $0, FLAG */
	0x74, 0xf9,					/* je the same */
	0xe6, 0x10,					/* out %al, $0x10 */
	0xeb, 0xf5,					/* jmp the loop */
};

static const struct registers {
	uint32_t counter, selector, status, ctrl;
} intel = { 0x4c1, 0x186, 0x38e, 0x38f }, amd = { 0xc0010201, 0xc0010200, 0xc0000300, 0xc0000301 };

static volatile uint8_t *memory;
static int plant_errno;

static void die(const char *what)
{
	fprintf(stderr, "guest: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

static void *end_guest(void *arg)
{
	int fd, i;

	pin(1);
	for (i = 0; i < 10000 && !memory[BEGUN]; i++)
		usleep(1000);
	usleep(20000);
	if (arg) {
		fd = open(PLANT, O_WRONLY);
		if (fd < 0 || write(fd, "1\n", 2) != 2)
			plant_errno = errno;
		close(fd);
	}
	memory[FLAG] = 1;
	return NULL;
}

static uint64_t get_msr(int vcpu, uint32_t index)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = index };

	if (ioctl(vcpu, KVM_GET_MSRS, &msrs) != 1)
		die("KVM_GET_MSRS");
	return msrs.entry.data;
}

static void set_msr(int vcpu, uint32_t index, uint64_t data)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = { .index = index, .data = data } };

	if (ioctl(vcpu, KVM_SET_MSRS, &msrs) != 1)
		die("KVM_SET_MSRS");
}

static uint64_t host_msr(int cpu, uint32_t index)
{
	char path[32];
	uint64_t data;
	int fd;

	snprintf(path, sizeof(path), "/dev/cpu/%d/msr", cpu);
	fd = open(path, O_RDONLY);
	if (fd < 0 || pread(fd, &data, sizeof(data), index) != sizeof(data))
		die(path);
	close(fd);
	return data;
}

static uint64_t host_instructions(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.size = sizeof(attr),
		.exclude_guest = 1,
	};
	uint64_t count;
	int i, fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);

	if (fd < 0)
		die("perf_event_open");
	for (i = 0; i < 100000; i++)
		asm volatile("");
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		die("read");
	close(fd);
	return count;
}

int main(int argc, char **argv)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };
	const struct registers *r = argc > 1 && !strcmp(argv[1], "amd") ? &amd : &intel;
	struct kvm_userspace_memory_region region = { .memory_size = 0x10000 };
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_sregs sregs;
	struct kvm_run *run;
	pthread_t thread;
	int kvm, vm, vcpu;
	uint64_t status;
	char pmis[32] = "";
	FILE *f;

	if (argc == 3) {
		printf("%#llx\n", (unsigned long long)host_msr(atoi(argv[2]), r->status));
		return 0;
	}
	if (argc < 4)
		return 2;
	status = strtoull(argv[3], NULL, 0);
	pin(0);
	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		die("/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0 || ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000) || ioctl(vm, KVM_CREATE_IRQCHIP, 0))
		die("KVM_CREATE_VM");
	memory = mmap(NULL, region.memory_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	region.userspace_addr = (uintptr_t)memory;
	memcpy((void *)memory + CODE, code, sizeof(code));
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		die("KVM_CREATE_VCPU");
	run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) || ioctl(vcpu, KVM_SET_CPUID2, &cpuid))
		die("KVM_SET_CPUID2");
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		die("KVM_GET_SREGS");
	sregs.cs.base = sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
		die("KVM_SET_SREGS");

	/* instructions retired, enabled, in all modes */
	set_msr(vcpu, r->selector, 0x4300c0 | strtoull(argv[2], NULL, 0));
	set_msr(vcpu, r->counter, 0);
	set_msr(vcpu, r->status, status);
	set_msr(vcpu, r->ctrl, 1);

	if (pthread_create(&thread, NULL, end_guest, argc > 4 ? argv[4] : NULL))
		die("pthread_create");
	do {
		if (ioctl(vcpu, KVM_RUN, 0) && errno != EINTR)
			die("KVM_RUN");
	} while (run->exit_reason == KVM_EXIT_INTR);
	if (run->exit_reason != KVM_EXIT_IO) {
		fprintf(stderr, "guest: exit reason %u\n", run->exit_reason);
		return 2;
	}
	pthread_join(thread, NULL);
	errno = plant_errno;
	if (errno)
		die(PLANT);

	f = fopen(PMIS, "r");
	if (!f || !fgets(pmis, sizeof(pmis), f))
		die(PMIS);
	fclose(f);
	printf("counter=%llu\n", (unsigned long long)get_msr(vcpu, r->counter));
	printf("status=%#llx\n", (unsigned long long)get_msr(vcpu, r->status));
	printf("host=%#llx\n", (unsigned long long)host_msr(0, r->status));
	printf("instructions=%llu\n", (unsigned long long)host_instructions());
	printf("pmis=%d\n", atoi(pmis));
	return 0;
}
