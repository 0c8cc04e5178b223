// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM chooses the kind of its vPMU: perf-based, or one that owns the PMU.  Both kinds
 * run side by side, in processes of their own.
 */
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

#define ROUNDS		10

/* Several ticks of the host. */
#define LOOP		1000000

#define KINDS		(KVM_PMU_CAP_PERF_BASED | KVM_PMU_CAP_PASSTHROUGH)

static struct perf_event_attr guest_insns = {
	.type = PERF_TYPE_HARDWARE,
	.size = sizeof(guest_insns),
	.config = PERF_COUNT_HW_INSTRUCTIONS,
	.exclude_host = 1,
};

static struct kvm_vm *create_vm(uint64_t caps)
{
	struct kvm_vm *vm = vm_create(1);

	vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, caps);
	return vm;
}

static struct kvm_vcpu *add_vcpu(struct kvm_vm *vm)
{
	struct kvm_vcpu *vcpu = vm_vcpu_add(vm, 0, passthrough_guest);

	vcpu_args_set(vcpu, 1, 0);
	return vcpu;
}

/* Does the vCPU's PMU work, and does the vCPU own it? */
static void check_vcpu(struct kvm_vcpu *vcpu, bool passthrough, uint64_t n, const char *name)
{
	uint64_t loads = vcpu_get_stat(vcpu, "passthrough_pmu_loads");
	int i;

	guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	guest_wrmsr(vcpu, gp_selector_msr(0), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	guest_wrmsr(vcpu, gp_counter_msr(0), 0);
	for (i = 0; i < ROUNDS; i++) {
		guest_do(vcpu, GUEST_COUNT, global_ctrl_msr(), 1, n);
		sched_yield();
	}
	assert_insns(vcpu, guest_rdmsr(vcpu, gp_counter_msr(0)), ROUNDS * (n + GUEST_COUNT_EXTRA),
		     name);
	TEST_ASSERT_EQ(vcpu_get_stat(vcpu, "passthrough_pmu_loads") > loads, passthrough);
}

/* Runs @function in a process of its own, which is why its VM is, too. */
static pid_t start(void (*function)(int), int arg)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed, errno %d", errno);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		function(arg);
		_exit(0);
	}
	return pid;
}

static void finish(pid_t pid, const char *name)
{
	int status;

	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed, errno %d", errno);
	TEST_ASSERT(!status, "%s: wait status 0x%x", name, status);
}

TEST(only_kinds_that_are_to_be_had)
{
	const uint64_t wrong[] = {
		KINDS,
		KVM_PMU_CAP_DISABLE | KVM_PMU_CAP_PERF_BASED,
		KVM_PMU_CAP_DISABLE | KVM_PMU_CAP_PASSTHROUGH,
		KVM_PMU_CAP_PERF_BASED | BIT_ULL(31),
		KVM_PMU_CAP_PERF_BASED | BIT_ULL(32),
	};
	int i, r, has = kvm_check_cap(KVM_CAP_PMU_CAPABILITY);
	bool passthrough = host_has_passthrough_pmu();
	struct kvm_vm *vm = vm_create(1);

	TEST_ASSERT_EQ(has & KVM_PMU_CAP_PERF_BASED, KVM_PMU_CAP_PERF_BASED);
	TEST_ASSERT_EQ(!!(has & KVM_PMU_CAP_PASSTHROUGH), passthrough);

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		r = __vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, wrong[i]);
		TEST_ASSERT(r == -1 && errno == EINVAL, "0x%lx: got %d, errno %d",
			    wrong[i], r, errno);
	}
	r = __vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_PASSTHROUGH);
	if (passthrough)
		TEST_ASSERT_EQ(r, 0);
	else
		TEST_ASSERT(r == -1 && errno == EINVAL, "got %d, errno %d", r, errno);

	/* The last word counts, until there is a vCPU. */
	vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
	vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_PERF_BASED);
	check_vcpu(add_vcpu(vm), false, LOOP, "perf-based");
	r = __vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_PERF_BASED);
	TEST_ASSERT(r == -1 && errno == EINVAL, "with a vCPU: got %d, errno %d", r, errno);
	kvm_vm_free(vm);
}

TEST(parameter_is_the_default)
{
	struct kvm_vm *vm = create_vm(0);

	check_vcpu(add_vcpu(vm), host_has_passthrough_pmu(), LOOP, "default");
	kvm_vm_free(vm);
}

/* An event that counts guests is in nobody's way, and counts this one. */
TEST(perf_based_vm_can_be_counted)
{
	struct kvm_vm *vm = create_vm(KVM_PMU_CAP_PERF_BASED);
	struct kvm_vcpu *vcpu;
	uint64_t count;
	int event;

	event = host_event_open_attr(&guest_insns, 0, -1);
	TEST_ASSERT(event >= 0, "Wanted an event of guests, got %d", event);
	vcpu = add_vcpu(vm);
	check_vcpu(vcpu, false, LOOP, "perf-based");
	count = host_event_read(event);
	TEST_ASSERT(count >= ROUNDS * LOOP, "Wanted the guest's instructions, got %lu", count);
	close(event);
	kvm_vm_free(vm);
}

