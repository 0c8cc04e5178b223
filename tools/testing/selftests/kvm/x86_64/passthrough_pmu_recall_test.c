// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that owns the PMU keeps it when it is not in guest mode, as long as nobody
 * else wants it.  Events of the host take it away at any time, from any CPU, and
 * neither side loses a count.
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

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());
	TEST_REQUIRE(host_has_passthrough_pmu());

	return test_harness_run(argc, argv);
}
