// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest that owns the PMU touches without a VM-exit, and what not.
 *
 * Whether something exits is measured: the guest does it NR times, and KVM's
 * statistics tell how many VM-exits that took.
 */
#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

#define NR			16

#define X86_FEATURE_PERFCTR_NB	KVM_X86_CPU_FEATURE(0x80000001, 0, ECX, 24)
#define X86_FEATURE_PERFCTR_LLC	KVM_X86_CPU_FEATURE(0x80000001, 0, ECX, 28)

/* Of counters, more than any CPU has. */
#define MAX_GP			8
#define MAX_FIXED		4

/*
 * All exits if no counter is in use, after a while: enable one, which needs no event.  The
 * guest may not have it, but then the PMU isn't the guest's for other reasons.
 */
static void use_counter(struct kvm_vcpu *vcpu)
{
	guest_do(vcpu, GUEST_WRMSR, host_cpu_is_intel ? MSR_P6_EVNTSEL0 + 1 : MSR_K7_EVNTSEL0 + 1,
		 ARCH_PERFMON_EVENTSEL_ENABLE, 1);
}

static bool all_exit(struct kvm_vcpu *vcpu, enum guest_op op, uint64_t index, const char *what)
{
	uint64_t exits;

	use_counter(vcpu);
	/* Memory that the guest touches for the first time costs exits, too. */
	guest_do(vcpu, op, index, 0, 1);
	exits = vcpu_get_stat(vcpu, "exits");
	guest_do(vcpu, op, index, 0, NR);
	exits = vcpu_get_stat(vcpu, "exits") - exits;

	/* One is the guest's report, others are interrupts of the host. */
	TEST_ASSERT(exits >= NR || exits <= NR / 2,
		    "%s(%#lx): %lu exits of %u, neither none nor all", what, index, exits, NR);
	return exits >= NR;
}

static void assert_exits(struct kvm_vcpu *vcpu, enum guest_op op, uint64_t index, bool expected)
{
	static const char * const names[] = {
		[GUEST_RDMSR] = "RDMSR",
		[GUEST_WRMSR] = "WRMSR",
		[GUEST_RDPMC] = "RDPMC",
	};
	bool exits = all_exit(vcpu, op, index, names[op]);

	TEST_ASSERT(exits == expected, "Wanted %s(%#lx) to %s, it %s", names[op], index,
		    expected ? "exit" : "run without exits",
		    exits ? "exits" : "runs without exits");
}

static void assert_msr_exits(struct kvm_vcpu *vcpu, uint32_t msr, bool reads, bool writes)
{
	assert_exits(vcpu, GUEST_RDMSR, msr, reads);
	assert_exits(vcpu, GUEST_WRMSR, msr, writes);
}

/* RDPMC of an AMD CPU also reads the counters of the data fabric and of the L3. */
static bool host_rdpmc_reads_other_pmus(void)
{
	return !host_cpu_is_intel && (this_cpu_has(X86_FEATURE_PERFCTR_NB) ||
				      this_cpu_has(X86_FEATURE_PERFCTR_LLC));
}

/* An enclave of the guest sets a bit of GLOBAL_STATUS that only version 4 knows. */
static bool status_has_other_bits(const struct pmu_model *guest)
{
	return host_cpu_is_intel && kvm_cpu_has(X86_FEATURE_SGX) && guest->version < 4;
}

/*
 * The rules, in words of the manuals.  A counter is open if it is the guest's and
 * as wide as the guest thinks.  RDPMC, GLOBAL_CTRL, GLOBAL_STATUS, and what clears it
 * reach all counters, hence are open if all are the guest's, and as long as the host
 * doesn't trace.  PERF_METRICS is open if the guest has it.  All else exits.
 */
