// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest of a guest hypervisor on the PMU that the guest hypervisor owns.
 *
 * L1 runs L2, and both use counter 0 and GLOBAL_CTRL.  What is checked: L2 does
 * without an exit to KVM what L1 may do without one, unless L1 or user space
 * objects; and GLOBAL_CTRL, of which the processor has a copy for each level,
 * neither gets lost nor stale on the way between the levels and through save and
 * restore.
 *
 * The values have to be the same whichever vPMU KVM uses, hence most tests run
 * with the perf-based one, too.  Numbers of exits are only looked at if guests
 * own the PMU.
 */
#include "kvm_util.h"
#include "passthrough_pmu.h"
#include "pmu.h"
#include "processor.h"
#include "vmx.h"

#define NR		8
#define LOOPS		100

#define COUNTER		BIT_ULL(0)
#define OTHER		BIT_ULL(1)

/* Of GLOBAL_STATUS.  KVM keeps it if user space has set it, hardware doesn't. */
#define OVF_BUFFER	BIT_ULL(62)

/* What L2 and L1 ask user space for. */
enum stage {
	STATS_BEGIN,
	STATS_END,
	FILTER_COUNTER,
	FILTER_OTHER,
	FILTER_NOTHING,
	SAVE_RESTORE,
	SAVE_RESTORE_LATE_CAPS,
	SET_STATUS,
	CHECK_STATUS,
};

/* Numbers of accesses that KVM emulated, since STATS_BEGIN. */
struct exits {
	uint64_t counter;
	uint64_t global;
	uint64_t rdpmc;
};

/* How to be L1.  The functions run in L1. */
struct hypervisor {
	/* Enter VMX operation or its like, prepare L2. */
	void (*init)(void *pages, void *l2_code, void *l2_stack);
	/* Whether L2 exits to L1 if it reads the counter's MSR, by RDPMC, writes GLOBAL_CTRL. */
	void (*intercept)(void *pages, bool counter, bool rdpmc, bool ctrl);
	/* Run L2 until it calls L1. */
	void (*run)(void);
	/* Run L2 until it exits by one of the above, and skip the instruction. */
	void (*run_to_counter)(void);
	void (*run_to_rdpmc)(void);
	void (*run_to_ctrl)(void);
	/* In L2: call L1. */
	void (*call)(void);
};

/* Set by the host, read by all levels. */
static struct {
	const struct hypervisor *hv;
	bool passthrough;
	bool rdpmc_open;
	bool ctrl_open;
	uint32_t selector;
	uint32_t counter;
	uint32_t ctrl;
	uint64_t event;
} env;

static unsigned long l2_stack[1024];

/* ---- VMX ---- */

static void vmx_init(void *pages, void *l2_code, void *stack)
{
	GUEST_ASSERT(prepare_for_vmx_operation(pages));
	GUEST_ASSERT(load_vmcs(pages));
	prepare_vmcs(pages, l2_code, stack);
	vmwrite(CPU_BASED_VM_EXEC_CONTROL,
		vmreadz(CPU_BASED_VM_EXEC_CONTROL) | CPU_BASED_USE_MSR_BITMAPS);
}

static void vmx_intercept(void *pages, bool counter, bool rdpmc, bool ctrl)
{
	uint64_t control = vmreadz(CPU_BASED_VM_EXEC_CONTROL);
	uint8_t *bitmap = ((struct vmx_pages *)pages)->msr;

	/* Reads of MSRs up to 0x1fff, at offset 2048 writes. */
	memset(bitmap, 0, 4096);
	if (counter)
		bitmap[env.counter / 8] |= BIT(env.counter % 8);
	if (ctrl)
		bitmap[2048 + env.ctrl / 8] |= BIT(env.ctrl % 8);

	control &= ~(uint64_t)CPU_BASED_RDPMC_EXITING;
	vmwrite(CPU_BASED_VM_EXEC_CONTROL, control | (rdpmc ? CPU_BASED_RDPMC_EXITING : 0));
}

