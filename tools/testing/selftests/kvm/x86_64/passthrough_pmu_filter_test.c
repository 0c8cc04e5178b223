// SPDX-License-Identifier: GPL-2.0-only
/*
 * User space's event filter decides what hardware counts for a guest, and the
 * guest never sees that in its selectors.
 */
#include <pthread.h>

#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

#define N			1000

static struct pmu_model model;

static void set_filter(struct kvm_vm *vm, uint32_t action, uint64_t event, uint32_t fixed)
{
	struct {
		struct kvm_pmu_event_filter filter;
		uint64_t events[1];
	} f = {
		.filter = {
			.action = action,
			.nevents = event ? 1 : 0,
			.fixed_counter_bitmap = fixed,
		},
		.events = { event },
	};

	vm_ioctl(vm, KVM_SET_PMU_EVENT_FILTER, &f.filter);
}

static void allow_all(struct kvm_vm *vm)
{
	set_filter(vm, KVM_PMU_EVENT_DENY, 0, 0);
}

FIXTURE(filter) {
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
};

FIXTURE_SETUP(filter)
{
	self->vm = vm_create_passthrough_guest(&self->vcpu);
	if (model.version > 1)
		guest_wrmsr(self->vcpu, global_ctrl_msr(), 0);
}

FIXTURE_TEARDOWN(filter)
{
	kvm_vm_free(self->vm);
}

/* Counts with what is in the selectors. */
static void count(struct kvm_vcpu *vcpu)
{
	uint64_t counters = GENMASK_ULL(model.nr_gp - 1, 0);

	if (model.nr_fixed)
		counters |= GENMASK_ULL(32 + model.nr_fixed - 1, 32);
	guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), counters, N);
}

static void assert_counts(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t expected, const char *what)
{
	uint64_t value = guest_rdmsr(vcpu, msr);

	if (expected)
		assert_insns(vcpu, value, expected, what);
	else
		TEST_ASSERT(!value, "%s: wanted MSR %#x not to count, got %lu", what, msr, value);
	guest_wrmsr(vcpu, msr, 0);
}

TEST_F(filter, denied_event_does_not_count)
{
	const uint64_t sel = EVENTSEL_COUNT | EVENT_INSTRUCTIONS;

	set_filter(self->vm, KVM_PMU_EVENT_DENY, EVENT_INSTRUCTIONS, 0);
	guest_wrmsr(self->vcpu, gp_selector_msr(0), sel);
	count(self->vcpu);
	assert_counts(self->vcpu, gp_counter_msr(0), 0, "denied");
	TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, gp_selector_msr(0)), sel);
	TEST_ASSERT_EQ(vcpu_get_msr(self->vcpu, gp_selector_msr(0)), sel);
}

