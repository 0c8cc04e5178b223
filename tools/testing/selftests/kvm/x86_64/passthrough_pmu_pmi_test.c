// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of a guest's counters: each overflow is told exactly once, as LVTPC
 * says, wherever it happens.
 */
#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

/* Writes that the fastpath may handle. */
#define FASTPATH_NR	64

/* What the guest's handler sees and does. */
static struct {
	uint64_t nr;
	uint64_t status;
	uint32_t lvtpc;
	bool clear;
	bool unmask;
	/* There is no GLOBAL_STATUS. */
	bool v1;
	/* Counter to be set again, 0 for none, and its value. */
	uint32_t rearm_msr;
	uint64_t rearm_value;
} pmi;

static void guest_pmi_handler(struct ex_regs *regs)
{
	uint64_t status = pmi.v1 ? 0 : rdmsr(global_status_msr());

	pmi.nr++;
	pmi.status |= status;
	pmi.lvtpc = x2apic_read_reg(APIC_LVTPC);
	if (pmi.rearm_msr)
		wrmsr(pmi.rearm_msr, pmi.rearm_value);
	if (pmi.clear && !pmi.v1)
		wrmsr(status_clear_msr(), status);
	if (pmi.unmask)
		x2apic_write_reg(APIC_LVTPC, GUEST_PMI_VECTOR);
	x2apic_write_reg(APIC_EOI, 0);
}

/* As far as counters have a name in common: general ones first, then fixed ones. */
struct counter {
	uint32_t msr;
	uint32_t rdpmc;
	int bit;
};

static int nr_counters;
static struct counter counters[16];
static uint64_t all_counters;
static uint64_t counter_mask;

static void find_counters(void)
{
	struct pmu_model model = default_pmu_model();
	int i;

	for (i = 0; i < model.nr_gp; i++)
		counters[nr_counters++] = (struct counter) { gp_counter_msr(i), i, i };
	for (i = 0; i < model.nr_fixed; i++)
		counters[nr_counters++] = (struct counter) {
			MSR_CORE_PERF_FIXED_CTR0 + i, INTEL_RDPMC_FIXED | i, 32 + i,
		};
	for (i = 0; i < nr_counters; i++)
		all_counters |= BIT_ULL(counters[i].bit);
	counter_mask = GENMASK_ULL(model.width_gp - 1, 0);
}

/* Fixed counter 0 counts instructions, and so does each general one. */
static bool counts_instructions(const struct counter *c)
{
	return c->bit <= 32;
}

FIXTURE(pmi) {
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
};

/* The value that makes a counter overflow with the @n-th event. */
static uint64_t before(uint64_t n)
{
	return -n & counter_mask;
}

static void start_handler(struct kvm_vm *vm, bool unmask)
{
	memset(&pmi, 0, sizeof(pmi));
	pmi.clear = true;
	pmi.unmask = unmask;
	sync_global_to_guest(vm, pmi);
}

FIXTURE_SETUP(pmi)
{
	int i;

	self->vm = vm_create_passthrough_guest(&self->vcpu);
	vm_install_exception_handler(self->vm, GUEST_PMI_VECTOR, guest_pmi_handler);
	start_handler(self->vm, true);
	guest_do(self->vcpu, GUEST_ENABLE_IRQS, 0, GUEST_PMI_VECTOR, 0);

	guest_wrmsr(self->vcpu, global_ctrl_msr(), 0);
	for (i = 0; i < nr_counters && counters[i].bit < 32; i++)
		guest_wrmsr(self->vcpu, gp_selector_msr(i),
			    EVENTSEL_COUNT_PMI | EVENT_INSTRUCTIONS);
	if (i < nr_counters)
		guest_wrmsr(self->vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL,
			    FIXED_PMC_CTRL(0, FIXED_COUNT_PMI));
}

FIXTURE_TEARDOWN(pmi)
{
	kvm_vm_free(self->vm);
}

static void assert_pmis(struct kvm_vm *vm, uint64_t nr, uint64_t status)
{
	sync_global_from_guest(vm, pmi);
	TEST_ASSERT(pmi.nr == nr, "Wanted %lu PMIs, got %lu (status %#lx)", nr, pmi.nr,
		    pmi.status);
	TEST_ASSERT(pmi.status == status, "Wanted overflows %#lx, got %#lx", status, pmi.status);
}

TEST_F(pmi, each_counter_interrupts)
{
	int i;

	for (i = 0; i < nr_counters; i++) {
		if (!counts_instructions(&counters[i]))
			continue;
		start_handler(self->vm, true);
		guest_wrmsr(self->vcpu, counters[i].msr, before(500));
		guest_do(self->vcpu, GUEST_COUNT, global_ctrl_msr(), BIT_ULL(counters[i].bit),
			 1000);
		assert_pmis(self->vm, 1, BIT_ULL(counters[i].bit));
		TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, global_status_msr()), 0);
	}
}

TEST_F(pmi, none_before_the_overflow)
{
	/* Leave room for VMRUN, which AMD's CPUs count. */
	const uint64_t room = host_cpu_is_intel ? 1 : 100;

	guest_wrmsr(self->vcpu, counters[0].msr, before(1000 + GUEST_COUNT_EXTRA + room));
	guest_do(self->vcpu, GUEST_COUNT, global_ctrl_msr(), 1, 1000);
	assert_pmis(self->vm, 0, 0);
	assert_insns(self->vcpu, guest_rdmsr(self->vcpu, counters[0].msr), before(room), "counter");
}

/* The handler sets the counter anew each time, as perf does to take samples. */
TEST_F(pmi, again_and_again)
{
	const int period = 10000, n = 200;

	start_handler(self->vm, true);
	pmi.rearm_msr = counters[0].msr;
	pmi.rearm_value = before(period);
	sync_global_to_guest(self->vm, pmi);

	/*
	 * The handler's own instructions count as well, except between the
	 * overflow and the moment at which the counter is set again, which
	 * hardware may delay by some hundred instructions.  A PMI that got lost
	 * would be the last one.
	 */
	guest_wrmsr(self->vcpu, counters[0].msr, before(period));
	guest_do(self->vcpu, GUEST_COUNT, global_ctrl_msr(), 1, period * n);
	sync_global_from_guest(self->vm, pmi);
	TEST_ASSERT(pmi.nr >= n - n / 20 && pmi.nr <= n + 2,
		    "Wanted %d PMIs, apart from those in the handler, got %lu", n, pmi.nr);
	TEST_ASSERT_EQ(pmi.status, 1);
}

