// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocations that fail, one after the other
 *
 *	failures	the scenarios below
 *	failures vm	one VM; prints "exact", "refused", or what is wrong
 *
 * Each scenario runs again and again while its first, second, third ... allocation fails (/proc/thread-self/fail-nth),
 * until there is none left. Each time it must either come to its end as if nothing had been, or fail with an error
 * that fits, and nothing may be left behind: who counts guests and who has VMs is what root sees in
 * perf_guest_exclusion, and a VM and an event that excludes it are let in afterwards.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../ktap.h"

typedef uint64_t u64;
typedef uint32_t u32;

#define EXCLUSION	"/sys/kernel/debug/perf_guest_exclusion"
#define BRANCHES	1000
#define PORT		0x80

/* Counts its branches, in real mode: what it needs is at 0x500. */
asm(".pushsection .rodata\n"
    "	.code16\n"
    "guest_start:\n"
    "	movl	0x500, %ecx; movl 0x504, %eax; xorl %edx, %edx; wrmsr\n"
    "	movl	0x508, %ecx; xorl %eax, %eax; wrmsr\n"
    "	movl	0x50c, %ecx; movl $1, %eax; wrmsr\n"
    "	movl	$1000, %ebx\n"
    "1:	decl	%ebx\n"
    "	jnz	1b\n"
    "	xorl	%eax, %eax; wrmsr\n"
    "	movl	0x508, %ecx; rdmsr\n"
    "	movl	%eax, 0x510\n"
    "	outb	%al, $0x80\n"
    "	hlt\n"
    "guest_end:\n"
    "	.code64\n"
    "	.popsection\n");
extern const char guest_start[], guest_end[];

struct area { u32 selector_msr, selector, counter_msr, ctrl_msr, count; };

static bool amd;
static const char *step;	/* that failed */
static int nth_fd;

static int failed(const char *what)
{
	step = what;
	return errno ? -errno : -EPROTO;
}

/* Only what the scenario itself does may fail. */
static void fail_nth(u32 n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", n);

	if (pwrite(nth_fd, text, length, 0) != length) {
		printf("Bail out! fail-nth: %s\n", strerror(errno));
		exit(2);
	}
}

static u32 left_to_fail(void)
{
	char text[16] = "";

	return pread(nth_fd, text, sizeof(text) - 1, 0) > 0 ? strtoul(text, NULL, 10) : 0;
}

/* ---- VMs ---- */

struct cpuids {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[128];
};

struct vm {
	int kvm, fd, vcpu[2];
	struct kvm_run *run;
	int run_size;
	char *memory;
	struct cpuids cpuid;
};

static void vm_end(struct vm *vm)
{
	int i;

	if (vm->run)
		munmap(vm->run, vm->run_size);
	for (i = 0; i < 2; i++) {
		if (vm->vcpu[i] >= 0)
			close(vm->vcpu[i]);
	}
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm >= 0)
		close(vm->kvm);
	if (vm->memory)
		munmap(vm->memory, 0x4000);
}

static int vm_begin(struct vm *vm)
{
	struct kvm_userspace_memory_region region = { .memory_size = 0x4000 };

	*vm = (struct vm) { .kvm = -1, .fd = -1, .vcpu = { -1, -1 } };
	errno = 0;
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		return failed("open /dev/kvm");
	vm->memory = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->memory == MAP_FAILED) {
		vm->memory = NULL;
		return failed("mmap");
	}
	vm->run_size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->cpuid.head.nent = 128;
	if (ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, &vm->cpuid))
		return failed("KVM_GET_SUPPORTED_CPUID");
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return failed("KVM_CREATE_VM");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000))
		return failed("KVM_SET_TSS_ADDR");
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0))
		return failed("KVM_CREATE_IRQCHIP");
	region.userspace_addr = (uintptr_t)vm->memory;
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		return failed("KVM_SET_USER_MEMORY_REGION");
	return 0;
}

static int vm_add_vcpu(struct vm *vm, int i)
{
	errno = 0;
	vm->vcpu[i] = ioctl(vm->fd, KVM_CREATE_VCPU, i);
	if (vm->vcpu[i] < 0)
		return failed("KVM_CREATE_VCPU");
	if (ioctl(vm->vcpu[i], KVM_SET_CPUID2, &vm->cpuid))
		return failed("KVM_SET_CPUID2");
	return 0;
}

