// SPDX-License-Identifier: GPL-2.0-only
/*
 * The features that a vCPU effectively has: those of its CPUID that KVM supports.
 */
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define APICBASE_ENABLE		BIT(11)
#define OSVW_ID_LENGTH		0xc0010140
#define EDX_APIC		BIT(9)

static bool can_read_msr(struct kvm_vcpu *vcpu, uint32_t index)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry;
	} buffer = { .header.nmsrs = 1, .entry.index = index };

	return __vcpu_ioctl(vcpu, KVM_GET_MSRS, &buffer.header) == 1;
}

static uint64_t sync_guest(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		return uc.args[1];
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("Unexpected ucall %lu", uc.cmd);
	}
	return 0;
}

static void guest_loop(void)
{
	for (;;)
		GUEST_SYNC(0);
}

/* OSVW: userspace can put it into any CPUID, but the MSRs need KVM's support. */
static void test_caps_need_kvm_and_cpuid(void)
{
	struct kvm_x86_cpu_feature osvw = KVM_X86_CPU_FEATURE(0x80000001, 0, ECX, 9);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = vm_create_with_one_vcpu(&vcpu, guest_loop);

	vcpu_set_cpuid_feature(vcpu, osvw);
	TEST_ASSERT(vcpu_cpuid_has(vcpu, osvw), "KVM changed OSVW in CPUID");
	TEST_ASSERT_EQ(can_read_msr(vcpu, OSVW_ID_LENGTH), kvm_cpu_has(osvw));

	vcpu_clear_cpuid_feature(vcpu, osvw);
	TEST_ASSERT_EQ(can_read_msr(vcpu, OSVW_ID_LENGTH), false);

	kvm_vm_free(vm);
}

static void set_apic_base_enable(struct kvm_vcpu *vcpu, bool enable)
{
	struct kvm_sregs sregs;

	vcpu_sregs_get(vcpu, &sregs);
	sregs.apic_base &= ~APICBASE_ENABLE;
	if (enable)
		sregs.apic_base |= APICBASE_ENABLE;
	vcpu_sregs_set(vcpu, &sregs);
}

static void check_apic(struct kvm_vcpu *vcpu, bool enabled, bool has_copies)
{
	TEST_ASSERT(vcpu_cpuid_has(vcpu, X86_FEATURE_APIC) == enabled,
		    "CPUID.APIC doesn't follow APIC_BASE (%d)", enabled);
	TEST_ASSERT(!!(vcpu_get_cpuid_entry(vcpu, 0x80000001)->edx & EDX_APIC) ==
		    (enabled && has_copies),
		    "AMD's copy of APIC: enabled %d, model with copies %d", enabled, has_copies);
}

static void test_apic(bool has_copies)
{
	const uint32_t copies = 0x0183f3ff;
	struct kvm_cpuid_entry2 *entry;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = vm_create_with_one_vcpu(&vcpu, guest_loop);

	entry = vcpu_get_cpuid_entry(vcpu, 0x80000001);
	entry->edx &= ~copies;
	if (has_copies)
		entry->edx |= copies;
	vcpu_set_cpuid(vcpu);

	check_apic(vcpu, true, has_copies);
	set_apic_base_enable(vcpu, false);
	check_apic(vcpu, false, has_copies);
	set_apic_base_enable(vcpu, true);
	check_apic(vcpu, true, has_copies);
	set_apic_base_enable(vcpu, false);

	/* Also when the CPUID is new. */
	entry = vcpu_get_cpuid_entry(vcpu, 0x80000001);
	if (has_copies)
		entry->edx |= EDX_APIC;
	vcpu_set_cpuid(vcpu);
	check_apic(vcpu, false, has_copies);

	kvm_vm_free(vm);
}

static void check_cpuid_is(struct kvm_vcpu *vcpu, const struct kvm_cpuid2 *want, const char *when)
{
	vcpu_get_cpuid(vcpu);
	TEST_ASSERT(vcpu->cpuid->nent == want->nent &&
		    !memcmp(vcpu->cpuid, want, kvm_cpuid2_size(want->nent)),
		    "%s: the vCPU has lost its CPUID", when);
}

static void refuse_cpuid(struct kvm_vcpu *vcpu, struct kvm_cpuid2 *wrong, int want_errno,
			 const struct kvm_cpuid2 *before, const char *when)
{
	int r = __vcpu_ioctl(vcpu, KVM_SET_CPUID2, wrong);

	TEST_ASSERT(r && errno == want_errno, "%s: %d, errno %d, expected errno %d",
		    when, r, errno, want_errno);
	check_cpuid_is(vcpu, before, when);
}