TEST_F(pmi, several_counters_at_once)
{
	uint64_t expected = 0;
	int i;

	for (i = 0; i < nr_counters; i++) {
		if (!counts_instructions(&counters[i]))
			continue;
		guest_wrmsr(self->vcpu, counters[i].msr, before(500));
		expected |= BIT_ULL(counters[i].bit);
	}
	guest_do(self->vcpu, GUEST_COUNT, global_ctrl_msr(), all_counters, 1000);
	sync_global_from_guest(self->vm, pmi);
	TEST_ASSERT(pmi.nr >= 1 && pmi.nr <= 2, "Wanted one PMI for all counters, got %lu", pmi.nr);
	TEST_ASSERT_EQ(pmi.status, expected);
}

TEST_F(pmi, several_counters_one_after_the_other)
{
	guest_wrmsr(self->vcpu, counters[0].msr, before(5000));
	guest_wrmsr(self->vcpu, counters[1].msr, before(10000));
	guest_do(self->vcpu, GUEST_COUNT, global_ctrl_msr(), 3, 20000);
	assert_pmis(self->vm, 2, 3);
}

/* Counters without the INT bit tell of an overflow in the status only. */
TEST_F(pmi, none_unless_asked_for)
{
	guest_wrmsr(self->vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_wrmsr(self->vcpu, counters[0].msr, before(500));
	guest_do(self->vcpu, GUEST_COUNT, global_ctrl_msr(), 1, 1000);
	assert_pmis(self->vm, 0, 0);
	TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, global_status_msr()), 1);
}

TEST_F(pmi, masked_lvtpc_leaves_the_status)
{
	guest_do(self->vcpu, GUEST_APIC, APIC_LVTPC, GUEST_PMI_VECTOR | APIC_LVT_MASKED, 1);
	guest_wrmsr(self->vcpu, counters[0].msr, before(500));
	guest_do(self->vcpu, GUEST_COUNT, global_ctrl_msr(), 1, 1000);
	assert_pmis(self->vm, 0, 0);
	TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, global_status_msr()), 1);
	/* Neither does hardware interrupt, for KVM to find out that it is in vain. */
	TEST_ASSERT_EQ(vcpu_get_stat(self->vcpu, "passthrough_pmu_pmis"), 0);

	/* It is the overflow that interrupts, not the status. */
	guest_do(self->vcpu, GUEST_APIC, APIC_LVTPC, GUEST_PMI_VECTOR, 1);
	guest_do(self->vcpu, GUEST_LOOP, 0, 0, 1000);
	assert_pmis(self->vm, 0, 0);

	guest_wrmsr(self->vcpu, status_clear_msr(), 1);
	guest_wrmsr(self->vcpu, counters[0].msr, before(500));
	guest_do(self->vcpu, GUEST_COUNT, global_ctrl_msr(), 1, 1000);
	assert_pmis(self->vm, 1, 1);
}

/* Intel's CPUs mask LVTPC with each PMI, AMD's don't. */
TEST_F(pmi, lvtpc_is_masked_by_the_pmi)
{
	const uint64_t masked = host_cpu_is_intel ? APIC_LVT_MASKED : 0;

	start_handler(self->vm, false);
	guest_wrmsr(self->vcpu, counters[0].msr, before(500));
	guest_do(self->vcpu, GUEST_COUNT, global_ctrl_msr(), 1, 1000);
	assert_pmis(self->vm, 1, 1);
	TEST_ASSERT_EQ(pmi.lvtpc, GUEST_PMI_VECTOR | masked);
	TEST_ASSERT_EQ(guest_do(self->vcpu, GUEST_APIC_READ, APIC_LVTPC, 0, 1).value,
		       GUEST_PMI_VECTOR | masked);

	guest_wrmsr(self->vcpu, counters[0].msr, before(500));
	guest_do(self->vcpu, GUEST_COUNT, global_ctrl_msr(), 1, 1000);
	if (host_cpu_is_intel) {
		assert_pmis(self->vm, 1, 1);
		TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, global_status_msr()), 1);
	} else {
		assert_pmis(self->vm, 2, 1);
	}
}

/* KVM emulates CPUID, and counts it on the guest's behalf. */
TEST_F(pmi, overflow_by_an_emulated_instruction)
{
	uint64_t value;

	/* One of 4 instructions per iteration is CPUID: each of the 4 positions. */
	for (value = 401; value < 405; value++) {
		start_handler(self->vm, true);
		guest_wrmsr(self->vcpu, counters[0].msr, before(value));
		guest_do(self->vcpu, GUEST_COUNT_CPUID, global_ctrl_msr(), 1, 200);
		assert_pmis(self->vm, 1, 1);
	}
}

TEST_F(pmi, overflow_by_forced_emulation)
{
	uint64_t value;

	if (!is_forced_emulation_enabled)
		SKIP(return, "kvm.force_emulation_prefix is off");

	for (value = 301; value < 304; value++) {
		start_handler(self->vm, true);
		guest_wrmsr(self->vcpu, counters[0].msr, before(value));
		guest_do(self->vcpu, GUEST_COUNT_FEP, global_ctrl_msr(), 1, 200);
		assert_pmis(self->vm, 1, 1);
	}
}

TEST_F(pmi, emulated_instructions_need_global_ctrl)
{
	guest_wrmsr(self->vcpu, counters[0].msr, before(10));
	guest_do(self->vcpu, GUEST_CPUID, 0, 0, 100);
	assert_pmis(self->vm, 0, 0);
	TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, counters[0].msr), before(10));
	TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, global_status_msr()), 0);
}

/* Whatever exits in between: neither is a count lost nor counted twice. */
TEST_F(pmi, emulated_instructions_count_once)
{
	const uint64_t n = 100;

	guest_wrmsr(self->vcpu, counters[0].msr, 0);
	guest_do(self->vcpu, GUEST_COUNT_CPUID, global_ctrl_msr(), 1, n);
	assert_insns(self->vcpu, guest_rdmsr(self->vcpu, counters[0].msr),
		     GUEST_COUNT_CPUID_INSNS * n + GUEST_COUNT_EXTRA, "CPUID");

	if (!is_forced_emulation_enabled)
		return;
	guest_wrmsr(self->vcpu, counters[0].msr, 0);
	guest_do(self->vcpu, GUEST_COUNT_FEP, global_ctrl_msr(), 1, n);
	assert_insns(self->vcpu, guest_rdmsr(self->vcpu, counters[0].msr),
		     GUEST_COUNT_FEP_INSNS * n + GUEST_COUNT_EXTRA, "forced emulation");
}

