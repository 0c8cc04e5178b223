// SPDX-License-Identifier: GPL-2.0-only
/*
 * There are either VMs that own the PMU while they run, or events of the host
 * that count guests.  Whoever comes second is refused, always with the same
 * error, and has its way once the first is gone.
 */
#include <sys/resource.h>

#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

/* A VM that is about to get its first vCPU. */
static struct kvm_vm *create_vm(void)
{
	struct kvm_vm *vm = vm_create_barebones();

	vm_create_irqchip(vm);
	return vm;
}

/* A vCPU's file descriptor, or the negative of errno. */
static int create_vcpu(struct kvm_vm *vm, unsigned long id)
{
	int fd = __vm_ioctl(vm, KVM_CREATE_VCPU, (void *)id);

	return fd < 0 ? -errno : fd;
}

static void assert_include_guest_event(int expected)
{
	int r = host_event_include_guest();

	TEST_ASSERT(r == expected,
		    "Wanted %d of perf_event_open() for an event that counts guests, got %d",
		    expected, r);
}

/* @attr describes an event that counts guests: no VM while it is open. */
static void check_event_refuses_vm(struct perf_event_attr *attr, pid_t pid, int cpu)
{
	struct kvm_vm *vm = create_vm();
	int event, vcpu;

	event = host_event_open_attr(attr, pid, cpu);
	TEST_ASSERT(event >= 0, "Wanted an event without VMs, got %d", event);

	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu == -EBUSY, "Wanted %d of KVM_CREATE_VCPU, got %d", -EBUSY, vcpu);

	/* The VM is none the worse for it. */
	close(event);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU after the event is closed, got %d", vcpu);
	assert_include_guest_event(-EOPNOTSUPP);

	close(vcpu);
	kvm_vm_free(vm);
	assert_include_guest_event(0);
}

static struct perf_event_attr instructions(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_INSTRUCTIONS,
	};

	return attr;
}

TEST(event_of_a_task_refuses_vm)
{
	struct perf_event_attr attr = instructions();

	check_event_refuses_vm(&attr, 0, -1);
}

TEST(event_of_a_cpu_refuses_vm)
{
	struct perf_event_attr attr = instructions();

	check_event_refuses_vm(&attr, -1, 0);
}

TEST(event_of_user_mode_refuses_vm)
{
	struct perf_event_attr attr = instructions();

	attr.exclude_kernel = 1;
	check_event_refuses_vm(&attr, 0, -1);
}

TEST(event_that_counts_only_guests_refuses_vm)
{
	struct perf_event_attr attr = instructions();

	attr.exclude_host = 1;
	check_event_refuses_vm(&attr, -1, 0);
}

TEST(disabled_event_refuses_vm)
{
	struct perf_event_attr attr = instructions();

	attr.disabled = 1;
	check_event_refuses_vm(&attr, 0, -1);
}

TEST(raw_event_refuses_vm)
{
	struct perf_event_attr attr = instructions();

	attr.type = PERF_TYPE_RAW;
	attr.config = EVENT_INSTRUCTIONS;
	check_event_refuses_vm(&attr, 0, -1);
}

/* A child's event may be closed after the one that it was inherited from. */
TEST(inherited_event_refuses_vm)
{
	struct perf_event_attr attr = instructions();
	struct kvm_vm *vm = create_vm();
	int event, vcpu, pipes[2];
	pid_t child;
	char c = 0;

	attr.inherit = 1;
	event = host_event_open_attr(&attr, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted an event without VMs, got %d", event);
	TEST_ASSERT(!pipe(pipes), "pipe() failed, errno %d", errno);

	child = fork();
	TEST_ASSERT(child >= 0, "fork() failed, errno %d", errno);
	if (!child) {
		close(pipes[1]);
		close(event);
		_exit(read(pipes[0], &c, 1) != 1);
	}
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu == -EBUSY, "Wanted %d of KVM_CREATE_VCPU, got %d", -EBUSY, vcpu);

	TEST_ASSERT(write(pipes[1], &c, 1) == 1, "write() failed, errno %d", errno);
	TEST_ASSERT(waitpid(child, NULL, 0) == child, "waitpid() failed, errno %d", errno);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu == -EBUSY, "Wanted %d after the child's end, got %d", -EBUSY, vcpu);

	close(event);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU after the event is closed, got %d", vcpu);
	close(vcpu);
	kvm_vm_free(vm);
}

