// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that owns the PMU of an AMD CPU and runs a guest itself: which counters
 * run in which of the two, and what the inner one may reach.
 */
#include <linux/bits.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "passthrough_pmu.h"
#include "pmu.h"
#include "processor.h"
#include "svm_util.h"
#include "test_util.h"

#define HOSTONLY	BIT_ULL(41)
#define GUESTONLY	BIT_ULL(40)

#define INSTRUCTIONS	(RAW_EVENT(0xc0, 0) | ARCH_PERFMON_EVENTSEL_ENABLE |	\
			 ARCH_PERFMON_EVENTSEL_USR | ARCH_PERFMON_EVENTSEL_OS)

#define SELECTOR(i)	(MSR_F15H_PERF_CTL + 2 * (i))
#define COUNTER(i)	(MSR_F15H_PERF_CTR + 2 * (i))

#define NR_CORE		6
#define MSRPM_PAGES	2

/* One counter for each of the settings. */
enum setting { ANY, HOST, GUEST, BOTH, NR_SETTINGS };

static const uint64_t settings[] = {
	[ANY]	= INSTRUCTIONS,
	[HOST]	= INSTRUCTIONS | HOSTONLY,
	[GUEST]	= INSTRUCTIONS | GUESTONLY,
	[BOTH]	= INSTRUCTIONS | HOSTONLY | GUESTONLY,
};

struct counts {
	uint64_t of[NR_SETTINGS];
};

/* Shared by L1 and L2, hence accessed by READ_ONCE() and WRITE_ONCE() in L2. */
static uint64_t l2_loops, l2_cpuids, l2_msr, l2_value;
static uint8_t *msrpm;
static uint64_t msrpm_gpa;

static void loops(uint64_t n)
{
	if (n)
		asm volatile("1: dec %0; jnz 1b" : "+r" (n) : : "memory");
}

/* KVM emulates one of the four instructions. */
static void cpuids(uint64_t n)
{
	if (n)
		asm volatile("1: xor %%eax, %%eax; cpuid; dec %0; jnz 1b"
			     : "+r" (n) : : "eax", "ebx", "ecx", "edx");
}

static uint64_t read_pmc(uint32_t index)
{
	uint32_t eax, edx;

	asm volatile("rdpmc" : "=a" (eax), "=d" (edx) : "c" (index));
	return eax | (uint64_t)edx << 32;
}

static void start(void)
{
	int i;

	for (i = 0; i < NR_SETTINGS; i++) {
		wrmsr(COUNTER(i), 0);
		wrmsr(SELECTOR(i), settings[i]);
		GUEST_ASSERT_EQ(rdmsr(SELECTOR(i)), settings[i]);
	}
}

static struct counts stop(void)
{
	struct counts counts;
	int i;

	for (i = 0; i < NR_SETTINGS; i++)
		wrmsr(SELECTOR(i), 0);
	for (i = 0; i < NR_SETTINGS; i++) {
		counts.of[i] = rdmsr(COUNTER(i));
		GUEST_ASSERT_EQ(read_pmc(i), counts.of[i]);
	}

	return counts;
}

static void run_l2(struct svm_test_data *svm, uint32_t exit_code)
{
	run_guest(svm->vmcb, svm->vmcb_gpa);
	GUEST_ASSERT_EQ(svm->vmcb->control.exit_code, exit_code);
	if (exit_code == SVM_EXIT_VMMCALL)
		svm->vmcb->save.rip += 3;
}

#define L2_STACK_SIZE 64
static unsigned long l2_stack[L2_STACK_SIZE];

static void setup_l2(struct svm_test_data *svm, void *code)
{
	generic_svm_setup(svm, code, &l2_stack[L2_STACK_SIZE]);
}

/*
 * The processor retires KVM's own VMRUN in guest mode, hence each entry adds one
 * instruction to what counts then.  There are a few entries for interrupts of the
 * host, the more the slower it is, and one for each instruction that KVM emulates.
 */
#define INTERRUPTS	100

/* The difference of two runs: what start(), stop() and VMRUN cost is not known. */
static void assert_diff(struct counts a, struct counts b, enum setting setting,
			int64_t wanted, int64_t entries)
{
	int64_t diff = b.of[setting] - a.of[setting];

	__GUEST_ASSERT(diff >= wanted - INTERRUPTS &&
		       diff <= wanted + entries + INTERRUPTS,
		       "wanted %ld and up to %ld for entries of counter %u, got %ld",
		       wanted, entries, setting, diff);
}

