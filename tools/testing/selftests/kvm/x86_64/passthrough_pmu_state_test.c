// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state of a guest's PMU, as user space reads and writes it: between two
 * KVM_RUN it is in memory, whole and exact, whoever counts in between.
 */
#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

#define X86_FEATURE_INTEL_PT	KVM_X86_CPU_FEATURE(0x7, 0, EBX, 25)

/* Each counter has another value, and all have bit 47 set. */
#define COUNTER_VALUE(i)	(0x8123456789a0ull + (i))

struct msr_value {
	uint32_t msr;
	uint64_t value;
	uint64_t reserved;
};

static struct pmu_model model;
static int nr_msrs;
static struct msr_value msrs[64];

/* MSRs that user space saves and restores, values to try, and bits that are reserved. */
static void find_msrs(void)
{
	uint64_t counters = GENMASK_ULL(model.nr_gp - 1, 0);
	int i;

	if (model.nr_fixed)
		counters |= GENMASK_ULL(32 + model.nr_fixed - 1, 32);

	for (i = 0; i < model.nr_gp; i++) {
		msrs[nr_msrs++] = (struct msr_value) {
			gp_counter_msr(i), COUNTER_VALUE(i),
			host_cpu_is_intel ? BIT_ULL(model.width_gp) : 0,
		};
		msrs[nr_msrs++] = (struct msr_value) {
			gp_selector_msr(i), EVENTSEL_COUNT_PMI | (0xc0 + i),
			host_cpu_is_intel ? BIT_ULL(63) : 0,
		};
	}
	for (i = 0; i < model.nr_fixed; i++)
		msrs[nr_msrs++] = (struct msr_value) {
			MSR_CORE_PERF_FIXED_CTR0 + i, COUNTER_VALUE(i + 8),
		};
	if (model.nr_fixed)
		msrs[nr_msrs++] = (struct msr_value) {
			MSR_CORE_PERF_FIXED_CTR_CTRL, FIXED_PMC_CTRL(0, FIXED_COUNT_PMI),
			FIXED_PMC_CTRL((uint64_t)model.nr_fixed, FIXED_COUNT),
		};
	if (model.version < 2)
		return;
	msrs[nr_msrs++] = (struct msr_value) {
		global_ctrl_msr(), counters & ~1ull,
		host_cpu_is_intel ? BIT_ULL(model.nr_gp) : 0,
	};
	msrs[nr_msrs++] = (struct msr_value) {
		global_status_msr(), counters & ~2ull, BIT_ULL(31),
	};
}

static uint64_t find_value(uint32_t msr)
{
	int i;

	for (i = 0; i < nr_msrs; i++)
		if (msrs[i].msr == msr)
			return msrs[i].value;
	TEST_FAIL("No MSR %#x in the table", msr);
}

static void set_all(struct kvm_vcpu *vcpu)
{
	int i;

	for (i = 0; i < nr_msrs; i++)
		vcpu_set_msr(vcpu, msrs[i].msr, msrs[i].value);
}

static void assert_all(struct kvm_vcpu *vcpu, const char *when)
{
	uint64_t value;
	int i;

	for (i = 0; i < nr_msrs; i++) {
		value = vcpu_get_msr(vcpu, msrs[i].msr);
		TEST_ASSERT(value == msrs[i].value, "MSR %#x %s: wanted %#lx, got %#lx",
			    msrs[i].msr, when, msrs[i].value, value);
	}
}

TEST(what_is_set_can_be_got)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);

	set_all(vcpu);
	assert_all(vcpu, "before the vCPU has run");
	kvm_vm_free(vm);
}

/* Stopped counters hold their values while the guest runs, and so does the rest. */
TEST(what_is_set_survives_the_guest)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);
	uint64_t ctrl;

	set_all(vcpu);
	vcpu_set_msr(vcpu, global_ctrl_msr(), 0);
	guest_do(vcpu, GUEST_LOOP, 0, 0, 100000);
	guest_do(vcpu, GUEST_CPUID, 0, 0, 10);
	ctrl = vcpu_get_msr(vcpu, global_ctrl_msr());
	TEST_ASSERT(!ctrl, "GLOBAL_CTRL: wanted 0, got %#lx", ctrl);
	vcpu_set_msr(vcpu, global_ctrl_msr(), find_value(global_ctrl_msr()));
	assert_all(vcpu, "after the guest has run");
	kvm_vm_free(vm);
}