static int vm_run(struct vm *vm)
{
	struct area *a = (struct area *)(vm->memory + 0x500);
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_sregs sregs;

	errno = 0;
	memcpy(vm->memory + 0x1000, guest_start, guest_end - guest_start);
	*a = (struct area) {
		.selector_msr = amd ? 0xc0010200 : 0x186, .selector = amd ? 0x4300c2 : 0x4300c4,
		.counter_msr = amd ? 0xc0010201 : 0xc1, .ctrl_msr = amd ? 0xc0000301 : 0x38f, .count = ~0u,
	};
	vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu[0], 0);
	if (vm->run == MAP_FAILED) {
		vm->run = NULL;
		return failed("mmap of a vCPU");
	}
	if (ioctl(vm->vcpu[0], KVM_GET_SREGS, &sregs))
		return failed("KVM_GET_SREGS");
	sregs.cs.selector = sregs.cs.base = 0;
	if (ioctl(vm->vcpu[0], KVM_SET_SREGS, &sregs))
		return failed("KVM_SET_SREGS");
	if (ioctl(vm->vcpu[0], KVM_SET_REGS, &regs))
		return failed("KVM_SET_REGS");
	if (ioctl(vm->vcpu[0], KVM_RUN, 0))
		return failed("KVM_RUN");
	if (vm->run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
		errno = ENOMEM;
		return failed("KVM_EXIT_INTERNAL_ERROR");
	}
	if (vm->run->exit_reason != KVM_EXIT_IO || vm->run->io.port != PORT) {
		errno = 0;
		return failed("an exit of another kind");
	}
	if (a->count != BRANCHES) {
		errno = 0;
		return failed("the count");
	}
	return 0;
}

/* ---- events ---- */

static int event(pid_t pid, int cpu, int group, bool exclude_guest, bool inherit)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr), .type = PERF_TYPE_HARDWARE, .config = PERF_COUNT_HW_CPU_CYCLES,
		.exclude_guest = exclude_guest, .inherit = inherit,
	};

	if (group >= 0)
		attr.type = PERF_TYPE_SOFTWARE, attr.config = PERF_COUNT_SW_CONTEXT_SWITCHES;
	return syscall(SYS_perf_event_open, &attr, pid, cpu, group, PERF_FLAG_FD_CLOEXEC);
}

/* ---- scenarios: 0, or the error of a step ---- */

static int a_vm(void)
{
	struct vm vm;
	int r = vm_begin(&vm);

	r = r ?: vm_add_vcpu(&vm, 0);
	r = r ?: vm_add_vcpu(&vm, 1);
	r = r ?: vm_run(&vm);
	vm_end(&vm);
	return r;
}

/* Refused, and let in after that has gone which was in its way */
static int a_vm_in_somebodys_way(void)
{
	int r, fd = event(-1, 0, -1, false, false);
	struct vm vm = { .kvm = -1, .fd = -1, .vcpu = { -1, -1 } };

	if (fd < 0)
		return failed("perf_event_open");
	r = vm_begin(&vm);
	if (!r) {
		r = vm_add_vcpu(&vm, 0);
		if (!r) {
			errno = 0;
			r = failed("a VM although an event counts its guest");
		} else if (r == -EBUSY) {
			r = 0;
		}
	}
	close(fd);
	r = r ?: vm_add_vcpu(&vm, 0);
	r = r ?: vm_run(&vm);
	vm_end(&vm);
	return r;
}

