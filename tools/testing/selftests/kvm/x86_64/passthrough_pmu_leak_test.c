// SPDX-License-Identifier: GPL-2.0-only
/*
 * What host and guest must not see of each other: a guest that owns the PMU reads
 * its own values and faults for the rest, host user space reads nothing of it.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "passthrough_pmu.h"

/* What the guest puts into its counters; nothing that the host would. */
#define GUEST_VALUE(i)		(0x123456780000ull + ((uint64_t)(i) << 32))
#define GUEST_VALUES_BEGIN	GUEST_VALUE(0)
#define GUEST_VALUES_END	GUEST_VALUE(64)

/* PERF_METRICS of the guest, whose sum the host's doesn't have. */
#define GUEST_METRICS		0x12345678ull

#define NR_HOST_EVENTS		8

/* perf's codes of the slots, and of one of the metrics, which needs a group with them. */
#define SLOTS			0x400
#define TOPDOWN_RETIRING	0x8000

static struct pmu_model host;
static struct pmu_model model;

static int host_events[NR_HOST_EVENTS];
static int host_slots = -1, host_metric = -1;

/* PERF_METRICS of this CPU is the host's, and not 0 any more. */
static void open_host_metrics(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW,
		.size = sizeof(attr),
		.config = SLOTS,
		.exclude_guest = 1,
		.read_format = PERF_FORMAT_GROUP,
	};

	host_slots = syscall(__NR_perf_event_open, &attr, 0, -1, -1, 0);
	attr.config = TOPDOWN_RETIRING;
	host_metric = syscall(__NR_perf_event_open, &attr, 0, -1, host_slots, 0);
	TEST_ASSERT(host_slots >= 0 && host_metric >= 0, "Wanted slots and metrics, errno %d",
		    errno);
}

/* Fills the counters of this CPU with values of the host. */
static void open_host_events(void)
{
	static const uint64_t configs[] = {
		PERF_COUNT_HW_INSTRUCTIONS,
		PERF_COUNT_HW_CPU_CYCLES,
		PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
		PERF_COUNT_HW_BRANCH_MISSES,
	};
	int i;

	for (i = 0; i < NR_HOST_EVENTS; i++) {
		host_events[i] = host_event_open(configs[i % ARRAY_SIZE(configs)], true, 0, -1);
		TEST_ASSERT(host_events[i] >= 0, "Wanted event %d of the host, got %d", i,
			    host_events[i]);
	}
	if (host.has_metrics)
		open_host_metrics();
}

static void close_host_events(void)
{
	int i;

	for (i = 0; i < NR_HOST_EVENTS; i++) {
		host_event_read(host_events[i]);
		close(host_events[i]);
	}
	if (host.has_metrics) {
		close(host_metric);
		close(host_slots);
	}
}

static bool has_metrics(const struct pmu_model *guest)
{
	return guest->has_metrics && guest->nr_fixed > 3;
}

/* The guest's counters hold GUEST_VALUE() of it, and are stopped. */
static void set_guest_values(struct kvm_vcpu *vcpu, const struct pmu_model *guest)
{
	int i;

	if (guest->version > 1)
		guest_wrmsr(vcpu, global_ctrl_msr(), 0);
	for (i = 0; i < guest->nr_gp; i++) {
		vcpu_set_msr(vcpu, gp_counter_msr(i), GUEST_VALUE(i));
		guest_wrmsr(vcpu, gp_selector_msr(i), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	}
	for (i = 0; i < guest->nr_fixed; i++)
		vcpu_set_msr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + i, GUEST_VALUE(32 + i));
	if (guest->nr_fixed)
		guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, FIXED_PMC_CTRL(0, FIXED_COUNT));
	if (has_metrics(guest))
		vcpu_set_msr(vcpu, MSR_PERF_METRICS, GUEST_METRICS);
}

/*
 * RDPMC in the guest's user mode.  SYSRET goes there and SYSCALL comes back, or
 * #GP does.  The code is on a page of its own, which user mode may execute.
 */
