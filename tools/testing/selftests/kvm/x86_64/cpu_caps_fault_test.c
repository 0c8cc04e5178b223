// SPDX-License-Identifier: GPL-2.0-only
/*
 * A KVM_SET_CPUID2 that runs out of memory, at each of its allocations, leaves the
 * vCPU with the CPUID and the features that it had.
 */
#include <fcntl.h>
#include <unistd.h>

#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define FAIL_NTH		"/proc/thread-self/fail-nth"
#define FAILSLAB		"/sys/kernel/debug/failslab/"

#define MTRR_PHYS_BASE_0	0x200
#define MTRR_WRITE_BACK		6
#define HYPERV_INTERFACE	0x40000001
#define HYPERV_SIGNATURE	0x31237648	/* "Hv#1" */

static void write_file(int fd, const char *text)
{
	TEST_ASSERT(pwrite(fd, text, strlen(text), 0) == strlen(text),
		    "Writing '%s' failed, errno %d", text, errno);
}

/* Without this, allocations that can wait for memory don't fail. */
static void let_all_allocations_fail(void)
{
	int fd = open(FAILSLAB "ignore-gfp-wait", O_WRONLY);

	__TEST_REQUIRE(fd >= 0, "No " FAILSLAB ": CONFIG_FAILSLAB and debugfs wanted");
	write_file(fd, "N");
	close(fd);
}

/* Let the allocation number @nth of the ioctl fail.  True if there was one. */
static bool set_cpuid_failing(struct kvm_vcpu *vcpu, struct kvm_cpuid2 *cpuid, int nth,
			      int *r, int *error)
{
	char text[16] = {};
	int fd;

	fd = open(FAIL_NTH, O_RDWR);
	TEST_ASSERT(fd >= 0, "No " FAIL_NTH);

	snprintf(text, sizeof(text), "%d", nth);
	write_file(fd, text);
	*r = __vcpu_ioctl(vcpu, KVM_SET_CPUID2, cpuid);
	*error = errno;

	TEST_ASSERT(pread(fd, text, sizeof(text) - 1, 0) > 0, "Reading " FAIL_NTH " failed");
	write_file(fd, "0");
	close(fd);
	return !atoi(text);
}

static struct kvm_cpuid2 *copy_cpuid(const struct kvm_cpuid2 *cpuid)
{
	struct kvm_cpuid2 *copy = allocate_kvm_cpuid2(cpuid->nent);

	memcpy(copy, cpuid, kvm_cpuid2_size(cpuid->nent));
	return copy;
}

static struct kvm_cpuid_entry2 *entry_of(struct kvm_cpuid2 *cpuid, uint32_t function)
{
	return (struct kvm_cpuid_entry2 *)get_cpuid_entry(cpuid, function, 0);
}

static void check_cr4(struct kvm_vcpu *vcpu, uint64_t bit, bool works)
{
	struct kvm_sregs sregs, before;
	int r;

	vcpu_sregs_get(vcpu, &sregs);
	before = sregs;
	sregs.cr4 |= bit;
	r = _vcpu_sregs_set(vcpu, &sregs);
	TEST_ASSERT(!r == works, "CR4 bit 0x%lx: %d", bit, r);
	vcpu_sregs_set(vcpu, &before);
}

/* CPUID, features and what is derived from them are those of @cpuid, with @phys_bits. */
static void check_vcpu(struct kvm_vcpu *vcpu, const struct kvm_cpuid2 *cpuid, int phys_bits,
		       bool has_de, const char *when, int nth)
{
	vcpu_get_cpuid(vcpu);
	TEST_ASSERT(vcpu->cpuid->nent == cpuid->nent &&
		    !memcmp(vcpu->cpuid, cpuid, kvm_cpuid2_size(cpuid->nent)),
		    "%s, allocation %d: the vCPU has another CPUID", when, nth);

	TEST_ASSERT(_vcpu_set_msr(vcpu, MTRR_PHYS_BASE_0,
				  BIT_ULL(phys_bits - 1) | MTRR_WRITE_BACK) == 1 &&
		    _vcpu_set_msr(vcpu, MTRR_PHYS_BASE_0,
				  BIT_ULL(phys_bits) | MTRR_WRITE_BACK) == 0,
		    "%s, allocation %d: no %d bits of physical addresses", when, nth, phys_bits);
	check_cr4(vcpu, X86_CR4_DE, has_de);
}

static void guest_loop(void)
{
	for (;;)
		GUEST_SYNC(0);
}

/* @ran: KVM then only compares the CPUID with the one that it has. */
static void test_enomem(bool ran)
{
	const char *when = ran ? "After KVM_RUN" : "Before KVM_RUN";
	struct kvm_cpuid2 *old, *new;
	int nth, r, error, failed = 0;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	/* CR4.DE tells which features the vCPU has, but only if KVM is strict. */
	vm = vm_create(1);
	vm_enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_LEGACY_CR4_BITS);
	vcpu = vm_vcpu_add(vm, 0, guest_loop);
	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_MAX_PHY_ADDR, 40);
	old = copy_cpuid(vcpu->cpuid);

	/* Different in all that is checked, and with a Hyper-V that isn't there yet. */
	new = copy_cpuid(old);
	if (!ran) {
		entry_of(new, 0x80000008)->eax = 38 | 48 << 8;
		entry_of(new, 1)->edx &= ~BIT(X86_FEATURE_DE.bit);
		entry_of(new, HYPERV_INTERFACE)->eax = HYPERV_SIGNATURE;
	} else {
		vcpu_run(vcpu);
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	}

	for (nth = 1;; nth++) {
		TEST_ASSERT(nth < 100, "KVM_SET_CPUID2 never ends to allocate");
		if (!set_cpuid_failing(vcpu, new, nth, &r, &error))
			break;

		/* KVM may have another way, e.g. vmalloc() instead of kmalloc(). */
		if (!r) {
			vcpu_ioctl(vcpu, KVM_SET_CPUID2, old);
			continue;
		}
		TEST_ASSERT(error == ENOMEM, "%s, allocation %d: errno %d", when, nth, error);
		check_vcpu(vcpu, old, 40, true, when, nth);
		failed++;
	}
	pr_info("%s: %d allocations, %d failed\n", when, nth - 1, failed);
	TEST_ASSERT(!r, "%s: KVM_SET_CPUID2 fails without a reason, errno %d", when, error);
	TEST_ASSERT(failed, "%s: no allocation failed", when);
	TEST_ASSERT(ran || failed > 1, "%s: Hyper-V was not allocated", when);

	if (ran)
		check_vcpu(vcpu, old, 40, true, when, nth);
	else
		check_vcpu(vcpu, new, 38, false, when, nth);

	if (ran) {
		vcpu_run(vcpu);
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	}
	free(old);
	free(new);
	kvm_vm_free(vm);
}

int main(void)
{
	let_all_allocations_fail();

	test_enomem(false);
	test_enomem(true);

	return 0;
}