static int events_of_every_kind(bool refused)
{
	int fds[4], r = 0, i;

	errno = 0;
	fds[0] = event(-1, 0, -1, true, false);
	fds[1] = fds[0] < 0 ? -1 : event(-1, 0, fds[0], true, false);
	fds[2] = event(0, -1, -1, true, true);
	for (i = 0; i < 3 && !r; i++) {
		if (fds[i] < 0)
			r = failed("perf_event_open");
	}
	/* One that would count guests */
	errno = 0;
	fds[3] = r ? -1 : event(0, -1, -1, false, true);
	if (!r && fds[3] < 0 && !(refused && errno == EOPNOTSUPP))
		r = failed("perf_event_open of one that counts guests");
	if (!r && fds[3] >= 0 && refused) {
		errno = 0;
		r = failed("an event that counts a guest");
	}
	for (i = 0; i < 4; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	return r;
}

static int events_alone(void) { return events_of_every_kind(false); }
static int events_beside_a_vm(void) { return events_of_every_kind(true); }

/* A child inherits events, one that counts guests among them. */
static int inherited(void)
{
	int fds[2], status, r = 0;
	pid_t pid;

	errno = 0;
	fds[0] = event(0, -1, -1, false, true);
	fds[1] = event(0, -1, -1, true, true);
	if (fds[0] < 0 || fds[1] < 0) {
		r = failed("perf_event_open");
	} else {
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid < 0)
			r = failed("fork");
		else
			waitpid(pid, &status, 0);
	}
	if (fds[0] >= 0)
		close(fds[0]);
	if (fds[1] >= 0)
		close(fds[1]);
	return r;
}

/* ---- all places ---- */

/*
 * The errors of a failed allocation. ENOSPC is how shared memory fails, and EFAULT a page of it that KVM wants to have
 * (the local APIC's, which the first vCPU of a VM gets).
 */
static bool fits(int r)
{
	return r == -ENOMEM || r == -EAGAIN || r == -ENOSPC || (r == -EFAULT && !strcmp(step, "KVM_CREATE_VCPU"));
}

/* What root sees of VMs and of events that count guests */
static void look(char *text, size_t size)
{
	int fd = open(EXCLUSION, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	if (n < 0) {
		printf("Bail out! %s: %s\n", EXCLUSION, strerror(errno));
		exit(2);
	}
	text[n] = 0;
	close(fd);
}

static void every_place(const char *name, int (*scenario)(void), bool vm_beside)
{
	u32 n, injected = 0, survived = 0;
	char before[1000], after[1000], text[100];
	int r;

	look(before, sizeof(before));
	for (n = 1;; n++) {
		step = "";
		fail_nth(n);
		r = scenario();
		if (left_to_fail()) {
			fail_nth(0);
			break;
		}
		injected++;
		survived += !r;
		if (r && !fits(r)) {
			check(false, name, "the %uth allocation: %s: %s", n, step, strerror(-r));
			return;
		}
		look(after, sizeof(after));
		if (strcmp(before, after)) {
			check(false, name, "the %uth allocation left behind (%s): %s", n, step, after);
			return;
		}
	}
	printf("# %s: %u allocations failed, %u times it did not matter\n", name, injected, survived);
	snprintf(text, sizeof(text), "%s, each allocation fails once", name);
	check(injected > 0 && !r, text, "%u failed; without a failure: %s: %s", injected, step, strerror(-r));
	if (vm_beside)
		return;
	snprintf(text, sizeof(text), "%s, and all goes on", name);
	r = a_vm();
	r = r ?: events_alone();
	check(!r, text, "%s: %s", step, strerror(-r));
}

int main(int argc, char **argv)
{
	static struct vm beside;
	u32 eax, ebx, ecx, edx;
	int r;

	__cpuid(0, eax, ebx, ecx, edx);
	amd = ebx == 0x68747541;	/* Auth */
	if (argc > 1 && !strcmp(argv[1], "vm")) {
		r = a_vm();
		if (r == -EBUSY || r == -ENOMEM)
			puts("refused");
		else
			printf(r ? "%s: %s\n" : "exact\n", step, strerror(-r));
		return 0;
	}
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth_fd < 0) {
		printf("Bail out! fail-nth: %s\n", strerror(errno));
		return 2;
	}
	r = a_vm();
	check(!r, "without failures", "%s: %s", step, strerror(-r));
	every_place("a VM", a_vm, false);
	every_place("a VM that is refused and tries again", a_vm_in_somebodys_way, false);
	every_place("events", events_alone, false);
	every_place("inherited events", inherited, false);
	r = vm_begin(&beside);
	r = r ?: vm_add_vcpu(&beside, 0);
	check(!r, "a VM beside", "%s: %s", step, strerror(-r));
	every_place("events beside a VM", events_beside_a_vm, true);
	r = vm_run(&beside);
	check(!r, "which counts exactly", "%s: %s", step, strerror(-r));
	vm_end(&beside);
	return ktap_end();
}
