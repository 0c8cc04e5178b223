// SPDX-License-Identifier: GPL-2.0
/*
 * exclusion: runs in L1 with the passthrough vPMU on. A VM that owns the PMU and events that would
 * count its guest exclude one another, first comer first; events that leave guests out are welcome
 * always, and so are those of tasks that don't run the VM.
 *
 * With the argument "refused" all it does is to create a VM, and to say how that went. With
 * "orphan" it does so in a child whose parent has exited.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../ktap.h"

struct vm {
	int vm;
	int vcpu;
	int error;	/* of KVM_CREATE_VCPU */
};

static int kvm;

/* A file descriptor or -errno. */
static int event(pid_t pid, int cpu, bool exclude_guest, bool user_only)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.exclude_guest = exclude_guest,
		.exclude_kernel = user_only,
	};
	int fd = syscall(SYS_perf_event_open, &attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Any event: the caller has the attributes. */
static int event_open(struct perf_event_attr *attr, pid_t pid, int cpu, int group, unsigned long flags)
{
	int fd;

	attr->size = sizeof(*attr);
	fd = syscall(SYS_perf_event_open, attr, pid, cpu, group, flags);
	return fd < 0 ? -errno : fd;
}

static struct perf_event_attr instructions(bool exclude_guest)
{
	return (struct perf_event_attr) {
		.type = PERF_TYPE_HARDWARE,
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.exclude_guest = exclude_guest,
	};
}

static struct vm vm_create(bool irqchip, bool disable_pmu)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_PMU_CAPABILITY,
		.args = { KVM_PMU_CAP_DISABLE },
	};
	struct vm vm = { .vcpu = -1 };

	vm.vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm.vm < 0 || (irqchip && ioctl(vm.vm, KVM_CREATE_IRQCHIP)) ||
	    (disable_pmu && ioctl(vm.vm, KVM_ENABLE_CAP, &cap))) {
		perror("creating a VM");
		exit(1);
	}
	vm.vcpu = ioctl(vm.vm, KVM_CREATE_VCPU, 0);
	vm.error = vm.vcpu < 0 ? errno : 0;
	return vm;
}

static void vm_destroy(struct vm *vm)
{
	if (vm->vcpu >= 0)
		close(vm->vcpu);
	close(vm->vm);
}

static void expect(int have, int want, const char *name)
{
	check(have == want, name, "have %d (%s), want %d (%s)", have, strerror(have), want, strerror(want));
}

static int error_of(int fd)
{
	if (fd < 0)
		return -fd;
	close(fd);
	return 0;
}

static int try_vm(void)
{
	struct vm vm = vm_create(true, false);

	vm_destroy(&vm);
	return vm.error;
}

/* What fails after it was taken into account must not stay there. */
static void failed_events(void)
{
	struct perf_event_attr attr;
	int leader, fd;

	attr = instructions(true);
	leader = event_open(&attr, 0, -1, -1, 0);

	attr = instructions(false);
	fd = event_open(&attr, 0, 0, leader, 0);
	expect(error_of(fd), EINVAL, "an event for another CPU than its leader's");
	expect(try_vm(), 0, "a member of a group that failed: no VM is refused");

	attr.pinned = 1;
	fd = event_open(&attr, 0, -1, leader, 0);
	expect(error_of(fd), EINVAL, "a pinned member of a group");
	expect(try_vm(), 0, "a pinned member that failed: no VM is refused");

	attr = instructions(false);
	attr.use_clockid = 1;
	attr.clockid = 9999;
	fd = event_open(&attr, 0, -1, -1, 0);
	expect(error_of(fd), EINVAL, "an event with an unknown clock");
	expect(try_vm(), 0, "an event with an unknown clock that failed: no VM is refused");

	attr = instructions(false);
	fd = event_open(&attr, 0, 0, leader, PERF_FLAG_FD_NO_GROUP | PERF_FLAG_FD_OUTPUT);
	expect(error_of(fd), EINVAL, "an event with the output of an event of another CPU");
	expect(try_vm(), 0, "an event with impossible output that failed: no VM is refused");

	close(leader);
}

