// SPDX-License-Identifier: GPL-2.0
/*
 * abi: what KVM tells user space about CPUID, MSRs and what follows from them, as lines of text, each fact on one line:
 *
 *	supported LEAF.INDEX REGISTER VALUE	KVM_GET_SUPPORTED_CPUID
 *	emulated LEAF.INDEX REGISTER VALUE	KVM_GET_EMULATED_CPUID
 *	new|run|cr4|noapic|mwait LEAF.INDEX REGISTER VALUE
 *						KVM_GET_CPUID2 of a vCPU that has the supported CPUID: before it ran;
 *						after; after CR4 got all its bits; after the APIC was turned off; after
 *						MISC_ENABLE got MWAIT while its quirk is off
 *	extension NAME VALUE			KVM_CHECK_EXTENSION
 *	disable-exits BITS WHEN RESULT		KVM_ENABLE_CAP(KVM_CAP_X86_DISABLE_EXITS)
 *	sregs-cr4 BIT bare|supported RESULT	KVM_SET_SREGS with this bit of CR4, without CPUID and with the supported
 *	one set-cpuid WHAT RESULT			KVM_SET_CPUID2
 *	msr-index INDEX yes, feature-msr INDEX VALUE
 *						KVM_GET_MSR_INDEX_LIST, KVM_GET_MSR_FEATURE_INDEX_LIST
 *
 * LEAF and VALUE are hexadecimal. compare.py reads them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ENTRIES			256
#define MSRS			1024
#define GUEST_PAGE		0x1000UL
#define CR4_OSXSAVE		(1UL << 18)
#define CR4_VMXE		(1UL << 13)
#define CR4_SMXE		(1UL << 14)
#define CR4_PCIDE		(1UL << 17)
#define CR4_LA57		(1UL << 12)
#define MSR_APIC_BASE		0x1b
#define APIC_BASE_ENABLE	(1UL << 11)
#define MSR_MISC_ENABLE		0x1a0
#define MISC_ENABLE_MWAIT	(1UL << 18)
#define QUIRK_MISC_ENABLE_NO_MWAIT	(1 << 4)

static int kvm;

__attribute__((format(printf, 1, 2), noreturn))
static void fail(const char *fmt, ...)
{
	int error = errno;
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "abi: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, ": %s\n", strerror(error));
	exit(1);
}

static const char *result(int ret)
{
	return ret < 0 ? strerrorname_np(errno) : "ok";
}

static struct kvm_cpuid2 *new_cpuid(void)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + ENTRIES * sizeof(cpuid->entries[0]));

	if (!cpuid)
		fail("memory");
	cpuid->nent = ENTRIES;
	return cpuid;
}

static void print_cpuid(const char *what, const struct kvm_cpuid2 *cpuid)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		printf("%s %08x.%x eax %08x\n", what, e->function, e->index, e->eax);
		printf("%s %08x.%x ebx %08x\n", what, e->function, e->index, e->ebx);
		printf("%s %08x.%x ecx %08x\n", what, e->function, e->index, e->ecx);
		printf("%s %08x.%x edx %08x\n", what, e->function, e->index, e->edx);
		printf("%s %08x.%x flags %08x\n", what, e->function, e->index, e->flags);
	}
}

static struct kvm_cpuid2 *get_cpuid(int fd, unsigned long request, const char *what)
{
	struct kvm_cpuid2 *cpuid = new_cpuid();

	if (ioctl(fd, request, cpuid))
		fail("%s CPUID", what);
	print_cpuid(what, cpuid);
	return cpuid;
}

struct vm {
	int fd;
	int vcpu;
	struct kvm_run *run;
};

static int new_vm(void)
{
	int fd = ioctl(kvm, KVM_CREATE_VM, 0);

	if (fd < 0)
		fail("KVM_CREATE_VM");
	return fd;
}

/* A VM with an interrupt controller in the kernel and one page, in which the vCPU finds "out %al, $0; jmp" to itself. */
static struct vm new_vcpu(void)
{
	static const uint8_t code[] = { 0xe6, 0x00, 0xeb, 0xfc };
	struct vm vm = { .fd = new_vm() };
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = GUEST_PAGE,
		.memory_size = 4096,
	};
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *page;

	if (ioctl(vm.fd, KVM_CREATE_IRQCHIP))
		fail("KVM_CREATE_IRQCHIP");
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		fail("mmap");
	memcpy(page, code, sizeof(code));
	region.userspace_addr = (uintptr_t)page;
	if (ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &region))
		fail("KVM_SET_USER_MEMORY_REGION");
	vm.vcpu = ioctl(vm.fd, KVM_CREATE_VCPU, 0);
	if (vm.vcpu < 0)
		fail("KVM_CREATE_VCPU");
	vm.run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm.vcpu, 0);
	if (vm.run == MAP_FAILED)
		fail("mapping the vCPU");
	return vm;
}