asm(".pushsection .text\n"
	".balign 4096\n"
	"guest_user_rdpmc:\n"
	"	mov %r8d, %ecx\n"
	"	rdpmc\n"
	"	syscall\n"
	".balign 4096\n"
	".popsection\n");

#define ADDRESS_OF(label)						\
({									\
	uint64_t address;						\
									\
	asm("lea " #label "(%%rip), %0" : "=r" (address));		\
	address;							\
})

static uint64_t guest_user_stack;
static uint64_t guest_user_index;
static uint64_t guest_user_value;
static uint64_t guest_user_faulted;
static uint64_t guest_user_pce;

static void guest_gp_handler(struct ex_regs *regs)
{
	uint64_t *frame = (uint64_t *)&regs->rip;

	guest_user_faulted = 1;
	/* RIP, CS, RFLAGS, RSP, SS */
	frame[0] = ADDRESS_OF(guest_user_return);
	frame[1] = 0x8;
	frame[3] = guest_user_stack;
	frame[4] = 0x10;
}

static noinline void guest_call_user(void)
{
	uint64_t index = guest_user_index, low, high;

	asm volatile("push %%rbp\n\t"
		     "mov %%rsp, %[stack]\n\t"
		     "mov %[index], %%r8\n\t"
		     "lea guest_user_rdpmc(%%rip), %%rcx\n\t"
		     "mov $2, %%r11d\n\t"
		     "sysretq\n"
		     ".globl guest_user_return\n"
		     "guest_user_return:\n\t"
		     "pop %%rbp\n\t"
		     : "=&a" (low), "=&d" (high), [stack] "=m" (guest_user_stack)
		     : [index] "r" (index)
		     : "rbx", "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
		       "r14", "r15", "memory", "cc");
	guest_user_value = high << 32 | (uint32_t)low;
}

static void guest_user_mode(void)
{
	/* SYSCALL: CS 0x8, SS 0x10; SYSRET: CS 0x30, SS 0x28 */
	wrmsr(MSR_STAR, 0x8ull << 32 | 0x20ull << 48);
	wrmsr(MSR_LSTAR, ADDRESS_OF(guest_user_return));
	wrmsr(MSR_SYSCALL_MASK, 0);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);

	for (;;) {
		if (guest_user_pce)
			set_cr4(get_cr4() | X86_CR4_PCE);
		else
			set_cr4(get_cr4() & ~X86_CR4_PCE);
		guest_user_faulted = 0;
		guest_user_value = 0;
		guest_call_user();
		GUEST_SYNC(0);
	}
}

static void prepare_user_mode(struct kvm_vm *vm)
{
	static const int levels[] = { PG_LEVEL_512G, PG_LEVEL_1G, PG_LEVEL_2M, PG_LEVEL_4K };
	vm_vaddr_t stack = vm_vaddr_alloc_page(vm);
	uint8_t *tss = addr_gva2hva(vm, vm->arch.tss);
	int i, level;

	for (i = 0; i < ARRAY_SIZE(levels); i++) {
		level = levels[i];
		*__vm_get_page_table_entry(vm, ADDRESS_OF(guest_user_rdpmc), &level) |=
			PTE_USER_MASK;
	}
	/* RSP0: where exceptions of user mode push. */
	*(uint64_t *)(tss + 4) = stack + getpagesize();
	vm_install_exception_handler(vm, GP_VECTOR, guest_gp_handler);
}

static bool guest_user_reads(struct kvm_vcpu *vcpu, uint32_t index, bool pce, uint64_t *value)
{
	struct ucall uc;

	write_guest_global(vcpu->vm, guest_user_index, index);
	write_guest_global(vcpu->vm, guest_user_pce, (uint64_t)pce);
	vcpu_run(vcpu);
	TEST_ASSERT(get_ucall(vcpu, &uc) == UCALL_SYNC, "Unexpected exit %u (%s)",
		    vcpu->run->exit_reason, exit_reason_str(vcpu->run->exit_reason));
	sync_global_from_guest(vcpu->vm, guest_user_faulted);
	sync_global_from_guest(vcpu->vm, guest_user_value);
	*value = guest_user_value;
	return !guest_user_faulted;
}