TEST(guest_reads_what_user_space_sets)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);
	uint64_t value;
	int i;

	set_all(vcpu);
	vcpu_set_msr(vcpu, global_ctrl_msr(), 0);
	for (i = 0; i < nr_msrs; i++) {
		if (msrs[i].msr == global_ctrl_msr())
			continue;
		value = guest_rdmsr(vcpu, msrs[i].msr);
		TEST_ASSERT(value == msrs[i].value, "MSR %#x in the guest: wanted %#lx, got %#lx",
			    msrs[i].msr, msrs[i].value, value);
	}
	for (i = 0; i < model.nr_gp; i++)
		TEST_ASSERT_EQ(guest_rdpmc(vcpu, i), COUNTER_VALUE(i));
	for (i = 0; i < model.nr_fixed; i++)
		TEST_ASSERT_EQ(guest_rdpmc(vcpu, INTEL_RDPMC_FIXED | i), COUNTER_VALUE(i + 8));
	kvm_vm_free(vm);
}

TEST(user_space_reads_what_the_guest_sets)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);
	int i;

	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	for (i = 0; i < nr_msrs; i++) {
		uint32_t msr = msrs[i].msr;

		if (msr == global_ctrl_msr() || msr == global_status_msr())
			continue;
		guest_wrmsr(vcpu, msr, msrs[i].value);
	}
	guest_do(vcpu, GUEST_LOOP, 0, 0, 1000);
	for (i = 0; i < nr_msrs; i++) {
		uint32_t msr = msrs[i].msr;

		if (msr == global_ctrl_msr() || msr == global_status_msr())
			continue;
		TEST_ASSERT_EQ(vcpu_get_msr(vcpu, msr), msrs[i].value);
	}
	/* Counters are all off by now: GLOBAL_CTRL may be what it wants. */
	for (i = 0; i < model.nr_gp; i++)
		guest_wrmsr(vcpu, gp_selector_msr(i), 0);
	if (model.nr_fixed)
		guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, 0);
	guest_wrmsr(vcpu, global_ctrl_msr(), find_value(global_ctrl_msr()));
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_ctrl_msr()), find_value(global_ctrl_msr()));
	kvm_vm_free(vm);
}

/* The aliases of Intel's first generation take 32 bits and extend the sign. */
TEST(legacy_counters_extend_the_sign)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	if (!host_cpu_is_intel)
		SKIP(return, "Intel's rule");

	vm = vm_create_passthrough_guest(&vcpu);
	for (i = 0; i < model.nr_gp; i++) {
		guest_wrmsr(vcpu, gp_legacy_msr(i), 0x80000000 + i);
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, gp_legacy_msr(i)),
			       0xffff80000000ull + i);
		TEST_ASSERT_EQ(vcpu_get_msr(vcpu, gp_counter_msr(i)), 0xffff80000000ull + i);
		guest_wrmsr(vcpu, gp_legacy_msr(i), 0x7fffffff);
		TEST_ASSERT_EQ(vcpu_get_msr(vcpu, gp_counter_msr(i)), 0x7fffffff);
	}
	kvm_vm_free(vm);
}

TEST(reserved_bits_are_refused)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);
	uint64_t value;
	int i, r;

	set_all(vcpu);
	for (i = 0; i < nr_msrs; i++) {
		if (!msrs[i].reserved)
			continue;
		value = msrs[i].value | msrs[i].reserved;
		r = _vcpu_set_msr(vcpu, msrs[i].msr, value);
		TEST_ASSERT(!r, "MSR %#x: wanted %#lx to be refused, KVM_SET_MSRS returned %d",
			    msrs[i].msr, value, r);
	}
	assert_all(vcpu, "after values that are refused");
	kvm_vm_free(vm);
}