static void assert_intercepts(struct kvm_vcpu *vcpu, const struct pmu_model *guest)
{
	struct pmu_model host = host_pmu_model();
	bool pmu = host_has_passthrough_pmu() && guest->version;
	bool gp = pmu && guest->width_gp == host.width_gp;
	bool fixed = pmu && (!guest->nr_fixed || guest->width_fixed == host.width_fixed);
	bool all = pmu && guest->nr_gp == host.nr_gp && guest->nr_fixed == host.nr_fixed;
	bool globals = all && guest->version > 1;
	bool rdpmc = all && gp && fixed && !host_rdpmc_reads_other_pmus();
	bool metrics = pmu && guest->has_metrics && guest->nr_fixed > 3;
	int i;

	for (i = 0; i < MAX_GP; i++) {
		bool open = gp && i < guest->nr_gp;

		if (host_cpu_is_intel || i < 4)
			assert_msr_exits(vcpu, gp_legacy_msr(i), !open, !open);
		if (host_cpu_is_intel || i < 6) {
			open = open && guest->full_width;
			assert_msr_exits(vcpu, gp_counter_msr(i), !open, !open);
			assert_msr_exits(vcpu, gp_selector_msr(i), true, true);
		}
		if (!host_cpu_is_intel && i < 4)
			assert_msr_exits(vcpu, MSR_K7_EVNTSEL0 + i, true, true);
	}

	assert_exits(vcpu, GUEST_RDMSR, global_ctrl_msr(), !globals);
	assert_exits(vcpu, GUEST_WRMSR, global_ctrl_msr(), !globals);
	assert_exits(vcpu, GUEST_RDMSR, global_status_msr(),
		     !globals || status_has_other_bits(guest));
	assert_exits(vcpu, GUEST_WRMSR, status_clear_msr(), !globals);

	for (i = 0; i < guest->nr_gp; i++)
		assert_exits(vcpu, GUEST_RDPMC, i, !rdpmc);

	/*
	 * The status is read-only.  Setting bits in it exits on all CPUs: what the guest
	 * sets is no overflow, and KVM must not take it for one.
	 */
	assert_exits(vcpu, GUEST_WRMSR, global_status_msr(), true);
	assert_exits(vcpu, GUEST_RDMSR, status_clear_msr(), true);
	assert_msr_exits(vcpu, status_set_msr(), true, true);

	if (!host_cpu_is_intel)
		return;

	for (i = 0; i < MAX_FIXED; i++) {
		bool open = fixed && i < guest->nr_fixed;

		assert_msr_exits(vcpu, MSR_CORE_PERF_FIXED_CTR0 + i, !open, !open);
	}
	for (i = 0; i < guest->nr_fixed; i++)
		assert_exits(vcpu, GUEST_RDPMC, INTEL_RDPMC_FIXED | i, !rdpmc);

	assert_msr_exits(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, true, true);
	assert_exits(vcpu, GUEST_RDPMC, RDPMC_METRICS, !rdpmc);
	assert_msr_exits(vcpu, MSR_PERF_METRICS, !metrics, !metrics);
	assert_msr_exits(vcpu, MSR_CORE_PERF_GLOBAL_INUSE, true, true);
	assert_msr_exits(vcpu, MSR_IA32_PEBS_ENABLE, true, true);
	assert_msr_exits(vcpu, MSR_IA32_PERF_CAPABILITIES, true, true);
}

static void check_model(const struct pmu_model *model)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);

	vcpu_set_pmu_model(vcpu, model);
	assert_intercepts(vcpu, model);
	kvm_vm_free(vm);
}

TEST(all_that_kvm_offers)
{
	struct pmu_model model = default_pmu_model();

	check_model(&model);
}

/* What QEMU gives to guests by default. */
TEST(no_metrics)
{
	struct pmu_model model = default_pmu_model();

	if (!model.has_metrics)
		SKIP(return, "no PERF_METRICS");
	model.has_metrics = false;
	check_model(&model);
}

TEST(each_version)
{
	struct pmu_model model = default_pmu_model();

	if (!host_cpu_is_intel)
		SKIP(return, "Intel's versions");
	for (; model.version > 1; model.version--)
		check_model(&model);
}

TEST(fewer_general_counters)
{
	struct pmu_model model = default_pmu_model();

	model.nr_gp -= 2;
	if (!host_cpu_is_intel && model.version < 2)
		SKIP(return, "no other number of counters without PerfMonV2");
	check_model(&model);
}