/* WRMSR of TSC_DEADLINE is handled in KVM's fastpath, with the counters in hardware. */
TEST_F(pmi, fastpath_counts)
{
	const uint64_t n = 50;
	uint64_t few, many;

	guest_do(self->vcpu, GUEST_APIC, APIC_LVTT,
		 APIC_LVT_TIMER_TSCDEADLINE | APIC_LVT_MASKED | 0x52, 1);
	guest_wrmsr(self->vcpu, counters[0].msr, 0);
	guest_do(self->vcpu, GUEST_COUNT_WRMSR, global_ctrl_msr(), 1, n);
	few = guest_rdmsr(self->vcpu, counters[0].msr);
	guest_wrmsr(self->vcpu, counters[0].msr, 0);
	guest_do(self->vcpu, GUEST_COUNT_WRMSR, global_ctrl_msr(), 1, 2 * n);
	many = guest_rdmsr(self->vcpu, counters[0].msr);

	assert_insns(self->vcpu, few, GUEST_COUNT_WRMSR_INSNS * n + GUEST_COUNT_EXTRA, "WRMSR");
	assert_insns(self->vcpu, many, GUEST_COUNT_WRMSR_INSNS * 2 * n + GUEST_COUNT_EXTRA,
		     "twice as many WRMSR");
}

/* How often the PMU changes hands for a write that KVM may handle in its fastpath. */
static uint64_t fastpath_loads(struct kvm_vcpu *vcpu)
{
	const uint32_t msr = host_cpu_is_intel ? MSR_IA32_TSC_DEADLINE :
						 APIC_BASE_MSR + (APIC_ICR >> 4);
	/* Disarms the timer, or interrupts a vCPU that doesn't exist. */
	const uint64_t value = host_cpu_is_intel ? 0 : 5ULL << 32 | APIC_DM_FIXED | 0x52;
	uint64_t loads;

	guest_do(vcpu, GUEST_WRMSR, msr, value, 1);
	loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
	guest_do(vcpu, GUEST_WRMSR, msr, value, FASTPATH_NR);
	return vcpu_get_stat(vcpu, "passthrough_pmu_loads") - loads;
}

/* Whatever it counts, a guest keeps KVM's fastpath. */
TEST_F(pmi, counting_guest_keeps_fastpath)
{
	const uint64_t insns = ARCH_PERFMON_EVENTSEL_ENABLE | EVENT_INSTRUCTIONS;
	const struct {
		const char *what;
		uint64_t selector;
		uint64_t fixed_ctrl;
	} cases[] = {
		{ "nothing", 0, 0 },
		{ "instructions of user mode", insns | ARCH_PERFMON_EVENTSEL_USR, 0 },
		{ "instructions of the kernel", insns | ARCH_PERFMON_EVENTSEL_OS, 0 },
		{ "instructions", insns | ARCH_PERFMON_EVENTSEL_OS | ARCH_PERFMON_EVENTSEL_USR, 0 },
		{ "fixed counter, user mode", 0, FIXED_PMC_USER },
		{ "fixed counter, kernel", 0, FIXED_PMC_KERNEL },
	};
	uint64_t loads;
	int fd, i;

	/* Has the slow path hand the PMU over each time */
	fd = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, 0, -1);
	TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
	guest_do(self->vcpu, GUEST_APIC, APIC_LVTT,
		 APIC_LVT_TIMER_TSCDEADLINE | APIC_LVT_MASKED | 0x52, 1);

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].fixed_ctrl && !default_pmu_model().nr_fixed)
			continue;
		guest_wrmsr(self->vcpu, gp_selector_msr(0), cases[i].selector);
		if (host_cpu_is_intel)
			guest_wrmsr(self->vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL,
				    cases[i].fixed_ctrl);
		guest_wrmsr(self->vcpu, global_ctrl_msr(), 1 | BIT_ULL(32) * host_cpu_is_intel);
		loads = fastpath_loads(self->vcpu);
		TEST_ASSERT(loads < FASTPATH_NR / 2,
			    "Counting %s: the PMU changed hands %lu times for %d writes",
			    cases[i].what, loads, FASTPATH_NR);
		guest_wrmsr(self->vcpu, global_ctrl_msr(), 0);
	}
	close(fd);
}

/*
 * A counter that overflows without anybody being told, and of which the guest wants to
 * be told from then on: by @msr, which is a selector, the fixed counters' control or
 * LVTPC.  Another one may follow, which overflows after that.
 */
static struct {
	uint32_t msr;
	uint64_t silent;
	uint64_t loud;
	uint32_t counter_msr;
	uint64_t counter;
	uint64_t bit;
	/* The other one; no bit if there is none */
	uint32_t other_msr;
	uint32_t other_counter_msr;
	uint64_t other_counter;
	uint64_t other_bit;
	/* PMIs so far, before the overflow of which the guest wants to be told */
	uint64_t early;
} silence;

#define SILENT_ROUNDS	20

static void guest_loop(uint64_t n)
{
	asm volatile("1: loop 1b" : "+c" (n));
}

static void guest_accept_pmis(void)
{
	x2apic_enable();
	x2apic_write_reg(APIC_LVTPC, GUEST_PMI_VECTOR);
	asm volatile("sti; nop");
}

/* Each round is one KVM_RUN, and ends with one more overflow if it is an odd one. */
static void guest_silent_overflows(void)
{
	uint32_t a, b, c, d;
	int i;

	guest_accept_pmis();
	for (i = 0; i < SILENT_ROUNDS; i++) {
		GUEST_SYNC(i);
		wrmsr(silence.msr, silence.silent);
		if (silence.other_bit) {
			wrmsr(silence.other_msr, silence.silent);
			wrmsr(silence.other_counter_msr, silence.other_counter);
		}
		wrmsr(global_ctrl_msr(), silence.bit | silence.other_bit);
		guest_loop(1000);
		GUEST_ASSERT_EQ(rdmsr(global_status_msr()), silence.bit);

		wrmsr(silence.msr, silence.loud);
		guest_loop(1000);
		GUEST_ASSERT_EQ(rdmsr(global_status_msr()), silence.bit | silence.other_bit);
		if (silence.other_bit)
			wrmsr(silence.other_msr, silence.loud);
		cpuid(0, &a, &b, &c, &d);
		silence.early = pmi.nr;
		if (i & 1) {
			wrmsr(silence.counter_msr, silence.counter);
			guest_loop(1000);
		}
		wrmsr(global_ctrl_msr(), 0);
	}
	GUEST_SYNC(i);
	GUEST_DONE();
}