/* The same bits, written by the guest: by its own instructions, and emulated. */
TEST(reserved_bits_fault_in_the_guest)
{
	struct guest_result result;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t value;
	int i;

	if (!host_cpu_is_intel)
		SKIP(return, "AMD's CPUs drop such bits silently");

	vm = vm_create_passthrough_guest(&vcpu);
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	for (i = 0; i < nr_msrs; i++) {
		if (!msrs[i].reserved)
			continue;
		value = msrs[i].value | msrs[i].reserved;
		result = guest_do(vcpu, GUEST_WRMSR, msrs[i].msr, value, 1);
		TEST_ASSERT(result.vector == GP_VECTOR,
			    "WRMSR(%#x, %#lx) in the guest: wanted exception %u, got %u",
			    msrs[i].msr, value, GP_VECTOR, result.vector);
	}
	kvm_vm_free(vm);
}

/* The host's view of STATUS: it can be set, and the other MSRs don't change it. */
TEST(status_is_user_spaces_to_set)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);

	vcpu_set_msr(vcpu, global_status_msr(), 3);
	_vcpu_set_msr(vcpu, status_clear_msr(), 1);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_status_msr()), 3);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 3);

	guest_wrmsr(vcpu, status_clear_msr(), 1);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 2);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_status_msr()), 2);

	vcpu_set_msr(vcpu, global_status_msr(), 0);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 0);
	kvm_vm_free(vm);
}

/* Bits of STATUS besides counters' that a guest may have which has all that KVM offers. */
static bool has_status_bit(int bit)
{
	switch (bit) {
	case 48:
		return model.has_metrics;
	case 55:
		return kvm_cpu_has(X86_FEATURE_INTEL_PT);
	case 58:
	case 59:
		return model.version >= 4;
	case 60:
		return model.version >= 4 && kvm_cpu_has(X86_FEATURE_SGX);
	default:
		return false;
	}
}

/*
 * Bits of STATUS that KVM_SET_MSRS takes and hardware need not let itself be given:
 * the guest sees them until it clears them, and the host has nothing to complain
 * about.
 */
TEST(status_bits_that_hardware_refuses)
{
	static const int refused[] = { 31, 47, 48, 55, 58, 59, 60, 61 };
	const uint64_t bits = BIT_ULL(63) | BIT_ULL(62) | 1;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i, r;

	if (!host_cpu_is_intel)
		SKIP(return, "no such bits");

	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_msr(vcpu, global_status_msr(), bits);
	guest_do(vcpu, GUEST_LOOP, 0, 0, 1000);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_status_msr()), bits);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), bits);
	guest_wrmsr(vcpu, status_clear_msr(), BIT_ULL(62));
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_status_msr()), BIT_ULL(63) | 1);
	guest_wrmsr(vcpu, status_clear_msr(), BIT_ULL(63) | 1);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_status_msr()), 0);

	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		r = _vcpu_set_msr(vcpu, global_status_msr(), BIT_ULL(refused[i]));
		TEST_ASSERT(!r || has_status_bit(refused[i]),
			    "Wanted bit %d of STATUS to be refused, KVM_SET_MSRS returned %d",
			    refused[i], r);
	}
	kvm_vm_free(vm);
}

/*
 * Hardware has more bits in these MSRs than the version 2 PMU of the guest.  A bit that
 * clears nothing need not fault if the write doesn't exit.
 */
