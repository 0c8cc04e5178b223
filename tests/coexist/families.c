// SPDX-License-Identifier: GPL-2.0
/*
 * families ROUNDS [SEED]: runs in L1 with the passthrough vPMU on, and tries to have a guest that owns the PMU
 * counted for the host.
 *
 * In each round a task that shares nothing, its address space or its threads with others, comes about in one of the
 * ways that there are (fork, vfork, clone with CLONE_VM without CLONE_THREAD, threads, exec; its parent may exit before
 * it goes on), while events with inherit and without are opened before, meanwhile, and from another process. It then
 * tries to create a VM and to run it. Whether it may is a matter of luck; that no event was there which would have
 * counted the guest is up to the kernel, which says so in its log if there was one when it handed over the PMU.
 * tests/guest/run looks there. Whatever can be known here is checked here.
 *
 * The seed decides all but the races.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../ktap.h"

#define NR_PIDS		8
#define STACK_SIZE	16384

/* What all processes of the test see. */
static struct shared {
	_Atomic int pids[NR_PIDS];	/* of tasks that an event may be opened for */
	_Atomic int stop;
	_Atomic long vms, vms_refused;
	_Atomic long events, events_refused;
	_Atomic long wrong;
	char what[200];			/* the first thing that went wrong */
} *shared;

static char **arguments;
static unsigned int rng;

static unsigned int chance(unsigned int n)
{
	rng = rng * 1664525 + 1013904223;
	return (rng >> 8) % n;
}

static void wrong(const char *format, ...)
{
	va_list args;

	if (atomic_fetch_add(&shared->wrong, 1))
		return;
	va_start(args, format);
	vsnprintf(shared->what, sizeof(shared->what), format, args);
	va_end(args);
}

static pid_t gettid_now(void)
{
	return syscall(SYS_gettid);
}

/* An event that counts guests, of task @pid. */
static int event_open(pid_t pid, unsigned int kind)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.inherit = kind & 1,
		.exclude_kernel = !!(kind & 2),
		.disabled = !!(kind & 4),
		.enable_on_exec = !!(kind & 8),
		.inherit_stat = (kind & 17) == 17,
		.pinned = !!(kind & 32),
	};
	int fd = syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd >= 0)
		atomic_fetch_add(&shared->events, 1);
	else if (errno == EOPNOTSUPP)
		atomic_fetch_add(&shared->events_refused, 1);
	else if (errno != ESRCH)
		wrong("perf_event_open(pid %d, kind %#x): %s", pid, kind, strerror(errno));
	return fd;
}

/* A guest that does nothing but exits to user space. */
static const uint8_t guest_code[] = { 0xe6, 0x10, 0xeb, 0xfc };	/* 1: out %al, $0x10; jmp 1b */

static int create_vcpu(int kvm, int vm)
{
	static union {
		struct kvm_cpuid2 head;
		char room[sizeof(struct kvm_cpuid2) + 100 * sizeof(struct kvm_cpuid_entry2)];
	} cpuid;
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rflags = 2 };
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);

	if (vcpu < 0)
		return -1;
	cpuid.head.nent = 100;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) || ioctl(vcpu, KVM_SET_CPUID2, &cpuid) ||
	    ioctl(vcpu, KVM_GET_SREGS, &sregs))
		wrong("preparing a vCPU: %s", strerror(errno));
	sregs.cs.base = sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
		wrong("a vCPU's registers: %s", strerror(errno));
	return vcpu;
}

static void run_vm(void)
{
	struct kvm_userspace_memory_region region = { .memory_size = 4096 };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu, i, fd;
	struct kvm_run *run;
	size_t size;
	void *mem;

	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm < 0 || mem == MAP_FAILED || ioctl(vm, KVM_CREATE_IRQCHIP)) {
		wrong("creating a VM: %s", strerror(errno));
		goto out;
	}
	memcpy(mem, guest_code, sizeof(guest_code));
	region.userspace_addr = (uintptr_t)mem;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		wrong("a VM's memory: %s", strerror(errno));

	vcpu = create_vcpu(kvm, vm);
	if (vcpu < 0) {
		if (errno != EBUSY)
			wrong("KVM_CREATE_VCPU: %s", strerror(errno));
		atomic_fetch_add(&shared->vms_refused, 1);
		goto out;
	}
	atomic_fetch_add(&shared->vms, 1);

	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	for (i = 0; i < 4 && run != MAP_FAILED; i++) {
		if (ioctl(vcpu, KVM_RUN, 0) || run->exit_reason != KVM_EXIT_IO) {
			if (errno == EINTR)
				continue;
			wrong("KVM_RUN: %s, exit reason %u", strerror(errno), run->exit_reason);
		}
		/* None of this task's own, now that there is the VM. */
		fd = event_open(gettid_now(), chance(64));
		if (fd >= 0) {
			wrong("an event that counts the VM's task was not refused");
			close(fd);
		}
	}
	if (run != MAP_FAILED)
		munmap(run, size);
	close(vcpu);
out:
	munmap(mem, 4096);
	close(vm);
	close(kvm);
}

static void *thread(void *arg)
{
	unsigned int slot = (uintptr_t)arg;

	atomic_store(&shared->pids[slot], gettid_now());
	if (slot & 1)
		run_vm();
	else
		sched_yield();
	atomic_store(&shared->pids[slot], 0);
	return NULL;
}

static int task(void *arg)
{
	(void)arg;
	run_vm();
	return 0;
}