static void run_silent_round(struct kvm_vcpu *vcpu, uint64_t i)
{
	struct ucall uc;

	vcpu_run(vcpu);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		TEST_ASSERT_EQ(uc.args[1], i);
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("Unexpected ucall %lu", uc.cmd);
	}
}

/* An event that KVM does not count for the guest, and thereby learn of the counter */
static uint64_t branches(void)
{
	return host_cpu_is_intel ? INTEL_ARCH_BRANCHES_RETIRED : AMD_ZEN_BRANCHES_RETIRED;
}

static struct kvm_vm *create_silent_guest(struct kvm_vcpu **vcpu, void *guest_code)
{
	struct kvm_vm *vm = vm_create_with_one_vcpu(vcpu, guest_code);

	vm_install_exception_handler(vm, GUEST_PMI_VECTOR, guest_pmi_handler);
	start_handler(vm, true);
	sync_global_to_guest(vm, silence);
	return vm;
}

static void set_silence(uint32_t msr, uint64_t silent, uint64_t loud, struct counter *counter)
{
	silence.msr = msr;
	silence.silent = silent;
	silence.loud = loud;
	silence.counter_msr = counter->msr;
	silence.counter = before(500);
	silence.bit = BIT_ULL(counter->bit);
}

/* The counter is in place before the guest runs, hence KVM has seen it there. */
static void check_silence(uint32_t msr, uint64_t silent, uint64_t loud, struct counter *counter,
			  int other)
{
	struct kvm_vcpu *vcpu;
	uint64_t loads, wanted;
	struct kvm_vm *vm;
	int i;

	set_silence(msr, silent, loud, counter);
	silence.other_msr = gp_selector_msr(other);
	silence.other_counter_msr = gp_counter_msr(other);
	silence.other_counter = before(1500);
	silence.other_bit = other ? BIT_ULL(other) : 0;
	silence.early = 0;

	vm = create_silent_guest(&vcpu, guest_silent_overflows);
	vcpu_set_msr(vcpu, global_ctrl_msr(), 0);
	if (counter->bit < 32)
		vcpu_set_msr(vcpu, gp_selector_msr(counter->bit),
			     EVENTSEL_COUNT_PMI | branches());
	run_silent_round(vcpu, 0);

	loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
	for (i = 0; i < SILENT_ROUNDS; i++) {
		vcpu_set_msr(vcpu, counter->msr, before(500));
		vcpu_set_msr(vcpu, global_status_msr(), 0);
		run_silent_round(vcpu, i + 1);

		sync_global_from_guest(vm, silence);
		sync_global_from_guest(vm, pmi);
		/* What comes late comes in the next round. */
		wanted = i / 2;
		TEST_ASSERT(silence.early == wanted,
			    "MSR %#x, round %d: wanted %lu PMIs before the last overflow, got %lu",
			    msr, i, wanted, silence.early);
		wanted += i & 1;
		TEST_ASSERT(pmi.nr == wanted, "MSR %#x, round %d: wanted %lu PMIs, got %lu", msr, i,
			    wanted, pmi.nr);
	}
	/* Other tasks may have made it more now and then. */
	loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads") - loads;
	TEST_ASSERT(loads < SILENT_ROUNDS * 2, "Wanted the PMU to stay, got %lu loads in %d rounds",
		    loads, SILENT_ROUNDS);
	kvm_vm_free(vm);
}

TEST(overflow_before_interrupts_are_wanted)
{
	struct counter fixed = { MSR_CORE_PERF_FIXED_CTR0, 0, 32 };

	check_silence(gp_selector_msr(0), EVENTSEL_COUNT | branches(),
		      EVENTSEL_COUNT_PMI | branches(), &counters[0], 1);
	if (default_pmu_model().nr_fixed)
		check_silence(MSR_CORE_PERF_FIXED_CTR_CTRL, FIXED_PMC_CTRL(0, FIXED_COUNT),
			      FIXED_PMC_CTRL(0, FIXED_COUNT_PMI), &fixed, 0);
}

/* The value that stops the counter asks for interrupts, of which there is nothing to tell. */
static void guest_stops_aloud(void)
{
	guest_accept_pmis();
	wrmsr(silence.msr, silence.silent);
	wrmsr(silence.counter_msr, silence.counter);
	wrmsr(global_ctrl_msr(), silence.bit);
	guest_loop(1000);
	GUEST_ASSERT_EQ(rdmsr(global_status_msr()), silence.bit);
	wrmsr(silence.msr, silence.loud);
	GUEST_SYNC(0);
	/* What was requested when the PMU went back comes in now. */
	GUEST_SYNC(1);
	GUEST_DONE();
}

/* The guest gives up the PMU after its first round, and hears of it in its second one. */
static void assert_no_pmi_after_round(struct kvm_vcpu *vcpu)
{
	run_silent_round(vcpu, 0);
	run_silent_round(vcpu, 1);
	sync_global_from_guest(vcpu->vm, pmi);
	TEST_ASSERT(!pmi.nr, "MSR %#x: wanted no PMI, got %lu", silence.msr, pmi.nr);
}

static void check_stop(uint32_t msr, uint64_t silent, uint64_t loud, struct counter *counter)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	set_silence(msr, silent, loud, counter);
	vm = create_silent_guest(&vcpu, guest_stops_aloud);
	assert_no_pmi_after_round(vcpu);
	kvm_vm_free(vm);
}

TEST(overflow_before_a_stop_that_asks_for_interrupts)
{
	struct counter fixed = { MSR_CORE_PERF_FIXED_CTR0, 0, 32 };

	check_stop(gp_selector_msr(0), EVENTSEL_COUNT | branches(),
		   (EVENTSEL_COUNT_PMI | branches()) & ~ARCH_PERFMON_EVENTSEL_ENABLE, &counters[0]);
	if (default_pmu_model().nr_fixed)
		check_stop(MSR_CORE_PERF_FIXED_CTR_CTRL, FIXED_PMC_CTRL(0, FIXED_COUNT),
			   FIXED_PMC_CTRL(0, FIXED_PMC_ENABLE_PMI), &fixed);
}