/* Groups that a software event leads, which perf moves to the hardware PMU */
static void groups(void)
{
	struct perf_event_attr clock = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_TASK_CLOCK,
	};
	struct perf_event_attr attr;
	int leader, fd;
	struct vm vm = vm_create(true, false);

	leader = event_open(&clock, 0, -1, -1, 0);
	attr = instructions(false);
	fd = event_open(&attr, 0, -1, leader, 0);
	expect(error_of(fd), EOPNOTSUPP, "a VM: a member that counts guests in a group of a software event is refused");
	attr = instructions(true);
	fd = event_open(&attr, 0, -1, leader, 0);
	expect(error_of(fd), 0, "a VM: a member that leaves guests out in a group of a software event");
	close(leader);

	leader = event_open(&attr, 0, -1, -1, 0);
	attr = instructions(false);
	fd = event_open(&attr, 0, -1, leader, 0);
	expect(error_of(fd), EOPNOTSUPP, "a VM: a member that counts guests in a group that leaves guests out is refused");
	fd = event_open(&clock, 0, -1, leader, 0);
	expect(error_of(fd), 0, "a VM: a software event in a group that leaves guests out");
	close(leader);
	vm_destroy(&vm);

	leader = event_open(&clock, 0, -1, -1, 0);
	attr = instructions(false);
	fd = event_open(&attr, 0, -1, leader, 0);
	close(leader);
	expect(try_vm(), EBUSY, "a member that counts guests, its leader closed: KVM_CREATE_VCPU is refused");
	close(fd);
	expect(try_vm(), 0, "the member is closed, too: KVM_CREATE_VCPU");
}

/* Nothing that can be done with an open event makes it count guests. */
static void ioctls(void)
{
	const size_t size = 2 * sysconf(_SC_PAGESIZE);
	struct perf_event_mmap_page *page;
	struct perf_event_attr attr;
	int event, other;
	struct vm vm = vm_create(true, false);
	uint64_t period = 200000;

	attr = instructions(true);
	attr.disabled = 1;
	attr.sample_period = 100000;
	event = event_open(&attr, 0, -1, -1, 0);
	other = event_open(&attr, 0, -1, -1, 0);
	page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, event, 0);
	check(page != MAP_FAILED, "a VM: an event's ring buffer", "%s", strerror(errno));

	expect(ioctl(event, PERF_EVENT_IOC_ENABLE, 0) ? errno : 0, 0, "a VM: enabling an event");
	expect(ioctl(event, PERF_EVENT_IOC_REFRESH, 1) ? errno : 0, 0, "a VM: enabling an event for a sample");
	expect(ioctl(event, PERF_EVENT_IOC_PERIOD, &period) ? errno : 0, 0, "a VM: another period");
	expect(ioctl(other, PERF_EVENT_IOC_SET_OUTPUT, event) ? errno : 0, 0, "a VM: an event's output to another one's");
	expect(ioctl(event, PERF_EVENT_IOC_DISABLE, 0) ? errno : 0, 0, "a VM: disabling an event");

	attr.size = sizeof(attr);
	attr.exclude_guest = 0;
	expect(ioctl(event, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &attr) ? errno : 0, EOPNOTSUPP,
	       "a VM: an event can't be told to count guests afterwards");
	expect(ioctl(event, PERF_EVENT_IOC_ENABLE, 0) ? errno : 0, 0, "a VM: enabling that event");
	expect(try_vm(), 0, "a VM: that event keeps no other VM away");

	if (page != MAP_FAILED) {
		check(page->time_enabled == page->time_running, "a VM: times in the user page", "enabled %llu, running %llu",
		      (unsigned long long)page->time_enabled, (unsigned long long)page->time_running);
		munmap(page, size);
	}
	close(other);
	close(event);
	vm_destroy(&vm);
}