TEST(bits_of_later_versions_fault_in_the_guest)
{
	static const int clear[] = { 35, 48, 55, 58, 59, 60, 61 }, ctrl[] = { 35, 48 };
	uint64_t exits, status;
	struct guest_result result;
	struct pmu_model v2;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	if (!host_cpu_is_intel)
		SKIP(return, "Intel's MSRs");

	vm = vm_create_passthrough_guest(&vcpu);
	v2 = model;
	v2.version = 2;
	v2.nr_fixed = min_t(uint8_t, model.nr_fixed, 3);
	vcpu_set_pmu_model(vcpu, &v2);
	vcpu_set_msr(vcpu, global_status_msr(), 1);
	for (i = 0; i < ARRAY_SIZE(clear); i++) {
		exits = vcpu_get_stat(vcpu, "pmu_global_exits");
		result = guest_do(vcpu, GUEST_WRMSR, status_clear_msr(), BIT_ULL(clear[i]), 1);
		exits = vcpu_get_stat(vcpu, "pmu_global_exits") - exits;
		TEST_ASSERT(result.vector == GP_VECTOR ||
			    (!result.vector && !exits && clear[i] != 35),
			    "Bit %d of OVF_CTRL: wanted exception %u, got %u after %lu exits",
			    clear[i], GP_VECTOR, result.vector, exits);
		status = vcpu_get_msr(vcpu, global_status_msr());
		TEST_ASSERT(status == 1, "Bit %d of OVF_CTRL: wanted status 0x1, got %#lx",
			    clear[i], status);
	}
	/* A bit that the guest doesn't have spoils the others, or does nothing. */
	result = guest_do(vcpu, GUEST_WRMSR, status_clear_msr(), BIT_ULL(59) | 1, 1);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_status_msr()), !!result.vector);
	for (i = 0; i < ARRAY_SIZE(ctrl); i++) {
		result = guest_do(vcpu, GUEST_WRMSR, global_ctrl_msr(), BIT_ULL(ctrl[i]), 1);
		TEST_ASSERT(result.vector == GP_VECTOR,
			    "Bit %d of GLOBAL_CTRL: wanted exception %u, got %u", ctrl[i],
			    GP_VECTOR, result.vector);
	}
	kvm_vm_free(vm);
}

TEST(selector_bits_that_the_guest_has_not)
{
	const uint64_t sel = EVENTSEL_COUNT | EVENT_INSTRUCTIONS;
	const uint64_t bits[] = {
		ARCH_PERFMON_EVENTSEL_ANY, BIT_ULL(32), BIT_ULL(33), BIT_ULL(34),
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i, n;

	if (!host_cpu_is_intel)
		SKIP(return, "AMD's CPUs drop such bits silently");

	/* Bits 32 and 33 are of transactions. */
	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_clear_cpuid_feature(vcpu, X86_FEATURE_HLE);
	vcpu_clear_cpuid_feature(vcpu, X86_FEATURE_RTM);
	for (n = 0; n < model.nr_gp; n++) {
		/* In versions 3 and 4, AnyThread is accepted. */
		i = model.version == 3 || model.version == 4;
		for (; i < ARRAY_SIZE(bits); i++) {
			TEST_ASSERT_EQ(guest_do(vcpu, GUEST_WRMSR, gp_selector_msr(n),
						sel | bits[i], 1).vector, GP_VECTOR);
		}
	}
	kvm_vm_free(vm);
}

/* Bits that the guest may set and that not all hardware takes. */
TEST(selector_bits_that_hardware_refuses)
{
	uint64_t bits[] = {
		ARCH_PERFMON_EVENTSEL_PIN_CONTROL, ARCH_PERFMON_EVENTSEL_EDGE,
		ARCH_PERFMON_EVENTSEL_INV, ARCH_PERFMON_EVENTSEL_CMASK,
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);
	uint64_t value;
	int i;

	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		/* AMD's CPUs never had it, KVM drops it silently. */
		if (!host_cpu_is_intel && bits[i] == ARCH_PERFMON_EVENTSEL_PIN_CONTROL)
			continue;
		value = EVENTSEL_COUNT | EVENT_INSTRUCTIONS | bits[i];
		if (guest_do(vcpu, GUEST_WRMSR, gp_selector_msr(0), value, 1).vector)
			continue;
		guest_do(vcpu, GUEST_LOOP, 0, 0, 1000);
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, gp_selector_msr(0)), value);
		TEST_ASSERT_EQ(vcpu_get_msr(vcpu, gp_selector_msr(0)), value);
	}
	kvm_vm_free(vm);
}

/* Turns counter 0 on, for instructions. */
static void start_counting(struct kvm_vcpu *vcpu)
{
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_wrmsr(vcpu, gp_counter_msr(0), 0);
	if (model.nr_fixed) {
		guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, FIXED_PMC_CTRL(0, FIXED_COUNT));
		guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR0, 0);
	}
	guest_wrmsr(vcpu, global_ctrl_msr(), model.nr_fixed ? BIT_ULL(32) | 1 : 1);
}

/* The same operations every time, hence the same counts, wherever they run. */
static void count(struct kvm_vcpu *vcpu, int i)
{
	guest_do(vcpu, GUEST_LOOP, 0, 0, 1000 * (i + 1));
	guest_do(vcpu, GUEST_CPUID, 0, 0, i);
}