TEST(overflow_while_lvtpc_is_masked)
{
	check_silence(APIC_BASE_MSR + (APIC_LVTPC >> 4), GUEST_PMI_VECTOR | APIC_LVT_MASKED,
		      GUEST_PMI_VECTOR, &counters[0], 0);
}

/* What the guest writes, and the count up to then, with the write and one instruction more */
static struct {
	uint64_t counter;
	uint32_t lvtpc;
	uint32_t count;
} unmask;

static void guest_xapic_pmi_handler(struct ex_regs *regs)
{
	pmi.nr++;
	xapic_write_reg(APIC_EOI, 0);
}

static void guest_unmasks(void)
{
	uint32_t low, high, index;

	xapic_enable();
	asm volatile("sti; nop");
	for (;;) {
		xapic_write_reg(APIC_LVTPC, GUEST_PMI_VECTOR | APIC_LVT_MASKED);
		wrmsr(status_clear_msr(), 1);
		wrmsr(counters[0].msr, unmask.counter);
		low = 1;
		high = 0;
		index = global_ctrl_msr();
		asm volatile("wrmsr; nop; nop; nop; nop;"
			     "movl %[lvtpc], (%[reg]);"
			     "xor %%ecx, %%ecx; rdpmc"
			     : "+a" (low), "+d" (high), "+c" (index)
			     : [lvtpc] "r" (unmask.lvtpc),
			       [reg] "r" (APIC_DEFAULT_GPA + APIC_LVTPC)
			     : "memory");
		unmask.count = low;
		guest_loop(1000);
		wrmsr(global_ctrl_msr(), 0);
		GUEST_SYNC(0);
	}
}

/*
 * The local APIC may be virtualized, so that the write is over when KVM hears of it.  The
 * overflow that it makes itself interrupts all the same, as do those that follow.
 */
TEST(overflow_by_the_write_that_unmasks_lvtpc)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int first, n;

	/* For the guest, VMRUN counts as well. */
	if (!host_cpu_is_intel)
		SKIP(return, "which instruction overflows is not known");

	vm = vm_create_with_one_vcpu(&vcpu, guest_unmasks);
	virt_pg_map(vm, APIC_DEFAULT_GPA, APIC_DEFAULT_GPA);
	vm_install_exception_handler(vm, GUEST_PMI_VECTOR, guest_xapic_pmi_handler);
	sync_global_to_guest(vm, counters);
	vcpu_set_msr(vcpu, global_ctrl_msr(), 0);
	vcpu_set_msr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT_PMI | EVENT_INSTRUCTIONS);

	unmask.counter = 0;
	unmask.lvtpc = GUEST_PMI_VECTOR | APIC_LVT_MASKED;
	sync_global_to_guest(vm, unmask);
	run_silent_round(vcpu, 0);
	sync_global_from_guest(vm, unmask);
	first = unmask.count - 1;
	TEST_ASSERT(first > 4 && first < 10, "The write is instruction %d", first);

	for (n = 1; n < first + 10; n++) {
		start_handler(vm, true);
		unmask.counter = before(n);
		unmask.lvtpc = GUEST_PMI_VECTOR;
		sync_global_to_guest(vm, unmask);
		run_silent_round(vcpu, 0);
		sync_global_from_guest(vm, pmi);
		/* Of one before it the interrupt may be late enough. */
		TEST_ASSERT(pmi.nr == 1 || (n < first && !pmi.nr),
			    "Overflow by instruction %d, LVTPC unmasked by %d: got %lu PMIs", n,
			    first, pmi.nr);
	}
	kvm_vm_free(vm);
}

/*
 * A counter that is narrower than hardware's passes 0 again and again, and nobody sets
 * it anew: each time interrupts, in one KVM_RUN.
 */
TEST(narrow_counter_interrupts_each_time)
{
	struct pmu_model narrow = default_pmu_model();
	const int width = 16, n = 10;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!host_cpu_is_intel)
		SKIP(return, "CPUID doesn't tell the width");

	narrow.width_gp = width;
	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_pmu_model(vcpu, &narrow);
	vm_install_exception_handler(vm, GUEST_PMI_VECTOR, guest_pmi_handler);
	start_handler(vm, true);
	guest_do(vcpu, GUEST_ENABLE_IRQS, 0, GUEST_PMI_VECTOR, 0);
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT_PMI | branches());

	/* The handler counts as well, but not as much as half a round. */
	guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), 1, BIT_ULL(width) * n + BIT_ULL(width - 1));
	assert_pmis(vm, n, 1);
	kvm_vm_free(vm);
}

static bool pmi_in_irr(struct kvm_vcpu *vcpu)
{
	struct kvm_lapic_state lapic;

	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic);
	return *(uint32_t *)&lapic.regs[APIC_IRR + GUEST_PMI_VECTOR / 32 * 0x10] &
	       BIT(GUEST_PMI_VECTOR % 32);
}

/* Overflows after @n instructions.  Was that before the guest exited? */
static bool overflow_beside_exit(struct kvm_vm *vm, struct kvm_vcpu *vcpu, int n, int most)
{
	bool before_exit;
	uint64_t seen;

	start_handler(vm, true);
	guest_wrmsr(vcpu, counters[0].msr, before(n));
	guest_do(vcpu, GUEST_WRMSR, global_ctrl_msr(), 1, 1);
	seen = vcpu_get_msr(vcpu, global_status_msr());
	sync_global_from_guest(vm, pmi);
	TEST_ASSERT(pmi.nr == 1 || pmi_in_irr(vcpu) == !!seen,
		    "Overflow after %d instructions: wanted the PMI with the status, got %#lx", n,
		    seen);
	before_exit = pmi.nr || seen;

	guest_do(vcpu, GUEST_LOOP, 0, 0, most * 2);
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	sync_global_from_guest(vm, pmi);
	TEST_ASSERT(pmi.nr == 1 && pmi.status == 1,
		    "Overflow after %d instructions: wanted one PMI, got %lu with status %#lx", n,
		    pmi.nr, pmi.status);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 0);
	return before_exit;
}

/*
 * The guest exits to user space some instructions after the counter was enabled: sweep
 * the overflow across that moment.  User space never sees the status without the PMI,
 * and there is one each time.  The same with an event of the host that wants the PMU
 * right after the exit; and after one that recorded branches, as far as the host can: it
 * leaves nothing behind that freezes.
 */
