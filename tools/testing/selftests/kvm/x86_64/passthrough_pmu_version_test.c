// SPDX-License-Identifier: GPL-2.0-only
/*
 * The versions of Intel's architectural PMU that a guest may have, and what each of
 * them brings: what CPUID says is what faults and what doesn't.
 */
#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

#define DEBUGCTL_FREEZE_LBRS	BIT_ULL(11)
#define DEBUGCTL_FREEZE_PERFMON	BIT_ULL(12)
#define ANY_GP			BIT_ULL(21)
#define EDX_ANY_DEPRECATED	BIT(15)
#define INUSE_PMI		BIT_ULL(63)
#define FIXED_SLOTS		3

static struct pmu_model model;

static void assert_access(struct kvm_vcpu *vcpu, enum guest_op op, uint32_t index,
			  uint64_t value, bool works)
{
	struct guest_result result = guest_do(vcpu, op, index, value, 1);

	TEST_ASSERT(result.vector == (works ? 0 : GP_VECTOR),
		    "Version %u: %s of %#x, value %#lx, should %s, got vector %u",
		    model.version,
		    op == GUEST_RDMSR ? "RDMSR" : op == GUEST_WRMSR ? "WRMSR" : "RDPMC",
		    index, value, works ? "work" : "cause #GP", result.vector);
}

static struct kvm_vm *vm_of_version(struct kvm_vcpu **vcpu, int version)
{
	struct kvm_vm *vm = vm_create_passthrough_guest(vcpu);

	model = default_pmu_model();
	model.version = version;
	if (version == 1)
		model.nr_fixed = 0;
	vcpu_set_pmu_model(*vcpu, &model);
	return vm;
}

/* Each version from 1 to what KVM offers, once. */
static void check_each_version(void (*check)(struct kvm_vcpu *vcpu))
{
	int version, last = default_pmu_model().version;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	for (version = 1; version <= last; version++) {
		vm = vm_of_version(&vcpu, version);
		check(vcpu);
		kvm_vm_free(vm);
	}
}

static void check_registers(struct kvm_vcpu *vcpu)
{
	bool v2 = model.version >= 2, v4 = model.version >= 4;
	bool metrics = v2 && model.has_metrics && model.nr_fixed > FIXED_SLOTS;
	int i;

	for (i = 0; i < 5; i++) {
		bool there = i < model.nr_fixed;

		assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_FIXED_CTR0 + i, 1, there);
		assert_access(vcpu, GUEST_RDMSR, MSR_CORE_PERF_FIXED_CTR0 + i, 0, there);
		assert_access(vcpu, GUEST_RDPMC, INTEL_RDPMC_FIXED | i, 0, there);
		assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_CTRL, BIT_ULL(32 + i),
			      there);
		assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_FIXED_CTR_CTRL,
			      FIXED_PMC_CTRL(i, FIXED_COUNT_PMI), there);
		assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_STATUS_SET,
			      BIT_ULL(32 + i), there && v4);
	}
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_FIXED_CTR_CTRL, 0, v2);
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_CTRL, 0, v2);
	assert_access(vcpu, GUEST_RDMSR, MSR_CORE_PERF_GLOBAL_STATUS, 0, v2);
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_STATUS, 0, false);
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_OVF_CTRL, 1, v2);
	if (v4) {
		assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_OVF_CTRL,
			      STATUS_LBR_FRZ | STATUS_CTR_FRZ, true);
		assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_STATUS_SET,
			      STATUS_LBR_FRZ | STATUS_CTR_FRZ, true);
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS) &
			       (STATUS_LBR_FRZ | STATUS_CTR_FRZ),
			       STATUS_LBR_FRZ | STATUS_CTR_FRZ);
		guest_wrmsr(vcpu, MSR_CORE_PERF_GLOBAL_OVF_CTRL,
			    STATUS_LBR_FRZ | STATUS_CTR_FRZ);
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS) &
			       (STATUS_LBR_FRZ | STATUS_CTR_FRZ), 0);
	}

	assert_access(vcpu, GUEST_RDMSR, MSR_CORE_PERF_GLOBAL_STATUS_SET, 0, v4);
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_STATUS_SET, 1, v4);
	/* Neither what the processor can't set, nor what is reserved. */
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_STATUS_SET, BIT_ULL(63), false);
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_STATUS_SET, BIT_ULL(31), false);
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_STATUS_SET, GLOBAL_METRICS,
		      v4 && metrics);
	assert_access(vcpu, GUEST_RDMSR, MSR_CORE_PERF_GLOBAL_INUSE, 0, v4);
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_INUSE, 0, false);

	assert_access(vcpu, GUEST_RDMSR, MSR_PERF_METRICS, 0, metrics);
	assert_access(vcpu, GUEST_WRMSR, MSR_PERF_METRICS, 1, metrics);

	assert_access(vcpu, GUEST_WRMSR, MSR_IA32_DEBUGCTLMSR,
		      DEBUGCTL_FREEZE_LBRS | DEBUGCTL_FREEZE_PERFMON, v4);
	assert_access(vcpu, GUEST_WRMSR, MSR_IA32_DEBUGCTLMSR, 0, true);
}

