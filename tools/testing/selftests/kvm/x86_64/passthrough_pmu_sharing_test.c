// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs that share a CPU, or move from one to another: each one's counts are its
 * own, and exact.
 */
#include <pthread.h>
#include <sched.h>

#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

#define ROUNDS			20

/* Several ticks of the host. */
#define LOOP			1000000

struct runner {
	struct kvm_vcpu *vcpu;
	/* Differs, so that counts that got mixed up are seen. */
	uint64_t n;
	uint64_t count;
	uint64_t fixed;
	bool pin;
	pthread_t thread;
};

static struct pmu_model model;

static void *run(void *arg)
{
	struct runner *r = arg;
	int i;

	if (r->pin)
		kvm_pin_this_task_to_pcpu(0);
	guest_wrmsr(r->vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(r->vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_wrmsr(r->vcpu, gp_counter_msr(0), 0);
	if (model.nr_fixed) {
		guest_wrmsr(r->vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, FIXED_PMC_CTRL(0, FIXED_COUNT));
		guest_wrmsr(r->vcpu, MSR_CORE_PERF_FIXED_CTR0, 0);
	}
	for (i = 0; i < ROUNDS; i++) {
		guest_do(r->vcpu, GUEST_COUNT, global_ctrl_msr(),
			 model.nr_fixed ? BIT_ULL(32) | 1 : 1, r->n);
		sched_yield();
	}
	r->count = guest_rdmsr(r->vcpu, gp_counter_msr(0));
	if (model.nr_fixed)
		r->fixed = guest_rdmsr(r->vcpu, MSR_CORE_PERF_FIXED_CTR0);
	return NULL;
}

static void start(struct runner *r)
{
	TEST_ASSERT(!pthread_create(&r->thread, NULL, run, r), "pthread_create() failed");
}

static void assert_count(struct runner *r, const char *name)
{
	uint64_t expected = ROUNDS * (r->n + GUEST_COUNT_EXTRA);

	assert_insns(r->vcpu, r->count, expected, name);
	if (model.nr_fixed)
		assert_insns(r->vcpu, r->fixed, expected, name);
}

TEST(two_vcpus_on_one_cpu)
{
	struct runner runners[2] = {
		{ .n = LOOP, .pin = true },
		{ .n = LOOP + 12345, .pin = true },
	};
	struct kvm_vm *vm = vm_create(2);
	int i;

	for (i = 0; i < 2; i++) {
		runners[i].vcpu = vm_vcpu_add(vm, i, passthrough_guest);
		vcpu_args_set(runners[i].vcpu, 1, i);
	}
	for (i = 0; i < 2; i++)
		start(&runners[i]);
	for (i = 0; i < 2; i++)
		pthread_join(runners[i].thread, NULL);
	assert_count(&runners[0], "vCPU 0");
	assert_count(&runners[1], "vCPU 1");
	kvm_vm_free(vm);
}

TEST(two_vms_on_one_cpu)
{
	struct runner runners[2] = {
		{ .n = LOOP, .pin = true },
		{ .n = LOOP + 12345, .pin = true },
	};
	struct kvm_vm *vms[2];
	int i;

	for (i = 0; i < 2; i++)
		vms[i] = vm_create_passthrough_guest(&runners[i].vcpu);
	for (i = 0; i < 2; i++)
		start(&runners[i]);
	for (i = 0; i < 2; i++)
		pthread_join(runners[i].thread, NULL);
	assert_count(&runners[0], "VM 0");
	assert_count(&runners[1], "VM 1");
	for (i = 0; i < 2; i++)
		kvm_vm_free(vms[i]);
}

/* One of the VMs has no PMU: it neither counts nor stops the other one's counters. */
TEST(vm_beside_one_without_pmu)
{
	struct runner runner = { .n = LOOP, .pin = true };
	struct kvm_vcpu *other_vcpu;
	struct kvm_vm *vm, *other;

	vm = vm_create_passthrough_guest(&runner.vcpu);
	other = vm_create(1);
	vm_enable_cap(other, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
	other_vcpu = vm_vcpu_add(other, 0, passthrough_guest);
	vcpu_args_set(other_vcpu, 1, 0);

	kvm_pin_this_task_to_pcpu(0);
	start(&runner);
	guest_do(other_vcpu, GUEST_LOOP, 0, 0, ROUNDS * LOOP);
	pthread_join(runner.thread, NULL);
	assert_count(&runner, "VM with a PMU");
	kvm_vm_free(other);
	kvm_vm_free(vm);
}

TEST(vcpu_that_moves_between_cpus)
{
	struct runner runner = { .n = LOOP };
	struct kvm_vm *vm;
	cpu_set_t set;
	int i = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");

	vm = vm_create_passthrough_guest(&runner.vcpu);
	start(&runner);
	while (pthread_tryjoin_np(runner.thread, NULL)) {
		CPU_ZERO(&set);
		CPU_SET(i++ & 1, &set);
		pthread_setaffinity_np(runner.thread, sizeof(set), &set);
		usleep(1000);
	}
	TEST_ASSERT(i > ROUNDS, "Wanted many moves, got %d", i);
	assert_count(&runner, "vCPU");
	kvm_vm_free(vm);
}

/* Each on a CPU of its own, and then on the other's. */
TEST(two_vcpus_that_change_places)
{
	struct runner runners[2] = {
		{ .n = LOOP },
		{ .n = LOOP + 12345 },
	};
	struct kvm_vm *vm;
	cpu_set_t set;
	int i, n;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");

	vm = vm_create(2);
	for (i = 0; i < 2; i++) {
		runners[i].vcpu = vm_vcpu_add(vm, i, passthrough_guest);
		vcpu_args_set(runners[i].vcpu, 1, i);
	}
	for (i = 0; i < 2; i++)
		start(&runners[i]);
	for (n = 0; n < 50; n++) {
		for (i = 0; i < 2; i++) {
			CPU_ZERO(&set);
			CPU_SET((i + n) & 1, &set);
			pthread_setaffinity_np(runners[i].thread, sizeof(set), &set);
		}
		usleep(2000);
	}
	for (i = 0; i < 2; i++)
		pthread_join(runners[i].thread, NULL);
	assert_count(&runners[0], "vCPU 0");
	assert_count(&runners[1], "vCPU 1");
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());
	/* The perf-based vPMU loses some counts. */
	TEST_REQUIRE(host_has_passthrough_pmu());
	model = default_pmu_model();

	return test_harness_run(argc, argv);
}