/* What RDPMC of @index may give to a guest: true if anything. */
static bool rdpmc_value(const struct pmu_model *guest, uint32_t index, uint64_t *value)
{
	if (host_cpu_is_intel && index == RDPMC_METRICS) {
		*value = has_metrics(guest) ? GUEST_METRICS : 0;
		return has_metrics(guest);
	}
	if (host_cpu_is_intel && (index & INTEL_RDPMC_FIXED)) {
		index &= ~INTEL_RDPMC_FIXED;
		*value = GUEST_VALUE(32 + index);
		return index < guest->nr_fixed;
	}
	*value = GUEST_VALUE(index);
	return index < guest->nr_gp;
}

/*
 * Bit 31 asks for 32 bits, and is nothing that KVM offers.  If RDPMC doesn't exit, it
 * reads PERF_METRICS, which is 0 for a guest that doesn't have it.
 */
static bool may_read(uint32_t index, uint64_t value, uint64_t expected)
{
	if (host_cpu_is_intel && index == RDPMC_METRICS)
		return !value;
	return (index & BIT(31)) && value == (uint32_t)expected;
}

/* All types of Intel's and AMD's CPUs, and more counters than there are. */
static const uint32_t rdpmc_types[] = { 0, 0x10000000, 0x20000000, 0x40000000, 0x80000000 };

static void check_rdpmc(const struct pmu_model *guest)
{
	uint64_t value, expected;
	struct guest_result result;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint32_t index;
	bool ok;
	int i, n;

	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_pmu_model(vcpu, guest);
	open_host_events();
	set_guest_values(vcpu, guest);

	for (i = 0; i < ARRAY_SIZE(rdpmc_types); i++) {
		for (n = 0; n < 17; n++) {
			index = rdpmc_types[i] | n;
			ok = rdpmc_value(guest, index, &expected);
			result = guest_do(vcpu, GUEST_RDPMC, index, 0, 1);
			if (result.vector) {
				TEST_ASSERT(!ok && result.vector == GP_VECTOR,
					    "RDPMC(%#x): wanted %#lx, got exception %u", index,
					    expected, result.vector);
				continue;
			}
			value = result.value;
			TEST_ASSERT(ok ? value == expected : may_read(index, value, expected),
				    "RDPMC(%#x): wanted %s%#lx, got %#lx", index,
				    ok ? "" : "an exception, its own would be ", expected, value);
		}
	}
	close_host_events();
	kvm_vm_free(vm);
}

TEST(guest_reads_only_its_own_rdpmc)
{
	check_rdpmc(&model);
}

TEST(guest_reads_only_its_own_rdpmc_fewer_counters)
{
	struct pmu_model few = model;

	few.nr_gp = 2;
	few.nr_fixed = min_t(uint8_t, few.nr_fixed, 1);
	check_rdpmc(&few);
}

static void check_rdpmc_in_user_mode(const struct pmu_model *guest)
{
	uint64_t value, expected;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint32_t index;
	bool ok;
	int i, n;

	vm = vm_create_with_one_vcpu(&vcpu, guest_user_mode);
	prepare_user_mode(vm);
	vcpu_set_pmu_model(vcpu, guest);
	open_host_events();
	for (i = 0; i < guest->nr_gp; i++)
		vcpu_set_msr(vcpu, gp_counter_msr(i), GUEST_VALUE(i));
	for (i = 0; i < guest->nr_fixed; i++)
		vcpu_set_msr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + i, GUEST_VALUE(32 + i));
	if (has_metrics(guest))
		vcpu_set_msr(vcpu, MSR_PERF_METRICS, GUEST_METRICS);
	/* Counts nothing, but a guest without an enabled counter doesn't keep the PMU. */
	vcpu_set_msr(vcpu, gp_selector_msr(0), ARCH_PERFMON_EVENTSEL_ENABLE);

	for (i = 0; i < ARRAY_SIZE(rdpmc_types); i++) {
		for (n = 0; n < 17; n++) {
			index = rdpmc_types[i] | n;
			ok = rdpmc_value(guest, index, &expected);
			TEST_ASSERT(!guest_user_reads(vcpu, index, false, &value),
				    "RDPMC(%#x) without CR4.PCE: wanted an exception, got %#lx",
				    index, value);
			if (!guest_user_reads(vcpu, index, true, &value)) {
				TEST_ASSERT(!ok, "RDPMC(%#x): wanted %#lx, got an exception",
					    index, expected);
				continue;
			}
			TEST_ASSERT(ok ? value == expected : may_read(index, value, expected),
				    "RDPMC(%#x): wanted %s%#lx, got %#lx", index,
				    ok ? "" : "an exception, its own would be ", expected, value);
		}
	}
	close_host_events();
	kvm_vm_free(vm);
}

