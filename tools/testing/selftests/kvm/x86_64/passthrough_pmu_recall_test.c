// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that owns the PMU keeps it when it is not in guest mode, as long as nobody
 * else wants it.  Events of the host take it away at any time, from any CPU, and
 * neither side loses a count.  A guest that doesn't use it leaves it alone.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

#define EXITS			1000
/* Changes of owner that each kind of event has to make. */
#define RECALLS			300
/* Iterations that the guest counts at a time; more would only delay the host's events. */
#define LOOP			20000

static struct kvm_vm *create_counting_guest(struct kvm_vcpu **vcpu)
{
	struct kvm_vm *vm = vm_create_passthrough_guest(vcpu);

	guest_wrmsr(*vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(*vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_wrmsr(*vcpu, gp_counter_msr(0), 0);
	return vm;
}

static uint64_t count_exits(struct kvm_vcpu *vcpu, uint64_t *insns)
{
	uint64_t loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");

	guest_do(vcpu, GUEST_COUNT_CPUID, global_ctrl_msr(), 1, EXITS);
	*insns += EXITS * GUEST_COUNT_CPUID_INSNS + GUEST_COUNT_EXTRA;
	return vcpu_get_stat(vcpu, "passthrough_pmu_loads") - loads;
}

/* The vCPU may have to make way for another task now and then, which is no exit's fault. */
TEST(guest_keeps_pmu)
{
	uint64_t alone, beside, after, insns = 0;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int fd;

	kvm_pin_this_task_to_pcpu(0);
	vm = create_counting_guest(&vcpu);

	alone = count_exits(vcpu, &insns);
	fd = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, -1, 0);
	TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
	beside = count_exits(vcpu, &insns);
	close(fd);
	after = count_exits(vcpu, &insns);

	TEST_ASSERT(alone < EXITS / 4 && after < EXITS / 4,
		    "Wanted the PMU to stay where it is, got it loaded %lu and %lu times for %u exits",
		    alone, after, EXITS);
	TEST_ASSERT(beside >= EXITS,
		    "Wanted the host to have its PMU after each exit, got the guest's loaded %lu times for %u exits",
		    beside, EXITS);
	assert_insns(vcpu, guest_rdmsr(vcpu, gp_counter_msr(0)), insns, "instructions");
	kvm_vm_free(vm);
}

/* What another CPU does to the one that the guest runs on */
enum kind {
	OPEN_AND_CLOSE,
	ENABLE_AND_DISABLE,
	EVENT_OF_THE_TASK,
	PINNED_GROUP,
};

struct recaller {
	enum kind kind;
	pid_t vcpu_thread;
	uint64_t rounds;
	uint64_t counted;
	atomic_bool stop;
};

static int open_counting(struct perf_event_attr attr, pid_t pid, int cpu, int leader)
{
	int fd;

	attr.size = sizeof(attr);
	attr.exclude_guest = 1;
	fd = syscall(SYS_perf_event_open, &attr, pid, cpu, leader, PERF_FLAG_FD_CLOEXEC);
	TEST_ASSERT(fd >= 0, "Wanted an event, errno %d", errno);
	return fd;
}

static void *recall(void *arg)
{
	struct perf_event_attr cycles = {
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_CPU_CYCLES,
	};
	struct perf_event_attr switches = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CONTEXT_SWITCHES,
	};
	struct recaller *r = arg;
	int fd = -1, member;

	kvm_pin_this_task_to_pcpu(1);
	if (r->kind == ENABLE_AND_DISABLE) {
		cycles.disabled = 1;
		fd = open_counting(cycles, -1, 0, -1);
	}
	cycles.pinned = r->kind == PINNED_GROUP;

