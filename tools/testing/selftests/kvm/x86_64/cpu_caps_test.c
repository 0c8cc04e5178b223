// SPDX-License-Identifier: GPL-2.0-only
/*
 * The features that a vCPU effectively has: those of its CPUID that KVM supports.
 */
#include <asm/kvm_para.h>

#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define APICBASE_ENABLE		BIT(11)
#define OSVW_ID_LENGTH		0xc0010140
#define EDX_APIC		BIT(9)
#define MTRR_PHYS_BASE_0	0x200
#define MTRR_WRITE_BACK		6
#define OTHER_PV_BASE		0x40000100
#define XCOMP_BV_COMPACTED	BIT_ULL(63)

#define X86_FEATURE_OSVW	KVM_X86_CPU_FEATURE(0x80000001, 0, ECX, 9)

static bool can_read_msr(struct kvm_vcpu *vcpu, uint32_t index)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry;
	} buffer = { .header.nmsrs = 1, .entry.index = index };

	return __vcpu_ioctl(vcpu, KVM_GET_MSRS, &buffer.header) == 1;
}

static bool has_entry(struct kvm_vcpu *vcpu, uint32_t function, uint32_t index)
{
	int i;

	for (i = 0; i < vcpu->cpuid->nent; i++) {
		if (vcpu->cpuid->entries[i].function == function &&
		    vcpu->cpuid->entries[i].index == index)
			return true;
	}
	return false;
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
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = vm_create_with_one_vcpu(&vcpu, guest_loop);

	vcpu_set_cpuid_feature(vcpu, X86_FEATURE_OSVW);
	TEST_ASSERT(vcpu_cpuid_has(vcpu, X86_FEATURE_OSVW), "KVM changed OSVW in CPUID");
	TEST_ASSERT_EQ(can_read_msr(vcpu, OSVW_ID_LENGTH), kvm_cpu_has(X86_FEATURE_OSVW));

	vcpu_clear_cpuid_feature(vcpu, X86_FEATURE_OSVW);
	TEST_ASSERT_EQ(can_read_msr(vcpu, OSVW_ID_LENGTH), false);

	kvm_vm_free(vm);
}

/* The CR4 bits that a vCPU can have, each alone: KVM refuses reserved ones. */
static uint64_t possible_cr4(struct kvm_vcpu *vcpu)
{
	struct kvm_sregs sregs;
	uint64_t before, cr4 = 0;
	int i;

	vcpu_sregs_get(vcpu, &sregs);
	before = sregs.cr4;
	for (i = 0; i < 64; i++) {
		sregs.cr4 = BIT_ULL(i);
		if (!_vcpu_sregs_set(vcpu, &sregs))
			cr4 |= sregs.cr4;
	}
	sregs.cr4 = before;
	vcpu_sregs_set(vcpu, &sregs);
	return cr4;
}

/*
 * A vCPU whose CPUID claims all that could govern a bit of CR4 can set no bit that
 * KVM does not support, and one without these features none of them.
 */