static void vmx_run_to(uint32_t reason)
{
	static bool launched;
	uint64_t got;

	/* vmlaunch() and vmresume() return what failed. */
	GUEST_ASSERT(!(launched ? vmresume() : vmlaunch()));
	launched = true;

	got = vmreadz(VM_EXIT_REASON);
	GUEST_ASSERT_EQ(got, reason);
	vmwrite(GUEST_RIP, vmreadz(GUEST_RIP) + vmreadz(VM_EXIT_INSTRUCTION_LEN));
}

static void vmx_run(void)
{
	vmx_run_to(EXIT_REASON_VMCALL);
}

static void vmx_run_to_counter(void)
{
	vmx_run_to(EXIT_REASON_MSR_READ);
}

static void vmx_run_to_rdpmc(void)
{
	vmx_run_to(EXIT_REASON_RDPMC);
}

static void vmx_run_to_ctrl(void)
{
	vmx_run_to(EXIT_REASON_MSR_WRITE);
}

/* L1 doesn't preserve L2's registers. */
#define CLOBBERS	"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10",	\
			"r11", "r12", "r13", "r14", "r15", "cc", "memory"
#define EXIT_TO_L1(insn)	"push %%rbp\n\t" insn "\n\tpop %%rbp"

static void vmx_call(void)
{
	asm volatile(EXIT_TO_L1("vmcall") : : : CLOBBERS);
}

static const struct hypervisor vmx_hypervisor = {
	.init		= vmx_init,
	.intercept	= vmx_intercept,
	.run		= vmx_run,
	.run_to_counter	= vmx_run_to_counter,
	.run_to_rdpmc	= vmx_run_to_rdpmc,
	.run_to_ctrl	= vmx_run_to_ctrl,
	.call		= vmx_call,
};

/* ---- L1 and L2 ---- */

static void call_l1(void)
{
	env.hv->call();
}

static void stats_begin(void)
{
	GUEST_SYNC(STATS_BEGIN);
}

static void stats_end(uint64_t counter, uint64_t global, uint64_t rdpmc)
{
	GUEST_SYNC_ARGS(STATS_END, counter, global, rdpmc, 0);
}

static uint64_t rdpmc(uint32_t counter)
{
	uint32_t eax, edx;

	asm volatile("rdpmc" : "=a"(eax), "=d"(edx) : "c"(counter));
	return (uint64_t)edx << 32 | eax;
}

/* Two instructions each time. */
static void loop(void)
{
	uint64_t n = LOOPS;

	asm volatile("1: dec %0; jnz 1b" : "+r"(n));
}

/* What counter 0 counts of the loop, for the caller's level. */
static uint64_t counted(void)
{
	uint64_t start = rdmsr(env.counter);

	loop();
	return rdmsr(env.counter) - start;
}

static void assert_counts(bool counts)
{
	uint64_t nr = counted();

	if (counts)
		__GUEST_ASSERT(nr >= 2 * LOOPS && nr < 4 * LOOPS,
			       "Counted %lu instructions of a loop of %u", nr, 2 * LOOPS);
	else
		GUEST_ASSERT_EQ(nr, 0);
}

static void l1_init(void *pages, void *l2_code)
{
	env.hv->init(pages, l2_code, &l2_stack[ARRAY_SIZE(l2_stack) - 8]);
	env.hv->intercept(pages, false, false, false);

	wrmsr(env.ctrl, 0);
	wrmsr(env.counter, 0);
	wrmsr(env.selector, env.event | ARCH_PERFMON_EVENTSEL_ENABLE | ARCH_PERFMON_EVENTSEL_OS);
}

/*
 * L2 reads and writes counters without exits, neither to L1 nor to KVM, and what it
 * writes is L1's.
 */