static void assert_diffs(struct counts a, struct counts b, int64_t host,
			 int64_t host_entries, int64_t guest, int64_t guest_entries)
{
	assert_diff(a, b, ANY, host + guest, host_entries + guest_entries);
	assert_diff(a, b, HOST, host, host_entries);
	assert_diff(a, b, GUEST, guest, guest_entries);
	assert_diff(a, b, BOTH, host + guest, host_entries + guest_entries);
}

static void l2_work(void)
{
	for (;;) {
		loops(READ_ONCE(l2_loops));
		cpuids(READ_ONCE(l2_cpuids));
		vmmcall();
	}
}

/* The same code for each length. */
static noinline struct counts measure(struct svm_test_data *svm, uint64_t l1,
				      uint64_t l1_cpuids, uint64_t l2,
				      uint64_t l2_cpuid)
{
	l2_loops = l2;
	l2_cpuids = l2_cpuid;

	start();
	loops(l1);
	cpuids(l1_cpuids);
	run_l2(svm, SVM_EXIT_VMMCALL);
	return stop();
}

static void guest_host_guest_only(struct svm_test_data *svm)
{
	struct counts base;

	setup_l2(svm, l2_work);
	measure(svm, 100, 10, 100, 10);

	base = measure(svm, 1000, 10, 1000, 10);
	assert_diffs(base, measure(svm, 3000, 10, 1000, 10), 4000, 0, 0, 0);
	assert_diffs(base, measure(svm, 1000, 10, 3000, 10), 0, 0, 4000, 0);

	/* Emulated instructions */
	assert_diffs(base, measure(svm, 1000, 510, 1000, 10), 2000, 500, 0, 0);
	assert_diffs(base, measure(svm, 1000, 10, 1000, 510), 0, 0, 2000, 500);

	GUEST_DONE();
}

/* What L2 executes per VMRUN: this jump. VMMCALL exits, hence does not retire. */
extern char l2_jump[];
asm(".pushsection .text; l2_jump: vmmcall; jmp l2_jump; .popsection");

static noinline struct counts measure_vmruns(struct svm_test_data *svm, int n)
{
	start();
	while (n--)
		run_l2(svm, SVM_EXIT_VMMCALL);
	return stop();
}

static noinline uint64_t measure_cpuids(int n)
{
	start();
	cpuids(n);
	return stop().of[ANY];
}

/*
 * VMRUN retires in guest mode: L1's as well as, on CPUs that count it, the one by
 * which KVM enters L2 in its place.
 */
static void guest_vmrun(struct svm_test_data *svm)
{
	struct counts a, b;
	int64_t entries;

	/* Each CPUID is four instructions, and an entry. */
	entries = measure_cpuids(10);
	entries = measure_cpuids(510) - entries - 500 * 4;
	GUEST_ASSERT(entries > -INTERRUPTS);

	setup_l2(svm, l2_jump);
	measure_vmruns(svm, 2);
	a = measure_vmruns(svm, 2);
	b = measure_vmruns(svm, 502);
	assert_diff(a, b, GUEST, 500 * (1 + 1) + entries, INTERRUPTS);

	GUEST_DONE();
}

/* With EFER.SVME clear, a counter with any of the bits pauses. */
static void guest_svme(struct svm_test_data *svm)
{
	uint64_t efer = rdmsr(MSR_EFER);
	struct counts off, on;

	GUEST_ASSERT(!(efer & EFER_SVME));

	start();
	loops(1000);
	off = stop();
	GUEST_ASSERT(off.of[ANY] >= 2000);
	GUEST_ASSERT_EQ(off.of[HOST], 0);
	GUEST_ASSERT_EQ(off.of[GUEST], 0);
	GUEST_ASSERT_EQ(off.of[BOTH], 0);

	wrmsr(MSR_EFER, efer | EFER_SVME);
	start();
	loops(1000);
	on = stop();
	GUEST_ASSERT(on.of[HOST] >= 2000);
	GUEST_ASSERT(on.of[BOTH] >= 2000);
	GUEST_ASSERT_EQ(on.of[GUEST], 0);

	/* Within one measurement, and without a write to the selectors. */
	start();
	wrmsr(MSR_EFER, efer);
	loops(10000);
	wrmsr(MSR_EFER, efer | EFER_SVME);
	off = stop();
	GUEST_ASSERT(off.of[ANY] >= 20000);
	GUEST_ASSERT(off.of[HOST] > 0 && off.of[HOST] < 2000);
	GUEST_ASSERT(off.of[BOTH] > 0 && off.of[BOTH] < 2000);
	GUEST_ASSERT_EQ(off.of[GUEST], 0);

	GUEST_DONE();
}

