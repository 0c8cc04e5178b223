// SPDX-License-Identifier: GPL-2.0
/*
 * vm MILLISECONDS [perf-based]: a VM whose guest spins for so long. Says "running" once it has its vCPU, which is when
 * the VM has got the PMU, unless its vPMU is to be a perf-based one, and "done" at the end; or what went wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>

#ifndef KVM_PMU_CAP_PERF_BASED
#define KVM_PMU_CAP_PERF_BASED (1 << 29)
#endif

static void kick(int signal)
{
	(void)signal;
}

static int failed(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region region = { .memory_size = 4096 };
	static const uint8_t code[] = { 0xeb, 0xfe };	/* jmp . */
	struct kvm_regs regs = { .rflags = 2 };
	struct itimerval timer = { 0 };
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_PMU_CAPABILITY,
		.args = { KVM_PMU_CAP_PERF_BASED },
	};
	struct kvm_cpuid2 *cpuid;
	struct kvm_sregs sregs;
	int kvm, vm, vcpu;
	unsigned long ms;
	void *mem;

	if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "perf-based"))) {
		fprintf(stderr, "usage: %s MILLISECONDS [perf-based]\n", argv[0]);
		return 2;
	}
	ms = strtoul(argv[1], NULL, 0);

	kvm = open("/dev/kvm", O_RDWR);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (kvm < 0 || vm < 0 || mem == MAP_FAILED || ioctl(vm, KVM_CREATE_IRQCHIP))
		return failed("creating a VM");
	if (argc == 3 && ioctl(vm, KVM_ENABLE_CAP, &cap))
		return failed("KVM_CAP_PMU_CAPABILITY");
	memcpy(mem, code, sizeof(code));
	region.userspace_addr = (uintptr_t)mem;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return failed("KVM_CREATE_VCPU");

	cpuid = calloc(1, sizeof(*cpuid) + 100 * sizeof(cpuid->entries[0]));
	cpuid->nent = 100;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) || ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) ||
	    ioctl(vcpu, KVM_SET_CPUID2, cpuid) || ioctl(vcpu, KVM_GET_SREGS, &sregs))
		return failed("preparing the vCPU");
	sregs.cs.base = sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
		return failed("the vCPU's registers");

	printf("running\n");
	fflush(stdout);
	sigaction(SIGALRM, &(struct sigaction) { .sa_handler = kick }, NULL);
	timer.it_value.tv_sec = ms / 1000;
	timer.it_value.tv_usec = ms % 1000 * 1000;
	setitimer(ITIMER_REAL, &timer, NULL);
	if (ioctl(vcpu, KVM_RUN, 0) == 0 || errno != EINTR)
		return failed("KVM_RUN");
	printf("done\n");
	return 0;
}