static void test_cr4_needs_kvm_and_cpuid(void)
{
	const struct {
		uint64_t bit;
		struct kvm_x86_cpu_feature feature;
	} governed[] = {
		{ X86_CR4_UMIP,		X86_FEATURE_UMIP },
		{ X86_CR4_LA57,		X86_FEATURE_LA57 },
		{ X86_CR4_VMXE,		X86_FEATURE_VMX },
		{ X86_CR4_SMXE,		X86_FEATURE_SMX },
		{ X86_CR4_FSGSBASE,	X86_FEATURE_FSGSBASE },
		{ X86_CR4_PCIDE,	X86_FEATURE_PCID },
		{ X86_CR4_OSXSAVE,	X86_FEATURE_XSAVE },
		{ X86_CR4_SMEP,		X86_FEATURE_SMEP },
		{ X86_CR4_SMAP,		X86_FEATURE_SMAP },
		{ X86_CR4_PKE,		X86_FEATURE_PKU },
		{ X86_CR4_LAM_SUP,	X86_FEATURE_LAM },
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t cr4;
	int i, has;

	for (has = 0; has < 2; has++) {
		vm = vm_create_barebones();
		vcpu = __vm_vcpu_add(vm, 0);
		vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
		for (i = 0; i < ARRAY_SIZE(governed); i++) {
			if (has_entry(vcpu, governed[i].feature.function,
				      governed[i].feature.index))
				vcpu_set_or_clear_cpuid_feature(vcpu, governed[i].feature, has);
		}

		cr4 = possible_cr4(vcpu);
		for (i = 0; i < ARRAY_SIZE(governed); i++) {
			bool want = has && kvm_cpu_has(governed[i].feature);

			TEST_ASSERT(!!(cr4 & governed[i].bit) == want,
				    "CR4 bit 0x%lx: CPUID %d, supported %d, but possible %d",
				    governed[i].bit, has, kvm_cpu_has(governed[i].feature),
				    !want);
		}

		/* In VMX operation, L1 may set the same bits. */
		if (has && kvm_cpu_has(X86_FEATURE_VMX))
			TEST_ASSERT_EQ(vcpu_get_msr(vcpu, MSR_IA32_VMX_CR4_FIXED1), cr4);
		kvm_vm_free(vm);
	}

	if (!kvm_cpu_has(X86_FEATURE_VMX))
		return;

	/* Also the bits of a legacy feature that the vCPU lacks, unless that is forbidden. */
	for (i = 0; i < 2; i++) {
		vm = vm_create_barebones();
		if (i)
			vm_enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_LEGACY_CR4_BITS);
		vcpu = __vm_vcpu_add(vm, 0);
		vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
		vcpu_clear_cpuid_feature(vcpu, X86_FEATURE_DE);
		cr4 = vcpu_get_msr(vcpu, MSR_IA32_VMX_CR4_FIXED1);
		TEST_ASSERT(!!(cr4 & X86_CR4_DE) == !i, "CR4_FIXED1 0x%lx, strict %d: DE", cr4, i);
		TEST_ASSERT_EQ(cr4, possible_cr4(vcpu));
		kvm_vm_free(vm);
	}
}

/*
 * A leaf without sub-leaves is found whatever index userspace has given it, for the
 * features as for everything else.
 */
static void test_index_of_leaf_1(void)
{
	struct kvm_cpuid_entry2 *entry;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t cr4;

	vm = vm_create_barebones();
	vm_enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_LEGACY_CR4_BITS);
	vcpu = __vm_vcpu_add(vm, 0);
	vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
	cr4 = possible_cr4(vcpu);

	entry = vcpu_get_cpuid_entry(vcpu, 1);
	entry->index = 1;
	entry->flags |= KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	vcpu_set_cpuid(vcpu);
	TEST_ASSERT_EQ(possible_cr4(vcpu), cr4);
	kvm_vm_free(vm);
}

#define REAL_MODE_CODE		0x1000

static const uint8_t real_mode_code[] = {
	0x66, 0xb8, 0x01, 0x00, 0x00, 0x00,	/* mov $1, %eax */
	0x0f, 0xa2,				/* cpuid */
	0x66, 0x89, 0xcb,			/* mov %ecx, %ebx */
	0xe6, 0x80,				/* out %al, $0x80 */
	0x66, 0xb9, 0xe0, 0x06, 0x00, 0x00,	/* mov $MSR_IA32_TSC_DEADLINE, %ecx */
	0x0f, 0x30,				/* wrmsr */
};

/* What userspace without KVM's local APIC does about writes to the MSR. */
enum deadline_msr {
	NOTHING,
	WANTS_EXITS,
	DENIES,
	DENIES_AND_WANTS_EXITS,
};

/*
 * Without a local APIC in the kernel, the guest sees the TSC deadline timer only if
 * userspace gets the writes to its MSR, whatever it has put into CPUID.
 */
