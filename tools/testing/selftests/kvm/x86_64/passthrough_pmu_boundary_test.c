// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the PMU that a guest owns ends: what the guest's version of the PMU doesn't
 * have, what hardware would not count soundly, and what user space may put into
 * the vCPU's state that hardware would not take.
 */
#include <stdlib.h>
#include <unistd.h>

#include "apic.h"
#include "kvm_util.h"
#include "pmu.h"
#include "processor.h"

#define PMI_VECTOR	0x40
#define APIC_LVTPC	0x340

#ifndef MSR_CORE_PERF_GLOBAL_STATUS_SET
#define MSR_CORE_PERF_GLOBAL_STATUS_SET		0x391
#endif

#define BUFFER		BIT_ULL(62)
#define CHANGED		BIT_ULL(63)

/* Hardware that the feature is able to run on counts this for any event. */
#define ANY_CYCLE	(ARCH_PERFMON_EVENTSEL_INV | BIT_ULL(24))

#define RUN		(ARCH_PERFMON_EVENTSEL_ENABLE | ARCH_PERFMON_EVENTSEL_OS)

static int nr_pmis;

static void loop(void)
{
	uint64_t n = 1000;

	asm volatile("1: dec %0; jnz 1b" : "+r"(n));
}

static void assert_wrmsr(uint32_t msr, uint64_t value, bool works)
{
	uint8_t vector = wrmsr_safe(msr, value);

	__GUEST_ASSERT(vector == (works ? 0 : GP_VECTOR),
		       "WRMSR(0x%x, 0x%lx) should %s, got vector %u",
		       msr, value, works ? "work" : "cause #GP", vector);
}

/* Version 2 has fewer bits in the registers for all counters than the processor. */
static void guest_version_2(void)
{
	static const uint8_t later[] = { 48, 55, 58, 59, 60 };
	int nr_gp = this_cpu_property(X86_PROPERTY_PMU_NR_GP_COUNTERS);
	int nr_fixed = this_cpu_property(X86_PROPERTY_PMU_NR_FIXED_COUNTERS);
	uint64_t counters = BIT_ULL(nr_gp) - 1 + ((BIT_ULL(nr_fixed) - 1) << 32);
	int i;

	/* GLOBAL_OVF_CTRL takes what hardware takes, if that clears nothing. */
	for (i = 0; i < ARRAY_SIZE(later); i++)
		assert_wrmsr(MSR_CORE_PERF_GLOBAL_CTRL, BIT_ULL(later[i]), false);
	assert_wrmsr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, BIT_ULL(nr_gp), false);
	assert_wrmsr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, BIT_ULL(32 + nr_fixed), false);
	assert_wrmsr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, counters | BUFFER | CHANGED, true);

	assert_wrmsr(MSR_CORE_PERF_GLOBAL_CTRL, BIT_ULL(nr_gp), false);
	assert_wrmsr(MSR_CORE_PERF_GLOBAL_CTRL, BIT_ULL(32 + nr_fixed), false);
	assert_wrmsr(MSR_CORE_PERF_GLOBAL_CTRL, BUFFER, false);
	assert_wrmsr(MSR_CORE_PERF_GLOBAL_CTRL, counters, true);

	assert_wrmsr(MSR_CORE_PERF_GLOBAL_STATUS, 0, false);
	assert_wrmsr(MSR_CORE_PERF_GLOBAL_STATUS_SET, 1, false);
	GUEST_DONE();
}

static uint64_t count(uint64_t eventsel)
{
	uint64_t nr;

	wrmsr(MSR_CORE_PERF_GLOBAL_CTRL, 0);
	wrmsr(MSR_IA32_PMC0, 0);
	wrmsr(MSR_P6_EVNTSEL0, eventsel);
	GUEST_ASSERT_EQ(rdmsr(MSR_P6_EVNTSEL0), eventsel);
	wrmsr(MSR_CORE_PERF_GLOBAL_CTRL, 1);
	loop();
	wrmsr(MSR_CORE_PERF_GLOBAL_CTRL, 0);
	nr = rdmsr(MSR_IA32_PMC0);
	wrmsr(MSR_P6_EVNTSEL0, 0);
	return nr;
}