TEST_F(pmi, overflow_at_the_end_of_a_run)
{
	struct perf_event_attr branches = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(branches),
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.sample_period = 10000000,
		.sample_type = PERF_SAMPLE_BRANCH_STACK,
		.branch_sample_type = PERF_SAMPLE_BRANCH_USER | PERF_SAMPLE_BRANCH_ANY,
		.exclude_guest = 1,
	};
	const int most = 400;
	int fd, n, i, nr;

	for (i = 0; i < 3; i++) {
		fd = -1;
		if (i == 1) {
			fd = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, 0, -1);
			TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
		} else if (i == 2) {
			fd = host_event_open_attr(&branches, 0, -1);
			if (fd == -EOPNOTSUPP)
				break;
			TEST_ASSERT(fd >= 0, "Wanted an event with a branch stack, got %d", fd);
			close(fd);
			fd = -1;
		}
		for (n = 1, nr = 0; n <= most; n++)
			nr += overflow_beside_exit(self->vm, self->vcpu, n, most);
		TEST_ASSERT(nr && nr < most,
			    "Wanted overflows on both sides of the exit, got %d of %d before it",
			    nr, most);
		if (fd >= 0)
			close(fd);
	}
}

static void vcpu_set_pmu_version_1(struct kvm_vcpu *vcpu)
{
	struct pmu_model v1 = default_pmu_model();

	v1.version = 1;
	v1.nr_fixed = 0;
	if (!host_cpu_is_intel)
		v1.nr_gp = 6;
	vcpu_set_pmu_model(vcpu, &v1);
}

/* A version 1 PMU has no status to clear, each overflow interrupts nevertheless. */
TEST(version_1_interrupts_again_and_again)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_pmu_version_1(vcpu);
	vm_install_exception_handler(vm, GUEST_PMI_VECTOR, guest_pmi_handler);
	start_handler(vm, true);
	pmi.v1 = true;
	sync_global_to_guest(vm, pmi);
	guest_do(vcpu, GUEST_ENABLE_IRQS, 0, GUEST_PMI_VECTOR, 0);
	for (i = 1; i <= 5; i++) {
		guest_wrmsr(vcpu, gp_counter_msr(0), before(500));
		guest_do(vcpu, GUEST_COUNT, gp_selector_msr(0),
			 EVENTSEL_COUNT_PMI | EVENT_INSTRUCTIONS, 1000);
		assert_pmis(vm, i, 0);
	}
	kvm_vm_free(vm);
}

/* The counter has overflowed, is to interrupt from then on, and is turned back. */
static void guest_turns_back(void)
{
	guest_accept_pmis();
	wrmsr(silence.counter_msr, silence.counter);
	wrmsr(silence.msr, silence.silent);
	guest_loop(1000);
	GUEST_ASSERT(rdmsr(silence.counter_msr) < silence.counter);
	wrmsr(silence.msr, silence.loud);
	wrmsr(silence.counter_msr, 0);
	GUEST_SYNC(0);
	/* What was requested when the PMU went back comes in now. */
	GUEST_SYNC(1);
	GUEST_DONE();
}

static void check_version_1_turned_back(uint64_t selector)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	vm = create_silent_guest(&vcpu, guest_turns_back);
	vcpu_set_pmu_version_1(vcpu);
	vcpu_set_msr(vcpu, gp_selector_msr(0), selector);
	pmi.v1 = true;
	sync_global_to_guest(vm, pmi);
	assert_no_pmi_after_round(vcpu);
	kvm_vm_free(vm);
}

/* What has overflowed before makes no interrupt by being turned back. */
TEST(version_1_turned_back)
{
	set_silence(gp_selector_msr(0), EVENTSEL_COUNT | branches(),
		    EVENTSEL_COUNT_PMI | branches(), &counters[0]);
	check_version_1_turned_back(0);

	set_silence(APIC_BASE_MSR + (APIC_LVTPC >> 4), GUEST_PMI_VECTOR | APIC_LVT_MASKED,
		    GUEST_PMI_VECTOR, &counters[0]);
	check_version_1_turned_back(EVENTSEL_COUNT_PMI | branches());
}

/* As when a VM arrives from another host with an overflow that is not handled yet. */
TEST_F(pmi, status_of_the_host_does_not_interrupt)
{
	vcpu_set_msr(self->vcpu, global_status_msr(), 1);
	guest_do(self->vcpu, GUEST_LOOP, 0, 0, 1000);
	assert_pmis(self->vm, 0, 0);
	TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, global_status_msr()), 1);
}

#define DEBUGCTL_LBR		BIT_ULL(0)
#define DEBUGCTL_FREEZE_LBRS	BIT_ULL(11)
#define DEBUGCTL_FREEZE_PERFMON	BIT_ULL(12)
#define DEBUGCTL_FREEZE		(DEBUGCTL_FREEZE_LBRS | DEBUGCTL_FREEZE_PERFMON)

/* Intel: from version 4 on; AMD: LbrAndPmcFreeze */
static bool can_freeze(void)
{
	if (host_cpu_is_intel)
		return default_pmu_model().version >= 4;
	return kvm_cpu_has(X86_FEATURE_AMD_LBR_PMC_FREEZE);
}

/* A counter overflows after @left instructions; the handler leaves the status alone. */
static void overflow_once(struct kvm_vcpu *vcpu, enum guest_op op, uint64_t debugctl,
			  unsigned int left)
{
	vm_install_exception_handler(vcpu->vm, GUEST_PMI_VECTOR, guest_pmi_handler);
	memset(&pmi, 0, sizeof(pmi));
	sync_global_to_guest(vcpu->vm, pmi);
	guest_do(vcpu, GUEST_ENABLE_IRQS, 0, GUEST_PMI_VECTOR, 0);

	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(vcpu, MSR_IA32_DEBUGCTLMSR, debugctl);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT_PMI | EVENT_INSTRUCTIONS);
	guest_wrmsr(vcpu, gp_counter_msr(0), before(left));
	guest_do(vcpu, op, global_ctrl_msr(), 3, 1000);
}