static void other_kind_is_refused(uint64_t first, uint64_t second)
{
	struct kvm_vm *a = create_vm(first), *b = create_vm(second);
	int r;

	add_vcpu(a);
	r = __vm_ioctl(b, KVM_CREATE_VCPU, (void *)0ul);
	TEST_ASSERT(r == -1 && errno == EBUSY, "Wanted EBUSY, got %d, errno %d", r, errno);

	/* The VM is none the worse for it. */
	kvm_vm_free(a);
	check_vcpu(add_vcpu(b), second == KVM_PMU_CAP_PASSTHROUGH, LOOP, "second");
	kvm_vm_free(b);
}

TEST(one_kind_in_a_process)
{
	if (!host_has_passthrough_pmu())
		SKIP(return, "there is but one kind");

	other_kind_is_refused(KVM_PMU_CAP_PASSTHROUGH, KVM_PMU_CAP_PERF_BASED);
	other_kind_is_refused(KVM_PMU_CAP_PERF_BASED, KVM_PMU_CAP_PASSTHROUGH);
}

static void run_kind(int cap)
{
	struct kvm_vm *vm = create_vm(cap);

	kvm_pin_this_task_to_pcpu(0);
	check_vcpu(add_vcpu(vm), cap == KVM_PMU_CAP_PASSTHROUGH, LOOP + (cap >> 20),
		   cap == KVM_PMU_CAP_PASSTHROUGH ? "passthrough" : "perf-based");
	kvm_vm_free(vm);
}

TEST(both_kinds_on_one_cpu)
{
	pid_t pids[4];
	int i;

	if (!host_has_passthrough_pmu())
		SKIP(return, "there is but one kind");

	for (i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = start(run_kind, i & 1 ? KVM_PMU_CAP_PERF_BASED : KVM_PMU_CAP_PASSTHROUGH);
	for (i = 0; i < ARRAY_SIZE(pids); i++)
		finish(pids[i], i & 1 ? "perf-based" : "passthrough");
}

/* A VM of each kind and, in a third process, an event that counts the perf-based one. */
static void wait_for_end(int fd)
{
	struct kvm_vm *vm = create_vm(KVM_PMU_CAP_PERF_BASED);
	struct kvm_vcpu *vcpu = add_vcpu(vm);
	char c = 0;

	TEST_ASSERT(write(fd, &c, 1) == 1 && read(fd, &c, 1) == 1, "no word from the parent");
	check_vcpu(vcpu, false, LOOP, "perf-based");
	TEST_ASSERT(write(fd, &c, 1) == 1 && read(fd, &c, 1) == 1, "no word from the parent");
	kvm_vm_free(vm);
}

TEST(perf_based_vm_can_be_counted_beside_the_other_kind)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t count;
	int event, fds[2];
	pid_t pid;
	char c;

	if (!host_has_passthrough_pmu())
		SKIP(return, "there is but one kind");

	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair(), errno %d", errno);
	pid = start(wait_for_end, fds[1]);
	close(fds[1]);
	TEST_ASSERT(read(fds[0], &c, 1) == 1, "the other process failed");

	vm = create_vm(KVM_PMU_CAP_PASSTHROUGH);
	vcpu = add_vcpu(vm);
	check_vcpu(vcpu, true, LOOP, "passthrough");

	event = host_event_open_attr(&guest_insns, pid, -1);
	TEST_ASSERT(event >= 0, "Wanted an event of the other VM's process, got %d", event);
	TEST_ASSERT_EQ(host_event_open_attr(&guest_insns, -1, 0), -EOPNOTSUPP);
	TEST_ASSERT_EQ(host_event_open_attr(&guest_insns, 0, -1), -EOPNOTSUPP);
	TEST_ASSERT(write(fds[0], &c, 1) == 1, "write(), errno %d", errno);
	check_vcpu(vcpu, true, LOOP, "passthrough");
	TEST_ASSERT(read(fds[0], &c, 1) == 1, "the other process failed");
	count = host_event_read(event);
	TEST_ASSERT(count >= ROUNDS * LOOP && count < 2 * ROUNDS * LOOP,
		    "Wanted the perf-based guest's instructions, got %lu", count);
	close(event);
	TEST_ASSERT(write(fds[0], &c, 1) == 1, "write(), errno %d", errno);
	finish(pid, "perf-based");
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_PMU_CAPABILITY) & KVM_PMU_CAP_PERF_BASED);

	return test_harness_run(argc, argv);
}