/* What MEM_TRANS_RETIRED.LOAD_LATENCY counts depends on a register of the host. */
static void guest_extra_reg(void)
{
	__GUEST_ASSERT(count(RUN | ANY_CYCLE | RAW_EVENT(0xcd, 0x02)) >= 1000,
		       "An event like any other doesn't count");
	GUEST_ASSERT_EQ(count(RUN | ANY_CYCLE | RAW_EVENT(0xcd, 0x01)), 0);
	/* Unit masks combine. */
	GUEST_ASSERT_EQ(count(RUN | ANY_CYCLE | RAW_EVENT(0xcd, 0x03)), 0);
	__GUEST_ASSERT(count(RUN | INTEL_ARCH_INSTRUCTIONS_RETIRED) >= 2000,
		       "Counter is out of order afterwards");
	/* Ignored, and read back. */
	__GUEST_ASSERT(count(RUN | INTEL_ARCH_INSTRUCTIONS_RETIRED |
			     ARCH_PERFMON_EVENTSEL_PIN_CONTROL) >= 2000,
		       "Pin control stops the counter");
	GUEST_DONE();
}

/* User space may put this into the status, hardware has no such debug store. */
static void guest_foreign_status(void)
{
	loop();
	GUEST_SYNC(0);
	wrmsr(MSR_CORE_PERF_GLOBAL_OVF_CTRL, BUFFER | CHANGED);
	GUEST_SYNC(1);
	GUEST_DONE();
}

static void handle_pmi(struct ex_regs *regs)
{
	nr_pmis++;
	x2apic_write_reg(APIC_EOI, 0);
	x2apic_write_reg(APIC_LVTPC, PMI_VECTOR);
}

/*
 * Hardware never retires 255 instructions in a cycle, while KVM counts instructions
 * that it emulates regardless of CMASK: the first one after the counter was written
 * is the report to user space.
 */
static void guest_overflow_on_exit(void)
{
	x2apic_enable();
	x2apic_write_reg(APIC_LVTPC, PMI_VECTOR);

	wrmsr(MSR_P6_EVNTSEL0, RUN | ARCH_PERFMON_EVENTSEL_INT | ARCH_PERFMON_EVENTSEL_CMASK |
			       INTEL_ARCH_INSTRUCTIONS_RETIRED);
	wrmsr(MSR_IA32_PMC0, BIT_ULL(48) - 1);
	GUEST_SYNC(0);

	GUEST_ASSERT_EQ(nr_pmis, 0);
	asm volatile("sti; nop; nop; cli");
	GUEST_ASSERT_EQ(nr_pmis, 1);
	GUEST_DONE();
}

/* Version 1 has no status that the guest could clear. */
static void guest_version_1(void)
{
	int i;

	x2apic_enable();
	x2apic_write_reg(APIC_LVTPC, PMI_VECTOR);
	asm volatile("sti");

	for (i = 1; i <= 3; i++) {
		wrmsr(MSR_P6_EVNTSEL0, 0);
		wrmsr(MSR_IA32_PERFCTR0, -1000);
		wrmsr(MSR_P6_EVNTSEL0,
		      RUN | ARCH_PERFMON_EVENTSEL_INT | INTEL_ARCH_INSTRUCTIONS_RETIRED);
		loop();
		GUEST_ASSERT_EQ(READ_ONCE(nr_pmis), i);
	}
	wrmsr(MSR_P6_EVNTSEL0, 0);
	GUEST_SYNC(0);
	GUEST_DONE();
}

static void run_guest(struct kvm_vcpu *vcpu, uint64_t cmd)
{
	struct ucall uc;

	vcpu_run(vcpu);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
	default:
		TEST_ASSERT_EQ(uc.cmd, cmd);
	}
}