TEST(guest_reads_only_its_own_rdpmc_in_user_mode)
{
	check_rdpmc_in_user_mode(&model);
}

TEST(guest_reads_only_its_own_rdpmc_in_user_mode_fewer_counters)
{
	struct pmu_model few = model;

	few.nr_gp = 2;
	few.nr_fixed = min_t(uint8_t, few.nr_fixed, 1);
	check_rdpmc_in_user_mode(&few);
}

/* What the guest doesn't have reads 0, if at all. */
static void check_msr(struct kvm_vcpu *vcpu, uint32_t msr, bool exists, uint64_t expected)
{
	struct guest_result result = guest_do(vcpu, GUEST_RDMSR, msr, 0, 1);

	if (result.vector) {
		TEST_ASSERT(!exists, "RDMSR(%#x): wanted %#lx, got exception %u", msr, expected,
			    result.vector);
		return;
	}
	TEST_ASSERT(result.value == (exists ? expected : 0),
		    "RDMSR(%#x): wanted %#lx, got %#lx", msr, exists ? expected : 0, result.value);
}

static void check_msrs(const struct pmu_model *guest)
{
	static const uint32_t others[] = {
		MSR_CORE_PERF_GLOBAL_STATUS_SET,
		MSR_IA32_PEBS_ENABLE, MSR_IA32_DS_AREA, MSR_PEBS_LD_LAT_THRESHOLD,
		MSR_OFFCORE_RSP_0, MSR_OFFCORE_RSP_1, MSR_PEBS_FRONTEND, MSR_LBR_SELECT,
	};
	const uint64_t sel = EVENTSEL_COUNT | EVENT_INSTRUCTIONS;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	vm = vm_create_passthrough_guest(&vcpu);
	vcpu_set_pmu_model(vcpu, guest);
	open_host_events();
	set_guest_values(vcpu, guest);

	for (i = 0; i < (host_cpu_is_intel ? 8 : 6); i++) {
		bool exists = i < guest->nr_gp;

		check_msr(vcpu, gp_counter_msr(i), exists, GUEST_VALUE(i));
		check_msr(vcpu, gp_selector_msr(i), exists, sel);
		if (!host_cpu_is_intel && i >= 4)
			continue;
		check_msr(vcpu, gp_legacy_msr(i), exists, GUEST_VALUE(i));
	}
	check_msr(vcpu, global_ctrl_msr(), true, 0);
	check_msr(vcpu, global_status_msr(), true, 0);
	if (host_cpu_is_intel) {
		for (i = 0; i < 8; i++)
			check_msr(vcpu, MSR_CORE_PERF_FIXED_CTR0 + i, i < guest->nr_fixed,
				  GUEST_VALUE(32 + i));
		check_msr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, guest->nr_fixed,
			  FIXED_PMC_CTRL(0, FIXED_COUNT));
		for (i = 0; i < ARRAY_SIZE(others); i++)
			check_msr(vcpu, others[i], false, 0);
		check_msr(vcpu, MSR_PERF_METRICS, has_metrics(guest), GUEST_METRICS);
		check_msr(vcpu, MSR_CORE_PERF_GLOBAL_INUSE, guest->version >= 4,
			  (BIT_ULL(guest->nr_gp) - 1) | (guest->nr_fixed ? BIT_ULL(32) : 0));
	}
	close_host_events();
	kvm_vm_free(vm);
}

