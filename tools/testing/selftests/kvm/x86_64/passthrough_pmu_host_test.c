// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events of the host beside a guest that owns the PMU: they count the host, all
 * of it and nothing else, and go on when the guest has left.
 */
#include <sys/ioctl.h>

#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

/* Instructions, or 200 ms and more of emulated time if an emulator runs this. */
#define GUEST_N			20000000
#define HOST_N			1000000

static struct pmu_model model;

struct reading {
	uint64_t value;
	uint64_t enabled;
	uint64_t running;
};

static int open_event(uint64_t config, bool user)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = config,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
		.exclude_guest = 1,
		.exclude_kernel = user,
	};
	int fd = host_event_open_attr(&attr, 0, -1);

	TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
	return fd;
}

static struct reading read_event(int fd)
{
	struct reading r;

	TEST_ASSERT(read(fd, &r, sizeof(r)) == sizeof(r), "read() failed, errno %d", errno);
	return r;
}

static void host_loop(uint64_t n)
{
	asm volatile("1: loop 1b" : "+c" (n) : : "memory");
}

/* A guest that counts with all that it has. */
static struct kvm_vm *create_counting_guest(struct kvm_vcpu **vcpu)
{
	struct kvm_vm *vm = vm_create_passthrough_guest(vcpu);
	uint64_t ctrl = GENMASK_ULL(model.nr_gp - 1, 0), fixed = 0;
	int i;

	for (i = 0; i < model.nr_gp; i++)
		guest_wrmsr(*vcpu, gp_selector_msr(i), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	for (i = 0; i < model.nr_fixed; i++)
		fixed |= FIXED_PMC_CTRL(i, (uint64_t)FIXED_COUNT);
	if (fixed) {
		guest_wrmsr(*vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, fixed);
		ctrl |= GENMASK_ULL(32 + model.nr_fixed - 1, 32);
	}
	guest_wrmsr(*vcpu, global_ctrl_msr(), ctrl);
	return vm;
}

TEST(exclude_guest_counts_no_guest)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_counting_guest(&vcpu);
	int kernel = open_event(PERF_COUNT_HW_INSTRUCTIONS, false);
	int user = open_event(PERF_COUNT_HW_INSTRUCTIONS, true);
	uint64_t k[3], u[3];

	guest_do(vcpu, GUEST_LOOP, 0, 0, 1);
	k[0] = read_event(kernel).value;
	u[0] = read_event(user).value;
	guest_do(vcpu, GUEST_LOOP, 0, 0, 1);
	k[1] = read_event(kernel).value;
	u[1] = read_event(user).value;
	guest_do(vcpu, GUEST_LOOP, 0, 0, GUEST_N);
	k[2] = read_event(kernel).value;
	u[2] = read_event(user).value;

	/* Give or take what is interrupted. */
	TEST_ASSERT(u[2] - u[1] < u[1] - u[0] + 16 && u[2] - u[1] + 16 > u[1] - u[0],
		    "Wanted the host's user mode to take %lu instructions whatever the guest does, got %lu",
		    u[1] - u[0], u[2] - u[1]);
	/*
	 * The kernel has interrupts to handle meanwhile: with KASAN and lockdep, more than a
	 * quarter of the guest's instructions.
	 */
	TEST_ASSERT(k[2] - k[1] < k[1] - k[0] + GUEST_N / 2,
		    "Wanted about %lu instructions of the host, got %lu with %u in the guest",
		    k[1] - k[0], k[2] - k[1], GUEST_N);
	close(kernel);
	close(user);
	kvm_vm_free(vm);
}

TEST(exclude_guest_times)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_counting_guest(&vcpu);
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_TASK_CLOCK,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
	};
	int event, clock;
	struct reading e[2], c[2];

	guest_do(vcpu, GUEST_LOOP, 0, 0, 1);
	event = open_event(PERF_COUNT_HW_INSTRUCTIONS, false);
	clock = host_event_open_attr(&attr, 0, -1);
	TEST_ASSERT(clock >= 0, "Wanted a software event, got %d", clock);

	e[0] = read_event(event);
	c[0] = read_event(clock);
	guest_do(vcpu, GUEST_LOOP, 0, 0, GUEST_N);
	c[1] = read_event(clock);
	e[1] = read_event(event);

	TEST_ASSERT(e[1].enabled == e[1].running,
		    "Wanted an event that runs all the time it is enabled, got %lu of %lu ns",
		    e[1].running, e[1].enabled);
	TEST_ASSERT(e[1].enabled > e[0].enabled, "Wanted time of the host to count, got %lu ns",
		    e[1].enabled - e[0].enabled);
	TEST_ASSERT((e[1].enabled - e[0].enabled) * 2 < c[1].enabled - c[0].enabled,
		    "Wanted no time of the guest: %lu ns of %lu ns in all, most of which are the guest's",
		    e[1].enabled - e[0].enabled, c[1].enabled - c[0].enabled);
	TEST_ASSERT(c[1].enabled == c[1].running,
		    "Wanted a software event not to notice the guest, got %lu of %lu ns",
		    c[1].running, c[1].enabled);
	close(clock);
	close(event);
	kvm_vm_free(vm);
}