TEST(fewer_fixed_counters)
{
	struct pmu_model model = default_pmu_model();

	if (!model.nr_fixed)
		SKIP(return, "no fixed counters");
	model.nr_fixed--;
	check_model(&model);
}

TEST(no_fixed_counters)
{
	struct pmu_model model = default_pmu_model();

	if (!model.nr_fixed)
		SKIP(return, "no fixed counters");
	model.nr_fixed = 0;
	check_model(&model);
}

/* Has no GLOBAL_CTRL, and on Intel's CPUs no fixed counters. */
TEST(version_1)
{
	struct pmu_model model = default_pmu_model();

	model.version = 1;
	model.nr_fixed = 0;
	if (!host_cpu_is_intel)
		model.nr_gp = 6;
	check_model(&model);
}

TEST(no_full_width_counters)
{
	struct pmu_model model = default_pmu_model();

	model.full_width = false;
	if (!host_cpu_is_intel) {
		model.version = 1;
		model.nr_gp = 4;
	}
	check_model(&model);
}

TEST(narrower_general_counters)
{
	struct pmu_model model = default_pmu_model();

	if (!host_cpu_is_intel)
		SKIP(return, "CPUID doesn't tell the width");
	model.width_gp = 40;
	check_model(&model);
}

TEST(narrower_fixed_counters)
{
	struct pmu_model model = default_pmu_model();

	if (!model.nr_fixed)
		SKIP(return, "no fixed counters");
	model.width_fixed = 40;
	check_model(&model);
}

TEST(no_pmu_in_cpuid)
{
	struct pmu_model model = {};

	if (!host_cpu_is_intel)
		SKIP(return, "CPUID can't hide the PMU");
	check_model(&model);
}

TEST(no_pmu_by_capability)
{
	struct pmu_model model = {};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create(1);

	vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
	vcpu = vm_vcpu_add(vm, 0, passthrough_guest);
	vcpu_args_set(vcpu, 1, 0);
	assert_intercepts(vcpu, &model);
	kvm_vm_free(vm);
}

/* Whatever user space told before, the last word counts. */
TEST(cpuid_set_several_times)
{
	struct pmu_model full = default_pmu_model(), few = full, none = {}, *last[] = {
		&full, &few,
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	few.nr_gp = 2;
	few.nr_fixed = min_t(uint8_t, few.nr_fixed, 1);
	if (!host_cpu_is_intel) {
		none = (struct pmu_model){ .version = 1, .nr_gp = 4, .width_gp = 48 };
		if (few.version < 2)
			few = none;
	}

	for (i = 0; i < ARRAY_SIZE(last); i++) {
		vm = vm_create_passthrough_guest(&vcpu);
		vcpu_set_pmu_model(vcpu, last[!i]);
		vcpu_set_pmu_model(vcpu, &none);
		vcpu_set_pmu_model(vcpu, last[i]);
		vcpu_set_pmu_model(vcpu, last[!i]);
		vcpu_set_pmu_model(vcpu, last[i]);
		assert_intercepts(vcpu, last[i]);
		kvm_vm_free(vm);
	}

	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_pmu_model(vcpu, &full);
	vcpu_set_pmu_model(vcpu, &none);
	assert_intercepts(vcpu, &none);
	kvm_vm_free(vm);
}

/* PERF_CAPABILITIES may change after all CPUID is set, which changes what is open. */
TEST(perf_capabilities_written_late)
{
	struct pmu_model model = default_pmu_model();
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t caps;

	if (!host_cpu_is_intel || !model.full_width)
		SKIP(return, "no full-width writes in PERF_CAPABILITIES");

	vm = vm_create_passthrough_guest(&vcpu);
	caps = vcpu_get_msr(vcpu, MSR_IA32_PERF_CAPABILITIES);
	vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, caps & ~PMU_CAP_FW_WRITES);
	model.full_width = false;
	assert_intercepts(vcpu, &model);
	kvm_vm_free(vm);

	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, caps & ~PMU_CAP_FW_WRITES);
	vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, caps | PMU_CAP_FW_WRITES);
	model.full_width = true;
	assert_intercepts(vcpu, &model);
	kvm_vm_free(vm);
}