TEST(guest_reads_only_its_own_msrs)
{
	check_msrs(&model);
}

TEST(guest_reads_only_its_own_msrs_fewer_counters)
{
	struct pmu_model few = model;

	few.nr_gp = 2;
	few.nr_fixed = min_t(uint8_t, few.nr_fixed, 1);
	check_msrs(&few);
}

static sigjmp_buf rdpmc_faulted;

static void on_sigsegv(int sig)
{
	siglongjmp(rdpmc_faulted, 1);
}

/* RDPMC in the host's user mode; returns whether it is allowed to. */
static bool host_rdpmc(uint32_t index, uint64_t *value)
{
	uint32_t lo, hi;

	if (sigsetjmp(rdpmc_faulted, 1))
		return false;
	asm volatile("rdpmc" : "=a" (lo), "=d" (hi) : "c" (index));
	*value = (uint64_t)hi << 32 | lo;
	return true;
}

static int assert_no_guest_values(const char *when)
{
	uint64_t value;
	int i, n, readable = 0;

	for (i = 0; i < ARRAY_SIZE(rdpmc_types); i++) {
		for (n = 0; n < 17; n++) {
			if (!host_rdpmc(rdpmc_types[i] | n, &value))
				continue;
			TEST_ASSERT(value < GUEST_VALUES_BEGIN || value >= GUEST_VALUES_END,
				    "RDPMC(%#x) in the host %s: got %#lx of a guest",
				    rdpmc_types[i] | n, when, value);
			readable++;
		}
	}
	return readable;
}

/* A task that may execute RDPMC as one of its events is mapped. */
static struct perf_event_mmap_page *allow_rdpmc(int *event)
{
	struct perf_event_mmap_page *page;

	*event = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, true, 0, -1);
	TEST_ASSERT(*event >= 0, "Wanted an event with exclude_guest, got %d", *event);
	page = mmap(NULL, getpagesize(), PROT_READ, MAP_SHARED, *event, 0);
	TEST_ASSERT(page != MAP_FAILED, "mmap() failed, errno %d", errno);
	TEST_ASSERT(page->cap_user_rdpmc, "Wanted an event that RDPMC can read");
	signal(SIGSEGV, on_sigsegv);
	return page;
}

/* An event of the host on the CPU: values of the guest stay until its vCPU is put. */
TEST(host_rdpmc_after_values_were_left)
{
	struct perf_event_mmap_page *page;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int events[2], i;

	page = allow_rdpmc(&events[0]);
	events[1] = host_event_open(PERF_COUNT_HW_CPU_CYCLES, true, -1, 0);
	TEST_ASSERT(events[1] >= 0, "Wanted an event with exclude_guest, got %d", events[1]);
	vm = vm_create_passthrough_guest(&vcpu);
	set_guest_values(vcpu, &model);
	for (i = 0; i < 10; i++) {
		guest_do(vcpu, GUEST_CPUID, 0, 0, 10);
		assert_no_guest_values("after hand-overs");
	}
	kvm_vm_free(vm);
	assert_no_guest_values("after the VM's end");
	munmap(page, getpagesize());
	for (i = 0; i < ARRAY_SIZE(events); i++)
		close(events[i]);
}

TEST(host_rdpmc_after_the_guest_ran)
{
	struct perf_event_mmap_page *page;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int event, readable;

	page = allow_rdpmc(&event);
	vm = vm_create_passthrough_guest(&vcpu);
	set_guest_values(vcpu, &model);
	guest_wrmsr(vcpu, global_ctrl_msr(), 1);
	guest_do(vcpu, GUEST_LOOP, 0, 0, 1000);
	readable = assert_no_guest_values("between two runs");
	TEST_ASSERT(readable >= host.nr_gp, "Wanted to read %u counters or more, got %d",
		    host.nr_gp, readable);
	guest_do(vcpu, GUEST_CPUID, 0, 0, 10);
	assert_no_guest_values("after emulation");
	guest_do(vcpu, GUEST_LOOP, 0, 0, 1000);
	kvm_vm_free(vm);
	assert_no_guest_values("after the VM's end");
	munmap(page, getpagesize());
	close(event);
}

