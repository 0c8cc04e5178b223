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
#include <sys/mount.h>
#include <sys/stat.h>
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

/*
 * With an event of the host, each exit hands the PMU over, but the values of counters that
 * the event doesn't use are left in the PMU.  Nobody can tell.
 */
#define LEFT_VALUE(vcpu, i, n)	(((uint64_t)(vcpu) + 1) << 44 | (uint64_t)(i) << 36 | (n))
#define HAND_OVERS		3

/* For the guest */
static struct pmu_model left_model;
static uint64_t left_by_emulation;
static uint64_t left_rounds;
static uint64_t left_pmis;

static void hand_over(int n)
{
	uint32_t eax, ebx, ecx, edx;

	while (n--)
		cpuid(0, &eax, &ebx, &ecx, &edx);
}

static int nr_counters(void)
{
	return left_model.nr_gp + left_model.nr_fixed;
}

static uint32_t nth_counter_msr(int i)
{
	return i < left_model.nr_gp ? gp_counter_msr(i) :
				      MSR_CORE_PERF_FIXED_CTR0 + i - left_model.nr_gp;
}

static uint32_t nth_counter_rdpmc(int i)
{
	return i < left_model.nr_gp ? i : INTEL_RDPMC_FIXED + i - left_model.nr_gp;
}

/* By KVM: the exit hands the PMU over, then the value is written or read where it is. */
static void emulated_wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile(KVM_FEP "wrmsr" : : "c" (msr), "a" ((uint32_t)value), "d" (value >> 32)
		     : "memory");
}

static void check_counters(int vcpu, uint64_t n)
{
	uint64_t value;
	int i;

	for (i = 0; i < nr_counters(); i++) {
		GUEST_ASSERT_EQ(rdmsr(nth_counter_msr(i)), LEFT_VALUE(vcpu, i, n));
		GUEST_ASSERT(!rdpmc_safe(nth_counter_rdpmc(i), &value));
		GUEST_ASSERT_EQ(value, LEFT_VALUE(vcpu, i, n));
		if (!left_by_emulation)
			continue;
		GUEST_ASSERT(!rdmsr_safe_fep(nth_counter_msr(i), &value));
		GUEST_ASSERT_EQ(value, LEFT_VALUE(vcpu, i, n));
		GUEST_ASSERT(!rdpmc_safe_fep(nth_counter_rdpmc(i), &value));
		GUEST_ASSERT_EQ(value, LEFT_VALUE(vcpu, i, n));
	}
}

/* Its counters have values, and don't count; one is enabled, or the guest would be dormant. */
static void guest_with_values(int vcpu)
{
	uint64_t n;
	int i;

	wrmsr(global_ctrl_msr(), 0);
	wrmsr(gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	for (n = 1; ; n++) {
		for (i = 0; i < nr_counters(); i++) {
			if (left_by_emulation && (n & 1))
				emulated_wrmsr(nth_counter_msr(i), LEFT_VALUE(vcpu, i, n));
			else
				wrmsr(nth_counter_msr(i), LEFT_VALUE(vcpu, i, n));
		}
		check_counters(vcpu, n);
		hand_over(HAND_OVERS);
		check_counters(vcpu, n);
		if (!(n % left_rounds)) {
			GUEST_SYNC(n);
			check_counters(vcpu, n);
		}
	}
}

static void prepare_values(struct kvm_vm *vm, uint64_t rounds)
{
	write_guest_global(vm, left_model, left_model);
	write_guest_global(vm, left_by_emulation, (uint64_t)is_forced_emulation_enabled);
	write_guest_global(vm, left_rounds, rounds);
}

static struct kvm_vm *create_guest_with_values(struct kvm_vcpu **vcpu, uint64_t rounds)
{
	struct kvm_vm *vm = vm_create_with_one_vcpu(vcpu, guest_with_values);

	left_model = default_pmu_model();
	vcpu_args_set(*vcpu, 1, 0);
	prepare_values(vm, rounds);
	return vm;
}

static uint64_t run_until_sync(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	vcpu_run(vcpu);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
	case UCALL_SYNC:
		return uc.args[1];
	default:
		TEST_FAIL("Unexpected exit %u (%s)", vcpu->run->exit_reason,
			  exit_reason_str(vcpu->run->exit_reason));
	}
	return 0;
}