static void test_tsc_deadline_timer(bool irqchip, enum deadline_msr msr, bool late)
{
	const bool want = irqchip || msr == DENIES_AND_WANTS_EXITS;
	unsigned long deny = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {
			.flags = KVM_MSR_FILTER_WRITE,
			.base = MSR_IA32_TSC_DEADLINE,
			.nmsrs = 1,
			.bitmap = (uint8_t *)&deny,
		},
	};
	struct kvm_vcpu *vcpu = NULL;
	struct kvm_regs regs = {};
	struct kvm_sregs sregs;
	struct kvm_vm *vm;

	vm = vm_create_barebones();
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, REAL_MODE_CODE, 0, 1, 0);
	memcpy(addr_gpa2hva(vm, REAL_MODE_CODE), real_mode_code, sizeof(real_mode_code));
	if (irqchip)
		vm_create_irqchip(vm);
	if (late) {
		vcpu = __vm_vcpu_add(vm, 0);
		vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
	}
	if (msr == WANTS_EXITS || msr == DENIES_AND_WANTS_EXITS)
		vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER);
	if (msr == DENIES || msr == DENIES_AND_WANTS_EXITS)
		vm_ioctl(vm, KVM_X86_SET_MSR_FILTER, &filter);
	if (!late) {
		vcpu = __vm_vcpu_add(vm, 0);
		vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
	}

	vcpu_sregs_get(vcpu, &sregs);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	vcpu_sregs_set(vcpu, &sregs);
	regs.rip = REAL_MODE_CODE;
	regs.rflags = X86_EFLAGS_FIXED;
	vcpu_regs_set(vcpu, &regs);

	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	vcpu_regs_get(vcpu, &regs);
	TEST_ASSERT(!!(regs.rbx & BIT(X86_FEATURE_TSC_DEADLINE_TIMER.bit)) == want,
		    "TSC deadline timer: irqchip %d, msr %d, late %d, expected %d",
		    irqchip, msr, late, want);

	/* Userspace may set again what it reads, so that has to be what it has set. */
	TEST_ASSERT(vcpu_cpuid_has(vcpu, X86_FEATURE_TSC_DEADLINE_TIMER),
		    "KVM has taken the TSC deadline timer out of CPUID");

	if (msr == DENIES_AND_WANTS_EXITS) {
		vcpu_run(vcpu);
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_X86_WRMSR);
		TEST_ASSERT_EQ(vcpu->run->msr.index, MSR_IA32_TSC_DEADLINE);
	}
	kvm_vm_free(vm);
}

static void test_tsc_deadline_timer_all(void)
{
	enum deadline_msr msr;
	int late;

	test_tsc_deadline_timer(true, NOTHING, false);
	for (msr = NOTHING; msr <= DENIES_AND_WANTS_EXITS; msr++) {
		for (late = 0; late < 2; late++)
			test_tsc_deadline_timer(false, msr, late);
	}
}

static bool can_have_phys_bits(struct kvm_vcpu *vcpu, int bits)
{
	return _vcpu_set_msr(vcpu, MTRR_PHYS_BASE_0,
			     BIT_ULL(bits - 1) | MTRR_WRITE_BACK) == 1 &&
	       _vcpu_set_msr(vcpu, MTRR_PHYS_BASE_0, BIT_ULL(bits) | MTRR_WRITE_BACK) == 0;
}

/* The size of physical addresses, before there is a CPUID and with each new one. */
static void test_maxphyaddr(void)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = vm_create_barebones();
	vcpu = __vm_vcpu_add(vm, 0);
	TEST_ASSERT(can_have_phys_bits(vcpu, 36), "No 36 bits without CPUID");

	vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_MAX_PHY_ADDR, 38);
	TEST_ASSERT(can_have_phys_bits(vcpu, 38), "No 38 bits with a CPUID that says so");

	/* Without the leaf, 36 again. */
	vcpu_get_cpuid_entry(vcpu, 0x80000000)->eax = 0x80000007;
	vcpu_set_cpuid(vcpu);
	TEST_ASSERT(can_have_phys_bits(vcpu, 36), "No 36 bits with a CPUID that is silent");
	kvm_vm_free(vm);
}

/* What the OS has enabled in CR4 isn't userspace's to claim, on any host. */
static void test_os_bits(void)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = vm_create_barebones();
	vcpu = __vm_vcpu_add(vm, 0);
	vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());

	vcpu_set_cpuid_feature(vcpu, X86_FEATURE_OSXSAVE);
	TEST_ASSERT(!vcpu_cpuid_has(vcpu, X86_FEATURE_OSXSAVE), "OSXSAVE without CR4.OSXSAVE");
	vcpu_set_cpuid_feature(vcpu, X86_FEATURE_OSPKE);
	TEST_ASSERT(!vcpu_cpuid_has(vcpu, X86_FEATURE_OSPKE), "OSPKE without CR4.PKE");
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