TEST(vm_refuses_events_that_count_guests)
{
	static const struct {
		const char *name;
		pid_t pid;
		int cpu;
		bool exclude_kernel;
		bool exclude_host;
		bool disabled;
	} events[] = {
		{ "of a task", 0, -1 },
		{ "of a CPU", -1, 0 },
		{ "of a task on a CPU", 0, 0 },
		{ "of user mode", 0, -1, .exclude_kernel = true },
		{ "of guests alone", -1, 0, .exclude_host = true },
		{ "that is disabled", 0, -1, .disabled = true },
	};
	struct kvm_vm *vm = create_vm();
	int i, event, vcpu = create_vcpu(vm, 0);

	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU, got %d", vcpu);
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		struct perf_event_attr attr = instructions();

		attr.exclude_kernel = events[i].exclude_kernel;
		attr.exclude_host = events[i].exclude_host;
		attr.disabled = events[i].disabled;
		event = host_event_open_attr(&attr, events[i].pid, events[i].cpu);
		TEST_ASSERT(event == -EOPNOTSUPP, "Wanted %d of an event %s, got %d",
			    -EOPNOTSUPP, events[i].name, event);
	}
	close(vcpu);
	kvm_vm_free(vm);
	assert_include_guest_event(0);
}

TEST(vm_admits_events_that_exclude_guests)
{
	struct kvm_vm *vm = create_vm();
	int event, vcpu = create_vcpu(vm, 0);

	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU, got %d", vcpu);
	event = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, true, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted an event with exclude_guest, got %d", event);
	TEST_ASSERT(host_event_read(event), "Wanted the event to count, got 0");
	close(event);
	close(vcpu);
	kvm_vm_free(vm);
}

TEST(vm_admits_events_of_other_pmus)
{
	struct kvm_vm *vm = create_vm();
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_TASK_CLOCK,
	};
	int event, vcpu;

	event = host_event_open_attr(&attr, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted a software event, got %d", event);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU beside a software event, got %d", vcpu);
	close(event);
	event = host_event_open_attr(&attr, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted a software event beside a VM, got %d", event);
	close(event);
	close(vcpu);
	kvm_vm_free(vm);
}

TEST(event_that_excludes_guests_admits_vm)
{
	struct kvm_vm *vm = create_vm();
	int event, vcpu;

	event = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, true, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted an event with exclude_guest, got %d", event);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU, got %d", vcpu);
	close(event);
	close(vcpu);
	kvm_vm_free(vm);
}

TEST(vm_without_vcpu_admits_events)
{
	struct kvm_vm *vm = create_vm();

	assert_include_guest_event(0);
	kvm_vm_free(vm);
}

TEST(events_are_refused_until_the_last_vm_is_gone)
{
	struct kvm_vm *vms[2] = { create_vm(), create_vm() };
	int i, vcpus[2];

	for (i = 0; i < 2; i++) {
		vcpus[i] = create_vcpu(vms[i], 0);
		TEST_ASSERT(vcpus[i] >= 0, "Wanted a vCPU of VM %d, got %d", i, vcpus[i]);
	}
	for (i = 0; i < 2; i++) {
		assert_include_guest_event(-EOPNOTSUPP);
		close(vcpus[i]);
		assert_include_guest_event(-EOPNOTSUPP);
		kvm_vm_free(vms[i]);
	}
	assert_include_guest_event(0);
}

/* More vCPUs don't count, or VM destruction would leave something behind. */
TEST(vm_counts_once_whatever_its_number_of_vcpus)
{
	struct kvm_vm *vm = create_vm();
	int i, vcpus[3];

	for (i = 0; i < ARRAY_SIZE(vcpus); i++) {
		vcpus[i] = create_vcpu(vm, i);
		TEST_ASSERT(vcpus[i] >= 0, "Wanted vCPU %d, got %d", i, vcpus[i]);
	}
	assert_include_guest_event(-EOPNOTSUPP);
	for (i = 0; i < ARRAY_SIZE(vcpus); i++)
		close(vcpus[i]);
	kvm_vm_free(vm);
	assert_include_guest_event(0);
}

TEST(disabled_pmu_is_in_nobodys_way)
{
	struct kvm_vm *vm = create_vm();
	int event, vcpu;

	vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
	event = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, false, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted an event without VMs, got %d", event);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU beside an event that counts guests, got %d", vcpu);
	close(event);
	assert_include_guest_event(0);
	close(vcpu);
	kvm_vm_free(vm);
}