static void touch_everything(void)
{
	int i;

	stats_begin();
	for (i = 0; i < NR; i++) {
		wrmsr(env.counter, i);
		GUEST_ASSERT(rdmsr(env.counter) >= i);
	}
	stats_end(0, 0, 0);

	stats_begin();
	for (i = 0; i < NR; i++) {
		wrmsr(env.ctrl, OTHER);
		GUEST_ASSERT_EQ(rdmsr(env.ctrl), OTHER);
	}
	stats_end(0, env.ctrl_open ? 0 : 2 * NR, 0);

	wrmsr(env.counter, 4711);
	stats_begin();
	for (i = 0; i < NR; i++)
		GUEST_ASSERT_EQ(rdpmc(0), 4711);
	stats_end(0, 0, env.rdpmc_open ? 0 : NR);
}

static void l2_touch(void)
{
	touch_everything();
	call_l1();
}

static void l1_touch(void *pages)
{
	l1_init(pages, l2_touch);

	/* What is right for L2 has to be right for L1, before and afterwards. */
	touch_everything();
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.counter), 4711);
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), OTHER);
	touch_everything();
	GUEST_DONE();
}

/* Without being told otherwise, processors leave GLOBAL_CTRL alone. */
static void l2_ctrl(void)
{
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), COUNTER);
	assert_counts(true);
	wrmsr(env.ctrl, OTHER);
	assert_counts(false);
	call_l1();

	GUEST_ASSERT_EQ(rdmsr(env.ctrl), COUNTER | OTHER);
	assert_counts(true);
	wrmsr(env.ctrl, 0);
	call_l1();

	/* L1 has not written anything meanwhile. */
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), 0);
	assert_counts(false);
	wrmsr(env.ctrl, COUNTER);
	call_l1();

	GUEST_ASSERT_EQ(rdmsr(env.ctrl), 0);
	assert_counts(false);
	call_l1();
}

static void l1_ctrl(void *pages)
{
	l1_init(pages, l2_ctrl);

	wrmsr(env.ctrl, COUNTER);
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), OTHER);
	assert_counts(false);

	wrmsr(env.ctrl, COUNTER | OTHER);
	assert_counts(true);
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), 0);
	assert_counts(false);

	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), COUNTER);
	assert_counts(true);

	wrmsr(env.ctrl, 0);
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), 0);
	GUEST_DONE();
}

/* VMX only: L1 has GLOBAL_CTRL loaded on entries to L2 and on exits from it. */
static void l2_load(void)
{
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), OTHER);
	assert_counts(false);
	wrmsr(env.ctrl, COUNTER | OTHER);
	assert_counts(true);
	call_l1();

	/* Both */
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), OTHER);
	wrmsr(env.ctrl, COUNTER);
	GUEST_SYNC(SAVE_RESTORE);
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), COUNTER);
	assert_counts(true);
	call_l1();

	/* On exit only */
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), COUNTER | OTHER);
	wrmsr(env.ctrl, 0);
	call_l1();
}

static void l1_load(void *pages)
{
	uint64_t entry, exit;

	l1_init(pages, l2_load);
	entry = vmreadz(VM_ENTRY_CONTROLS);
	exit = vmreadz(VM_EXIT_CONTROLS);
	vmwrite(GUEST_IA32_PERF_GLOBAL_CTRL, OTHER);
	vmwrite(HOST_IA32_PERF_GLOBAL_CTRL, COUNTER);

	/* On entry only */
	vmwrite(VM_ENTRY_CONTROLS, entry | VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL);
	wrmsr(env.ctrl, COUNTER);
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), COUNTER | OTHER);
	assert_counts(true);

	vmwrite(VM_EXIT_CONTROLS, exit | VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
	wrmsr(env.ctrl, 0);
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), COUNTER);
	assert_counts(true);
	/* There is no control to save L2's. */
	GUEST_ASSERT_EQ(vmreadz(GUEST_IA32_PERF_GLOBAL_CTRL), OTHER);

	vmwrite(VM_ENTRY_CONTROLS, entry);
	wrmsr(env.ctrl, COUNTER | OTHER);
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), COUNTER);
	assert_counts(true);
	GUEST_DONE();
}