/* Runs until the guest has done its @n accesses; the number that user space saw. */
static int count_user_exits(struct kvm_vcpu *vcpu, enum guest_op op, uint32_t msr, int n)
{
	int seen = 0;

	guest_prepare(vcpu, op, msr, 0, n);
	for (;;) {
		vcpu_run(vcpu);
		if (vcpu->run->exit_reason != KVM_EXIT_X86_RDMSR &&
		    vcpu->run->exit_reason != KVM_EXIT_X86_WRMSR)
			break;
		TEST_ASSERT(vcpu->run->msr.index == msr, "Wanted an exit for MSR %#x, got %#x",
			    msr, vcpu->run->msr.index);
		vcpu->run->msr.data = 0x42;
		vcpu->run->msr.error = 0;
		seen++;
	}
	guest_finish(vcpu);
	return seen;
}

TEST(msr_filter_of_user_space)
{
	uint32_t msrs[] = {
		gp_legacy_msr(0),
		gp_counter_msr(1),
		host_cpu_is_intel ? MSR_CORE_PERF_FIXED_CTR0 : gp_legacy_msr(1),
		global_ctrl_msr(),
		gp_selector_msr(0),
	};
	struct pmu_model model = default_pmu_model();
	enum guest_op ops[] = { GUEST_RDMSR, GUEST_WRMSR };
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i, op, seen;

	vm = vm_create_passthrough_guest(&vcpu);
	vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER);
	assert_intercepts(vcpu, &model);

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		for (op = 0; op < ARRAY_SIZE(ops); op++) {
			/* The guest has run: the filter is set while it is in use. */
			vm_set_msr_filter(vm, msrs[i],
					  KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE);
			seen = count_user_exits(vcpu, ops[op], msrs[i], NR);
			TEST_ASSERT(seen == NR,
				    "%s of MSR %#x: wanted %d exits to user space, got %d",
				    op ? "Write" : "Read", msrs[i], NR, seen);

			vm_set_msr_filter(vm, 0, 0);
			seen = count_user_exits(vcpu, ops[op], msrs[i], NR);
			TEST_ASSERT(!seen, "%s of MSR %#x: wanted no exit to user space, got %d",
				    op ? "Write" : "Read", msrs[i], seen);
		}
	}
	assert_intercepts(vcpu, &model);
	kvm_vm_free(vm);
}

/* OvfBuffer and CondChgd are up to KVM as long as user space has them set. */
TEST(status_that_hardware_does_not_hold)
{
	struct pmu_model model = default_pmu_model();
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!host_cpu_is_intel)
		SKIP(return, "no such bits");

	vm = vm_create_passthrough_guest(&vcpu);
	assert_intercepts(vcpu, &model);
	vcpu_set_msr(vcpu, global_status_msr(), BIT_ULL(63) | BIT_ULL(62));
	assert_exits(vcpu, GUEST_RDMSR, global_status_msr(), true);
	assert_exits(vcpu, GUEST_WRMSR, status_clear_msr(), true);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), BIT_ULL(63) | BIT_ULL(62));

	guest_wrmsr(vcpu, status_clear_msr(), BIT_ULL(63));
	assert_exits(vcpu, GUEST_WRMSR, status_clear_msr(), true);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), BIT_ULL(62));

	guest_wrmsr(vcpu, status_clear_msr(), BIT_ULL(62));
	assert_intercepts(vcpu, &model);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_status_msr()), 0);

	vcpu_set_msr(vcpu, global_status_msr(), BIT_ULL(62));
	vcpu_set_msr(vcpu, global_status_msr(), 1);
	assert_intercepts(vcpu, &model);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_status_msr()), 1);
	kvm_vm_free(vm);
}