static uint64_t stop_counting(struct kvm_vcpu *vcpu)
{
	uint64_t value;

	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	value = guest_rdmsr(vcpu, gp_counter_msr(0));
	if (model.nr_fixed) {
		uint64_t fixed = guest_rdmsr(vcpu, MSR_CORE_PERF_FIXED_CTR0);

		TEST_ASSERT(fixed == value, "Counters of the same event: %lu and %lu", value,
			    fixed);
	}
	return value;
}

/* A PMU that counts is saved and restored in a new VM, again and again. */
TEST(migration_while_counting)
{
	const int n = 5;
	struct kvm_x86_state *state;
	uint64_t expected, moved;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	vm = vm_create_passthrough_guest(&vcpu);
	start_counting(vcpu);
	for (i = 0; i < n; i++) {
		count(vcpu, i);
		vcpu_run_complete_io(vcpu);
	}
	expected = stop_counting(vcpu);
	kvm_vm_free(vm);

	vm = vm_create_passthrough_guest(&vcpu);
	start_counting(vcpu);
	for (i = 0; i < n; i++) {
		count(vcpu, i);
		state = vcpu_save_state(vcpu);
		kvm_vm_release(vm);
		vcpu = vm_recreate_with_one_vcpu(vm);
		vcpu_load_state(vcpu, state);
		kvm_x86_state_cleanup(state);
	}
	moved = stop_counting(vcpu);
	kvm_vm_free(vm);

	/* As to VMRUN, of which AMD's CPUs count more or less, see assert_insns(). */
	TEST_ASSERT(moved == expected ||
		    (!host_cpu_is_intel && moved < expected + 500 && moved + 500 > expected),
		    "Wanted %lu instructions of a VM that moves, got %lu", expected, moved);
}

/* The overflow happens after the move, the PMI is the new VM's. */
static uint64_t nr_pmis;

static void guest_pmi_handler(struct ex_regs *regs)
{
	nr_pmis++;
	wrmsr(status_clear_msr(), rdmsr(global_status_msr()));
	x2apic_write_reg(APIC_EOI, 0);
}

TEST(overflow_after_migration)
{
	struct kvm_lapic_state lapic;
	struct kvm_x86_state *state;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = vm_create_passthrough_guest(&vcpu);
	vm_install_exception_handler(vm, GUEST_PMI_VECTOR, guest_pmi_handler);
	guest_do(vcpu, GUEST_ENABLE_IRQS, 0, GUEST_PMI_VECTOR, 0);
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT_PMI | EVENT_INSTRUCTIONS);
	guest_wrmsr(vcpu, gp_counter_msr(0), -50000 & GENMASK_ULL(model.width_gp - 1, 0));
	guest_wrmsr(vcpu, global_ctrl_msr(), 1);
	guest_do(vcpu, GUEST_LOOP, 0, 0, 20000);

	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic);
	state = vcpu_save_state(vcpu);
	kvm_vm_release(vm);
	vcpu = vm_recreate_with_one_vcpu(vm);
	vcpu_load_state(vcpu, state);
	vcpu_ioctl(vcpu, KVM_SET_LAPIC, &lapic);
	kvm_x86_state_cleanup(state);

	sync_global_from_guest(vm, nr_pmis);
	TEST_ASSERT(!nr_pmis, "Wanted no PMI before the overflow, got %lu", nr_pmis);
	guest_do(vcpu, GUEST_LOOP, 0, 0, 40000);
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	sync_global_from_guest(vm, nr_pmis);
	TEST_ASSERT(nr_pmis == 1, "Wanted 1 PMI after the overflow, got %lu", nr_pmis);
	kvm_vm_free(vm);
}

/*
 * The instruction that exits to user space overflows the counter when KVM completes
 * it.  Nothing but the local APIC tells of the PMI when the VM moves then.
 */