TEST(registers_of_each_version)
{
	check_each_version(check_registers);
}

/* In versions 3 and 4 software takes it to be there.  It has no effect. */
static void check_any_thread(struct kvm_vcpu *vcpu)
{
	bool any = model.version == 3 || model.version == 4;
	const uint64_t fixed = FIXED_PMC_CTRL(0, FIXED_COUNT | FIXED_PMC_ANYTHREAD);
	const uint64_t sel = EVENTSEL_COUNT | EVENT_INSTRUCTIONS | ANY_GP;

	/* After RESET, the general counters are enabled there. */
	if (model.version > 1)
		guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	assert_access(vcpu, GUEST_WRMSR, gp_selector_msr(0), sel, any);
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_FIXED_CTR_CTRL, fixed, any);
	if (!any)
		return;

	TEST_ASSERT_EQ(guest_rdmsr(vcpu, gp_selector_msr(0)), sel);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL), fixed);
	guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), BIT_ULL(32) | 1, 1000);
	assert_insns(vcpu, guest_rdmsr(vcpu, gp_counter_msr(0)), 1000 + GUEST_COUNT_EXTRA,
		     "general counter with AnyThread");
	assert_insns(vcpu, guest_rdmsr(vcpu, MSR_CORE_PERF_FIXED_CTR0),
		     1000 + GUEST_COUNT_EXTRA, "fixed counter with AnyThread");
}

TEST(any_thread)
{
	check_each_version(check_any_thread);
}

TEST(any_thread_of_version_5)
{
	struct kvm_cpuid_entry2 *entry;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (default_pmu_model().version < 5)
		SKIP(return, "no version 5");
	vm = vm_of_version(&vcpu, 5);
	entry = vcpu_get_cpuid_entry(vcpu, 0xa);
	entry->edx &= ~EDX_ANY_DEPRECATED;
	vcpu_set_cpuid(vcpu);
	assert_access(vcpu, GUEST_WRMSR, gp_selector_msr(0), ANY_GP, true);
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_FIXED_CTR_CTRL,
		      FIXED_PMC_CTRL(0, FIXED_PMC_ANYTHREAD), true);
	kvm_vm_free(vm);
}