static void l2_read(void)
{
	for (;;) {
		WRITE_ONCE(l2_value, rdmsr(READ_ONCE(l2_msr)));
		vmmcall();
	}
}

static void l2_rdpmc(void)
{
	for (;;) {
		WRITE_ONCE(l2_value, read_pmc(READ_ONCE(l2_msr)));
		vmmcall();
	}
}

static void l2_count(void)
{
	for (;;) {
		wrmsr(COUNTER(0), 0);
		wrmsr(SELECTOR(0), INSTRUCTIONS);
		loops(READ_ONCE(l2_loops));
		wrmsr(SELECTOR(0), 0);
		WRITE_ONCE(l2_value, rdmsr(COUNTER(0)));
		vmmcall();
	}
}

static void intercept_msr(uint32_t msr, bool intercept)
{
	/* Two bits for each MSR; third of the ranges: 0xc0010000 */
	uint32_t bit = (msr - 0xc0010000) * 2;
	uint8_t *byte = msrpm + 0x1000 + bit / 8;

	if (intercept)
		*byte |= 3 << bit % 8;
	else
		*byte &= ~(3 << bit % 8);
}

/* Of its own PMU, L1 gives to L2 what it likes. */
static void guest_l2_access(struct svm_test_data *svm)
{
	struct vmcb_control_area *control = &svm->vmcb->control;
	uint64_t value;
	int i;

	setup_l2(svm, l2_count);
	control->intercept |= BIT_ULL(INTERCEPT_MSR_PROT);
	control->msrpm_base_pa = msrpm_gpa;

	l2_loops = 1000;
	run_l2(svm, SVM_EXIT_VMMCALL);
	value = l2_value;
	l2_loops = 4000;
	run_l2(svm, SVM_EXIT_VMMCALL);
	/* KVM's VMRUN counts, too: one for each interrupt of the host meanwhile. */
	GUEST_ASSERT(l2_value - value - 6000 < 16);
	GUEST_ASSERT_EQ(rdmsr(COUNTER(0)), l2_value);

	for (i = 0; i < NR_CORE; i++)
		wrmsr(COUNTER(i), 0x123456780000 + i);

	for (i = 0; i < NR_CORE; i++) {
		l2_msr = COUNTER(i);
		setup_l2(svm, l2_read);
		control->intercept |= BIT_ULL(INTERCEPT_MSR_PROT);
		control->msrpm_base_pa = msrpm_gpa;
		run_l2(svm, SVM_EXIT_VMMCALL);
		GUEST_ASSERT_EQ(l2_value, 0x123456780000 + i);

		intercept_msr(l2_msr, true);
		run_l2(svm, SVM_EXIT_MSR);
		GUEST_ASSERT_EQ(control->exit_info_1, 0);
		intercept_msr(l2_msr, false);
		run_l2(svm, SVM_EXIT_VMMCALL);

		l2_msr = i;
		setup_l2(svm, l2_rdpmc);
		run_l2(svm, SVM_EXIT_VMMCALL);
		GUEST_ASSERT_EQ(l2_value, 0x123456780000 + i);

		control->intercept |= BIT_ULL(INTERCEPT_RDPMC);
		run_l2(svm, SVM_EXIT_RDPMC);
	}

	/* An exception of RDPMC has priority over the intercept. */
	l2_msr = 0x40000000;
	setup_l2(svm, l2_rdpmc);
	control->intercept |= BIT_ULL(INTERCEPT_RDPMC);
	control->intercept_exceptions |= BIT(GP_VECTOR);
	run_l2(svm, SVM_EXIT_EXCP_BASE + GP_VECTOR);

	GUEST_DONE();
}

/* User space's filter reaches L2 while it runs. */
#define FROM_USER	0x123456

static void l2_filter(void)
{
	wrmsr(COUNTER(0), 1);
	GUEST_ASSERT_EQ(rdmsr(COUNTER(0)), 1);
	GUEST_SYNC(0);
	GUEST_ASSERT_EQ(rdmsr(COUNTER(0)), FROM_USER);
	GUEST_ASSERT_EQ(rdmsr(COUNTER(1)), 0);
	vmmcall();

	/* Still, after another VMRUN. */
	GUEST_ASSERT_EQ(rdmsr(COUNTER(0)), FROM_USER);
	vmmcall();
}