TEST(overflow_at_the_moment_of_migration)
{
	struct kvm_lapic_state lapic;
	struct kvm_x86_state *state;
	struct kvm_vcpu *vcpu;
	uint32_t irr, lvtpc;
	struct kvm_vm *vm;

	TEST_REQUIRE(host_has_passthrough_pmu());

	vm = vm_create_passthrough_guest(&vcpu);
	vm_install_exception_handler(vm, GUEST_PMI_VECTOR, guest_pmi_handler);
	guest_do(vcpu, GUEST_ENABLE_IRQS, 0, GUEST_PMI_VECTOR, 0);
	guest_do(vcpu, GUEST_CLI, 0, 0, 0);
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT_PMI | EVENT_INSTRUCTIONS);
	guest_prepare(vcpu, GUEST_WRMSR, global_ctrl_msr(), 1, 1);
	/* vcpu_run() would look at the guest's report, and complete its exit. */
	TEST_ASSERT(!__vcpu_run(vcpu), "KVM_RUN failed, errno %d", errno);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	vcpu_set_msr(vcpu, gp_counter_msr(0), GENMASK_ULL(model.width_gp - 1, 0));

	/* Completes the guest's instruction, which KVM counts. */
	vcpu_run_complete_io(vcpu);
	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic);
	irr = *(uint32_t *)&lapic.regs[APIC_IRR + (GUEST_PMI_VECTOR / 32) * 0x10];
	lvtpc = *(uint32_t *)&lapic.regs[APIC_LVTPC];
	TEST_ASSERT(irr == BIT(GUEST_PMI_VECTOR % 32), "Wanted a PMI in IRR, got %#x", irr);
	TEST_ASSERT(lvtpc == (GUEST_PMI_VECTOR | (host_cpu_is_intel ? APIC_LVT_MASKED : 0)),
		    "Wanted LVTPC to be masked by the PMI if this is an Intel CPU, got %#x", lvtpc);

	state = vcpu_save_state(vcpu);
	kvm_vm_release(vm);
	vcpu = vm_recreate_with_one_vcpu(vm);
	vcpu_load_state(vcpu, state);
	vcpu_ioctl(vcpu, KVM_SET_LAPIC, &lapic);
	kvm_x86_state_cleanup(state);

	guest_do(vcpu, GUEST_STI, 0, 0, 0);
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	sync_global_from_guest(vm, nr_pmis);
	TEST_ASSERT(nr_pmis == 1, "Wanted 1 PMI in the new VM, got %lu", nr_pmis);
	kvm_vm_free(vm);
}

/* A version 1 PMU has no GLOBAL_CTRL: its counters count by their selectors alone. */
TEST(version_1_counts)
{
	struct pmu_model v1 = model;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	v1.version = 1;
	v1.nr_fixed = 0;
	if (!host_cpu_is_intel)
		v1.nr_gp = 6;

	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_pmu_model(vcpu, &v1);
	for (i = 0; i < v1.nr_gp; i++) {
		guest_wrmsr(vcpu, gp_counter_msr(i), 0);
		guest_do(vcpu, GUEST_COUNT, gp_selector_msr(i), EVENTSEL_COUNT | EVENT_INSTRUCTIONS,
			 10000);
		assert_insns(vcpu, guest_rdmsr(vcpu, gp_counter_msr(i)),
			     10000 + GUEST_COUNT_EXTRA, "version 1");
	}
	kvm_vm_free(vm);
}

/* The counters of a guest with narrower ones wrap where it thinks. */
TEST(narrower_counters_wrap)
{
	struct pmu_model narrow = model;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!host_cpu_is_intel)
		SKIP(return, "CPUID doesn't tell the width");

	narrow.width_gp = 40;
	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_pmu_model(vcpu, &narrow);
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_wrmsr(vcpu, gp_counter_msr(0), GENMASK_ULL(39, 0) - 999);
	guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), 1, 10000);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, gp_counter_msr(0)), 10000 + GUEST_COUNT_EXTRA - 1000);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 1);
	TEST_ASSERT_EQ(guest_do(vcpu, GUEST_WRMSR, gp_counter_msr(0), BIT_ULL(40), 1).vector,
		       GP_VECTOR);
	kvm_vm_free(vm);
}

/*
 * A VM-entry that the processor refuses takes the PMU like any other, and must give it
 * back like any other: the guest's counters to memory, and the PMU to the host's event.
 */