static void wait_for(pid_t pid)
{
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* A task that shares the address space, but is a process of its own. */
static void clone_vm(int flags)
{
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid = clone(task, stack + STACK_SIZE, CLONE_VM | flags | SIGCHLD, NULL);

	if (pid < 0)
		wrong("clone: %s", strerror(errno));
	else
		wait_for(pid);
	munmap(stack, STACK_SIZE);
}

/* One generation: events, then what runs the VM. */
static void generation(unsigned int depth)
{
	unsigned int slot = chance(NR_PIDS);
	int fds[2] = { -1, -1 };
	pthread_t threads[2];
	char seed[16];
	pid_t pid;

	atomic_store(&shared->pids[slot], gettid_now());
	if (!chance(3))
		fds[0] = event_open(0, chance(64));
	if (!chance(4))
		fds[1] = event_open(getppid(), chance(64));

	switch (depth ? chance(8) : 7) {
	case 0:
		pid = fork();
		if (!pid) {
			generation(depth - 1);
			_exit(0);
		}
		if (fds[0] >= 0 && chance(2)) {
			close(fds[0]);
			fds[0] = -1;
		}
		wait_for(pid);
		break;
	case 1:
		/* The parent is gone before the child goes on; the grandparent waits as a subreaper. */
		if (!fork()) {
			while (getppid() != 1 && chance(3))
				sched_yield();
			generation(depth - 1);
		}
		_exit(0);
	case 2:
		snprintf(seed, sizeof(seed), "%u", rng);
		pid = vfork();
		if (!pid) {
			execl("/proc/self/exe", arguments[0], "generation", seed, NULL);
			_exit(99);
		}
		wait_for(pid);
		break;
	case 3:
		snprintf(seed, sizeof(seed), "%u", rng);
		execl("/proc/self/exe", arguments[0], "generation", seed, NULL);
		wrong("exec: %s", strerror(errno));
		break;
	case 4:
		clone_vm(0);
		break;
	case 5:
		clone_vm(CLONE_VFORK);
		break;
	case 6:
		for (slot = 0; slot < 2; slot++)
			pthread_create(&threads[slot], NULL, thread, (void *)(uintptr_t)(NR_PIDS - 1 - slot));
		for (slot = 0; slot < 2; slot++)
			pthread_join(threads[slot], NULL);
		break;
	default:
		if (chance(2)) {
			close(fds[0]);
			close(fds[1]);
			fds[0] = fds[1] = -1;
		}
		run_vm();
	}
	for (slot = 0; slot < 2; slot++) {
		if (fds[slot] >= 0)
			close(fds[slot]);
	}
}

/* Another process, which opens events for the tasks that it finds. */
static void opener(void)
{
	int fds[4] = { -1, -1, -1, -1 };
	unsigned int i = 0;
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!atomic_load(&shared->stop)) {
		pid = atomic_load(&shared->pids[chance(NR_PIDS)]);
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = pid ? event_open(pid, chance(64)) : -1;
		i = (i + 1) % 4;
		if (!chance(4))
			usleep(chance(300));
	}
	_exit(0);
}

static void no_zombies(void)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
}

int main(int argc, char **argv)
{
	const char *name = "families";
	unsigned long rounds, i;
	pid_t other, pid;
	int fd;

	arguments = argv;
	if (argc == 3 && !strcmp(argv[1], "generation")) {
		/* Inherited over exec() as a file */
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, 100, 0);
		rng = strtoul(argv[2], NULL, 0);
		if (shared == MAP_FAILED)
			return 98;
		generation(1);
		no_zombies();
		return 0;
	}
	if (argc < 2) {
		fprintf(stderr, "usage: %s ROUNDS [SEED]\n", argv[0]);
		return 2;
	}
	rounds = strtoul(argv[1], NULL, 0);
	rng = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;

	fd = memfd_create("families", 0);
	if (fd < 0 || ftruncate(fd, sizeof(*shared)) || dup2(fd, 100) != 100) {
		perror("memfd");
		return 1;
	}
	close(fd);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, 100, 0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	/* Orphans of the family come here, and are waited for. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	other = fork();
	if (!other)
		opener();
	for (i = 0; i < rounds; i++) {
		unsigned int kind = chance(64), seed = chance(1U << 31);
		int event = chance(2) ? -1 : event_open(0, kind);

		pid = fork();
		if (!pid) {
			rng = seed;
			generation(3);
			_exit(0);
		}
		wait_for(pid);
		/* All others of this family */
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			;
		if (event >= 0)
			close(event);
		if (rounds >= 20 && !((i + 1) % (rounds / 20)))
			printf("# %lu of %lu rounds: %ld VMs, %ld refused; %ld events, %ld refused\n", i + 1, rounds,
			       (long)shared->vms, (long)shared->vms_refused, (long)shared->events,
			       (long)shared->events_refused);
	}
	atomic_store(&shared->stop, 1);
	no_zombies();

	check(!shared->wrong, name, "%ld times wrong, first: %s", (long)shared->wrong, shared->what);
	/* Else this tests nothing. */
	check(shared->vms >= (long)rounds / 20 && shared->vms_refused >= (long)rounds / 20,
	      "VMs were refused, and were not", "%ld VMs, %ld refused", (long)shared->vms, (long)shared->vms_refused);
	check(shared->events >= (long)rounds / 20 && shared->events_refused >= (long)rounds / 20,
	      "events were refused, and were not", "%ld events, %ld refused", (long)shared->events,
	      (long)shared->events_refused);
	return ktap_end();
}