static void assert_saved_values(struct kvm_vcpu *vcpu, int nr, uint64_t n)
{
	int i;

	for (i = 0; i < nr_counters(); i++)
		TEST_ASSERT_EQ(vcpu_get_msr(vcpu, nth_counter_msr(i)), LEFT_VALUE(nr, i, n));
}

/* None is what events of this kind and this short life count. */
static void assert_plausible(uint64_t count)
{
	TEST_ASSERT(count < LEFT_VALUE(0, 0, 0),
		    "Wanted an event of the host to count the host, got %#lx", count);
}

TEST(values_survive_hand_overs)
{
	uint64_t loads, n, count;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i, fds[2];

	kvm_pin_this_task_to_pcpu(0);
	/* On a fixed counter, if there is one, and on a general purpose counter */
	fds[0] = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, -1, 0);
	fds[1] = host_event_open(PERF_COUNT_HW_BRANCH_INSTRUCTIONS, true, 0, -1);
	TEST_ASSERT(fds[0] >= 0 && fds[1] >= 0, "Wanted events with exclude_guest");

	vm = create_guest_with_values(&vcpu, 10);
	for (i = 0; i < 10; i++) {
		loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
		n = run_until_sync(vcpu);
		loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads") - loads;
		TEST_ASSERT(loads >= 10 * HAND_OVERS, "Wanted hand-overs, got %lu", loads);
		assert_saved_values(vcpu, 0, n);
	}
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		count = host_event_read(fds[i]);
		TEST_ASSERT(count, "Wanted the host's event to count, got nothing");
		assert_plausible(count);
		close(fds[i]);
	}
	kvm_vm_free(vm);
}

static void *be_vcpu_with_values(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	int i;

	kvm_pin_this_task_to_pcpu(0);
	for (i = 0; i < 20; i++) {
		assert_saved_values(vcpu, vcpu->id, run_until_sync(vcpu));
		sched_yield();
	}
	return NULL;
}

/* The one's values are gone before the other one's are loaded. */
TEST(values_of_vcpus_in_turns)
{
	struct kvm_vcpu *vcpus[2];
	pthread_t threads[2];
	struct kvm_vm *vm;
	int i, fd;

	fd = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, -1, 0);
	TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
	left_model = default_pmu_model();
	vm = vm_create_with_vcpus(2, guest_with_values, vcpus);
	prepare_values(vm, 10);
	for (i = 0; i < 2; i++) {
		vcpu_args_set(vcpus[i], 1, i);
		TEST_ASSERT(!pthread_create(&threads[i], NULL, be_vcpu_with_values, vcpus[i]),
			    "pthread_create() failed");
	}
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	close(fd);
	kvm_vm_free(vm);
}

/* Events get the counters that the values are in; both are what they would be otherwise. */
static void hold_values_while_recalled(enum kind kind)
{
	struct recaller recaller = {
		.kind = kind,
		.vcpu_thread = syscall(SYS_gettid),
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	pthread_t thread;
	int fds[2], i;

	kvm_pin_this_task_to_pcpu(0);
	/* Those that come besides these need a general purpose counter. */
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, -1, 0);
		TEST_ASSERT(fds[i] >= 0, "Wanted an event with exclude_guest, got %d", fds[i]);
	}
	vm = create_guest_with_values(&vcpu, 20);
	TEST_ASSERT(!pthread_create(&thread, NULL, recall, &recaller), "pthread_create() failed");

	do {
		assert_saved_values(vcpu, 0, run_until_sync(vcpu));
	} while (recaller.rounds < RECALLS);
	atomic_store(&recaller.stop, true);
	pthread_join(thread, NULL);

	TEST_ASSERT(recaller.counted, "Wanted the host's events to count the host, got nothing");
	assert_plausible(recaller.counted);
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_plausible(host_event_read(fds[i]));
		close(fds[i]);
	}
	kvm_vm_free(vm);
}

TEST(events_come_and_go_among_values)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	hold_values_while_recalled(OPEN_AND_CLOSE);
}

TEST(event_is_enabled_among_values)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	hold_values_while_recalled(ENABLE_AND_DISABLE);
}

TEST(events_of_the_vcpu_thread_among_values)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	hold_values_while_recalled(EVENT_OF_THE_TASK);
}