/* What L1 wants to see it gets to see. */
static void l2_intercepted(void)
{
	uint32_t eax, edx;

	asm volatile(EXIT_TO_L1("rdmsr") : : "c"(env.counter) : "rax", "rbx", "rdx", "rsi", "rdi",
		     "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
	asm volatile(EXIT_TO_L1("rdpmc") : : "c"(0) : "rax", "rbx", "rdx", "rsi", "rdi",
		     "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");

	/* User space makes KVM look at everything again, with L2 running. */
	GUEST_SYNC(FILTER_OTHER);
	asm volatile(EXIT_TO_L1("rdpmc") : : "c"(0) : "rax", "rbx", "rdx", "rsi", "rdi",
		     "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");

	eax = OTHER;
	edx = 0;
	asm volatile(EXIT_TO_L1("wrmsr") : "+a"(eax), "+d"(edx) : "c"(env.ctrl) : "rbx", "rsi",
		     "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
	call_l1();

	/* From here on L1 doesn't mind. */
	touch_everything();
	call_l1();
}

static void l1_intercepted(void *pages)
{
	l1_init(pages, l2_intercepted);
	env.hv->intercept(pages, true, true, true);
	wrmsr(env.counter, 1234);

	stats_begin();
	env.hv->run_to_counter();
	env.hv->run_to_rdpmc();
	env.hv->run_to_rdpmc();
	env.hv->run_to_ctrl();
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.counter), 1234);
	stats_end(0, 0, 0);
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), 0);

	/* The recalculation reaches L1, too, and takes nothing from it. */
	touch_everything();

	env.hv->intercept(pages, false, false, false);
	env.hv->run();
	touch_everything();
	GUEST_DONE();
}

/* User space's filter reaches L2 while it runs, and L1 when it runs next. */
#define FROM_USER	0x123456

static void l2_filter(void)
{
	wrmsr(env.counter, 1);
	GUEST_ASSERT_EQ(rdmsr(env.counter), 1);

	GUEST_SYNC(FILTER_COUNTER);
	GUEST_ASSERT_EQ(rdmsr(env.counter), FROM_USER);
	call_l1();

	/* Still, after a nested entry. */
	GUEST_ASSERT_EQ(rdmsr(env.counter), FROM_USER);
	GUEST_SYNC(FILTER_NOTHING);
	GUEST_ASSERT_EQ(rdmsr(env.counter), 1);
	call_l1();

	touch_everything();
	call_l1();
}

static void l1_filter(void *pages)
{
	l1_init(pages, l2_filter);

	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.counter), FROM_USER);
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.counter), 1);
	touch_everything();
	env.hv->run();
	GUEST_DONE();
}

/* State is complete wherever L2 is interrupted. */
static void l2_state(void)
{
	wrmsr(env.counter, BIT_ULL(47) | 5);
	wrmsr(env.ctrl, OTHER);
	GUEST_SYNC(SAVE_RESTORE);
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), OTHER);
	GUEST_ASSERT_EQ(rdmsr(env.counter), BIT_ULL(47) | 5);
	touch_everything();

	wrmsr(env.ctrl, COUNTER);
	GUEST_SYNC(SAVE_RESTORE_LATE_CAPS);
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), COUNTER);
	assert_counts(true);
	wrmsr(env.ctrl, 0);
	touch_everything();
	call_l1();

	touch_everything();
	call_l1();
}

static void l1_state(void *pages)
{
	l1_init(pages, l2_state);
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), OTHER);
	touch_everything();
	wrmsr(env.ctrl, COUNTER);
	assert_counts(true);
	GUEST_SYNC(SAVE_RESTORE);
	GUEST_ASSERT_EQ(rdmsr(env.ctrl), COUNTER);
	assert_counts(true);
	env.hv->run();
	touch_everything();
	GUEST_DONE();
}