/* All registers of the PMU: nothing of the guest is left in any of them. */
static void assert_pmu_is_clean(const char *when)
{
	static const char * const names[] = { "selector", "counter" };
	uint64_t value;
	int i, j;

	for (i = 0; i < model.nr_gp; i++) {
		for (j = 0; j < 2; j++) {
			uint32_t msr = j ? gp_counter_msr(i) : gp_selector_msr(i);

			TEST_REQUIRE(host_rdmsr(msr, &value));
			TEST_ASSERT(!value, "Host's %s %d %s: wanted 0, got %#lx", names[j], i,
				    when, value);
		}
	}
	for (i = 0; i < model.nr_fixed; i++) {
		TEST_ASSERT(host_rdmsr(MSR_CORE_PERF_FIXED_CTR0 + i, &value), "rdmsr");
		TEST_ASSERT(!value, "Host's fixed counter %d %s: wanted 0, got %#lx", i, when,
			    value);
	}
	if (model.nr_fixed) {
		TEST_ASSERT(host_rdmsr(MSR_CORE_PERF_FIXED_CTR_CTRL, &value), "rdmsr");
		TEST_ASSERT(!value, "Host's FIXED_CTR_CTRL %s: wanted 0, got %#lx", when, value);
	}
	TEST_ASSERT(host_rdmsr(global_status_msr(), &value), "rdmsr");
	TEST_ASSERT(!value, "Host's GLOBAL_STATUS %s: wanted 0, got %#lx", when, value);
}

static void start_everything(struct kvm_vcpu *vcpu)
{
	uint64_t ctrl = GENMASK_ULL(model.nr_gp - 1, 0), fixed = 0;
	int i;

	for (i = 0; i < model.nr_gp; i++)
		guest_wrmsr(vcpu, gp_selector_msr(i), EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
	for (i = 0; i < model.nr_fixed; i++)
		fixed |= FIXED_PMC_CTRL(i, (uint64_t)FIXED_COUNT);
	if (fixed) {
		guest_wrmsr(vcpu, MSR_CORE_PERF_FIXED_CTR_CTRL, fixed);
		ctrl |= GENMASK_ULL(32 + model.nr_fixed - 1, 32);
	}
	vcpu_set_msr(vcpu, global_status_msr(), ctrl);
	guest_wrmsr(vcpu, global_ctrl_msr(), ctrl);
}

TEST(host_registers_after_the_guest_ran)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = vm_create_passthrough_guest(&vcpu);

	start_everything(vcpu);
	guest_do(vcpu, GUEST_LOOP, 0, 0, 10000);
	assert_pmu_is_clean("between two runs");
	kvm_vm_free(vm);
	assert_pmu_is_clean("after the VM's end");
}

/* The VM is killed in the middle of a run. */
TEST(host_registers_after_a_killed_guest)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	pid_t child;

	child = fork();
	TEST_ASSERT(child >= 0, "fork() failed, errno %d", errno);
	if (!child) {
		vm = vm_create_passthrough_guest(&vcpu);
		start_everything(vcpu);
		guest_do(vcpu, GUEST_LOOP, 0, 0, -1ull);
		kvm_vm_free(vm);
		_exit(1);
	}
	usleep(200000);
	TEST_ASSERT(!kill(child, SIGKILL), "kill() failed, errno %d", errno);
	TEST_ASSERT(waitpid(child, NULL, 0) == child, "waitpid() failed, errno %d", errno);
	assert_pmu_is_clean("after a killed VM");
	TEST_ASSERT_EQ(host_event_include_guest(), 0);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(host_has_passthrough_pmu());
	host = host_pmu_model();
	model = default_pmu_model();
	kvm_pin_this_task_to_pcpu(0);

	return test_harness_run(argc, argv);
}