/* A vCPU keeps what KVM_SET_CPUID2 took away if userspace asks for it again, as for hotplug. */
static void test_set_cpuid_with_pv_unhalt(void)
{
	struct kvm_cpuid2 *cpuid;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!(kvm_check_cap(KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_HLT))
		return;

	vm = vm_create(1);
	vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT);
	vcpu = vm_vcpu_add(vm, 0, guest_loop);
	cpuid = copy_cpuid(vcpu->cpuid, vcpu->cpuid->nent);
	entry_of(cpuid, KVM_CPUID_FEATURES)->eax |= BIT(KVM_FEATURE_PV_UNHALT);

	vcpu_ioctl(vcpu, KVM_SET_CPUID2, cpuid);
	TEST_ASSERT(!vcpu_cpuid_has(vcpu, X86_FEATURE_KVM_PV_UNHALT),
		    "PV_UNHALT of a vCPU whose HLT doesn't exit");
	sync_guest(vcpu);
	vcpu_ioctl(vcpu, KVM_SET_CPUID2, cpuid);
	TEST_ASSERT(!vcpu_cpuid_has(vcpu, X86_FEATURE_KVM_PV_UNHALT),
		    "PV_UNHALT of a vCPU whose HLT doesn't exit, after KVM_RUN");

	free(cpuid);
	kvm_vm_free(vm);
}

static void remove_entry(struct kvm_cpuid2 *cpuid, uint32_t function)
{
	struct kvm_cpuid_entry2 *entry = entry_of(cpuid, function);

	*entry = cpuid->entries[--cpuid->nent];
}

/* Writes: userspace may read MSRs that KVM could have as 0, even if they aren't there. */
static bool has_pv_clock(struct kvm_vcpu *vcpu)
{
	return _vcpu_set_msr(vcpu, MSR_KVM_WALL_CLOCK_NEW, 0x1000) == 1;
}

/*
 * KVM's PV features are those of the leaf behind KVM's signature, as the CPUID is now:
 * the leaf may be missing, somewhere else, or somebody else's.
 */
static void test_pv_features(void)
{
	struct kvm_cpuid2 *with, *cpuid;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = vm_create_barebones();
	vcpu = __vm_vcpu_add(vm, 0);
	TEST_ASSERT(has_pv_clock(vcpu),
		    "PV features that CPUID lacks, not enforced");
	vcpu_enable_cap(vcpu, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1);
	TEST_ASSERT(!has_pv_clock(vcpu), "PV features without CPUID");

	vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
	with = copy_cpuid(vcpu->cpuid, vcpu->cpuid->nent);
	TEST_ASSERT(has_pv_clock(vcpu), "No PV features");

	/* Userspace with a local APIC of its own initializes what it finds in CPUID. */
	vcpu_set_msr(vcpu, MSR_KVM_ASYNC_PF_EN, 0);
	vcpu_set_msr(vcpu, MSR_KVM_ASYNC_PF_INT, 0);
	TEST_ASSERT(!_vcpu_set_msr(vcpu, MSR_KVM_ASYNC_PF_INT, 0xf3),
		    "An interrupt of asynchronous page faults without a local APIC");

	cpuid = copy_cpuid(with, with->nent);
	remove_entry(cpuid, KVM_CPUID_FEATURES);
	vcpu_ioctl(vcpu, KVM_SET_CPUID2, cpuid);
	TEST_ASSERT(!has_pv_clock(vcpu),
		    "PV features of a leaf that is gone");
	free(cpuid);

	vcpu_ioctl(vcpu, KVM_SET_CPUID2, with);
	TEST_ASSERT(has_pv_clock(vcpu), "No PV features, again");

	cpuid = copy_cpuid(with, with->nent);
	entry_of(cpuid, KVM_CPUID_SIGNATURE)->ebx ^= 1;
	vcpu_ioctl(vcpu, KVM_SET_CPUID2, cpuid);
	TEST_ASSERT(!has_pv_clock(vcpu),
		    "PV features behind another hypervisor's signature");

	entry_of(cpuid, KVM_CPUID_SIGNATURE)->ebx ^= 1;
	entry_of(cpuid, KVM_CPUID_FEATURES)->function = OTHER_PV_BASE | 1;
	entry_of(cpuid, KVM_CPUID_SIGNATURE)->function = OTHER_PV_BASE;
	vcpu_ioctl(vcpu, KVM_SET_CPUID2, cpuid);
	TEST_ASSERT(has_pv_clock(vcpu), "No PV features elsewhere");
	free(cpuid);

	vcpu_enable_cap(vcpu, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 0);
	cpuid = copy_cpuid(with, with->nent);
	remove_entry(cpuid, KVM_CPUID_FEATURES);
	vcpu_ioctl(vcpu, KVM_SET_CPUID2, cpuid);
	TEST_ASSERT(has_pv_clock(vcpu), "PV features are enforced");
	/* What is enforced is the CPUID of now, not one of before. */
	vcpu_enable_cap(vcpu, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1);
	TEST_ASSERT(!has_pv_clock(vcpu), "PV features aren't enforced");

	free(cpuid);
	free(with);
	kvm_vm_free(vm);
}