/* Only what is on the PMU makes way for the guest, not all that is in its group. */
TEST(members_of_other_pmus_go_on)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_TASK_CLOCK,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
	};
	struct reading m[2], c[2];
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_counting_guest(&vcpu);
	int leader, member, clock;

	guest_do(vcpu, GUEST_LOOP, 0, 0, 1);
	leader = open_event(PERF_COUNT_HW_INSTRUCTIONS, false);
	member = syscall(__NR_perf_event_open, &attr, 0, -1, leader, 0);
	TEST_ASSERT(member >= 0, "Wanted a clock in the group, errno %d", errno);
	clock = host_event_open_attr(&attr, 0, -1);
	TEST_ASSERT(clock >= 0, "Wanted a software event, got %d", clock);

	m[0] = read_event(member);
	c[0] = read_event(clock);
	guest_do(vcpu, GUEST_LOOP, 0, 0, GUEST_N);
	c[1] = read_event(clock);
	m[1] = read_event(member);

	TEST_ASSERT(m[1].value - m[0].value >= c[1].value - c[0].value,
		    "Wanted the clock in the group to run on while the guest did, got %lu of %lu ns",
		    m[1].value - m[0].value, c[1].value - c[0].value);
	close(clock);
	close(member);
	close(leader);
	kvm_vm_free(vm);
}

/* Each kind of counter comes back, the fixed ones above all. */
TEST(events_go_on_after_the_guest)
{
	static const uint64_t configs[] = {
		PERF_COUNT_HW_INSTRUCTIONS,
		PERF_COUNT_HW_CPU_CYCLES,
		PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
		PERF_COUNT_HW_REF_CPU_CYCLES,
	};
	int nr = host_cpu_is_intel ? 4 : 3;
	uint64_t alone[4], before, value;
	int events[4], i, round;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	for (i = 0; i < nr; i++)
		events[i] = open_event(configs[i], true);
	for (i = 0; i < nr; i++) {
		before = read_event(events[i]).value;
		host_loop(HOST_N);
		alone[i] = read_event(events[i]).value - before;
	}

	vm = create_counting_guest(&vcpu);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < nr; i++) {
			guest_do(vcpu, GUEST_LOOP, 0, 0, 1000);
			before = read_event(events[i]).value;
			host_loop(HOST_N);
			value = read_event(events[i]).value - before;
			/* Cycles may vary, the other two don't. */
			if (configs[i] == PERF_COUNT_HW_INSTRUCTIONS ||
			    configs[i] == PERF_COUNT_HW_BRANCH_INSTRUCTIONS)
				TEST_ASSERT(value == alone[i],
					    "Event %lu: wanted %lu as without a VM, got %lu",
					    configs[i], alone[i], value);
			else
				TEST_ASSERT(value > alone[i] / 2,
					    "Event %lu: wanted about %lu as without a VM, got %lu",
					    configs[i], alone[i], value);
		}
	}
	for (i = 0; i < nr; i++)
		close(events[i]);
	kvm_vm_free(vm);
}

/* Interrupts of the host's counters are the host's, before and after the guest. */
TEST(sampling_goes_on_after_the_guest)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.sample_period = 10000,
		.sample_type = PERF_SAMPLE_IP,
		.exclude_guest = 1,
		.exclude_kernel = 1,
	};
	const size_t size = 17 * 4096;
	struct perf_event_mmap_page *page;
	uint64_t alone, before, value;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int event, round;

	event = host_event_open_attr(&attr, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted an event with exclude_guest, got %d", event);
	page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, event, 0);
	TEST_ASSERT(page != MAP_FAILED, "mmap() failed, errno %d", errno);

	before = page->data_head;
	host_loop(HOST_N);
	alone = page->data_head - before;
	TEST_ASSERT(alone, "Wanted samples without a VM");

	vm = create_counting_guest(&vcpu);
	for (round = 0; round < 5; round++) {
		guest_do(vcpu, GUEST_LOOP, 0, 0, 100000);
		page->data_tail = page->data_head;
		before = page->data_head;
		host_loop(HOST_N);
		value = page->data_head - before;
		/* Give or take one sample. */
		TEST_ASSERT(value + 16 >= alone && value <= alone + 16,
			    "Wanted %lu bytes of samples as without a VM, got %lu", alone, value);
	}
	munmap(page, size);
	close(event);
	kvm_vm_free(vm);
}

/* The event comes while the vCPU is between two runs, its counters are on. */
TEST(event_opened_beside_a_counting_guest)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_counting_guest(&vcpu);
	uint64_t value, guest[2];
	int event, round;

	for (round = 0; round < 3; round++) {
		guest_wrmsr(vcpu, gp_counter_msr(0), 0);
		guest_do(vcpu, GUEST_LOOP, 0, 0, 1000);
		guest[0] = vcpu_get_msr(vcpu, gp_counter_msr(0));
		event = open_event(PERF_COUNT_HW_INSTRUCTIONS, true);
		host_loop(HOST_N);
		value = read_event(event).value;
		guest[1] = vcpu_get_msr(vcpu, gp_counter_msr(0));
		TEST_ASSERT(value >= HOST_N && value < HOST_N + HOST_N / 10,
			    "Wanted %u instructions and a few, got %lu", HOST_N, value);
		TEST_ASSERT(guest[0] == guest[1],
			    "Wanted a guest that does not run not to count, got %lu after %lu",
			    guest[1], guest[0]);
		close(event);
	}
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(host_has_passthrough_pmu());
	model = default_pmu_model();
	kvm_pin_this_task_to_pcpu(0);

	return test_harness_run(argc, argv);
}