static void close_vm(struct vm *vm)
{
	munmap(vm->run, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	close(vm->vcpu);
	close(vm->fd);
}

static void get_sregs(struct vm *vm, struct kvm_sregs *sregs)
{
	if (ioctl(vm->vcpu, KVM_GET_SREGS, sregs))
		fail("KVM_GET_SREGS");
}

static void run(struct vm *vm)
{
	struct kvm_regs regs = { .rip = GUEST_PAGE, .rflags = 2 };
	struct kvm_sregs sregs;

	get_sregs(vm, &sregs);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vm->vcpu, KVM_SET_SREGS, &sregs) || ioctl(vm->vcpu, KVM_SET_REGS, &regs))
		fail("the vCPU's registers");
	if (ioctl(vm->vcpu, KVM_RUN, 0) || vm->run->exit_reason != KVM_EXIT_IO)
		fail("KVM_RUN ended with exit reason %u", vm->run->exit_reason);
}

static uint64_t get_msr(int fd, uint32_t index, bool *there)
{
	struct { struct kvm_msrs head; struct kvm_msr_entry entry; } msr = { { .nmsrs = 1 }, { .index = index } };

	*there = ioctl(fd, KVM_GET_MSRS, &msr) == 1;
	return msr.entry.data;
}

static void set_msr(struct vm *vm, uint32_t index, uint64_t value)
{
	struct { struct kvm_msrs head; struct kvm_msr_entry entry; } msr = {
		{ .nmsrs = 1 }, { .index = index, .data = value }
	};

	if (ioctl(vm->vcpu, KVM_SET_MSRS, &msr) != 1)
		fail("MSR %x", index);
}

/* Each bit of CR4 by itself; returns those that were taken. */
static uint64_t sregs_cr4(struct vm *vm, const char *which)
{
	struct kvm_sregs sregs;
	uint64_t taken = 0;

	for (int bit = 0; bit < 33; bit++) {
		int ret;

		get_sregs(vm, &sregs);
		sregs.cr4 = 1ULL << bit;
		ret = ioctl(vm->vcpu, KVM_SET_SREGS, &sregs);
		printf("sregs-cr4 %d %s %s\n", bit, which, result(ret));
		if (!ret)
			taken |= sregs.cr4;
	}
	get_sregs(vm, &sregs);
	sregs.cr4 = 0;
	if (ioctl(vm->vcpu, KVM_SET_SREGS, &sregs))
		fail("CR4 = 0");
	return taken;
}

static int enable_cap(int fd, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap enable = { .cap = cap, .args = { arg } };

	return ioctl(fd, KVM_ENABLE_CAP, &enable);
}

static void cpuids(const struct kvm_cpuid2 *supported)
{
	struct vm vm = new_vcpu();
	struct kvm_sregs sregs;
	struct kvm_cpuid2 *cpuid;
	uint64_t cr4, value;
	bool there;

	sregs_cr4(&vm, "bare");
	printf("set-cpuid supported %s\n", result(ioctl(vm.vcpu, KVM_SET_CPUID2, supported)));
	free(get_cpuid(vm.vcpu, KVM_GET_CPUID2, "new"));
	run(&vm);
	cpuid = get_cpuid(vm.vcpu, KVM_GET_CPUID2, "run");
	printf("set-cpuid same-after-run %s\n", result(ioctl(vm.vcpu, KVM_SET_CPUID2, cpuid)));
	/* What hotplug does: the CPUID that was set, although KVM has changed some of its bits since. */
	printf("set-cpuid supported-after-run %s\n", result(ioctl(vm.vcpu, KVM_SET_CPUID2, supported)));
	cpuid->entries[0].ebx ^= 1;
	printf("set-cpuid other-after-run %s\n", result(ioctl(vm.vcpu, KVM_SET_CPUID2, cpuid)));
	free(cpuid);

	cr4 = sregs_cr4(&vm, "supported") & ~(CR4_VMXE | CR4_SMXE | CR4_PCIDE | CR4_LA57);
	get_sregs(&vm, &sregs);
	sregs.cr4 = cr4;
	if (ioctl(vm.vcpu, KVM_SET_SREGS, &sregs))
		fail("CR4 = %llx", (unsigned long long)cr4);
	free(get_cpuid(vm.vcpu, KVM_GET_CPUID2, "cr4"));
	printf("set-cpuid supported-after-cr4 %s\n", result(ioctl(vm.vcpu, KVM_SET_CPUID2, supported)));

	value = get_msr(vm.vcpu, MSR_APIC_BASE, &there);
	set_msr(&vm, MSR_APIC_BASE, value & ~APIC_BASE_ENABLE);
	free(get_cpuid(vm.vcpu, KVM_GET_CPUID2, "noapic"));
	close_vm(&vm);

	vm = new_vcpu();
	if (enable_cap(vm.fd, KVM_CAP_DISABLE_QUIRKS2, QUIRK_MISC_ENABLE_NO_MWAIT))
		fail("disabling a quirk");
	if (ioctl(vm.vcpu, KVM_SET_CPUID2, supported))
		fail("KVM_SET_CPUID2");
	value = get_msr(vm.vcpu, MSR_MISC_ENABLE, &there);
	set_msr(&vm, MSR_MISC_ENABLE, value | MISC_ENABLE_MWAIT);
	free(get_cpuid(vm.vcpu, KVM_GET_CPUID2, "mwait"));
	close_vm(&vm);

	vm = new_vcpu();
	cpuid = new_cpuid();
	cpuid->nent = 0;
	printf("set-cpuid empty %s\n", result(ioctl(vm.vcpu, KVM_SET_CPUID2, cpuid)));
	sregs_cr4(&vm, "empty");
	free(cpuid);
	close_vm(&vm);
}