static uint64_t count_of(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void loop(unsigned int n)
{
	volatile unsigned int i;

	for (i = 0; i < n; i++)
		;
}

static int status_of(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void inheritance(void)
{
	struct perf_event_attr attr;
	uint64_t before;
	struct vm vm;
	pid_t child;
	int fd;

	/* fork() can't fail for want of a PMU. */
	vm = vm_create(true, false);
	attr = instructions(true);
	attr.inherit = 1;
	fd = event_open(&attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	before = count_of(fd);
	child = fork();
	if (!child) {
		loop(1000000);
		_exit(0);
	}
	expect(status_of(child), 0, "a VM: fork() with an event that leaves guests out");
	before = count_of(fd) - before;
	check(before > 1000000, "a VM: the event counts the child", "%llu", (unsigned long long)before);
	close(fd);
	vm_destroy(&vm);

	/* The child's event goes away with the parent's. */
	attr = instructions(false);
	attr.inherit = 1;
	fd = event_open(&attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	child = fork();
	if (!child) {
		close(fd);
		pause();
		_exit(0);
	}
	expect(try_vm(), EBUSY, "an inherited event: KVM_CREATE_VCPU is refused");
	close(fd);
	expect(try_vm(), 0, "the inherited event's file is closed, the child lives: KVM_CREATE_VCPU");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);

	/* After the end of the task the event has its file, and can count nothing. */
	child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
	attr = instructions(false);
	fd = event_open(&attr, child, -1, -1, PERF_FLAG_FD_CLOEXEC);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	expect(try_vm(), 0, "an event of a task that is gone: KVM_CREATE_VCPU");
	close(fd);

	/* exec() removes the event, close-on-exec the file; without the latter it stays in the way. */
	attr.remove_on_exec = 1;
	child = fork();
	if (!child) {
		fd = event_open(&attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
		execl(program_invocation_name, "exclusion", "refused", NULL);
		_exit(99);
	}
	expect(status_of(child), 0, "an event that exec() has removed and closed: KVM_CREATE_VCPU");
	child = fork();
	if (!child) {
		fd = event_open(&attr, 0, -1, -1, 0);
		execl(program_invocation_name, "exclusion", "refused", NULL);
		_exit(99);
	}
	expect(status_of(child), EBUSY, "an event that exec() has removed but not closed: KVM_CREATE_VCPU is refused");
	expect(try_vm(), 0, "its task is gone: KVM_CREATE_VCPU");
}

static bool in_shared(uint64_t **shared)
{
	*shared = mmap(NULL, sizeof(**shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return *shared != MAP_FAILED;
}

/* A task that counts itself, without modifiers, until it is told to stop: the count of a loop in *@count. */
static pid_t counting_task(uint64_t *count)
{
	pid_t child = fork();
	int fd;

	if (!child) {
		fd = event(0, -1, false, true);
		if (fd < 0) {
			*count = fd;
			_exit(1);
		}
		for (;;) {
			uint64_t before = count_of(fd);

			loop(100000);
			*count = count_of(fd) - before;
		}
	}
	return child;
}

/* What counts a task that does not run the VM is in nobody's way. */
static void other_tasks(void)
{
	struct perf_event_attr attr;
	struct vm vm;
	uint64_t *count, first;
	int fd, inherited;
	pid_t child;

	check(in_shared(&count), "shared memory", "%s", strerror(errno));
	*count = 0;
	child = counting_task(count);
	while (!*(volatile uint64_t *)count)
		usleep(1000);
	first = *(volatile uint64_t *)count;
	vm = vm_create(true, false);
	expect(vm.error, 0, "a task of another process counts itself: KVM_CREATE_VCPU");
	*(volatile uint64_t *)count = 0;
	while (!*(volatile uint64_t *)count)
		usleep(1000);
	check(*count == first, "a VM: the count of the other process's task is the same", "%llu, %llu before",
	      (unsigned long long)*count, (unsigned long long)first);

	fd = event(child, -1, false, false);
	expect(fd < 0 ? -fd : 0, 0, "a VM: an event for a task of another process");
	if (fd >= 0)
		close(fd);
	expect(error_of(event(child, 0, false, false)), 0, "a VM: an event for a task of another process, on one CPU");
	expect(error_of(event(0, -1, false, false)), EOPNOTSUPP, "a VM: an event for its own task is refused");
	vm_destroy(&vm);

	attr = instructions(false);
	attr.inherit = 1;
	fd = event_open(&attr, child, -1, -1, PERF_FLAG_FD_CLOEXEC);
	expect(try_vm(), 0, "an event for another process's task that its children inherit: KVM_CREATE_VCPU");
	close(fd);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	munmap(count, sizeof(*count));

	/* `perf stat qemu`, `perf stat sh -c 'qemu'`: bound to the parent, inherited, counts over exec() */
	child = fork();
	if (!child) {
		event_open(&attr, 0, -1, -1, 0);
		child = fork();
		if (!child) {
			execl(program_invocation_name, "exclusion", "refused", NULL);
			_exit(99);
		}
		_exit(status_of(child));
	}
	expect(status_of(child), EBUSY, "an inherited event, after exec(): KVM_CREATE_VCPU is refused");

	/* The same, when the task that the event is bound to has exited. */
	fd = open("/tmp/go", O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	child = fork();
	if (!child) {
		char c;

		while (pread(fd, &c, 1, 0) != 1)
			usleep(1000);
		execl(program_invocation_name, "exclusion", "orphan", NULL);
		_exit(99);
	}
	inherited = event_open(&attr, child, -1, -1, PERF_FLAG_FD_CLOEXEC);
	expect(pwrite(fd, "!", 1, 0) == 1 ? 0 : errno, 0, "the child goes on");
	expect(status_of(child), EBUSY, "an inherited event whose parent has exited: KVM_CREATE_VCPU is refused");
	close(inherited);
	close(fd);
}

/* In a child whose parent, which the event is bound to, has exited. */
static int orphan(void)
{
	int pipes[2], status = 98;
	pid_t middle, parent;

	if (pipe(pipes))
		return 97;
	middle = fork();
	if (!middle) {
		/* This one's child outlives it, and may run after it only. */
		parent = getpid();
		if (!fork()) {
			while (getppid() == parent)
				usleep(1000);
			status = try_vm();
			_exit(write(pipes[1], &status, sizeof(status)) != sizeof(status));
		}
		_exit(0);
	}
	close(pipes[1]);
	waitpid(middle, NULL, 0);
	if (read(pipes[0], &status, sizeof(status)) != sizeof(status))
		return 96;
	return status;
}

/* The file of a sysctl: what was written, or what it reads, or -errno. */
static int watchdog(const char *value)
{
	int fd = open("/proc/sys/kernel/nmi_watchdog", value ? O_WRONLY : O_RDONLY);
	char c = '?';
	int ret;

	if (fd < 0)
		return -errno;
	ret = value ? write(fd, value, 1) : read(fd, &c, 1);
	ret = ret < 0 ? -errno : value ? 0 : c - '0';
	close(fd);
	return ret;
}

/* It steps aside: while there is a VM its events leave guests out. */
static void nmi_watchdog(void)
{
	struct vm vm = vm_create(true, false);
	int i;

	expect(watchdog(NULL), 0, "a VM: the NMI watchdog is off");
	expect(watchdog("1"), 0, "a VM: turning the NMI watchdog on");
	expect(watchdog(NULL), 1, "a VM: the NMI watchdog is on");
	expect(try_vm(), 0, "a VM and the NMI watchdog: another one");
	expect(watchdog("0"), 0, "a VM: turning it off");
	vm_destroy(&vm);

	/* For some seconds, what is turned on leaves guests out still. */
	sleep(7);
	expect(watchdog("1"), 0, "no VM any more: turning the NMI watchdog on");
	expect(watchdog(NULL), 1, "the NMI watchdog is on");
	for (i = 0; i < 3; i++)
		expect(try_vm(), 0, "the NMI watchdog: KVM_CREATE_VCPU");
	expect(watchdog(NULL), 1, "the NMI watchdog is on still");
	vm = vm_create(true, false);
	expect(vm.error, 0, "the NMI watchdog: a VM");
	expect(error_of(event(-1, 0, false, false)), EOPNOTSUPP, "a VM and the NMI watchdog: other events are refused");
	vm_destroy(&vm);
	expect(watchdog("0"), 0, "turning the NMI watchdog off");
	expect(watchdog(NULL), 0, "the NMI watchdog is off");
}

int main(int argc, char **argv)
{
	struct vm vm, other;
	int fd, user;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		perror("/dev/kvm");
		return 1;
	}
	if (argc > 1 && !strcmp(argv[1], "orphan"))
		return orphan();
	if (argc > 1)
		return strcmp(argv[1], "refused") ? 2 : try_vm();

	expect(error_of(event(0, -1, false, false)), 0, "no VM: an event that counts guests");

	vm = vm_create(true, false);
	expect(vm.error, 0, "no event: KVM_CREATE_VCPU");
	expect(error_of(event(0, -1, false, false)), EOPNOTSUPP, "a VM: a task's event that counts guests is refused");
	expect(error_of(event(-1, 0, false, false)), EOPNOTSUPP, "a VM: a CPU's event that counts guests is refused");
	expect(error_of(event(0, -1, false, true)), EOPNOTSUPP, "a VM: an event for user mode that counts guests is refused");
	expect(error_of(event(0, -1, true, false)), 0, "a VM: a task's event that leaves guests out");
	expect(error_of(event(-1, 0, true, false)), 0, "a VM: a CPU's event that leaves guests out");
	other = vm_create(true, false);
	expect(other.error, 0, "a VM: another one");
	vm_destroy(&vm);
	expect(error_of(event(0, -1, false, false)), EOPNOTSUPP, "the first VM is gone, the other one lives: refused");
	vm_destroy(&other);
	expect(error_of(event(0, -1, false, false)), 0, "no VM any more: an event that counts guests");

	fd = event(0, -1, false, false);
	vm = vm_create(true, false);
	expect(vm.error, EBUSY, "an event that counts guests: KVM_CREATE_VCPU is refused");
	vm_destroy(&vm);
	vm = vm_create(false, false);
	expect(vm.error, 0, "an event that counts guests: a VM without in-kernel APIC has no PMU and is welcome");
	vm_destroy(&vm);
	vm = vm_create(true, true);
	expect(vm.error, 0, "an event that counts guests: a VM with KVM_PMU_CAP_DISABLE is welcome");
	vm_destroy(&vm);
	if (fd >= 0)
		close(fd);
	vm = vm_create(true, false);
	expect(vm.error, 0, "the event is gone: KVM_CREATE_VCPU");
	vm_destroy(&vm);

	user = event(0, -1, false, true);
	vm = vm_create(true, false);
	expect(vm.error, EBUSY, "an event for user mode that counts guests: KVM_CREATE_VCPU is refused");
	vm_destroy(&vm);
	if (user >= 0)
		close(user);

	fd = event(-1, 0, true, false);
	vm = vm_create(true, false);
	expect(vm.error, 0, "an event that leaves guests out: KVM_CREATE_VCPU");
	vm_destroy(&vm);
	if (fd >= 0)
		close(fd);

	failed_events();
	groups();
	ioctls();
	inheritance();
	other_tasks();
	nmi_watchdog();
	return ktap_end();
}