static void assert_cannot_disable_pmu(struct kvm_vm *vm, const char *when)
{
	int r = __vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);

	TEST_ASSERT(r == -1 && errno == EINVAL,
		    "Wanted -1, errno %d of KVM_CAP_PMU_CAPABILITY %s, got %d, errno %d",
		    EINVAL, when, r, errno);
}

TEST(pmu_cannot_be_disabled_beside_a_vcpu)
{
	struct kvm_vm *vm = create_vm();
	int vcpu = create_vcpu(vm, 0);

	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU, got %d", vcpu);
	assert_cannot_disable_pmu(vm, "with a vCPU");
	close(vcpu);
	kvm_vm_free(vm);
}

/* KVM_CREATE_VCPU reserves the PMU, then runs out of file descriptors. */
TEST(failed_vcpu_keeps_the_reservation_of_its_vm)
{
	struct kvm_vm *vm = create_vm();
	struct rlimit old, few;
	int vcpu;

	TEST_ASSERT(!getrlimit(RLIMIT_NOFILE, &old), "getrlimit() failed, errno %d", errno);
	few = old;
	few.rlim_cur = 0;
	TEST_ASSERT(!setrlimit(RLIMIT_NOFILE, &few), "setrlimit() failed, errno %d", errno);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(!setrlimit(RLIMIT_NOFILE, &old), "setrlimit() failed, errno %d", errno);
	TEST_ASSERT(vcpu == -EMFILE, "Wanted %d of KVM_CREATE_VCPU, got %d", -EMFILE, vcpu);

	assert_cannot_disable_pmu(vm, "after a failed KVM_CREATE_VCPU");
	assert_include_guest_event(-EOPNOTSUPP);

	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU after a failed one, got %d", vcpu);
	close(vcpu);
	kvm_vm_free(vm);
	assert_include_guest_event(0);
}

/* Without an in-kernel local APIC the VM gets no PMU any more, which is for good. */
TEST(failed_vcpu_without_irqchip_settles_it)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct rlimit old, few;
	int vcpu;

	TEST_ASSERT(!getrlimit(RLIMIT_NOFILE, &old), "getrlimit() failed, errno %d", errno);
	few = old;
	few.rlim_cur = 0;
	TEST_ASSERT(!setrlimit(RLIMIT_NOFILE, &few), "setrlimit() failed, errno %d", errno);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(!setrlimit(RLIMIT_NOFILE, &old), "setrlimit() failed, errno %d", errno);
	TEST_ASSERT(vcpu == -EMFILE, "Wanted %d of KVM_CREATE_VCPU, got %d", -EMFILE, vcpu);

	assert_cannot_disable_pmu(vm, "after a failed KVM_CREATE_VCPU");
	assert_include_guest_event(0);
	kvm_vm_free(vm);
}

TEST(impossible_vcpu_reserves_nothing)
{
	struct kvm_vm *vm = create_vm();
	int vcpu = create_vcpu(vm, 1 << 20);

	TEST_ASSERT(vcpu == -EINVAL, "Wanted %d of KVM_CREATE_VCPU, got %d", -EINVAL, vcpu);
	assert_include_guest_event(0);
	vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
	kvm_vm_free(vm);
}

TEST(refused_vcpu_lets_the_pmu_be_disabled)
{
	struct kvm_vm *vm = create_vm();
	int event, vcpu;

	event = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, false, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted an event without VMs, got %d", event);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu == -EBUSY, "Wanted %d of KVM_CREATE_VCPU, got %d", -EBUSY, vcpu);

	vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU of a VM without a PMU, got %d", vcpu);
	close(vcpu);
	close(event);
	kvm_vm_free(vm);
}

/* What has to come before the first vCPU still may. */
TEST(refused_vcpu_lets_vcpu_ids_be_limited)
{
	struct kvm_vm *vm = create_vm();
	int event, vcpu;

	event = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, false, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted an event without VMs, got %d", event);
	vcpu = create_vcpu(vm, 0);
	TEST_ASSERT(vcpu == -EBUSY, "Wanted %d of KVM_CREATE_VCPU, got %d", -EBUSY, vcpu);
	close(event);

	vm_enable_cap(vm, KVM_CAP_MAX_VCPU_ID, 2);
	vcpu = create_vcpu(vm, 2);
	TEST_ASSERT(vcpu == -EINVAL, "Wanted %d of KVM_CREATE_VCPU, got %d", -EINVAL, vcpu);
	assert_include_guest_event(0);
	vcpu = create_vcpu(vm, 1);
	TEST_ASSERT(vcpu >= 0, "Wanted a vCPU with an ID below the limit, got %d", vcpu);
	close(vcpu);
	kvm_vm_free(vm);
}