/* What KVM_GET_EMULATED_CPUID returns, wholly: no garbage, and nothing for KVM's own use. */
static void test_emulated(void)
{
	struct kvm_cpuid2 *emulated = allocate_kvm_cpuid2(16);
	const bool rdpid = kvm_cpu_has(X86_FEATURE_RDTSCP);
	const int kvm_fd = open_kvm_dev_path_or_exit();
	int i, r;

	/* KVM wants the padding to be zero. */
	memset(emulated->entries, 0, 16 * sizeof(*emulated->entries));
	kvm_ioctl(kvm_fd, KVM_GET_EMULATED_CPUID, emulated);

	TEST_ASSERT_EQ(emulated->nent, 3);
	for (i = 0; i < emulated->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &emulated->entries[i];
		uint32_t eax = 0, ecx = 0, flags = 0;

		switch (e->function) {
		case 0:
			eax = 7;
			break;
		case 1:
			ecx = BIT(X86_FEATURE_MOVBE.bit);
			break;
		case 7:
			ecx = rdpid ? BIT(X86_FEATURE_RDPID.bit) : 0;
			flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
			break;
		default:
			TEST_FAIL("Leaf 0x%x is emulated", e->function);
		}
		TEST_ASSERT(e->eax == eax && !e->ebx && e->ecx == ecx && !e->edx && !e->index &&
			    e->flags == flags,
			    "Leaf 0x%x is emulated with 0x%x 0x%x 0x%x 0x%x, index %u, flags 0x%x",
			    e->function, e->eax, e->ebx, e->ecx, e->edx, e->index, e->flags);
	}

	/* With room for just these, and with too little. */
	kvm_ioctl(kvm_fd, KVM_GET_EMULATED_CPUID, emulated);
	TEST_ASSERT_EQ(emulated->nent, 3);
	emulated->nent = 2;
	r = __kvm_ioctl(kvm_fd, KVM_GET_EMULATED_CPUID, emulated);
	TEST_ASSERT(r && errno == E2BIG, "Room for two leaves: %d, errno %d", r, errno);
	free(emulated);
	close(kvm_fd);
}

static void guest_rdpid(void)
{
	GUEST_SYNC(kvm_asm_safe("rdpid %%rax"));
}

/* An instruction that KVM emulates works for a guest that has it in CPUID, only. */
static void test_emulated_rdpid(bool in_cpuid)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	/* A CPU that has it doesn't ask KVM. */
	if (this_cpu_has(X86_FEATURE_RDPID) || !kvm_cpu_has(X86_FEATURE_RDTSCP))
		return;

	vm = vm_create_with_one_vcpu(&vcpu, guest_rdpid);
	vcpu_set_or_clear_cpuid_feature(vcpu, X86_FEATURE_RDPID, in_cpuid);
	TEST_ASSERT_EQ(sync_guest(vcpu), in_cpuid ? 0 : UD_VECTOR);
	kvm_vm_free(vm);
}

/*
 * With TDP the CPU walks the guest's page tables, and takes pages of 1 GiB if it has
 * them, whatever CPUID says; KVM's own walks must not differ.  Without, CPUID decides.
 */
static void test_gbpages(bool in_cpuid)
{
	const bool tdp = host_cpu_is_intel ? get_kvm_intel_param_bool("ept") :
					     get_kvm_amd_param_bool("npt");
	const bool want = tdp ? this_cpu_has(X86_FEATURE_GBPAGES) : in_cpuid;
	struct kvm_translation tr = { .linear_address = 64ull << 30 };
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = vm_create_with_one_vcpu(&vcpu, guest_loop);
	vcpu_set_or_clear_cpuid_feature(vcpu, X86_FEATURE_GBPAGES, in_cpuid);
	__virt_pg_map(vm, tr.linear_address, 0, PG_LEVEL_1G);
	vcpu_ioctl(vcpu, KVM_TRANSLATE, &tr);
	TEST_ASSERT(tr.valid == want, "A page of 1 GiB: CPUID %d, TDP %d, expected %d, got %d",
		    in_cpuid, tdp, want, tr.valid);
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
	int i;

	TEST_ASSERT(!kvm_cpu_has(X86_FEATURE_MWAIT), "MWAIT is supported");

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

	GUEST_SYNC(rdmsr_safe(MSR_IA32_XSS, &ignored));
}