static struct kvm_cpuid2 *copy_cpuid(const struct kvm_cpuid2 *cpuid, int nent)
{
	struct kvm_cpuid2 *copy = allocate_kvm_cpuid2(max_t(int, nent, cpuid->nent));

	memcpy(copy, cpuid, kvm_cpuid2_size(cpuid->nent));
	copy->nent = nent;
	return copy;
}

static struct kvm_cpuid_entry2 *entry_of(struct kvm_cpuid2 *cpuid, uint32_t function)
{
	return (struct kvm_cpuid_entry2 *)get_cpuid_entry(cpuid, function, 0);
}

/* A CPUID that KVM refuses leaves no trace, and one that differs by dynamic bits is no other. */
static void test_set_cpuid(void)
{
	struct kvm_cpuid2 *first, *now, *wrong, *big;
	struct kvm_sregs sregs;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	bool xsave;

	vm = vm_create_with_one_vcpu(&vcpu, guest_loop);
	vcpu_get_cpuid(vcpu);
	first = copy_cpuid(vcpu->cpuid, vcpu->cpuid->nent);
	xsave = vcpu_cpuid_has(vcpu, X86_FEATURE_XSAVE);

	big = copy_cpuid(first, 1000);
	refuse_cpuid(vcpu, big, E2BIG, first, "Too many entries");

	wrong = copy_cpuid(first, first->nent);
	entry_of(wrong, 1)->ecx = 0;
	entry_of(wrong, 0x80000008)->eax = 50 << 8;
	refuse_cpuid(vcpu, wrong, EINVAL, first, "50 bits of virtual addresses");

	/* The features are still those of the old CPUID. */
	vcpu_sregs_get(vcpu, &sregs);
	sregs.cr4 ^= xsave ? X86_CR4_OSXSAVE : X86_CR4_TSD;
	vcpu_sregs_set(vcpu, &sregs);
	sregs.cr4 ^= xsave ? X86_CR4_OSXSAVE : X86_CR4_TSD;
	vcpu_sregs_set(vcpu, &sregs);

	sync_guest(vcpu);

	/* Change what KVM owns, so that the vCPU's CPUID isn't what was set. */
	sregs.cr4 ^= xsave ? X86_CR4_OSXSAVE : 0;
	sregs.apic_base &= ~APICBASE_ENABLE;
	vcpu_sregs_set(vcpu, &sregs);
	vcpu_get_cpuid(vcpu);
	now = copy_cpuid(vcpu->cpuid, vcpu->cpuid->nent);
	TEST_ASSERT(memcmp(first, now, kvm_cpuid2_size(first->nent)),
		    "CPUID doesn't follow CR4 and APIC_BASE");

	vcpu_ioctl(vcpu, KVM_SET_CPUID2, first);
	check_cpuid_is(vcpu, now, "The CPUID of before");

	free(wrong);
	wrong = copy_cpuid(first, first->nent);
	entry_of(wrong, 7)->ebx ^= BIT(8);
	refuse_cpuid(vcpu, wrong, EINVAL, now, "Another feature after KVM_RUN");
	refuse_cpuid(vcpu, big, E2BIG, now, "Too many entries after KVM_RUN");

	wrong->nent--;
	refuse_cpuid(vcpu, wrong, EINVAL, now, "An entry less after KVM_RUN");

	vcpu_ioctl(vcpu, KVM_SET_CPUID2, now);
	check_cpuid_is(vcpu, now, "The current CPUID");
	sync_guest(vcpu);

	free(first);
	free(now);
	free(wrong);
	free(big);
	kvm_vm_free(vm);
}

static void guest_monitor(void)
{
	for (;;)
		GUEST_SYNC(kvm_asm_safe("monitor", "a"(guest_monitor), "c"(0), "d"(0)));
}