TEST_F(filter, event_that_is_not_allowed_does_not_count)
{
	set_filter(self->vm, KVM_PMU_EVENT_ALLOW, RAW_EVENT(0xc5, 0), 0);
	guest_wrmsr(self->vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	count(self->vcpu);
	assert_counts(self->vcpu, gp_counter_msr(0), 0, "not allowed");

	set_filter(self->vm, KVM_PMU_EVENT_ALLOW, EVENT_INSTRUCTIONS, 0);
	count(self->vcpu);
	assert_counts(self->vcpu, gp_counter_msr(0), N + GUEST_COUNT_EXTRA, "allowed");
}

TEST_F(filter, change_takes_effect_at_once)
{
	int i;

	guest_wrmsr(self->vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	for (i = 0; i < 3; i++) {
		allow_all(self->vm);
		count(self->vcpu);
		assert_counts(self->vcpu, gp_counter_msr(0), N + GUEST_COUNT_EXTRA, "allowed");
		set_filter(self->vm, KVM_PMU_EVENT_DENY, EVENT_INSTRUCTIONS, 0);
		count(self->vcpu);
		assert_counts(self->vcpu, gp_counter_msr(0), 0, "denied");
	}
}

/* A counter that the guest turned off while it was denied stays off. */
TEST_F(filter, counter_that_is_off_stays_off)
{
	guest_wrmsr(self->vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	count(self->vcpu);
	assert_counts(self->vcpu, gp_counter_msr(0), N + GUEST_COUNT_EXTRA, "allowed");

	set_filter(self->vm, KVM_PMU_EVENT_DENY, EVENT_INSTRUCTIONS, 0);
	guest_wrmsr(self->vcpu, gp_selector_msr(0), ARCH_PERFMON_EVENTSEL_OS | EVENT_INSTRUCTIONS);
	allow_all(self->vm);
	count(self->vcpu);
	assert_counts(self->vcpu, gp_counter_msr(0), 0, "off");

	guest_wrmsr(self->vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	count(self->vcpu);
	assert_counts(self->vcpu, gp_counter_msr(0), N + GUEST_COUNT_EXTRA, "on again");
}

TEST_F(filter, denied_emulated_instructions_do_not_count)
{
	set_filter(self->vm, KVM_PMU_EVENT_DENY, EVENT_INSTRUCTIONS, 0);
	guest_wrmsr(self->vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_do(self->vcpu, GUEST_COUNT_CPUID, global_ctrl_msr(), 1, 100);
	assert_counts(self->vcpu, gp_counter_msr(0), 0, "denied");
	allow_all(self->vm);
	guest_do(self->vcpu, GUEST_COUNT_CPUID, global_ctrl_msr(), 1, 100);
	assert_counts(self->vcpu, gp_counter_msr(0),
		      100 * GUEST_COUNT_CPUID_INSNS + GUEST_COUNT_EXTRA, "allowed");
}

/* A neighbour that is allowed does not bring in the one that is denied. */
TEST_F(filter, fixed_counter_beside_a_denied_one)
{
	uint64_t ctrl = FIXED_PMC_CTRL(0, FIXED_COUNT);
	uint64_t cycles;

	if (model.nr_fixed < 2)
		SKIP(return, "fewer than two fixed counters");

	/* Counter 0 (instructions) is denied, counter 1 (cycles) isn't. */
	set_filter(self->vm, KVM_PMU_EVENT_DENY, 0, BIT(0));
	guest_wrmsr(self->vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, ctrl);
	count(self->vcpu);
	assert_counts(self->vcpu, MSR_CORE_PERF_FIXED_CTR0, 0, "denied");

	/* The field of counter 0 is written again as it is, that of 1 is new. */
	ctrl |= FIXED_PMC_CTRL(1, FIXED_COUNT);
	guest_wrmsr(self->vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, ctrl);
	count(self->vcpu);
	assert_counts(self->vcpu, MSR_CORE_PERF_FIXED_CTR0, 0, "denied beside another one");
	cycles = guest_rdmsr(self->vcpu, MSR_CORE_PERF_FIXED_CTR0 + 1);
	TEST_ASSERT(cycles >= N, "Wanted %u cycles or more of the allowed counter, got %lu", N,
		    cycles);
	TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL), ctrl);

	/* A filter that changes for one counter leaves the other one denied. */
	set_filter(self->vm, KVM_PMU_EVENT_DENY, 0, BIT(0) | BIT(1));
	count(self->vcpu);
	assert_counts(self->vcpu, MSR_CORE_PERF_FIXED_CTR0, 0, "both denied");
	set_filter(self->vm, KVM_PMU_EVENT_DENY, 0, BIT(0));
	count(self->vcpu);
	assert_counts(self->vcpu, MSR_CORE_PERF_FIXED_CTR0, 0, "denied again");

	allow_all(self->vm);
	count(self->vcpu);
	assert_counts(self->vcpu, MSR_CORE_PERF_FIXED_CTR0, N + GUEST_COUNT_EXTRA, "allowed");
}

TEST_F(filter, fixed_counter_that_is_off_stays_off)
{
	if (!model.nr_fixed)
		SKIP(return, "no fixed counters");

	guest_wrmsr(self->vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, FIXED_PMC_CTRL(0, FIXED_COUNT));
	set_filter(self->vm, KVM_PMU_EVENT_DENY, 0, BIT(0));
	guest_do(self->vcpu, GUEST_LOOP, 0, 0, 10);
	guest_wrmsr(self->vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, 0);
	allow_all(self->vm);
	count(self->vcpu);
	assert_counts(self->vcpu, MSR_CORE_PERF_FIXED_CTR0, 0, "off");
}

/*
 * An event that needs a register besides its selector, which the guest has not got:
 * it would count by what the host left there.  CMASK and INV make any event count
 * cycles, on emulators also one of which they know nothing else.
 */
TEST_F(filter, events_that_need_other_registers_do_not_count)
{
	const uint64_t cycles = EVENTSEL_COUNT | ARCH_PERFMON_EVENTSEL_INV | (1ull << 24);
	/* Load latency, with its unit mask, and one that is none of perf's. */
	const uint64_t needs = RAW_EVENT(0xcd, 0x01), other = RAW_EVENT(0xcd, 0x40);
	uint64_t value;

	if (!host_cpu_is_intel || !host_has_passthrough_pmu())
		SKIP(return, "Intel's registers, and guests that own the PMU");

	guest_wrmsr(self->vcpu, gp_selector_msr(0), cycles | needs);
	count(self->vcpu);
	TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, gp_selector_msr(0)), cycles | needs);
	assert_counts(self->vcpu, gp_counter_msr(0), 0, "event with a register of its own");

	guest_wrmsr(self->vcpu, gp_selector_msr(0), cycles | other);
	count(self->vcpu);
	value = guest_rdmsr(self->vcpu, gp_counter_msr(0));
	TEST_ASSERT(value, "Wanted another unit mask of the event to count");
}

/* From another thread, while the guest counts in a loop. */
static bool stop;

static void *change_filter(void *arg)
{
	struct kvm_vm *vm = arg;
	int i;

	for (i = 0; i < 100 && !READ_ONCE(stop); i++) {
		usleep(500);
		set_filter(vm, KVM_PMU_EVENT_DENY, EVENT_INSTRUCTIONS, 0);
		usleep(500);
		allow_all(vm);
	}
	set_filter(vm, KVM_PMU_EVENT_DENY, EVENT_INSTRUCTIONS, 0);
	return NULL;
}

TEST_F(filter, change_while_the_guest_runs)
{
	pthread_t thread;
	uint64_t n, value;

	guest_wrmsr(self->vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_wrmsr(self->vcpu, global_ctrl_msr(), 1);

	/* Longer, if the guest was ready before the first change. */
	for (n = 5000000; ; n *= 4) {
		allow_all(self->vm);
		guest_wrmsr(self->vcpu, gp_counter_msr(0), 0);
		WRITE_ONCE(stop, false);
		TEST_ASSERT(!pthread_create(&thread, NULL, change_filter, self->vm),
			    "pthread_create");
		guest_do(self->vcpu, GUEST_LOOP, 0, 0, n);
		WRITE_ONCE(stop, true);
		pthread_join(thread, NULL);
		value = guest_rdmsr(self->vcpu, gp_counter_msr(0));
		if (value < n || n > 100000000)
			break;
	}
	TEST_ASSERT(value && value < n, "Wanted some of %lu instructions to count, got %lu", n,
		    value);

	/* The last word was no. */
	guest_do(self->vcpu, GUEST_LOOP, 0, 0, n / 10);
	TEST_ASSERT_EQ(guest_rdmsr(self->vcpu, gp_counter_msr(0)), value);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PMU_EVENT_FILTER));
	model = default_pmu_model();
	TEST_REQUIRE(model.version > 1);

	return test_harness_run(argc, argv);
}
