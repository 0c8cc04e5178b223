// SPDX-License-Identifier: GPL-2.0
/*
 * exclusion: runs in L1 with the passthrough vPMU on. VMs that own the PMU and events that would
 * count guests exclude one another, first comer first; events that leave guests out are welcome
 * always.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
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

int main(void)
{
	struct vm vm, other;
	int fd, user;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		perror("/dev/kvm");
		return 1;
	}

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
	return ktap_end();
}