/* What KVM counts of the accesses that it has to emulate. */
TEST(statistics)
{
	static const char * const kinds[] = {
		"pmu_selector_exits", "pmu_fixed_ctrl_exits", "pmu_counter_exits",
		"pmu_global_exits", "pmu_rdpmc_exits",
	};
	const struct {
		enum guest_op op;
		uint32_t index;
		int kind;
		bool intel;
		bool amd;
	} accesses[] = {
		{ GUEST_RDMSR, gp_selector_msr(0), 0 },
		{ GUEST_WRMSR, gp_selector_msr(0), 0 },
		{ GUEST_RDMSR, MSR_CORE_PERF_FIXED_CTR_CTRL, 1, .intel = true },
		{ GUEST_WRMSR, MSR_CORE_PERF_FIXED_CTR_CTRL, 1, .intel = true },
		{ GUEST_RDMSR, gp_counter_msr(0), 2 },
		{ GUEST_WRMSR, gp_counter_msr(0), 2 },
		{ GUEST_RDMSR, MSR_CORE_PERF_FIXED_CTR0, 2, .intel = true },
		{ GUEST_RDMSR, global_ctrl_msr(), 3 },
		{ GUEST_WRMSR, status_clear_msr(), 3 },
		{ GUEST_WRMSR, status_set_msr(), 3, .amd = true },
		{ GUEST_RDPMC, 0, 4 },
	};
	uint64_t before[ARRAY_SIZE(kinds)], now, expected;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);
	int i, kind;
	bool exits;

	for (i = 0; i < ARRAY_SIZE(accesses); i++) {
		if (host_cpu_is_intel ? accesses[i].amd : accesses[i].intel)
			continue;
		exits = all_exit(vcpu, accesses[i].op, accesses[i].index, "Access");
		for (kind = 0; kind < ARRAY_SIZE(kinds); kind++)
			before[kind] = vcpu_get_stat(vcpu, kinds[kind]);
		guest_do(vcpu, accesses[i].op, accesses[i].index, 0, NR);
		for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
			now = vcpu_get_stat(vcpu, kinds[kind]) - before[kind];
			expected = exits && kind == accesses[i].kind ? NR : 0;
			TEST_ASSERT(now == expected, "%u accesses to %#x: wanted %lu %s, got %lu",
				    NR, accesses[i].index, expected, kinds[kind], now);
		}
	}
	kvm_vm_free(vm);
}

TEST(statistics_of_loads)
{
	struct pmu_model none = {}, narrow;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t loads;
	int fd;

	/* With an event of the host each exit hands the PMU over, without only the first entry. */
	vm = vm_create_passthrough_guest(&vcpu);
	guest_do(vcpu, GUEST_CPUID, 0, 0, NR);
	loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
	TEST_ASSERT(loads, "Wanted a load of the PMU or more, got none");
	fd = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, 0, -1);
	TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
	guest_do(vcpu, GUEST_CPUID, 0, 0, NR);
	loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads") - loads;
	TEST_ASSERT(loads >= NR, "Wanted %d loads of the PMU or more, got %lu", NR, loads);
	TEST_ASSERT_EQ(vcpu_get_stat(vcpu, "passthrough_pmu_pmis"), 0);
	close(fd);
	kvm_vm_free(vm);

	if (!host_cpu_is_intel)
		return;
	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_pmu_model(vcpu, &none);
	guest_do(vcpu, GUEST_CPUID, 0, 0, NR);
	TEST_ASSERT_EQ(vcpu_get_stat(vcpu, "passthrough_pmu_loads"), 0);
	kvm_vm_free(vm);

	/* Counters that are narrower than hardware's overflow in time only after a load. */
	narrow = default_pmu_model();
	narrow.width_gp = 40;
	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_pmu_model(vcpu, &narrow);
	guest_do(vcpu, GUEST_CPUID, 0, 0, NR);
	loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
	TEST_ASSERT(loads >= NR, "Wanted narrow counters to be loaded %d times, got %lu", NR,
		    loads);
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(host_has_passthrough_pmu());
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_BINARY_STATS_FD));

	return test_harness_run(argc, argv);
}