/* A counter whose value is left counts what KVM emulates. */
TEST(left_counter_counts_emulated_instructions)
{
	struct kvm_vcpu *vcpu;
	uint64_t insns = 0;
	struct kvm_vm *vm;
	int fd;

	kvm_pin_this_task_to_pcpu(0);
	fd = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, -1, 0);
	TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
	vm = create_counting_guest(&vcpu);
	count_exits(vcpu, &insns);
	assert_insns(vcpu, guest_rdmsr(vcpu, gp_counter_msr(0)), insns, "instructions");
	close(fd);
	kvm_vm_free(vm);
}

static void left_pmi_handler(struct ex_regs *regs)
{
	left_pmis++;
	x2apic_write_reg(APIC_LVTPC, GUEST_PMI_VECTOR);
	x2apic_write_reg(APIC_EOI, 0);
}

static void loop(uint64_t n)
{
	asm volatile("1: dec %0\n\t"
		     "jnz 1b" : "+r" (n));
}

/* Overflows while its interrupts are masked, which therefore makes none, also not later. */
static void guest_with_old_overflow(void)
{
	x2apic_enable();
	x2apic_write_reg(APIC_LVTPC, GUEST_PMI_VECTOR | APIC_LVT_MASKED);
	asm volatile("sti");
	wrmsr(global_ctrl_msr(), 0);
	wrmsr(gp_selector_msr(0), EVENTSEL_COUNT_PMI | EVENT_INSTRUCTIONS);
	wrmsr(gp_counter_msr(0), BIT_ULL(48) - LOOP);
	wrmsr(global_ctrl_msr(), 1);
	hand_over(HAND_OVERS);
	loop(LOOP);
	wrmsr(global_ctrl_msr(), 0);
	hand_over(HAND_OVERS);
	x2apic_write_reg(APIC_LVTPC, GUEST_PMI_VECTOR);
	hand_over(HAND_OVERS);
	GUEST_SYNC(rdmsr(global_status_msr()));
}

TEST(left_counter_interrupts_once)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int fd;

	if (default_pmu_model().version < 2)
		SKIP(return, "no GLOBAL_STATUS");

	kvm_pin_this_task_to_pcpu(0);
	fd = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, -1, 0);
	TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
	vm = vm_create_with_one_vcpu(&vcpu, guest_with_old_overflow);
	vm_install_exception_handler(vm, GUEST_PMI_VECTOR, left_pmi_handler);
	TEST_ASSERT_EQ(run_until_sync(vcpu), 1);
	sync_global_from_guest(vm, left_pmis);
	TEST_ASSERT_EQ(left_pmis, 0);
	close(fd);
	kvm_vm_free(vm);
}

#define NARROW_WIDTH		16

/* One that is narrower than hardware's overflows as often as it should. */
static void guest_with_narrow_counter(void)
{
	int i;

	wrmsr(global_ctrl_msr(), 0);
	wrmsr(gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	for (i = 0; i < 3; i++) {
		wrmsr(global_ctrl_msr(), 1);
		/* Two instructions for each iteration */
		loop(BIT(NARROW_WIDTH - 1) + 100);
		wrmsr(global_ctrl_msr(), 0);
		hand_over(HAND_OVERS);
		GUEST_ASSERT_EQ(rdmsr(global_status_msr()), 1);
		wrmsr(status_clear_msr(), 1);
		GUEST_ASSERT_EQ(rdmsr(global_status_msr()), 0);
	}
	GUEST_SYNC(0);
}

TEST(narrow_counter_overflows_each_time)
{
	struct pmu_model narrow = default_pmu_model();
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int fd;

	if (!host_cpu_is_intel)
		SKIP(return, "CPUID doesn't tell the width");

	kvm_pin_this_task_to_pcpu(0);
	fd = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, -1, 0);
	TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
	narrow.width_gp = NARROW_WIDTH;
	vm = vm_create_with_one_vcpu(&vcpu, guest_with_narrow_counter);
	vcpu_set_pmu_model(vcpu, &narrow);
	run_until_sync(vcpu);
	close(fd);
	kvm_vm_free(vm);
}

/*
 * What a guest writes when it switches tasks, and in interrupts, exits, but doesn't hand
 * the PMU over, as KVM handles it right away.
 */