/* Any set of fixed counters, of those that the host has. */
TEST(sparse_fixed_counters)
{
	struct kvm_cpuid_entry2 *entry;
	uint64_t ctrl = 0, global = 0;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	unsigned int set;
	int i, nr;

	if (default_pmu_model().version < 5)
		SKIP(return, "no version 5");
	nr = default_pmu_model().nr_fixed;

	for (set = 0; set < BIT(nr); set++) {
		vm = vm_of_version(&vcpu, 5);
		entry = vcpu_get_cpuid_entry(vcpu, 0xa);
		entry->ecx = set | BIT(nr);
		entry->edx &= ~0x1f;
		vcpu_set_cpuid(vcpu);

		for (i = 0; i <= nr; i++) {
			bool there = i < nr && (set & BIT(i));

			assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_FIXED_CTR0 + i, 7, there);
			assert_access(vcpu, GUEST_RDMSR, MSR_CORE_PERF_FIXED_CTR0 + i, 0, there);
			assert_access(vcpu, GUEST_RDPMC, INTEL_RDPMC_FIXED | i, 0, there);
			assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_FIXED_CTR_CTRL,
				      FIXED_PMC_CTRL((uint64_t)i, FIXED_COUNT), there);
			assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_CTRL,
				      BIT_ULL(32 + i), there);
		}
		/* Counted, and saved and loaded, is what there is. */
		if (set & 1) {
			ctrl = FIXED_PMC_CTRL(0, FIXED_COUNT);
			global = BIT_ULL(32);
			guest_wrmsr(vcpu, global_ctrl_msr(), 0);
			guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, ctrl);
			guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR0, 0);
			guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), global, 1000);
			assert_insns(vcpu, guest_rdmsr(vcpu, MSR_CORE_PERF_FIXED_CTR0),
				     1000 + GUEST_COUNT_EXTRA, "fixed counter 0");
		}
		kvm_vm_free(vm);
	}
}

TEST(inuse)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	if (default_pmu_model().version < 4)
		SKIP(return, "no version 4");
	vm = vm_create_passthrough_guest(&vcpu);
	model = default_pmu_model();
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_GLOBAL_INUSE), 0);

	/* The event counts, the rest of the selector doesn't. */
	for (i = 0; i < model.nr_gp; i++) {
		guest_wrmsr(vcpu, gp_selector_msr(i), 0xc0);
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_GLOBAL_INUSE), BIT_ULL(i));
		guest_wrmsr(vcpu, gp_selector_msr(i), EVENTSEL_COUNT | 0x100);
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_GLOBAL_INUSE), 0);
		guest_wrmsr(vcpu, gp_selector_msr(i), ARCH_PERFMON_EVENTSEL_INT);
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_GLOBAL_INUSE), INUSE_PMI);
		guest_wrmsr(vcpu, gp_selector_msr(i), 0);
	}
	for (i = 0; i < model.nr_fixed; i++) {
		guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL,
			    FIXED_PMC_CTRL((uint64_t)i, FIXED_COUNT));
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_GLOBAL_INUSE), BIT_ULL(32 + i));
		guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL,
			    FIXED_PMC_CTRL((uint64_t)i, FIXED_PMC_ENABLE_PMI));
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_GLOBAL_INUSE), INUSE_PMI);
	}
	kvm_vm_free(vm);
}

/* Runs slots and metrics for a while; the sum of the first level's fields is 255. */
static uint64_t count_metrics(struct kvm_vcpu *vcpu)
{
	uint64_t metrics, sum = 0;
	int i;

	guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL,
		    FIXED_PMC_CTRL((uint64_t)FIXED_SLOTS, FIXED_COUNT));
	guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + FIXED_SLOTS, 0);
	guest_wrmsr(vcpu, MSR_PERF_METRICS, 0);
	guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), GLOBAL_METRICS | BIT_ULL(35), 100000);
	metrics = guest_rdpmc(vcpu, RDPMC_METRICS);
	for (i = 0; i < 4; i++)
		sum += (metrics >> (8 * i)) & 0xff;
	TEST_ASSERT(sum == 255, "PERF_METRICS %#lx: the fields add up to %lu", metrics, sum);
	TEST_ASSERT(guest_rdmsr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + FIXED_SLOTS) >= 100000,
		    "Too few slots");
	return metrics;
}

