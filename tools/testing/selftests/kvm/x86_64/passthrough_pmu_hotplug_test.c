// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs that come online while there are guests that own the PMU, or in a state in
 * which firmware or another kernel has left their PMU.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

/* A CPU that the test takes offline. */
#define CPU	1

#define ONLINE		"/sys/devices/system/cpu/cpu1/online"
#define WATCHDOG	"/proc/sys/kernel/nmi_watchdog"
#define CPUMASK		"/proc/sys/kernel/watchdog_cpumask"

static void read_text(const char *path, char *text, size_t size)
{
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY);
	TEST_ASSERT(fd >= 0, "Opening %s failed", path);
	n = read(fd, text, size - 1);
	TEST_ASSERT(n >= 0, "Reading %s failed", path);
	text[n] = '\0';
	close(fd);
}

static void write_text(const char *path, const char *text)
{
	ssize_t n;
	int fd;

	fd = open(path, O_WRONLY);
	TEST_ASSERT(fd >= 0, "Opening %s failed", path);
	n = write(fd, text, strlen(text));
	TEST_ASSERT(n == strlen(text), "Writing '%s' to %s failed", text, path);
	close(fd);
}

static int open_msrs(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/cpu/%d/msr", CPU);
	fd = open(path, O_RDWR);
	TEST_ASSERT(fd >= 0, "Opening %s failed", path);
	return fd;
}

static void cpu_wrmsr(uint32_t msr, uint64_t value)
{
	int fd = open_msrs();

	TEST_ASSERT_EQ(pwrite(fd, &value, sizeof(value), msr), sizeof(value));
	close(fd);
}

static uint64_t cpu_rdmsr(uint32_t msr)
{
	int fd = open_msrs();
	uint64_t value;

	TEST_ASSERT_EQ(pread(fd, &value, sizeof(value), msr), sizeof(value));
	close(fd);
	return value;
}

/* perf takes all counters to be disabled that it has not enabled itself. */
TEST(counters_are_disabled_when_a_cpu_comes_online)
{
	const uint64_t sel = EVENTSEL_COUNT | ARCH_PERFMON_EVENTSEL_USR | EVENT_INSTRUCTIONS;
	struct pmu_model host = host_pmu_model();
	uint64_t fixed = 0;
	int i;

	for (i = 0; i < host.nr_fixed; i++)
		fixed |= FIXED_PMC_CTRL(i, FIXED_PMC_KERNEL | FIXED_PMC_USER);

	for (i = 0; i < host.nr_gp; i++)
		cpu_wrmsr(gp_selector_msr(i), sel);
	if (fixed)
		cpu_wrmsr(MSR_CORE_PERF_FIXED_CTR_CTRL, fixed);
	TEST_ASSERT(cpu_rdmsr(gp_selector_msr(0)) == sel,
		    "Nothing to begin with, the selector reads %#lx",
		    cpu_rdmsr(gp_selector_msr(0)));

	write_text(ONLINE, "0");
	write_text(ONLINE, "1");

	for (i = 0; i < host.nr_gp; i++)
		TEST_ASSERT(!cpu_rdmsr(gp_selector_msr(i)),
			    "Wanted selector %d to be 0, got %#lx", i,
			    cpu_rdmsr(gp_selector_msr(i)));
	if (fixed)
		TEST_ASSERT(!cpu_rdmsr(MSR_CORE_PERF_FIXED_CTR_CTRL),
			    "Wanted the control of fixed counters to be 0, got %#lx",
			    cpu_rdmsr(MSR_CORE_PERF_FIXED_CTR_CTRL));
}

/* Does the CPU count anything for the host?  If so, it is for the NMI watchdog. */
static bool is_watched(void)
{
	struct pmu_model host = host_pmu_model();
	int i;

	for (i = 0; i < host.nr_gp; i++) {
		if (cpu_rdmsr(gp_selector_msr(i)) & ARCH_PERFMON_EVENTSEL_ENABLE)
			return true;
	}
	return host.nr_fixed && cpu_rdmsr(MSR_CORE_PERF_FIXED_CTR_CTRL);
}

/* The NMI watchdog steps aside for VMs that own the PMU, on CPUs that come online, too. */
TEST(watchdog_beside_a_vm)
{
	char mask[256], on[16];
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	read_text(CPUMASK, mask, sizeof(mask));
	read_text(WATCHDOG, on, sizeof(on));
	TEST_ASSERT(on[0] == '0', "The NMI watchdog is on already");

	/* The only CPU to be watched is offline, so that there is no event. */
	write_text(ONLINE, "0");
	write_text(CPUMASK, "1");
	write_text(WATCHDOG, "1");

	vm = vm_create_passthrough_guest(&vcpu);
	write_text(ONLINE, "1");
	TEST_ASSERT(is_watched(), "A CPU is not watched that came online beside a VM");
	kvm_vm_free(vm);
	TEST_ASSERT(is_watched(), "The CPU is not watched any more without the VM");

	vm = vm_create_passthrough_guest(&vcpu);
	TEST_ASSERT(is_watched(), "The CPU is not watched beside another VM");
	write_text(ONLINE, "0");
	write_text(ONLINE, "1");
	TEST_ASSERT(is_watched(), "The CPU is not watched after it was offline");
	read_text(WATCHDOG, on, sizeof(on));
	TEST_ASSERT(on[0] == '1', "The NMI watchdog is off");

	write_text(WATCHDOG, "0");
	TEST_ASSERT(!is_watched(), "The CPU is watched with the NMI watchdog off");
	write_text(CPUMASK, mask);
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(host_has_passthrough_pmu());
	TEST_REQUIRE(!access(ONLINE, W_OK) && !access(WATCHDOG, W_OK));
	TEST_REQUIRE(!access("/dev/cpu/1/msr", R_OK | W_OK));

	return test_harness_run(argc, argv);
}