/*
 * On SVM the guest can execute XSAVES without seeing it in CPUID, so KVM switches
 * XSS.  Whether it may access XSS follows CPUID alone, everywhere.
 */
static void test_xss(bool in_cpuid)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!kvm_cpu_has(X86_FEATURE_XSAVE))
		return;

	vm = vm_create_with_one_vcpu(&vcpu, guest_read_xss);
	vcpu_set_or_clear_cpuid_feature(vcpu, X86_FEATURE_XSAVES, in_cpuid);
	TEST_ASSERT_EQ(sync_guest(vcpu), in_cpuid ? 0 : GP_VECTOR);
	kvm_vm_free(vm);
}

static uint8_t xsave_area[4096] __aligned(64);

static void guest_xsaves(void)
{
	uint64_t *xcomp_bv = (uint64_t *)&xsave_area[520];
	uint64_t vector;

	set_cr4(get_cr4() | X86_CR4_OSXSAVE);
	vector = kvm_asm_safe("xsaves64 (%[area])", [area]"r"(xsave_area), "a"(-1), "d"(-1));

	/* XSS is the guest's, i.e. 0, and not the host's. */
	if (!vector)
		GUEST_ASSERT_EQ(*xcomp_bv, XCOMP_BV_COMPACTED | xgetbv(0));
	GUEST_SYNC(vector);
}

/*
 * VMX can disable XSAVES, so that its guests have it if CPUID says so.  SVM can't.  The
 * supervisor state that the host has enabled in XSS must not be seen in any case.
 */
static void test_xsaves(bool in_cpuid)
{
	const bool works = in_cpuid || !host_cpu_is_intel;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!kvm_cpu_has(X86_FEATURE_XSAVES))
		return;

	vm = vm_create_with_one_vcpu(&vcpu, guest_xsaves);
	vcpu_set_or_clear_cpuid_feature(vcpu, X86_FEATURE_XSAVES, in_cpuid);
	TEST_ASSERT_EQ(sync_guest(vcpu), works ? 0 : UD_VECTOR);
	kvm_vm_free(vm);
}

static void guest_read_xfd(void)
{
	uint64_t ignored;

	GUEST_SYNC(rdmsr_safe(MSR_IA32_XFD, &ignored));
}

/* Like OSVW, for what the guest does: XFD takes KVM and CPUID. */
static void test_xfd(bool in_cpuid)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!kvm_cpu_has(X86_FEATURE_XSAVE))
		return;

	vm = vm_create_with_one_vcpu(&vcpu, guest_read_xfd);
	if (has_entry(vcpu, 0xd, 1)) {
		vcpu_set_or_clear_cpuid_feature(vcpu, X86_FEATURE_XFD, in_cpuid);
		TEST_ASSERT_EQ(sync_guest(vcpu),
			       in_cpuid && kvm_cpu_has(X86_FEATURE_XFD) ? 0 : GP_VECTOR);
	}
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
	TEST_ASSERT(kvm_cpu_has(X86_FEATURE_TSC_DEADLINE_TIMER),
		    "TSC_DEADLINE_TIMER isn't supported");
	TEST_ASSERT(kvm_cpu_has(X86_FEATURE_HYPERVISOR), "HYPERVISOR isn't supported");
	TEST_ASSERT(!kvm_cpu_has(X86_FEATURE_OSXSAVE) && !kvm_cpu_has(X86_FEATURE_OSPKE),
		    "What the guest's OS enables is supported");
}

int main(void)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_DISABLE_QUIRKS2));

	test_supported();
	test_emulated();
	test_emulated_rdpid(true);
	test_emulated_rdpid(false);
	test_caps_need_kvm_and_cpuid();
	test_cr4_needs_kvm_and_cpuid();
	test_index_of_leaf_1();
	test_tsc_deadline_timer_all();
	test_maxphyaddr();
	test_os_bits();
	test_apic(true);
	test_apic(false);
	test_set_cpuid();
	test_set_cpuid_with_pv_unhalt();
	test_pv_features();
	test_mwait_all();
	test_gbpages(true);
	test_gbpages(false);
	test_xss(true);
	test_xss(false);
	test_xsaves(true);
	test_xsaves(false);
	test_xfd(true);
	test_xfd(false);
	test_disable_exits();

	return 0;
}