static void test_mwait(uint64_t disabled_quirks, bool in_cpuid, bool in_msr)
{
	const bool msr_decides = disabled_quirks & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT;
	const bool has = msr_decides ? in_msr : in_cpuid;
	const bool works = has || !(disabled_quirks & KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t vector;

	vm = vm_create_with_one_vcpu(&vcpu, guest_monitor);
	vm_enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, disabled_quirks);
	vcpu_set_or_clear_cpuid_feature(vcpu, X86_FEATURE_MWAIT, in_cpuid);
	vcpu_set_msr(vcpu, MSR_IA32_MISC_ENABLE, in_msr ? MSR_IA32_MISC_ENABLE_MWAIT : 0);

	TEST_ASSERT(vcpu_cpuid_has(vcpu, X86_FEATURE_MWAIT) == has,
		    "CPUID.MWAIT: quirks off 0x%lx, CPUID %d, MSR %d, expected %d",
		    disabled_quirks, in_cpuid, in_msr, has);

	vector = sync_guest(vcpu);
	TEST_ASSERT(vector == (works ? 0 : UD_VECTOR),
		    "MONITOR: quirks off 0x%lx, CPUID %d, MSR %d, vector %lu, expected %d",
		    disabled_quirks, in_cpuid, in_msr, vector, works ? 0 : UD_VECTOR);

	kvm_vm_free(vm);
}

static void test_mwait_all(void)
{
	struct kvm_cpuid2 *emulated = allocate_kvm_cpuid2(16);
	int i;

	TEST_ASSERT(!kvm_cpu_has(X86_FEATURE_MWAIT), "MWAIT is supported");

	/* KVM wants the padding to be zero. */
	memset(emulated->entries, 0, 16 * sizeof(*emulated->entries));
	kvm_ioctl(open_kvm_dev_path_or_exit(), KVM_GET_EMULATED_CPUID, emulated);
	TEST_ASSERT(!kvm_cpuid_has(emulated, X86_FEATURE_MWAIT), "MWAIT is emulated");
	free(emulated);

	if (!this_cpu_has(X86_FEATURE_MWAIT)) {
		pr_info("No MWAIT, so no guests that use it\n");
		return;
	}

	for (i = 0; i < 16; i++)
		test_mwait((i & 1 ? KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT : 0) |
			   (i & 2 ? KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS : 0), i & 4, i & 8);
}

static void guest_read_xss(void)
{
	uint64_t ignored;

	GUEST_SYNC(rdmsr_safe(0xda0, &ignored));
}

/*
 * On SVM the guest can execute XSAVES without seeing it in CPUID, so KVM switches
 * XSS.  Whether it may access XSS follows CPUID alone, everywhere.
 */
static void test_xss(bool in_cpuid)
{
	struct kvm_x86_cpu_feature xsaves = KVM_X86_CPU_FEATURE(0xd, 1, EAX, 3);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!kvm_cpu_has(X86_FEATURE_XSAVE))
		return;

	vm = vm_create_with_one_vcpu(&vcpu, guest_read_xss);
	vcpu_set_or_clear_cpuid_feature(vcpu, xsaves, in_cpuid);
	TEST_ASSERT_EQ(sync_guest(vcpu), in_cpuid ? 0 : GP_VECTOR);
	kvm_vm_free(vm);
}

static void test_disable_exits(void)
{
	const uint64_t allowed = kvm_check_cap(KVM_CAP_X86_DISABLE_EXITS);
	struct kvm_vm *vm;
	uint64_t bit;
	int i, r;

	for (i = 0; i < 64; i++) {
		bit = BIT(i);
		vm = vm_create_barebones();
		r = __vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, bit);
		if (bit & allowed)
			TEST_ASSERT(!r, "Disabling exits 0x%lx: %d, errno %d", bit, r, errno);
		else
			TEST_ASSERT(r && errno == EINVAL, "Disabling exits 0x%lx of 0x%lx: %d",
				    bit, allowed, r);
		kvm_vm_free(vm);
	}

	vm = vm_create_barebones();
	vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, allowed);
	__vm_vcpu_add(vm, 0);
	r = __vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, allowed);
	TEST_ASSERT(r && errno == EINVAL, "Disabling exits with a vCPU: %d, errno %d", r, errno);
	kvm_vm_free(vm);
}

static void test_supported(void)
{
	TEST_ASSERT(kvm_cpu_has(KVM_X86_CPU_FEATURE(0x1, 0, ECX, 24)),
		    "TSC_DEADLINE_TIMER isn't supported");
	TEST_ASSERT(kvm_cpu_has(X86_FEATURE_HYPERVISOR), "HYPERVISOR isn't supported");
	TEST_ASSERT(!kvm_cpu_has(X86_FEATURE_OSXSAVE) && !kvm_cpu_has(X86_FEATURE_OSPKE),
		    "What the guest's OS enables is supported");
}

int main(void)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_DISABLE_QUIRKS2));

	test_supported();
	test_caps_need_kvm_and_cpuid();
	test_apic(true);
	test_apic(false);
	test_set_cpuid();
	test_mwait_all();
	test_xss(true);
	test_xss(false);
	test_disable_exits();

	return 0;
}