/* KVM could not deliver its interrupts: such a VM has no PMU. */
/*
 * User space doesn't know that KVM withholds the PMU, and sets up what it has put into
 * CPUID.  All of that works that means a PMU after RESET, with the MSR set to 0, too.
 */
TEST(vm_without_irqchip_takes_the_reset_state)
{
	struct {
		uint32_t first;
		int n;
		uint64_t reset;
	} *msr, intel[] = {
		{ MSR_IA32_PERF_CAPABILITIES, 1, this_cpu_has(X86_FEATURE_PDCM) ?
			kvm_get_feature_msr(MSR_IA32_PERF_CAPABILITIES) : 0 },
		{ MSR_CORE_PERF_FIXED_CTR_CTRL, 1, 0 },
		{ MSR_CORE_PERF_GLOBAL_CTRL, 1, 0xf },
		{ MSR_CORE_PERF_FIXED_CTR0, 3, 0 },
		{ MSR_IA32_PERFCTR0, 4, 0 },
		{ MSR_P6_EVNTSEL0, 4, 0 },
		{ MSR_CORE_PERF_GLOBAL_STATUS, 1, 0 },
		{ MSR_CORE_PERF_GLOBAL_OVF_CTRL, 1, 0 },
	}, amd[] = {
		{ MSR_K7_EVNTSEL0, 4, 0 },
		{ MSR_K7_PERFCTR0, 4, 0 },
		{ MSR_F15H_PERF_CTL0, 12, 0 },
		{ MSR_AMD64_PERF_CNTR_GLOBAL_STATUS, 1, 0 },
		{ MSR_AMD64_PERF_CNTR_GLOBAL_CTL, 1, 0xf },
		{ MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_CLR, 1, 0 },
	};
	const int n = host_cpu_is_intel ? ARRAY_SIZE(intel) : ARRAY_SIZE(amd);
	const uint32_t running = host_cpu_is_intel ? MSR_CORE_PERF_FIXED_CTR_CTRL :
						     MSR_F15H_PERF_CTL0;
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu;
	uint64_t value;
	int i, j, run;

	vcpu = __vm_vcpu_add(vm, 0);
	vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());

	for (run = 0; run < 2; run++) {
		/* There is no memory to run in, but that is when the model becomes immutable. */
		if (run)
			__vcpu_run(vcpu);

		for (i = 0, msr = host_cpu_is_intel ? intel : amd; i < n; i++, msr++) {
			for (j = 0; j < msr->n; j++) {
				TEST_ASSERT(_vcpu_set_msr(vcpu, msr->first + j, msr->reset) == 1,
					    "MSR 0x%x can't be set to its reset value, 0x%lx, run: %d",
					    msr->first + j, msr->reset, run);
				TEST_ASSERT(_vcpu_set_msr(vcpu, msr->first + j, 0) == 1,
					    "MSR 0x%x can't be set to 0, run: %d",
					    msr->first + j, run);
				value = vcpu_get_msr(vcpu, msr->first + j);
				TEST_ASSERT(!value, "MSR 0x%x reads 0x%lx", msr->first + j, value);
			}
		}
	}

	TEST_ASSERT(_vcpu_set_msr(vcpu, running, 1) == 0, "A PMU that counts is accepted");
	kvm_vm_free(vm);
}

TEST(vm_without_irqchip_has_no_pmu)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu;
	uint64_t value;
	int event;

	event = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, false, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted an event without VMs, got %d", event);
	vcpu = __vm_vcpu_add(vm, 0);
	vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
	close(event);
	assert_include_guest_event(0);

	/* KVM ignores the write, or refuses it. */
	_vcpu_set_msr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	value = vcpu_get_msr(vcpu, gp_selector_msr(0));
	TEST_ASSERT(!value, "Wanted no selector, it reads %#lx", value);
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(host_has_passthrough_pmu());
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PMU_CAPABILITY));

	return test_harness_run(argc, argv);
}
