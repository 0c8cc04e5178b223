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
			guest_do(v->vcpu, GUEST_COUNT_CPUID, global_ctrl_msr(), 1, EXITS);
			insns += EXITS * GUEST_COUNT_CPUID_INSNS + GUEST_COUNT_EXTRA;
			break;
		}
	}
	assert_insns(v->vcpu, guest_rdmsr(v->vcpu, gp_counter_msr(0)), insns, "instructions");
	return NULL;
}

/* One more event of the host, of any kind that counts no guest */
static int any_event(unsigned int *seed, struct victim *victims, int leader)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.exclude_guest = 1,
	};
	bool task = rand_r(seed) % 3 == 0;

	switch (rand_r(seed) % 8) {
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
	}
	/* Some of these don't exist here, or don't go together. */
	return syscall(SYS_perf_event_open, &attr, task ? victims[rand_r(seed) % 2].tid : -1,
		       task ? -1 : rand_r(seed) % 2, leader, PERF_FLAG_FD_CLOEXEC);
}

static void blow(unsigned int *seed, struct victim *victims, int *fds)
{
	int *fd = &fds[rand_r(seed) % MAX_EVENTS];

	if (*fd < 0) {
		*fd = any_event(seed, victims,
				rand_r(seed) % 2 ? -1 : fds[rand_r(seed) % MAX_EVENTS]);
		return;
	}

	switch (rand_r(seed) % 5) {
	case 0:
		ioctl(*fd, PERF_EVENT_IOC_DISABLE);
		break;
	case 1:
		ioctl(*fd, PERF_EVENT_IOC_ENABLE);
		break;
	case 2:
		host_event_read(*fd);
		break;
	default:
		close(*fd);
		*fd = -1;
		break;
	}
}

/*
 * Changes of owner; more by the environment.  With an event of the host each exit makes two.
 */
#define OWNERS			10000

TEST(storm)
{
	const char *env = getenv("PASSTHROUGH_PMU_OWNERS");
	uint64_t owners = env ? strtoull(env, NULL, 0) : OWNERS, loads;
	struct victim victims[2] = { { .seed = 1 }, { .seed = 2, .moves = true } };
	unsigned int seed = 3;
	int fds[MAX_EVENTS], i;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	if (default_pmu_model().version < 2)
		SKIP(return, "no GLOBAL_STATUS");

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
			blow(&seed, victims, fds);
			usleep(rand_r(&seed) % 2000);
		}
		for (loads = i = 0; i < 2; i++)
			loads += vcpu_get_stat(victims[i].vcpu, "passthrough_pmu_loads") -
				 victims[i].loads;
	} while (2 * loads < owners);

	atomic_store(&storm_is_over, true);
	for (i = 0; i < 2; i++) {
		pthread_join(victims[i].thread, NULL);
		kvm_vm_free(victims[i].vm);
	}
	for (i = 0; i < MAX_EVENTS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	pr_info("%lu changes of owner\n", 2 * loads);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());
	TEST_REQUIRE(host_has_passthrough_pmu());

	return test_harness_run(argc, argv);
}