/* What hardware doesn't hold of the status exits as long as there is such a bit. */
static void l2_status(void)
{
	GUEST_ASSERT_EQ(rdmsr(MSR_CORE_PERF_GLOBAL_STATUS), 0);
	GUEST_SYNC(SET_STATUS);
	GUEST_ASSERT_EQ(rdmsr(MSR_CORE_PERF_GLOBAL_STATUS), OVF_BUFFER);
	wrmsr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, OVF_BUFFER);
	GUEST_ASSERT_EQ(rdmsr(MSR_CORE_PERF_GLOBAL_STATUS), 0);
	GUEST_SYNC(CHECK_STATUS);
	call_l1();

	GUEST_SYNC(SET_STATUS);
	call_l1();

	GUEST_ASSERT_EQ(rdmsr(MSR_CORE_PERF_GLOBAL_STATUS), 0);
	call_l1();
}

static void l1_status(void *pages)
{
	l1_init(pages, l2_status);
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(MSR_CORE_PERF_GLOBAL_STATUS), 0);
	env.hv->run();
	GUEST_ASSERT_EQ(rdmsr(MSR_CORE_PERF_GLOBAL_STATUS), OVF_BUFFER);
	wrmsr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, OVF_BUFFER);
	GUEST_SYNC(CHECK_STATUS);
	env.hv->run();
	GUEST_DONE();
}

/* ---- user space ---- */

static struct exits get_exits(struct kvm_vcpu *vcpu)
{
	return (struct exits) {
		.counter = vcpu_get_stat(vcpu, "pmu_counter_exits"),
		.global = vcpu_get_stat(vcpu, "pmu_global_exits"),
		.rdpmc = vcpu_get_stat(vcpu, "pmu_rdpmc_exits"),
	};
}

static void check_exits(struct kvm_vcpu *vcpu, const struct exits *begin, const struct ucall *uc)
{
	struct exits end = get_exits(vcpu);

	TEST_ASSERT_EQ(end.counter - begin->counter, uc->args[2]);
	TEST_ASSERT_EQ(end.global - begin->global, uc->args[3]);
	TEST_ASSERT_EQ(end.rdpmc - begin->rdpmc, uc->args[4]);
}

/*
 * User space may set PERF_CAPABILITIES as often as it likes before the vCPU runs, also
 * after it has restored the vCPU's state with L2 active.  L1's VMCS isn't loaded then.
 */
static struct kvm_vcpu *save_restore(struct kvm_vm *vm, struct kvm_vcpu *vcpu, bool late_caps)
{
	const uint32_t msrs[] = { env.selector, env.counter, env.ctrl };
	struct kvm_x86_state *state = vcpu_save_state(vcpu);
	uint64_t values[ARRAY_SIZE(msrs)], caps;
	int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		values[i] = vcpu_get_msr(vcpu, msrs[i]);

	kvm_vm_release(vm);
	vcpu = vm_recreate_with_one_vcpu(vm);
	vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER);
	vcpu_load_state(vcpu, state);

	if (late_caps) {
		caps = vcpu_get_msr(vcpu, MSR_IA32_PERF_CAPABILITIES);
		vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, 0);
		vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, caps);

		/* Another PMU is one after reset. */
		for (i = 0; i < ARRAY_SIZE(msrs); i++)
			vcpu_set_msr(vcpu, msrs[i], values[i]);
	}

	kvm_x86_state_cleanup(state);
	return vcpu;
}