	for (r->rounds = 0; !atomic_load(&r->stop); r->rounds++) {
		/* The guest has to get somewhere, too. */
		usleep(100);
		switch (r->kind) {
		case OPEN_AND_CLOSE:
			fd = open_counting(cycles, -1, 0, -1);
			r->counted += host_event_read(fd);
			close(fd);
			break;
		case ENABLE_AND_DISABLE:
			ioctl(fd, PERF_EVENT_IOC_ENABLE);
			ioctl(fd, PERF_EVENT_IOC_DISABLE);
			break;
		case EVENT_OF_THE_TASK:
			fd = open_counting(cycles, r->vcpu_thread, -1, -1);
			r->counted += host_event_read(fd);
			close(fd);
			break;
		default:
			fd = open_counting(cycles, -1, 0, -1);
			member = open_counting(switches, -1, 0, fd);
			r->counted += host_event_read(fd);
			close(member);
			close(fd);
			break;
		}
	}
	if (r->kind == ENABLE_AND_DISABLE) {
		r->counted = host_event_read(fd);
		close(fd);
	}
	return NULL;
}

static void count_while_recalled(enum kind kind)
{
	struct recaller recaller = {
		.kind = kind,
		.vcpu_thread = syscall(SYS_gettid),
	};
	uint64_t loads, insns = 0;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	pthread_t thread;

	kvm_pin_this_task_to_pcpu(0);
	vm = create_counting_guest(&vcpu);
	loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
	TEST_ASSERT(!pthread_create(&thread, NULL, recall, &recaller), "pthread_create() failed");

	while (vcpu_get_stat(vcpu, "passthrough_pmu_loads") - loads < RECALLS ||
	       recaller.rounds < RECALLS) {
		guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), 1, LOOP);
		insns += LOOP + GUEST_COUNT_EXTRA;
		count_exits(vcpu, &insns);
	}
	atomic_store(&recaller.stop, true);
	/* The other one may wait for an answer of this CPU. */
	pthread_join(thread, NULL);

	assert_insns(vcpu, guest_rdmsr(vcpu, gp_counter_msr(0)), insns, "instructions");
	TEST_ASSERT(recaller.counted, "Wanted the host's events to count the host, got nothing");
	kvm_vm_free(vm);
}

TEST(events_come_and_go)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	count_while_recalled(OPEN_AND_CLOSE);
}

TEST(event_is_enabled_and_disabled)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	count_while_recalled(ENABLE_AND_DISABLE);
}

TEST(events_of_the_vcpu_thread)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	count_while_recalled(EVENT_OF_THE_TASK);
}

TEST(pinned_groups)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	count_while_recalled(PINNED_GROUP);
}

/* Exits after which a guest that uses no counter doesn't get the PMU any more. */
#define IDLE_EXITS		70

/* An event of the host hands the PMU over at each exit, until the guest is dormant. */
static int make_dormant(struct kvm_vcpu *vcpu)
{
	int fd = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, true, 0, -1);
	uint64_t loads;

	TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
	guest_do(vcpu, GUEST_CPUID, 0, 0, IDLE_EXITS);

	loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
	guest_do(vcpu, GUEST_CPUID, 0, 0, EXITS);
	loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads") - loads;
	TEST_ASSERT(!loads, "Wanted a guest without counters to leave the PMU alone, got %lu loads",
		    loads);
	return fd;
}

/* How many exits do NR accesses take?  One is the guest's report. */
static uint64_t exits_of(struct kvm_vcpu *vcpu, enum guest_op op, uint64_t index, uint64_t value)
{
	uint64_t exits = vcpu_get_stat(vcpu, "exits");

	guest_do(vcpu, op, index, value, EXITS);
	return vcpu_get_stat(vcpu, "exits") - exits;
}