/* Neither hardware counts nor KVM, whoever has the PMU in between; until the thaw. */
static void assert_frozen(struct kvm_vcpu *vcpu, uint64_t overflows)
{
	uint64_t start, end;

	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()),
		       STATUS_CTR_FRZ | STATUS_LBR_FRZ | overflows);

	guest_wrmsr(vcpu, gp_selector_msr(1), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	start = guest_rdmsr(vcpu, gp_counter_msr(1));
	guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), 3, 1000);
	guest_do(vcpu, GUEST_COUNT_CPUID, global_ctrl_msr(), 3, 1000);
	end = guest_rdmsr(vcpu, gp_counter_msr(1));
	TEST_ASSERT(end == start, "A frozen counter went from %lu to %lu", start, end);

	guest_wrmsr(vcpu, status_clear_msr(), STATUS_CTR_FRZ | overflows);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), STATUS_LBR_FRZ);
	guest_do(vcpu, GUEST_COUNT_CPUID, global_ctrl_msr(), 3, 1000);
	end = guest_rdmsr(vcpu, gp_counter_msr(1));
	assert_insns(vcpu, end - start, 1000 * GUEST_COUNT_CPUID_INSNS + GUEST_COUNT_EXTRA,
		     "counter after the thaw");
}

/* The counter overflows in hardware, or when KVM counts for it. */
static void check_freeze(enum guest_op op, uint64_t lbr)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	/* Whichever instruction it is, on AMD's CPUs also VMRUN. */
	for (i = 0; i < GUEST_COUNT_CPUID_INSNS + !host_cpu_is_intel; i++) {
		vm = vm_create_passthrough_guest(&vcpu);
		overflow_once(vcpu, op, lbr | DEBUGCTL_FREEZE, 500 + i);
		assert_pmis(vm, 1, STATUS_CTR_FRZ | STATUS_LBR_FRZ | 1);
		assert_frozen(vcpu, 1);
		kvm_vm_free(vm);

		/* Branch records freeze alone, too, and so do counters. */
		vm = vm_create_passthrough_guest(&vcpu);
		overflow_once(vcpu, op, lbr | DEBUGCTL_FREEZE_LBRS, 500 + i);
		assert_pmis(vm, 1, STATUS_LBR_FRZ | 1);
		TEST_ASSERT(guest_rdmsr(vcpu, gp_counter_msr(0)) > 400, "Counters are frozen");
		kvm_vm_free(vm);

		vm = vm_create_passthrough_guest(&vcpu);
		overflow_once(vcpu, op, lbr | DEBUGCTL_FREEZE_PERFMON, 500 + i);
		assert_pmis(vm, 1, STATUS_CTR_FRZ | 1);
		/* The interrupt may be late. */
		TEST_ASSERT(guest_rdmsr(vcpu, gp_counter_msr(0)) < 300, "Counters go on");
		kvm_vm_free(vm);
	}
}

/*
 * What stops all counters has been counted by all of them, as all that it is: each turn of
 * the loop takes @insns and a branch, after two other instructions.
 */
static void check_freeze_together(enum guest_op op, unsigned int insns, uint64_t event)
{
	uint64_t counted, wanted, other;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	unsigned int i;

	for (i = 0; i < insns; i++) {
		vm = vm_create_passthrough_guest(&vcpu);
		guest_wrmsr(vcpu, global_ctrl_msr(), 0);
		guest_wrmsr(vcpu, gp_selector_msr(1), EVENTSEL_COUNT | event);
		guest_wrmsr(vcpu, gp_counter_msr(1), 0);
		overflow_once(vcpu, op, DEBUGCTL_FREEZE_PERFMON, 500 + i);
		counted = guest_rdmsr(vcpu, gp_counter_msr(0)) + 500 + i;
		other = guest_rdmsr(vcpu, gp_counter_msr(1));
		wanted = event == EVENT_INSTRUCTIONS ? counted : (counted - 2) / insns;
		TEST_ASSERT(other == wanted, "%lu of event %#lx in %lu instructions", other, event,
			    counted);
		kvm_vm_free(vm);
	}
}

TEST(freeze_on_pmi)
{
	if (!can_freeze())
		SKIP(return, "guests can't freeze");
	check_freeze(GUEST_COUNT, 0);
	check_freeze(GUEST_COUNT_CPUID, 0);
	check_freeze_together(GUEST_COUNT, 1, EVENT_INSTRUCTIONS);
	check_freeze_together(GUEST_COUNT_CPUID, GUEST_COUNT_CPUID_INSNS, EVENT_INSTRUCTIONS);
	if (host_cpu_is_intel) {
		check_freeze_together(GUEST_COUNT, 1, INTEL_ARCH_BRANCHES_RETIRED);
		check_freeze_together(GUEST_COUNT_CPUID, GUEST_COUNT_CPUID_INSNS,
				      INTEL_ARCH_BRANCHES_RETIRED);
		if (is_forced_emulation_enabled)
			check_freeze_together(GUEST_COUNT_FEP, GUEST_COUNT_FEP_INSNS,
					      INTEL_ARCH_BRANCHES_RETIRED);
		return;
	}

	/* DebugCtl is switched by hardware then. */
	check_freeze(GUEST_COUNT, DEBUGCTL_LBR);
	check_freeze(GUEST_COUNT_CPUID, DEBUGCTL_LBR);
}

/* Nothing freezes that the guest doesn't want to. */
TEST(freeze_only_if_wanted)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);

	overflow_once(vcpu, GUEST_COUNT_CPUID, 0, 500);
	assert_pmis(vm, 1, 1);
	if (can_freeze()) {
		/* Nor by an overflow that doesn't interrupt. */
		guest_wrmsr(vcpu, MSR_IA32_DEBUGCTLMSR, DEBUGCTL_FREEZE);
		guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
		guest_wrmsr(vcpu, gp_counter_msr(0), before(500));
		guest_do(vcpu, GUEST_COUNT_CPUID, global_ctrl_msr(), 1, 1000);
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 1);
	}
	kvm_vm_free(vm);
}