static void run(const char *name, void *l1_code)
{
	vm_vaddr_t pages;
	struct exits begin = {};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct ucall uc;

	vm = vm_create_with_one_vcpu(&vcpu, l1_code);
	vm_enable_cap(vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER);
	vcpu_alloc_vmx(vm, &pages);
	vcpu_args_set(vcpu, 1, pages);
	sync_global_to_guest(vm, env);

	for (;;) {
		vcpu_run(vcpu);

		if (vcpu->run->exit_reason == KVM_EXIT_X86_RDMSR) {
			TEST_ASSERT_EQ(vcpu->run->msr.index, env.counter);
			vcpu->run->msr.data = FROM_USER;
			continue;
		}
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);

		switch (get_ucall(vcpu, &uc)) {
		case UCALL_ABORT:
			pr_info("In %s:\n", name);
			REPORT_GUEST_ASSERT(uc);
		case UCALL_DONE:
			kvm_vm_free(vm);
			pr_info("%s: passed\n", name);
			return;
		case UCALL_SYNC:
			break;
		default:
			TEST_FAIL("Unknown ucall %lu", uc.cmd);
		}

		switch (uc.args[1]) {
		case STATS_BEGIN:
			begin = get_exits(vcpu);
			break;
		case STATS_END:
			if (env.passthrough)
				check_exits(vcpu, &begin, &uc);
			break;
		case FILTER_COUNTER:
			vm_set_msr_filter(vm, env.counter, KVM_MSR_FILTER_READ);
			break;
		case FILTER_OTHER:
			vm_set_msr_filter(vm, MSR_IA32_TSX_CTRL, KVM_MSR_FILTER_READ);
			break;
		case FILTER_NOTHING:
			vm_set_msr_filter(vm, 0, 0);
			break;
		case SAVE_RESTORE:
		case SAVE_RESTORE_LATE_CAPS:
			vcpu = save_restore(vm, vcpu, uc.args[1] == SAVE_RESTORE_LATE_CAPS);
			break;
		case SET_STATUS:
			vcpu_set_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS, OVF_BUFFER);
			break;
		case CHECK_STATUS:
			TEST_ASSERT_EQ(vcpu_get_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS), 0);
			break;
		default:
			TEST_FAIL("Unknown stage %lu", uc.args[1]);
		}
	}
}

static void vmx_setup_env(void)
{
	bool all_counters;

	env.hv = &vmx_hypervisor;
	env.selector = MSR_P6_EVNTSEL0;
	env.counter = MSR_IA32_PMC0;
	env.ctrl = MSR_CORE_PERF_GLOBAL_CTRL;
	env.event = INTEL_ARCH_INSTRUCTIONS_RETIRED;
	env.passthrough = host_has_passthrough_pmu();

	/* Open is what reaches all counters, and there are none that are the host's alone. */
	all_counters = this_cpu_property(X86_PROPERTY_PMU_NR_GP_COUNTERS) ==
		       kvm_cpu_property(X86_PROPERTY_PMU_NR_GP_COUNTERS) &&
		       this_cpu_property(X86_PROPERTY_PMU_NR_FIXED_COUNTERS) ==
		       kvm_cpu_property(X86_PROPERTY_PMU_NR_FIXED_COUNTERS);
	env.rdpmc_open = all_counters;
	env.ctrl_open = all_counters;
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_is_pmu_enabled());
	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_VMX));
	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_PDCM));
	TEST_REQUIRE(kvm_cpu_property(X86_PROPERTY_PMU_VERSION) >= 2);
	TEST_REQUIRE(kvm_get_feature_msr(MSR_IA32_PERF_CAPABILITIES) & PMU_CAP_FW_WRITES);
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_NESTED_STATE));

	vmx_setup_env();
	pr_info("guests %s the PMU; RDPMC %s, GLOBAL_CTRL %s\n",
		env.passthrough ? "own" : "don't own", env.rdpmc_open ? "open" : "exits",
		env.ctrl_open ? "open" : "exits");

	run("touch", l1_touch);
	run("ctrl", l1_ctrl);
	run("load", l1_load);
	run("intercepted", l1_intercepted);
	run("filter", l1_filter);
	run("state", l1_state);
	run("status", l1_status);

	return 0;
}