TEST(failed_entry)
{
	struct kvm_sregs sregs, invalid;
	struct kvm_regs regs;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);
	int event = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, true, 0, -1);
	uint64_t loads, before, after;

	TEST_ASSERT(event >= 0, "Wanted an event of the host, got %d", event);
	set_all(vcpu);
	vcpu_set_msr(vcpu, global_ctrl_msr(), 0);
	guest_do(vcpu, GUEST_LOOP, 0, 0, 1);

	/* Code can't be of 64 and of 32 bits at the same time. */
	vcpu_sregs_get(vcpu, &sregs);
	invalid = sregs;
	invalid.cs.db = 1;
	vcpu_sregs_set(vcpu, &invalid);
	guest_prepare(vcpu, GUEST_LOOP, 0, 0, 1);
	vcpu_regs_get(vcpu, &regs);
	loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_FAIL_ENTRY);
	if (host_has_passthrough_pmu())
		TEST_ASSERT(vcpu_get_stat(vcpu, "passthrough_pmu_loads") > loads,
			    "Wanted the entry to take the PMU");

	before = host_event_read(event);
	after = host_event_read(event);
	TEST_ASSERT(after > before, "Wanted the host's event to go on, it stays at %lu", after);

	/* A VMRUN that fails may leave anything in the VMCB. */
	vcpu_sregs_set(vcpu, &sregs);
	vcpu_regs_set(vcpu, &regs);
	vcpu_run(vcpu);
	guest_finish(vcpu);
	vcpu_set_msr(vcpu, global_ctrl_msr(), find_value(global_ctrl_msr()));
	assert_all(vcpu, "after a VM-entry that failed");
	close(event);
	kvm_vm_free(vm);
}

/* SDM, "IA32_PERF_GLOBAL_CTRL": power-up and reset enable all general counters. */
TEST(global_ctrl_after_reset)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);

	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_ctrl_msr()), GENMASK_ULL(model.nr_gp - 1, 0));
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_ctrl_msr()), GENMASK_ULL(model.nr_gp - 1, 0));
	kvm_vm_free(vm);
}

/* Only power-up and RESET, which a vCPU sees never, clear it. */
TEST(init_keeps_the_pmu)
{
	const uint64_t init = (1ull << 32) | APIC_DM_INIT | APIC_INT_ASSERT;
	struct kvm_vcpu *sender, *vcpu;
	struct kvm_mp_state mp_state;
	struct kvm_vm *vm = vm_create(2);
	struct kvm_regs regs;

	sender = vm_vcpu_add(vm, 0, passthrough_guest);
	vcpu_args_set(sender, 1, 0);
	vcpu = vm_vcpu_add(vm, 1, passthrough_guest);
	set_all(vcpu);

	guest_do(sender, GUEST_ENABLE_IRQS, 0, GUEST_PMI_VECTOR, 0);
	guest_do(sender, GUEST_APIC, APIC_ICR, init, 1);
	/* Makes KVM take the INIT that is pending. */
	vcpu_mp_state_get(vcpu, &mp_state);
	vcpu_regs_get(vcpu, &regs);
	TEST_ASSERT(mp_state.mp_state == KVM_MP_STATE_INIT_RECEIVED && regs.rip == 0xfff0,
		    "Wanted a vCPU that got INIT, its state is %u, RIP %#llx",
		    mp_state.mp_state, regs.rip);
	assert_all(vcpu, "after INIT");
	kvm_vm_free(vm);
}

/* CPUID describes another PMU: nothing is left of what was set before. */
TEST(cpuid_clears_the_pmu)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);
	uint64_t value, expected;
	int i;

	set_all(vcpu);
	vcpu_set_pmu_model(vcpu, &model);
	for (i = 0; i < nr_msrs; i++) {
		value = vcpu_get_msr(vcpu, msrs[i].msr);
		expected = msrs[i].msr == global_ctrl_msr() ? GENMASK_ULL(model.nr_gp - 1, 0) : 0;
		TEST_ASSERT(value == expected,
			    "MSR %#x after KVM_SET_CPUID2: wanted %#lx, got %#lx",
			    msrs[i].msr, expected, value);
	}
	/* And nothing of it runs. */
	guest_do(vcpu, GUEST_LOOP, 0, 0, 1000);
	for (i = 0; i < model.nr_gp; i++)
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, gp_counter_msr(i)), 0);
	kvm_vm_free(vm);
}