TEST(metrics)
{
	struct kvm_vcpu *vcpu, *other_vcpu;
	struct kvm_vm *vm, *other;
	uint64_t metrics, slots;
	int fd;

	if (!default_pmu_model().has_metrics)
		SKIP(return, "no PERF_METRICS");
	vm = vm_create_passthrough_guest(&vcpu);
	other = vm_create_passthrough_guest(&other_vcpu);
	metrics = count_metrics(vcpu);
	slots = guest_rdmsr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + FIXED_SLOTS);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_PERF_METRICS), metrics);

	/* Another guest has used the PMU meanwhile, and the host: both see nothing of it. */
	TEST_ASSERT_EQ(guest_rdpmc(other_vcpu, RDPMC_METRICS), 0);
	guest_wrmsr(other_vcpu, MSR_PERF_METRICS, 0x01020304);
	fd = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, true, 0, -1);
	TEST_ASSERT(fd >= 0, "perf_event_open() failed: %s", strerror(-fd));
	close(fd);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_PERF_METRICS), metrics);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + FIXED_SLOTS), slots);
	TEST_ASSERT_EQ(guest_rdmsr(other_vcpu, MSR_PERF_METRICS), 0x01020304);

	/* Saved and restored. */
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, MSR_PERF_METRICS), metrics);
	kvm_vm_free(vm);
	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_msr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + FIXED_SLOTS, slots);
	vcpu_set_msr(vcpu, MSR_PERF_METRICS, metrics);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_PERF_METRICS), metrics);
	TEST_ASSERT_EQ(guest_rdpmc(vcpu, RDPMC_METRICS), metrics);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + FIXED_SLOTS), slots);
	kvm_vm_free(vm);
	kvm_vm_free(other);
}

/*
 * All counters, but no PERF_METRICS: what QEMU gives to guests by default.  The guest
 * may enable it all the same, as GLOBAL_CTRL doesn't exit: nobody else sees that.
 */
TEST(without_metrics)
{
	struct kvm_vcpu *vcpu, *other_vcpu;
	struct kvm_vm *vm, *other;
	uint64_t value;

	model = default_pmu_model();
	if (!model.has_metrics)
		SKIP(return, "no PERF_METRICS");
	other = vm_create_passthrough_guest(&other_vcpu);
	vm = vm_create_passthrough_guest(&vcpu);
	model.has_metrics = false;
	vcpu_set_pmu_model(vcpu, &model);

	/* Somebody else's value */
	count_metrics(other_vcpu);
	TEST_ASSERT_EQ(guest_rdpmc(vcpu, RDPMC_METRICS), 0);
	assert_access(vcpu, GUEST_RDMSR, MSR_PERF_METRICS, 0, false);

	guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL,
		    FIXED_PMC_CTRL((uint64_t)FIXED_SLOTS, FIXED_COUNT));
	guest_do(vcpu, GUEST_WRMSR, global_ctrl_msr(), GLOBAL_METRICS | BIT_ULL(35), 1);
	guest_do(vcpu, GUEST_LOOP, 0, 0, 10000);
	value = vcpu_get_msr(vcpu, global_ctrl_msr());
	TEST_ASSERT(!(value & GLOBAL_METRICS), "GLOBAL_CTRL %#lx, as user space sees it", value);
	value = vcpu_get_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS);
	TEST_ASSERT(!(value & GLOBAL_METRICS), "GLOBAL_STATUS %#lx, as user space sees it",
		    value);
	/* What is saved can be restored. */
	vcpu_set_msr(vcpu, global_ctrl_msr(), vcpu_get_msr(vcpu, global_ctrl_msr()));

	kvm_vm_free(other);
	other = vm_create_passthrough_guest(&other_vcpu);
	TEST_ASSERT_EQ(guest_rdpmc(other_vcpu, RDPMC_METRICS), 0);
	kvm_vm_free(vm);
	kvm_vm_free(other);
}

