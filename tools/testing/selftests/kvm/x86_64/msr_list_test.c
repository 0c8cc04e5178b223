// SPDX-License-Identifier: GPL-2.0
/*
 * Test that what KVM_GET_MSR_INDEX_LIST names can be saved, all at once and in
 * this order, and restored in the same way, whatever PMU the vCPU has.
 */
#include "hyperv.h"
#include "kvm_util.h"
#include "processor.h"

#define F15H_PERF_CTL(n)	(MSR_F15H_PERF_CTL + 2 * (n))
#define F15H_PERF_CTR(n)	(MSR_F15H_PERF_CTR + 2 * (n))

#define PERFCTR_CORE		KVM_X86_CPU_FEATURE(0x80000001, 0, ECX, 23)
#define PERFMON_V2		KVM_X86_CPU_FEATURE(0x80000022, 0, EAX, 0)
#define PERFMON_V2_COUNTERS	KVM_X86_CPU_PROPERTY(0x80000022, 0, EBX, 0, 3)

#define COUNTER_VALUE(n)	(0xffff00000000ull + (n) + 1)

/* What KVM sets by itself */
#define CAPS_DEFAULT		(-1ull)

struct model {
	const char *name;
	bool pmu_disabled;	/* by KVM_CAP_PMU_CAPABILITY */
	bool no_pmu;		/* by CPUID */
	bool no_pdcm;
	bool no_perfmon_v2;
	bool no_perfctr_core;
	int nr_counters;	/* of PerfMonV2, 0: all */
	uint64_t perf_capabilities;	/* or CAPS_DEFAULT */
};

/* What isn't the same a moment later, or not on another vCPU */
static bool is_volatile(uint32_t msr)
{
	switch (msr) {
	case MSR_IA32_TSC:
	case MSR_IA32_TSC_ADJUST:
	case HV_X64_MSR_TIME_REF_COUNT:
	case HV_X64_MSR_VP_RUNTIME:
		return true;
	default:
		return false;
	}
}

static struct kvm_msrs *list_msrs(void)
{
	const struct kvm_msr_list *list = kvm_get_msr_index_list();
	struct kvm_msrs *msrs;
	int i;

	msrs = calloc(1, sizeof(*msrs) + list->nmsrs * sizeof(msrs->entries[0]));
	TEST_ASSERT(msrs, "-ENOMEM when allocating MSRs");

	msrs->nmsrs = list->nmsrs;
	for (i = 0; i < list->nmsrs; i++)
		msrs->entries[i].index = list->indices[i];

	return msrs;
}

static struct kvm_msrs *save_msrs(struct kvm_vcpu *vcpu, const struct model *model)
{
	struct kvm_msrs *msrs = list_msrs();
	int r;

	r = __vcpu_ioctl(vcpu, KVM_GET_MSRS, msrs);
	TEST_ASSERT(r == msrs->nmsrs, "%s: only %d of %u MSRs can be read, not 0x%x",
		    model->name, r, msrs->nmsrs, msrs->entries[r < 0 ? 0 : r].index);
	return msrs;
}

static void restore_msrs(struct kvm_vcpu *vcpu, const struct model *model,
			 struct kvm_msrs *msrs)
{
	int r;

	r = __vcpu_ioctl(vcpu, KVM_SET_MSRS, msrs);
	TEST_ASSERT(r == msrs->nmsrs,
		    "%s: only %d of %u MSRs can be written, not 0x%x, which was read as 0x%llx",
		    model->name, r, msrs->nmsrs, msrs->entries[r < 0 ? 0 : r].index,
		    msrs->entries[r < 0 ? 0 : r].data);
}

static void guest_code(void)
{
	GUEST_DONE();
}

static struct kvm_vm *create_vm(const struct model *model, struct kvm_vcpu **vcpu)
{
	struct kvm_vm *vm = vm_create(1);

	if (model->pmu_disabled)
		vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);

	*vcpu = vm_vcpu_add(vm, 0, guest_code);

	if (model->no_pmu)
		vcpu_clear_cpuid_entry(*vcpu, X86_PROPERTY_PMU_VERSION.function);
	if (model->no_pdcm)
		vcpu_clear_cpuid_feature(*vcpu, X86_FEATURE_PDCM);
	if (model->no_perfmon_v2)
		vcpu_clear_cpuid_feature(*vcpu, PERFMON_V2);
	if (model->no_perfctr_core)
		vcpu_clear_cpuid_feature(*vcpu, PERFCTR_CORE);
	if (model->nr_counters)
		vcpu_set_cpuid_property(*vcpu, PERFMON_V2_COUNTERS, model->nr_counters);

	return vm;
}

/* Give the PMU a state that can be told from that of a new one. */
static void fill_intel_pmu(struct kvm_vcpu *vcpu, const struct model *model)
{
	int i, gp, fixed;

	if (model->pmu_disabled || model->no_pmu)
		return;

	gp = kvm_cpu_property(X86_PROPERTY_PMU_NR_GP_COUNTERS);
	fixed = kvm_cpu_property(X86_PROPERTY_PMU_NR_FIXED_COUNTERS);

	if (model->perf_capabilities != CAPS_DEFAULT)
		vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, model->perf_capabilities);

	for (i = 0; i < gp; i++) {
		vcpu_set_msr(vcpu, MSR_IA32_PERFCTR0 + i, COUNTER_VALUE(i));
		/* Instructions, in user and kernel mode, with an interrupt */
		vcpu_set_msr(vcpu, MSR_P6_EVNTSEL0 + i, 0x5300c0);
	}
	/* Counter 2 alone has IN_TXCP, on CPUs with TSX. */
	if (gp > 2 && kvm_cpu_has(X86_FEATURE_RTM))
		vcpu_set_msr(vcpu, MSR_P6_EVNTSEL0 + 2, BIT_ULL(33) | 0x5300c0);
	for (i = 0; i < fixed; i++)
		vcpu_set_msr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + i, COUNTER_VALUE(0x100 + i));
	if (fixed)
		vcpu_set_msr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, 0xb);
	vcpu_set_msr(vcpu, MSR_CORE_PERF_GLOBAL_CTRL, 1);
	vcpu_set_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS, 1);
}