static void extensions(void)
{
	static const struct { const char *name; int number; } list[] = {
		{ "DISABLE_EXITS", KVM_CAP_X86_DISABLE_EXITS },
		{ "EXT_EMUL_CPUID", KVM_CAP_EXT_EMUL_CPUID },
		{ "ENFORCE_PV_FEATURE_CPUID", KVM_CAP_ENFORCE_PV_FEATURE_CPUID },
		{ "TSC_DEADLINE_TIMER", KVM_CAP_TSC_DEADLINE_TIMER },
		{ "X2APIC_API", KVM_CAP_X2APIC_API },
		{ "PMU_CAPABILITY", KVM_CAP_PMU_CAPABILITY },
		{ "PMU_EVENT_FILTER", KVM_CAP_PMU_EVENT_FILTER },
		{ "DISABLE_QUIRKS2", KVM_CAP_DISABLE_QUIRKS2 },
		{ "XSAVE2", KVM_CAP_XSAVE2 },
		{ "NESTED_STATE", KVM_CAP_NESTED_STATE },
		{ "HYPERV_CPUID", KVM_CAP_HYPERV_CPUID },
		{ "MAX_VCPUS", KVM_CAP_MAX_VCPUS },
		{ "MAX_VCPU_ID", KVM_CAP_MAX_VCPU_ID },
	};
	int vm = new_vm();

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		printf("extension %s %x\n", list[i].name, ioctl(kvm, KVM_CHECK_EXTENSION, list[i].number));
		printf("vm-extension %s %x\n", list[i].name, ioctl(vm, KVM_CHECK_EXTENSION, list[i].number));
	}
	close(vm);
	for (int bits = 1; bits < 32; bits <<= 1) {
		vm = new_vm();
		printf("disable-exits %x first %s\n", bits, result(enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, bits)));
		if (ioctl(vm, KVM_CREATE_VCPU, 0) < 0)
			fail("KVM_CREATE_VCPU");
		printf("disable-exits %x late %s\n", bits, result(enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, bits)));
		close(vm);
	}
}

static void msrs(void)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + MSRS * sizeof(list->indices[0]));

	if (!list)
		fail("memory");
	list->nmsrs = MSRS;
	if (ioctl(kvm, KVM_GET_MSR_INDEX_LIST, list))
		fail("KVM_GET_MSR_INDEX_LIST");
	for (uint32_t i = 0; i < list->nmsrs; i++)
		printf("msr-index %08x yes\n", list->indices[i]);
	list->nmsrs = MSRS;
	if (ioctl(kvm, KVM_GET_MSR_FEATURE_INDEX_LIST, list))
		fail("KVM_GET_MSR_FEATURE_INDEX_LIST");
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		bool there;
		uint64_t value = get_msr(kvm, list->indices[i], &there);

		if (there)
			printf("feature-msr %08x %016llx\n", list->indices[i], (unsigned long long)value);
		else
			printf("feature-msr %08x none\n", list->indices[i]);
	}
	free(list);
}

int main(void)
{
	struct kvm_cpuid2 *supported;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		fail("/dev/kvm");
	supported = get_cpuid(kvm, KVM_GET_SUPPORTED_CPUID, "supported");
	free(get_cpuid(kvm, KVM_GET_EMULATED_CPUID, "emulated"));
	extensions();
	cpuids(supported);
	msrs();
	puts("end");
	return 0;
}