/* Bits that hardware takes and the guest doesn't have, with an exit and without. */
TEST(what_exits_ends_alike)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t exits;
	int i, n;

	model = default_pmu_model();
	if (!model.has_metrics)
		SKIP(return, "no PERF_METRICS");
	vm = vm_create_passthrough_guest(&vcpu);
	model.has_metrics = false;
	vcpu_set_pmu_model(vcpu, &model);

	for (i = 0; i < 2; i++) {
		exits = vcpu_get_stat(vcpu, "pmu_global_exits");
		assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_OVF_CTRL,
			      GLOBAL_METRICS | STATUS_CTR_FRZ, true);
		assert_access(vcpu, GUEST_WRMSR, global_ctrl_msr(), GLOBAL_METRICS, true);
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_ctrl_msr()), GLOBAL_METRICS);
		TEST_ASSERT_EQ(guest_rdpmc(vcpu, RDPMC_METRICS), 0);
		assert_access(vcpu, GUEST_WRMSR, global_ctrl_msr(), BIT_ULL(47), false);
		exits = vcpu_get_stat(vcpu, "pmu_global_exits") - exits;
		if (i)
			TEST_ASSERT_EQ(exits, 4);
		else
			TEST_ASSERT_EQ(exits, 0);

		/* Counts nothing for a while, then everything exits. */
		for (n = 0; n < 100; n++)
			guest_do(vcpu, GUEST_LOOP, 0, 0, 1);
	}
	kvm_vm_free(vm);
}

/* Nobody but a guest that owns the PMU gets what perf doesn't do for others. */
TEST(perf_based_vms_have_version_2)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t caps;

	if (!kvm_cpu_has(X86_FEATURE_PDCM))
		SKIP(return, "no PERF_CAPABILITIES");
	vm = vm_create(1);
	vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_PERF_BASED);
	vcpu = vm_vcpu_add(vm, 0, passthrough_guest);
	vcpu_args_set(vcpu, 1, 0);
	model = default_pmu_model();

	caps = vcpu_get_msr(vcpu, MSR_IA32_PERF_CAPABILITIES);
	TEST_ASSERT(!(caps & PMU_CAP_METRICS), "PERF_CAPABILITIES %#lx", caps);
	TEST_ASSERT(_vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, caps | PMU_CAP_METRICS) == 0,
		    "PERF_METRICS should be refused");
	assert_access(vcpu, GUEST_RDMSR, MSR_CORE_PERF_FIXED_CTR0 + 2, 0, model.nr_fixed > 2);
	assert_access(vcpu, GUEST_RDMSR, MSR_CORE_PERF_FIXED_CTR0 + FIXED_SLOTS, 0, false);
	assert_access(vcpu, GUEST_RDMSR, MSR_PERF_METRICS, 0, false);
	assert_access(vcpu, GUEST_RDMSR, MSR_CORE_PERF_GLOBAL_INUSE, 0, false);
	assert_access(vcpu, GUEST_WRMSR, MSR_CORE_PERF_GLOBAL_STATUS_SET, 1, false);
	assert_access(vcpu, GUEST_WRMSR, MSR_IA32_DEBUGCTLMSR, DEBUGCTL_FREEZE_PERFMON, false);
	kvm_vm_free(vm);
}

/* CPUID's leaf 0AH, as KVM reports it. */
TEST(what_kvm_offers)
{
	struct pmu_model host = host_pmu_model();
	int max = get_kvm_intel_param_integer("passthrough_pmu_version");
	const struct kvm_cpuid_entry2 *entry =
		get_cpuid_entry(kvm_get_supported_cpuid(), 0xa, 0);

	model = default_pmu_model();
	TEST_ASSERT_EQ(model.version, min_t(int, host.version, max));
	TEST_ASSERT_EQ(model.nr_gp, host.nr_gp);
	TEST_ASSERT_EQ(model.nr_fixed, host.nr_fixed);
	TEST_ASSERT_EQ(model.has_metrics, host.has_metrics);
	TEST_ASSERT_EQ(entry->ecx, model.version < 5 ? 0 : BIT(model.nr_fixed) - 1);
	TEST_ASSERT(entry->eax >> 24 >= 7, "EBX has %u bits", entry->eax >> 24);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(host_cpu_is_intel);
	TEST_REQUIRE(host_has_passthrough_pmu());
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PMU_CAPABILITY));

	return test_harness_run(argc, argv);
}