static void guest_filter(struct svm_test_data *svm)
{
	setup_l2(svm, l2_filter);
	svm->vmcb->control.intercept |= BIT_ULL(INTERCEPT_MSR_PROT);
	svm->vmcb->control.msrpm_base_pa = msrpm_gpa;

	run_l2(svm, SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(rdmsr(COUNTER(0)), FROM_USER);
	run_l2(svm, SVM_EXIT_VMMCALL);

	GUEST_DONE();
}

#define DEBUGCTL_FREEZE_PERFMON		BIT_ULL(12)
#define LBR_VIRTUALIZATION		BIT_ULL(0)
#define NR_LOOPS			1000

/* Counts @setting, with an overflow in the first of the loops. */
static void start_overflow(enum setting setting)
{
	wrmsr(COUNTER(0), -(uint64_t)NR_LOOPS & GENMASK_ULL(47, 0));
	wrmsr(SELECTOR(0), settings[setting] | ARCH_PERFMON_EVENTSEL_INT);
}

static void assert_overflow(bool frozen)
{
	uint64_t overflow = 1;

	wrmsr(SELECTOR(0), 0);
	GUEST_ASSERT_EQ(rdmsr(MSR_AMD64_PERF_CNTR_GLOBAL_STATUS),
			overflow | (frozen ? STATUS_CTR_FRZ : 0));
	__GUEST_ASSERT((rdmsr(COUNTER(0)) < NR_LOOPS / 2) == frozen,
		       "The counter stopped at %lu", rdmsr(COUNTER(0)));
	wrmsr(MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_CLR, overflow | STATUS_CTR_FRZ);
	GUEST_ASSERT_EQ(rdmsr(MSR_AMD64_PERF_CNTR_GLOBAL_STATUS), 0);
}

static void l2_set_debugctl(void)
{
	wrmsr(MSR_IA32_DEBUGCTLMSR, DEBUGCTL_FREEZE_PERFMON);
	vmmcall();
}

/* With LBR virtualization for it, L2 has a DebugCtl of its own, otherwise that of L1. */
static void guest_freeze(struct svm_test_data *svm)
{
	uint64_t l1, l2, lbrv;
	int i;

	setup_l2(svm, l2_work);
	l2_loops = NR_LOOPS;
	l2_cpuids = NR_LOOPS;

	for (i = 0; i < 8; i++) {
		lbrv = i & 1 ? LBR_VIRTUALIZATION : 0;
		l1 = i & 2 ? DEBUGCTL_FREEZE_PERFMON : 0;
		l2 = i & 4 ? DEBUGCTL_FREEZE_PERFMON : 0;
		if (lbrv && !this_cpu_has(X86_FEATURE_LBRV))
			continue;

		svm->vmcb->control.virt_ext = lbrv;
		svm->vmcb->save.dbgctl = l2;
		wrmsr(MSR_IA32_DEBUGCTLMSR, l1);

		start_overflow(ANY);
		loops(2 * NR_LOOPS);
		assert_overflow(l1);

		start_overflow(GUEST);
		run_l2(svm, SVM_EXIT_VMMCALL);
		assert_overflow(lbrv ? l2 : l1);

		GUEST_ASSERT_EQ(rdmsr(MSR_IA32_DEBUGCTLMSR), l1);
		GUEST_ASSERT_EQ(svm->vmcb->save.dbgctl, l2);
	}

	/* Without it, L2 changes that of L1. */
	svm->vmcb->control.virt_ext = 0;
	wrmsr(MSR_IA32_DEBUGCTLMSR, 0);
	setup_l2(svm, l2_set_debugctl);
	run_l2(svm, SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(rdmsr(MSR_IA32_DEBUGCTLMSR), DEBUGCTL_FREEZE_PERFMON);

	GUEST_DONE();
}

static void l2_migrate(void)
{
	GUEST_SYNC(0);
	GUEST_ASSERT_EQ(rdmsr(MSR_IA32_DEBUGCTLMSR), 0);
	vmmcall();
}

static void guest_migrate(struct svm_test_data *svm)
{
	wrmsr(MSR_IA32_DEBUGCTLMSR, DEBUGCTL_FREEZE_PERFMON);
	setup_l2(svm, l2_migrate);
	svm->vmcb->control.virt_ext = LBR_VIRTUALIZATION;
	svm->vmcb->save.dbgctl = 0;
	run_l2(svm, SVM_EXIT_VMMCALL);
	GUEST_ASSERT_EQ(rdmsr(MSR_IA32_DEBUGCTLMSR), DEBUGCTL_FREEZE_PERFMON);
	start_overflow(ANY);
	loops(2 * NR_LOOPS);
	assert_overflow(true);
	GUEST_DONE();
}

static void run_test(struct kvm_vcpu *vcpu, void *guest_code)
{
	struct kvm_vm *vm = vcpu->vm;
	vm_vaddr_t svm_gva, msrpm_gva;
	struct ucall uc;

	vcpu_alloc_svm(vm, &svm_gva);
	vcpu_args_set(vcpu, 1, svm_gva);

	msrpm_gva = vm_vaddr_alloc(vm, MSRPM_PAGES * getpagesize(), KVM_UTIL_MIN_VADDR);
	memset(addr_gva2hva(vm, msrpm_gva), 0, MSRPM_PAGES * getpagesize());
	msrpm = (void *)msrpm_gva;
	msrpm_gpa = addr_gva2gpa(vm, msrpm_gva);
	sync_global_to_guest(vm, msrpm);
	sync_global_to_guest(vm, msrpm_gpa);

	vcpu_arch_set_entry_point(vcpu, guest_code);
	vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER);

	for (;;) {
		vcpu_run(vcpu);

		if (vcpu->run->exit_reason == KVM_EXIT_X86_RDMSR) {
			TEST_ASSERT_EQ(vcpu->run->msr.index, COUNTER(0));
			vcpu->run->msr.data = FROM_USER;
			continue;
		}

		switch (get_ucall(vcpu, &uc)) {
		case UCALL_ABORT:
			REPORT_GUEST_ASSERT(uc);
		case UCALL_DONE:
			return;
		case UCALL_SYNC:
			vm_set_msr_filter(vm, COUNTER(0), KVM_MSR_FILTER_READ);
			break;
		default:
			TEST_FAIL("Unknown ucall %lu, exit reason %u", uc.cmd,
				  vcpu->run->exit_reason);
		}
	}
}

KVM_ONE_VCPU_TEST_SUITE(svm);

KVM_ONE_VCPU_TEST(svm, host_only_and_guest_only, guest_host_guest_only)
{
	run_test(vcpu, guest_host_guest_only);
}

KVM_ONE_VCPU_TEST(svm, vmrun_is_the_guests, guest_vmrun)
{
	run_test(vcpu, guest_vmrun);
}

KVM_ONE_VCPU_TEST(svm, svme_clear, guest_svme)
{
	run_test(vcpu, guest_svme);
}

KVM_ONE_VCPU_TEST(svm, l2_access, guest_l2_access)
{
	run_test(vcpu, guest_l2_access);
}

KVM_ONE_VCPU_TEST(svm, msr_filter, guest_filter)
{
	run_test(vcpu, guest_filter);
}

TEST(freeze)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!kvm_cpu_has(X86_FEATURE_AMD_LBR_PMC_FREEZE))
		SKIP(return, "no LbrAndPmcFreeze");
	vm = vm_create_with_one_vcpu(&vcpu, guest_freeze);
	run_test(vcpu, guest_freeze);
	kvm_vm_free(vm);
}