/* What is in the PMU is the host's: a guest that is dormant must not touch it. */
TEST(dormant_guest_exits)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t value;
	int fd, i;

	vm = vm_create_passthrough_guest(&vcpu);
	guest_wrmsr(vcpu, global_ctrl_msr(), 3);
	for (i = 0; i < 2; i++)
		guest_wrmsr(vcpu, gp_counter_msr(i), 0x123 + i);
	fd = make_dormant(vcpu);

	for (i = 0; i < 2; i++) {
		TEST_ASSERT_EQ(guest_rdmsr(vcpu, gp_counter_msr(i)), 0x123 + i);
		TEST_ASSERT_EQ(guest_rdpmc(vcpu, i), 0x123 + i);
		TEST_ASSERT_EQ(vcpu_get_msr(vcpu, gp_counter_msr(i)), 0x123 + i);
		TEST_ASSERT(exits_of(vcpu, GUEST_RDMSR, gp_counter_msr(i), 0) >= EXITS,
			    "Wanted reads of counter %d to exit", i);
		TEST_ASSERT(exits_of(vcpu, GUEST_RDPMC, i, 0) >= EXITS,
			    "Wanted RDPMC of counter %d to exit", i);
		TEST_ASSERT(exits_of(vcpu, GUEST_WRMSR, gp_counter_msr(i), 0x456 + i) >= EXITS,
			    "Wanted writes of counter %d to exit", i);
		TEST_ASSERT_EQ(guest_rdpmc(vcpu, i), 0x456 + i);
	}
	TEST_ASSERT(exits_of(vcpu, GUEST_RDMSR, global_ctrl_msr(), 0) >= EXITS,
		    "Wanted reads of GLOBAL_CTRL to exit");
	TEST_ASSERT(exits_of(vcpu, GUEST_WRMSR, global_ctrl_msr(), 1) >= EXITS,
		    "Wanted writes of GLOBAL_CTRL to exit");
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_ctrl_msr()), 1);
	TEST_ASSERT(exits_of(vcpu, GUEST_WRMSR, status_clear_msr(), 0) >= EXITS,
		    "Wanted writes of what clears GLOBAL_STATUS to exit");

	/* The host's event goes on counting, but not what the guest executes. */
	value = host_event_read(fd);
	guest_do(vcpu, GUEST_LOOP, 0, 0, 10000000);
	value = host_event_read(fd) - value;
	TEST_ASSERT(value && value < 5000000,
		    "Wanted an event that excludes guests to count the host alone, got %lu", value);
	close(fd);
	kvm_vm_free(vm);
}

/* As often as it likes: each time, all is there, and the count is exact. */
TEST(dormant_guest_counts_again)
{
	uint64_t insns = 0, value;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i, fd = -1;

	vm = vm_create_passthrough_guest(&vcpu);
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(vcpu, gp_counter_msr(0), 0);

	for (i = 0; i < 20; i++) {
		if (fd >= 0)
			close(fd);
		fd = make_dormant(vcpu);
		/* Half of the time the host has given up by then. */
		if (i & 1) {
			close(fd);
			fd = -1;
		}
		value = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
		/* By the guest, and by user space. */
		if (i & 2)
			vcpu_set_msr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
		else
			guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
		guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), 1, LOOP);
		insns += LOOP + GUEST_COUNT_EXTRA;
		TEST_ASSERT(vcpu_get_stat(vcpu, "passthrough_pmu_loads") > value,
			    "Wanted a guest that counts to have the PMU");
		guest_wrmsr(vcpu, gp_selector_msr(0), 0);
	}
	value = vcpu_get_msr(vcpu, gp_counter_msr(0));
	assert_insns(vcpu, value, insns, "instructions");
	close(fd);
	kvm_vm_free(vm);
}

/* Counted by KVM or by hardware, an overflow is seen where the guest is by then. */
TEST(dormant_guest_has_its_overflow)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int fd;

	if (default_pmu_model().version < 2)
		SKIP(return, "no GLOBAL_STATUS");

	vm = vm_create_passthrough_guest(&vcpu);
	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	vcpu_set_msr(vcpu, gp_counter_msr(0), BIT_ULL(48) - LOOP / 2);
	guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), 1, LOOP);
	guest_wrmsr(vcpu, gp_selector_msr(0), 0);
	fd = make_dormant(vcpu);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 1);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, global_status_msr()), 1);

	guest_wrmsr(vcpu, status_clear_msr(), 1);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 0);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), 1, LOOP);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 0);
	close(fd);
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());
	TEST_REQUIRE(host_has_passthrough_pmu());

	return test_harness_run(argc, argv);
}