static void fill_amd_pmu(struct kvm_vcpu *vcpu, const struct model *model)
{
	bool core = kvm_cpu_has(PERFCTR_CORE) && !model->no_perfctr_core;
	bool v2 = kvm_cpu_has(PERFMON_V2) && !model->no_perfmon_v2;
	int i, nr;

	if (model->pmu_disabled)
		return;

	nr = core ? 6 : 4;
	if (v2)
		nr = model->nr_counters ?: kvm_cpu_property(PERFMON_V2_COUNTERS);

	for (i = 0; i < nr; i++) {
		vcpu_set_msr(vcpu, core ? F15H_PERF_CTR(i) : MSR_K7_PERFCTR0 + i,
			     COUNTER_VALUE(i));
		vcpu_set_msr(vcpu, core ? F15H_PERF_CTL(i) : MSR_K7_EVNTSEL0 + i,
			     0x5300c0);
	}
	if (v2) {
		vcpu_set_msr(vcpu, MSR_AMD64_PERF_CNTR_GLOBAL_CTL, 1);
		vcpu_set_msr(vcpu, MSR_AMD64_PERF_CNTR_GLOBAL_STATUS, 1);
	}
}

static void test_model(const struct model *model)
{
	struct kvm_msrs *saved, *restored;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i, differ = 0;

	pr_info("%s\n", model->name);

	vm = create_vm(model, &vcpu);
	if (host_cpu_is_intel)
		fill_intel_pmu(vcpu, model);
	else
		fill_amd_pmu(vcpu, model);
	saved = save_msrs(vcpu, model);
	kvm_vm_free(vm);

	vm = create_vm(model, &vcpu);
	restore_msrs(vcpu, model, saved);
	restored = save_msrs(vcpu, model);
	kvm_vm_free(vm);

	for (i = 0; i < saved->nmsrs; i++) {
		if (is_volatile(saved->entries[i].index) ||
		    saved->entries[i].data == restored->entries[i].data)
			continue;

		pr_info("  MSR 0x%x: 0x%llx was restored, reads 0x%llx\n",
			saved->entries[i].index, saved->entries[i].data,
			restored->entries[i].data);
		differ++;
	}
	TEST_ASSERT(!differ, "%s: %d MSRs lost their values", model->name, differ);

	free(saved);
	free(restored);
}

/* A VMM that emulates a RESET writes all MSRs back to a vCPU that has run. */
static void test_reset(const struct model *model)
{
	struct kvm_msrs *saved;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct ucall uc;

	vm = create_vm(model, &vcpu);
	vcpu_run(vcpu);
	TEST_ASSERT(get_ucall(vcpu, &uc) == UCALL_DONE, "%s: the guest failed", model->name);

	saved = save_msrs(vcpu, model);
	restore_msrs(vcpu, model, saved);
	kvm_vm_free(vm);
	free(saved);
}

static void test_intel(void)
{
	uint64_t caps = kvm_cpu_has(X86_FEATURE_PDCM) ?
			kvm_get_feature_msr(MSR_IA32_PERF_CAPABILITIES) : 0;
	const struct model models[] = {
		{ .name = "default", .perf_capabilities = CAPS_DEFAULT },
		{ .name = "all capabilities", .perf_capabilities = caps },
		{ .name = "no capabilities", .perf_capabilities = 0 },
		{ .name = "no PDCM", .no_pdcm = true, .perf_capabilities = CAPS_DEFAULT },
		{ .name = "no PMU in CPUID", .no_pmu = true },
		{ .name = "no PMU and no PDCM in CPUID", .no_pmu = true, .no_pdcm = true },
		{ .name = "PMU disabled", .pmu_disabled = true },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(models); i++) {
		test_model(&models[i]);
		test_reset(&models[i]);
	}
}

static void test_amd(void)
{
	struct model models[] = {
		{ .name = "default" },
		{ .name = "no PerfMonV2", .no_perfmon_v2 = true },
		{ .name = "four counters", .no_perfmon_v2 = true, .no_perfctr_core = true },
		{ .name = "PMU disabled", .pmu_disabled = true },
	};
	struct model fewer = { .name = "PerfMonV2 with fewer counters" };
	int i;

	for (i = 0; i < ARRAY_SIZE(models); i++) {
		test_model(&models[i]);
		test_reset(&models[i]);
	}

	if (!kvm_cpu_has(PERFMON_V2))
		return;

	for (i = kvm_cpu_property(PERFMON_V2_COUNTERS) - 1; i > 0; i--) {
		fewer.nr_counters = i;
		test_model(&fewer);
	}
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());

	if (host_cpu_is_intel) {
		TEST_REQUIRE(kvm_cpu_property(X86_PROPERTY_PMU_VERSION) > 1);
		test_intel();
	} else {
		test_amd();
	}
}