/* While L2 runs, the DebugCtl of L1 is in the nested state. */
TEST(freezing_l1_migrates_in_l2)
{
	struct kvm_x86_state *state;
	struct kvm_vcpu *vcpu;
	vm_vaddr_t svm_gva;
	struct kvm_vm *vm;
	struct ucall uc;

	if (!kvm_cpu_has(X86_FEATURE_AMD_LBR_PMC_FREEZE) || !kvm_cpu_has(X86_FEATURE_LBRV) ||
	    !kvm_has_cap(KVM_CAP_NESTED_STATE))
		SKIP(return, "no LbrAndPmcFreeze, or no LBR virtualization");
	vm = vm_create_with_one_vcpu(&vcpu, guest_migrate);
	vcpu_alloc_svm(vm, &svm_gva);
	vcpu_args_set(vcpu, 1, svm_gva);
	vcpu_run(vcpu);
	TEST_ASSERT_EQ(get_ucall(vcpu, &uc), UCALL_SYNC);

	state = vcpu_save_state(vcpu);
	kvm_vm_release(vm);
	vcpu = vm_recreate_with_one_vcpu(vm);
	vcpu_load_state(vcpu, state);
	kvm_x86_state_cleanup(state);

	vcpu_run(vcpu);
	if (get_ucall(vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	TEST_ASSERT_EQ(uc.cmd, UCALL_DONE);
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(host_cpu_is_amd);
	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_SVM));
	TEST_REQUIRE(host_has_passthrough_pmu());

	return test_harness_run(argc, argv);
}