TEST(writes_in_the_fastpath)
{
	const uint32_t msrs[] = {
		gp_selector_msr(1),
		host_cpu_is_intel ? MSR_CORE_PERF_FIXED_CTR_CTRL : gp_selector_msr(2),
		APIC_BASE_MSR + (APIC_LVTPC >> 4),
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t loads;
	int fd, i;

	vm = create_counting_guest(&vcpu);
	guest_do(vcpu, GUEST_ENABLE_IRQS, 0, GUEST_PMI_VECTOR, 0);
	fd = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, 0, -1);
	TEST_ASSERT(fd >= 0, "Wanted an event with exclude_guest, got %d", fd);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
		guest_do(vcpu, GUEST_WRMSR, msrs[i], 0, EXITS);
		loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads") - loads;
		TEST_ASSERT(loads < EXITS / 4,
			    "Wanted writes of MSR %#x in the fastpath, got %lu loads for %u of them",
			    msrs[i], loads, EXITS);
	}
	close(fd);
	kvm_vm_free(vm);
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
		TEST_ASSERT(exits_of(vcpu, GUEST_RDMSR, gp_counter_msr(1), 0) < EXITS / 2,
			    "Wanted its counters to be open again");
		guest_wrmsr(vcpu, gp_selector_msr(0), 0);
	}
	value = vcpu_get_msr(vcpu, gp_counter_msr(0));
	assert_insns(vcpu, value, insns, "instructions");
	close(fd);
	kvm_vm_free(vm);
}

/* An overflow from before is seen by a guest that is dormant, and by one that isn't any more. */
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
	/* Neither does it get lost on the way back. */
	guest_wrmsr(vcpu, gp_selector_msr(1), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 1);
	guest_wrmsr(vcpu, gp_selector_msr(1), 0);
	close(fd);
	fd = make_dormant(vcpu);

	guest_wrmsr(vcpu, status_clear_msr(), 1);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 0);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), 1, LOOP);
	TEST_ASSERT_EQ(guest_rdmsr(vcpu, global_status_msr()), 0);
	close(fd);
	kvm_vm_free(vm);
}

/* Instructions between two PMIs of a guest */
#define PERIOD			5000
/* Events that the host has at a time, some more than it has counters */
#define MAX_EVENTS		12

static uint64_t guest_pmis;

static void guest_pmi_handler(struct ex_regs *regs)
{
	guest_pmis++;
	wrmsr(gp_counter_msr(1), BIT_ULL(48) - PERIOD);
	wrmsr(status_clear_msr(), rdmsr(global_status_msr()));
	x2apic_write_reg(APIC_LVTPC, GUEST_PMI_VECTOR);
	x2apic_write_reg(APIC_EOI, 0);
}

struct victim {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	bool moves;
	unsigned int seed;
	atomic_int tid;
	/* PMIs of one round that nobody disturbs */
	uint64_t pmis;
	/* Rounds that were disturbed */
	atomic_ulong samplings;
	uint64_t loads;
	pthread_t thread;
};

static atomic_bool storm_is_over;

static uint64_t sample(struct victim *v)
{
	uint64_t *pmis, before;

	pmis = addr_gva2hva(v->vm, (vm_vaddr_t)&guest_pmis);
	before = *pmis;
	guest_wrmsr(v->vcpu, gp_counter_msr(1), BIT_ULL(48) - PERIOD);
	guest_do(v->vcpu, GUEST_COUNT, global_ctrl_msr(), 2, LOOP * 5);
	return *pmis - before;
}

static void create_victim(struct victim *v)
{
	v->vm = create_counting_guest(&v->vcpu);
	vm_install_exception_handler(v->vm, GUEST_PMI_VECTOR, guest_pmi_handler);
	guest_do(v->vcpu, GUEST_ENABLE_IRQS, 0, GUEST_PMI_VECTOR, 0);
	guest_wrmsr(v->vcpu, gp_selector_msr(1), EVENTSEL_COUNT_PMI | EVENT_INSTRUCTIONS);
	v->pmis = sample(v);
	TEST_ASSERT(v->pmis >= LOOP * 5 / PERIOD / 2, "Wanted the guest to have PMIs, got %lu",
		    v->pmis);
	v->loads = vcpu_get_stat(v->vcpu, "passthrough_pmu_loads");
}