/* A frozen PMU is the guest's own affair, and travels with it. */
TEST(frozen_guest_freezes_nobody_else)
{
	struct kvm_vcpu *frozen, *vcpu;
	struct kvm_vm *vm, *other;
	uint64_t value, debugctl;
	int fd;

	if (!can_freeze())
		SKIP(return, "guests can't freeze");
	vm = vm_create_passthrough_guest(&frozen);
	other = vm_create_passthrough_guest(&vcpu);
	overflow_once(frozen, GUEST_COUNT, DEBUGCTL_FREEZE, 500);

	fd = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, true, 0, -1);
	TEST_ASSERT(fd >= 0, "perf_event_open() failed: %s", strerror(-fd));
	value = host_event_read(fd);
	TEST_ASSERT(host_event_read(fd) > value, "The host's counters stand still");
	close(fd);

	if (host_rdmsr(global_status_msr(), &value))
		TEST_ASSERT_EQ(value & (STATUS_CTR_FRZ | STATUS_LBR_FRZ), 0);
	if (host_rdmsr(MSR_IA32_DEBUGCTLMSR, &value))
		TEST_ASSERT_EQ(value & DEBUGCTL_FREEZE, 0);

	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), 1, 1000);
	assert_insns(vcpu, guest_rdmsr(vcpu, gp_counter_msr(0)), 1000 + GUEST_COUNT_EXTRA,
		     "another guest's counter");
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 0);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_IA32_DEBUGCTLMSR), 0);

	value = vcpu_get_msr(frozen, global_status_msr());
	debugctl = vcpu_get_msr(frozen, MSR_IA32_DEBUGCTLMSR);
	TEST_ASSERT_EQ(value, STATUS_CTR_FRZ | STATUS_LBR_FRZ | 1);
	TEST_ASSERT_EQ(debugctl, DEBUGCTL_FREEZE);
	kvm_vm_free(vm);

	/* Restored into a new vCPU, it is frozen there, and freezes again. */
	vm = vm_create_passthrough_guest(&frozen);
	vcpu_set_msr(frozen, global_status_msr(), value);
	vcpu_set_msr(frozen, MSR_IA32_DEBUGCTLMSR, debugctl);
	assert_frozen(frozen, 1);
	guest_wrmsr(frozen, status_clear_msr(), value);
	TEST_ASSERT_EQ(guest_rdmsr(frozen, MSR_IA32_DEBUGCTLMSR), debugctl);
	overflow_once(frozen, GUEST_COUNT, debugctl, 500);
	assert_pmis(vm, 1, value);
	kvm_vm_free(vm);
	kvm_vm_free(other);
}

/* Counts nothing for a while, then everything exits: how many accesses of three did? */
static uint64_t exits_of_idle_guest(struct kvm_vcpu *vcpu)
{
	uint64_t exits;
	int i;

	for (i = 0; i < 200; i++)
		guest_do(vcpu, GUEST_LOOP, 0, 0, 1);
	exits = vcpu_get_stat(vcpu, "pmu_global_exits");
	guest_do(vcpu, GUEST_RDMSR, global_ctrl_msr(), 0, 3);
	return vcpu_get_stat(vcpu, "pmu_global_exits") - exits;
}

/* Software may freeze and thaw, whether or not the status is in hardware. */
TEST(freeze_by_software)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!can_freeze())
		SKIP(return, "guests can't freeze");
	vm = vm_create_passthrough_guest(&vcpu);
	guest_wrmsr(vcpu, status_set_msr(), STATUS_CTR_FRZ | STATUS_LBR_FRZ);
	assert_frozen(vcpu, 0);

	guest_wrmsr(vcpu, gp_selector_msr(1), 0);
	TEST_ASSERT_EQ(exits_of_idle_guest(vcpu), 3);
	guest_wrmsr(vcpu, status_set_msr(), STATUS_CTR_FRZ);
	assert_frozen(vcpu, 0);
	kvm_vm_free(vm);
}

/*
 * AMD: a guest without the bit in CPUID has no more than it ever had, and neither has one
 * whose vPMU is based on perf.
 */
static void assert_cant_freeze(struct kvm_vcpu *vcpu)
{
	uint64_t bits[] = { DEBUGCTL_FREEZE_LBRS, DEBUGCTL_FREEZE_PERFMON };
	int i;

	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		TEST_ASSERT_EQ(guest_do(vcpu, GUEST_WRMSR, MSR_IA32_DEBUGCTLMSR, bits[i],
					1).vector, GP_VECTOR);
		TEST_ASSERT(!_vcpu_set_msr(vcpu, MSR_IA32_DEBUGCTLMSR, bits[i]),
			    "Wanted DebugCtl %#lx to be refused", bits[i]);
	}
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, MSR_IA32_DEBUGCTLMSR), 0);
	guest_wrmsr(vcpu, status_set_msr(), STATUS_CTR_FRZ | STATUS_LBR_FRZ);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 0);
	TEST_ASSERT(!_vcpu_set_msr(vcpu, global_status_msr(), STATUS_CTR_FRZ),
		    "Wanted the status to be refused");
}

TEST(freeze_is_up_to_user_space)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (host_cpu_is_intel || !can_freeze())
		SKIP(return, "no LbrAndPmcFreeze");
	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_msr(vcpu, MSR_IA32_DEBUGCTLMSR, DEBUGCTL_FREEZE);
	vcpu_set_msr(vcpu, global_status_msr(), STATUS_CTR_FRZ);
	vcpu_clear_cpuid_feature(vcpu, X86_FEATURE_AMD_LBR_PMC_FREEZE);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, MSR_IA32_DEBUGCTLMSR), 0);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_status_msr()), 0);
	assert_cant_freeze(vcpu);
	kvm_vm_free(vm);

	if (!kvm_has_cap(KVM_CAP_PMU_CAPABILITY))
		return;
	vm = vm_create(1);
	vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_PERF_BASED);
	vcpu = vm_vcpu_add(vm, 0, passthrough_guest);
	vcpu_args_set(vcpu, 1, 0);
	assert_cant_freeze(vcpu);
	kvm_vm_free(vm);
}

/*
 * AMD: what DebugCtl freezes must not be the host's.  Such a guest has the PMU whenever it
 * runs, and gets it if it had none.
 */
TEST(guest_that_freezes_has_the_pmu)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	if (host_cpu_is_intel || !can_freeze())
		SKIP(return, "no LbrAndPmcFreeze");
	vm = vm_create_passthrough_guest(&vcpu);
	for (i = 0; i < 2; i++) {
		TEST_ASSERT_EQ(exits_of_idle_guest(vcpu), 3);
		guest_wrmsr(vcpu, MSR_IA32_DEBUGCTLMSR, DEBUGCTL_FREEZE_PERFMON);
		TEST_ASSERT_EQ(exits_of_idle_guest(vcpu), 0);
		guest_wrmsr(vcpu, MSR_IA32_DEBUGCTLMSR, 0);
	}
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());
	/* The perf-based vPMU gives no guarantee as to when a PMI arrives. */
	TEST_REQUIRE(host_has_passthrough_pmu());
	TEST_REQUIRE(default_pmu_model().version > 1);

	find_counters();
	return test_harness_run(argc, argv);
}