TEST(msrs_of_a_guest_without_pmu)
{
	struct pmu_model none = {};
	struct guest_result result;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	if (!host_cpu_is_intel)
		SKIP(return, "CPUID can't hide the PMU");

	vm = vm_create_passthrough_guest(&vcpu);
	set_all(vcpu);
	vcpu_set_pmu_model(vcpu, &none);
	for (i = 0; i < nr_msrs; i++) {
		/* KVM ignores some that old guests touch without asking CPUID. */
		result = guest_do(vcpu, GUEST_RDMSR, msrs[i].msr, 0, 1);
		TEST_ASSERT(result.vector == GP_VECTOR || !result.value,
			    "RDMSR(%#x) without a PMU: wanted #GP or 0, got %#lx",
			    msrs[i].msr, result.value);
	}
	for (i = 0; i < model.nr_gp; i++)
		TEST_ASSERT_EQ(guest_do(vcpu, GUEST_RDPMC, i, 0, 1).vector, GP_VECTOR);
	kvm_vm_free(vm);
}

TEST(bad_arguments_of_ioctls)
{
	static const struct {
		uint64_t arg;
		bool ok;
	} caps[] = {
		{ 0, true }, { KVM_PMU_CAP_DISABLE, true }, { 0, true },
		{ 2, false }, { KVM_PMU_CAP_DISABLE | 2, false }, { BIT_ULL(63), false },
		{ ~0ull, false },
	};
	struct {
		struct kvm_pmu_event_filter filter;
		uint64_t events[KVM_PMU_EVENT_FILTER_MAX_EVENTS + 1];
	} f = {};
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PMU_CAPABILITY, .flags = 1 };
	struct kvm_vm *vm = vm_create_barebones();
	int i, r;

	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		r = __vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, caps[i].arg);
		TEST_ASSERT(caps[i].ok ? !r : r == -1 && errno == EINVAL,
			    "KVM_CAP_PMU_CAPABILITY(%#lx): wanted %s, got %d, errno %d",
			    caps[i].arg, caps[i].ok ? "success" : "EINVAL", r, errno);
	}
	r = __vm_ioctl(vm, KVM_ENABLE_CAP, &cap);
	TEST_ASSERT(r == -1 && errno == EINVAL, "Flags of KVM_ENABLE_CAP: got %d, errno %d", r,
		    errno);

	f.filter.action = 2;
	r = __vm_ioctl(vm, KVM_SET_PMU_EVENT_FILTER, &f.filter);
	TEST_ASSERT(r == -1 && errno == EINVAL, "Action 2 of a filter: got %d, errno %d", r, errno);
	f.filter.action = KVM_PMU_EVENT_ALLOW;
	f.filter.flags = 2;
	r = __vm_ioctl(vm, KVM_SET_PMU_EVENT_FILTER, &f.filter);
	TEST_ASSERT(r == -1 && errno == EINVAL, "Flag 2 of a filter: got %d, errno %d", r, errno);
	f.filter.flags = 0;
	f.filter.nevents = KVM_PMU_EVENT_FILTER_MAX_EVENTS + 1;
	r = __vm_ioctl(vm, KVM_SET_PMU_EVENT_FILTER, &f.filter);
	TEST_ASSERT(r == -1 && errno == E2BIG, "%u events of a filter: got %d, errno %d",
		    f.filter.nevents, r, errno);
	r = __vm_ioctl(vm, KVM_SET_PMU_EVENT_FILTER, (struct kvm_pmu_event_filter *)8);
	TEST_ASSERT(r == -1 && errno == EFAULT, "Filter at a bad address: got %d, errno %d", r,
		    errno);
	f.filter.nevents = 0;
	r = __vm_ioctl(vm, KVM_SET_PMU_EVENT_FILTER, &f.filter);
	TEST_ASSERT(!r, "A filter without events: got %d, errno %d", r, errno);
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());
	model = default_pmu_model();
	TEST_REQUIRE(model.version > 1 && model.full_width);
	find_msrs();

	return test_harness_run(argc, argv);
}