/* Counts, samples, does neither for a while: whatever comes. */
static void *be_victim(void *arg)
{
	struct victim *v = arg;
	uint64_t insns = 0, pmis;
	int i;

	v->tid = syscall(SYS_gettid);
	while (!atomic_load(&storm_is_over)) {
		kvm_pin_this_task_to_pcpu(v->moves ? rand_r(&v->seed) % 2 : 0);
		switch (rand_r(&v->seed) % 4) {
		case 0:
			pmis = sample(v);
			TEST_ASSERT(pmis + 1 >= v->pmis && pmis <= v->pmis + 1,
				    "Wanted %lu PMIs, got %lu", v->pmis, pmis);
			v->samplings++;
			break;
		case 1:
			for (i = 0; i < 2; i++)
				guest_wrmsr(v->vcpu, gp_selector_msr(i), 0);
			guest_do(v->vcpu, GUEST_CPUID, 0, 0, 2 * IDLE_EXITS);
			guest_wrmsr(v->vcpu, gp_selector_msr(0),
				    EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
			guest_wrmsr(v->vcpu, gp_selector_msr(1),
				    EVENTSEL_COUNT_PMI | EVENT_INSTRUCTIONS);
			break;
		default:
			guest_do(v->vcpu, GUEST_COUNT_CPUID, global_ctrl_msr(), 1, EXITS / 5);
			insns += EXITS / 5 * GUEST_COUNT_CPUID_INSNS + GUEST_COUNT_EXTRA;
			break;
		}
	}
	assert_insns(v->vcpu, guest_rdmsr(v->vcpu, gp_counter_msr(0)), insns, "instructions");
	return NULL;
}

/*
 * Two cgroups, one inside the other, for events that count them.  The tasks of this
 * process move from one to the other.
 */
struct cgroups {
	char root[32];
	char outer[64];
	char inner[80];
	int fds[2];
	uint64_t events;
	uint64_t moves;
};

static bool create_cgroups(struct cgroups *groups)
{
	memset(groups, 0, sizeof(*groups));
	snprintf(groups->root, sizeof(groups->root), "/tmp/passthrough_pmu.XXXXXX");
	if (!mkdtemp(groups->root))
		return false;
	/* The controller is in one hierarchy, in which it may have been before. */
	if (mount("none", groups->root, "cgroup", 0, "perf_event") &&
	    mount("none", groups->root, "cgroup2", 0, NULL)) {
		rmdir(groups->root);
		return false;
	}
	sprintf(groups->outer, "%s/passthrough.%d", groups->root, getpid());
	sprintf(groups->inner, "%s/inner", groups->outer);
	TEST_ASSERT(!mkdir(groups->outer, 0700) && !mkdir(groups->inner, 0700),
		    "mkdir() of a cgroup failed, errno %d", errno);
	groups->fds[0] = open(groups->outer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	groups->fds[1] = open(groups->inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	TEST_ASSERT(groups->fds[0] >= 0 && groups->fds[1] >= 0,
		    "open() of a cgroup failed, errno %d", errno);
	return true;
}

static void move_to_cgroup(struct cgroups *groups, const char *dir)
{
	char path[112];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	TEST_ASSERT(fd >= 0 && write(fd, "0", 1) == 1, "Cannot move to %s, errno %d", dir, errno);
	close(fd);
	groups->moves++;
}

static void destroy_cgroups(struct cgroups *groups)
{
	int i;

	move_to_cgroup(groups, groups->root);
	for (i = 0; i < 2; i++)
		close(groups->fds[i]);
	TEST_ASSERT(!rmdir(groups->inner) && !rmdir(groups->outer) &&
		    !umount(groups->root) && !rmdir(groups->root),
		    "The cgroups stay, errno %d", errno);
}

/* One more event of the host, of any kind that counts no guest */
static int any_event(unsigned int *seed, struct victim *victims, struct cgroups *groups,
		     int leader)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.exclude_guest = 1,
	};
	bool task = rand_r(seed) % 3 == 0;
	int fd;

	switch (rand_r(seed) % 9) {
	case 0:
		attr.pinned = leader < 0;
		break;
	case 1:
		attr.type = PERF_TYPE_SOFTWARE;
		attr.config = PERF_COUNT_SW_CONTEXT_SWITCHES;
		break;
	case 2:
		attr.sample_period = 50000;
		break;
	case 3:
		attr.freq = 1;
		attr.sample_freq = 1000;
		break;
	case 4:
		attr.precise_ip = 1;
		attr.sample_period = 50000;
		break;
	case 5:
		attr.config = PERF_COUNT_HW_INSTRUCTIONS;
		attr.inherit = 1;
		break;
	case 6:
		attr.disabled = leader < 0;
		break;
	case 7:
		fd = syscall(SYS_perf_event_open, &attr, groups->fds[rand_r(seed) % 2],
			     rand_r(seed) % 2, leader,
			     PERF_FLAG_FD_CLOEXEC | PERF_FLAG_PID_CGROUP);
		groups->events += fd >= 0;
		return fd;
	}
	/* Some of these don't exist here, or don't go together. */
	return syscall(SYS_perf_event_open, &attr, task ? victims[rand_r(seed) % 2].tid : -1,
		       task ? -1 : rand_r(seed) % 2, leader, PERF_FLAG_FD_CLOEXEC);
}

static void blow(unsigned int *seed, struct victim *victims, struct cgroups *groups, int *fds)
{
	int *fd = &fds[rand_r(seed) % MAX_EVENTS];

	if (*fd < 0) {
		*fd = any_event(seed, victims, groups,
				rand_r(seed) % 2 ? -1 : fds[rand_r(seed) % MAX_EVENTS]);
		return;
	}

	switch (rand_r(seed) % 6) {
	case 0:
		ioctl(*fd, PERF_EVENT_IOC_DISABLE);
		break;
	case 1:
		ioctl(*fd, PERF_EVENT_IOC_ENABLE);
		break;
	case 2:
		host_event_read(*fd);
		break;
	case 3:
		move_to_cgroup(groups, rand_r(seed) % 2 ? groups->outer : groups->inner);
		break;
	default:
		close(*fd);
		*fd = -1;
		break;
	}
}

/*
 * Changes of owner; more by the environment.  With an event of the host each exit makes two.
 * Each guest samples that often meanwhile.
 */
#define OWNERS			10000
#define SAMPLINGS		10

TEST(storm)
{
	const char *env = getenv("PASSTHROUGH_PMU_OWNERS");
	uint64_t owners = env ? strtoull(env, NULL, 0) : OWNERS, loads;
	struct victim victims[2] = { { .seed = 1 }, { .seed = 2, .moves = true } };
	struct cgroups groups;
	unsigned int seed = 3;
	int fds[MAX_EVENTS], i;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	if (default_pmu_model().version < 2)
		SKIP(return, "no GLOBAL_STATUS");
	if (!create_cgroups(&groups))
		SKIP(return, "no cgroups to be mounted");

	memset(fds, -1, sizeof(fds));
	for (i = 0; i < 2; i++)
		create_victim(&victims[i]);
	for (i = 0; i < 2; i++)
		TEST_ASSERT(!pthread_create(&victims[i].thread, NULL, be_victim, &victims[i]),
			    "pthread_create() failed");
	for (i = 0; i < 2; i++) {
		while (!victims[i].tid)
			usleep(1000);
	}

	do {
		for (i = 0; i < 50; i++) {
			kvm_pin_this_task_to_pcpu(rand_r(&seed) % 2);
			blow(&seed, victims, &groups, fds);
			usleep(rand_r(&seed) % 2000);
		}
		for (loads = i = 0; i < 2; i++)
			loads += vcpu_get_stat(victims[i].vcpu, "passthrough_pmu_loads") -
				 victims[i].loads;
	} while (2 * loads < owners || victims[0].samplings < SAMPLINGS ||
		 victims[1].samplings < SAMPLINGS);

	atomic_store(&storm_is_over, true);
	for (i = 0; i < 2; i++) {
		pthread_join(victims[i].thread, NULL);
		kvm_vm_free(victims[i].vm);
	}
	for (i = 0; i < MAX_EVENTS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	TEST_ASSERT(groups.events && groups.moves,
		    "Wanted events of cgroups, got %lu and %lu moves", groups.events, groups.moves);
	destroy_cgroups(&groups);
	pr_info("%lu changes of owner, %lu and %lu times sampled, %lu events of cgroups, %lu moves between them\n",
		2 * loads, victims[0].samplings, victims[1].samplings, groups.events, groups.moves);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());
	TEST_REQUIRE(host_has_passthrough_pmu());

	return test_harness_run(argc, argv);
}