static struct kvm_vm *create(struct kvm_vcpu **vcpu, void *guest_code)
{
	struct kvm_vm *vm = vm_create_with_one_vcpu(vcpu, guest_code);

	vm_install_exception_handler(vm, PMI_VECTOR, handle_pmi);
	return vm;
}

static void test_guest(const char *name, void *guest_code)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create(&vcpu, guest_code);

	run_guest(vcpu, UCALL_DONE);
	kvm_vm_free(vm);
	pr_info("%s: passed\n", name);
}

static void test_foreign_status(void)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create(&vcpu, guest_foreign_status);
	static const uint8_t refused[] = { 31, 47, 55, 61 };
	int i;

	for (i = 0; i < ARRAY_SIZE(refused); i++)
		TEST_ASSERT(!_vcpu_set_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS, BIT_ULL(refused[i])),
			    "KVM takes bit %d of the status", refused[i]);

	vcpu_set_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS, BUFFER | CHANGED | 1);
	run_guest(vcpu, UCALL_SYNC);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS), BUFFER | CHANGED | 1);
	run_guest(vcpu, UCALL_SYNC);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS), 1);
	run_guest(vcpu, UCALL_DONE);
	kvm_vm_free(vm);
	pr_info("foreign_status: passed\n");
}

static uint32_t lapic_reg(struct kvm_vcpu *vcpu, unsigned int reg)
{
	struct kvm_lapic_state state;

	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &state);
	return *(uint32_t *)&state.regs[reg];
}

static void test_overflow_on_exit(void)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create(&vcpu, guest_overflow_on_exit);
	struct kvm_lapic_state lapic;
	struct kvm_x86_state *state;

	run_guest(vcpu, UCALL_SYNC);

	/* Completes the I/O first, and thereby the instruction. */
	state = vcpu_save_state(vcpu);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, MSR_CORE_PERF_GLOBAL_STATUS), 1);
	TEST_ASSERT(lapic_reg(vcpu, APIC_IRR + PMI_VECTOR / 32 * 16) & BIT(PMI_VECTOR % 32),
		    "PMI isn't in the local APIC");
	TEST_ASSERT(lapic_reg(vcpu, APIC_LVTPC) & BIT(16), "PMI didn't mask LVTPC");

	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic);
	kvm_vm_release(vm);
	vcpu = vm_recreate_with_one_vcpu(vm);
	vcpu_load_state(vcpu, state);
	vcpu_ioctl(vcpu, KVM_SET_LAPIC, &lapic);
	run_guest(vcpu, UCALL_DONE);
	kvm_x86_state_cleanup(state);
	kvm_vm_free(vm);
	pr_info("overflow_on_exit: passed\n");
}

/* With three fixed counters, as versions before 5 had on all processors. */
static void test_version_2(void)
{
	uint8_t nr_fixed = kvm_cpu_property(X86_PROPERTY_PMU_NR_FIXED_COUNTERS);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create(&vcpu, guest_version_2);

	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_PMU_VERSION, 2);
	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_PMU_NR_FIXED_COUNTERS,
				min_t(uint8_t, nr_fixed, 3));
	run_guest(vcpu, UCALL_DONE);
	kvm_vm_free(vm);
	pr_info("version_2: passed\n");
}

static void test_version_1(void)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create(&vcpu, guest_version_1);

	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_PMU_VERSION, 1);
	run_guest(vcpu, UCALL_SYNC);
	run_guest(vcpu, UCALL_DONE);
	kvm_vm_free(vm);
	pr_info("version_1: passed\n");
}

int main(int argc, char *argv[])
{
	const char *param = "/sys/module/kvm_intel/parameters/enable_passthrough_pmu";

	TEST_REQUIRE(!access(param, F_OK));
	TEST_REQUIRE(get_kvm_intel_param_bool("enable_passthrough_pmu"));

	test_version_2();
	test_guest("extra_reg", guest_extra_reg);
	test_foreign_status();
	test_overflow_on_exit();
	test_version_1();
	return 0;
}
