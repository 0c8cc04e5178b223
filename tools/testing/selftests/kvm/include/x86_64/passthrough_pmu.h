/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the passthrough vPMU share
 *
 * Most of them drive the guest from the host: the guest runs passthrough_guest(),
 * which executes one operation for each guest_do().
 */
#ifndef SELFTEST_KVM_PASSTHROUGH_PMU_H
#define SELFTEST_KVM_PASSTHROUGH_PMU_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/perf_event.h>

#include "apic.h"
#include "kvm_util.h"
#include "pmu.h"
#include "processor.h"

/* Seconds that a TEST() may take on a debugging kernel.  Included after kvm_test_harness.h. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT			300

#ifndef APIC_LVTPC
#define APIC_LVTPC				0x340
#endif

#ifndef MSR_CORE_PERF_GLOBAL_STATUS_SET
#define MSR_CORE_PERF_GLOBAL_STATUS_SET		0x391
#endif

#ifndef MSR_CORE_PERF_GLOBAL_INUSE
#define MSR_CORE_PERF_GLOBAL_INUSE		0x392
#endif

/* RDPMC's index of PERF_METRICS */
#define RDPMC_METRICS				BIT(29)

/* Bit of GLOBAL_CTRL and GLOBAL_STATUS of Intel's CPUs */
#define GLOBAL_METRICS				BIT_ULL(48)
/* Bits of GLOBAL_STATUS */
#define STATUS_LBR_FRZ				BIT_ULL(58)
#define STATUS_CTR_FRZ				BIT_ULL(59)

/* In PERF_CAPABILITIES */
#define PMU_CAP_METRICS				BIT_ULL(15)

/* AMD's LbrAndPmcFreeze */
#define X86_FEATURE_AMD_LBR_PMC_FREEZE		KVM_X86_CPU_FEATURE(0x80000022, 0, EAX, 2)

#ifndef MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_SET
#define MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_SET	0xc0000303
#endif

/* The same event on Intel's and on AMD's CPUs. */
#define EVENT_INSTRUCTIONS			RAW_EVENT(0xc0, 0x00)

#define EVENTSEL_COUNT				(ARCH_PERFMON_EVENTSEL_OS | \
						 ARCH_PERFMON_EVENTSEL_ENABLE)
#define EVENTSEL_COUNT_PMI			(EVENTSEL_COUNT | ARCH_PERFMON_EVENTSEL_INT)

#define FIXED_COUNT				(FIXED_PMC_KERNEL)
#define FIXED_COUNT_PMI				(FIXED_PMC_KERNEL | FIXED_PMC_ENABLE_PMI)

/**
 * struct pmu_model - the counters that CPUID and PERF_CAPABILITIES describe
 * @version: version of the vendor's architectural PMU, 0 if there is no PMU
 * @nr_gp: number of general purpose counters
 * @nr_fixed: number of fixed counters
 * @width_gp: bits of a general purpose counter
 * @width_fixed: bits of a fixed counter
 * @full_width: the counters can be written in full: MSR_IA32_PMCn on Intel's,
 *	MSR_F15H_PERF_CTRn on AMD's CPUs
 * @has_metrics: there is PERF_METRICS, which RDPMC reads like a counter
 */
struct pmu_model {
	uint8_t version;
	uint8_t nr_gp;
	uint8_t nr_fixed;
	uint8_t width_gp;
	uint8_t width_fixed;
	bool full_width;
	bool has_metrics;
};

/* Parameter enable_passthrough_pmu of the vendor's module; false if there is none. */
bool host_has_passthrough_pmu(void);

/* The PMU of the host, whatever KVM makes of it. */
struct pmu_model host_pmu_model(void);

/* The PMU that KVM gives to guests by default, i.e. if all of its CPUID is taken. */
struct pmu_model default_pmu_model(void);

/* Describes @model to the guest. Only before the vCPU runs for the first time. */
void vcpu_set_pmu_model(struct kvm_vcpu *vcpu, const struct pmu_model *model);

/* MSRs, for host and guest code */
static inline uint32_t gp_counter_msr(int i)
{
	return host_cpu_is_intel ? MSR_IA32_PMC0 + i : MSR_F15H_PERF_CTR0 + 2 * i;
}

static inline uint32_t gp_legacy_msr(int i)
{
	return (host_cpu_is_intel ? MSR_IA32_PERFCTR0 : MSR_K7_PERFCTR0) + i;
}

static inline uint32_t gp_selector_msr(int i)
{
	return host_cpu_is_intel ? MSR_P6_EVNTSEL0 + i : MSR_F15H_PERF_CTL0 + 2 * i;
}

static inline uint32_t global_ctrl_msr(void)
{
	return host_cpu_is_intel ? MSR_CORE_PERF_GLOBAL_CTRL : MSR_AMD64_PERF_CNTR_GLOBAL_CTL;
}

static inline uint32_t global_status_msr(void)
{
	return host_cpu_is_intel ? MSR_CORE_PERF_GLOBAL_STATUS :
				   MSR_AMD64_PERF_CNTR_GLOBAL_STATUS;
}

static inline uint32_t status_clear_msr(void)
{
	return host_cpu_is_intel ? MSR_CORE_PERF_GLOBAL_OVF_CTRL :
				   MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_CLR;
}

static inline uint32_t status_set_msr(void)
{
	return host_cpu_is_intel ? MSR_CORE_PERF_GLOBAL_STATUS_SET :
				   MSR_AMD64_PERF_CNTR_GLOBAL_STATUS_SET;
}

/**
 * enum guest_op - what passthrough_guest() is able to do
 * @GUEST_RDMSR: read MSR @index @n times
 * @GUEST_WRMSR: write @value to MSR @index @n times
 * @GUEST_RDPMC: read counter @index by RDPMC @n times
 * @GUEST_COUNT: write @value to MSR @index, loop, write 0 to it; the loop has
 *	@n iterations of one instruction, which is a branch
 * @GUEST_COUNT_CPUID: the same with @n times CPUID, which KVM always emulates
 * @GUEST_COUNT_FEP: the same with @n instructions of which KVM is forced to
 *	emulate every second one
 * @GUEST_COUNT_WRMSR: the same with @n writes of TSC_DEADLINE, which is an exit
 *	that KVM handles in its fastpath
 * @GUEST_LOOP: loop, @n iterations
 * @GUEST_CPUID: CPUID, @n times
 * @GUEST_APIC: write @value to register @index of the local APIC
 * @GUEST_APIC_READ: read register @index of the local APIC
 * @GUEST_ENABLE_IRQS: enable x2APIC, set LVTPC to @value, interrupts on
 * @GUEST_STI: interrupts on
 * @GUEST_CLI: interrupts off
 */
enum guest_op {
	GUEST_RDMSR,
	GUEST_WRMSR,
	GUEST_RDPMC,
	GUEST_COUNT,
	GUEST_COUNT_CPUID,
	GUEST_COUNT_FEP,
	GUEST_COUNT_WRMSR,
	GUEST_LOOP,
	GUEST_CPUID,
	GUEST_APIC,
	GUEST_APIC_READ,
	GUEST_ENABLE_IRQS,
	GUEST_STI,
	GUEST_CLI,
};

/* Instructions that each iteration counts. */
#define GUEST_COUNT_CPUID_INSNS			4
#define GUEST_COUNT_FEP_INSNS			3
#define GUEST_COUNT_WRMSR_INSNS			7

/*
 * Instructions that GUEST_COUNT* count besides those of the loop: MOV, MOV, XOR,
 * XOR, and one of the two WRMSR.
 */
#define GUEST_COUNT_EXTRA			5

/* Vector that tests use for PMIs. */
#define GUEST_PMI_VECTOR			0x51

struct guest_result {
	uint64_t value;
	uint8_t vector;
};

/* Entry point of guests; the argument is the number of the vCPU, from 0 to 3. */
void passthrough_guest(int vcpu);

/* A VM whose only vCPU runs passthrough_guest(), with all that KVM offers. */
struct kvm_vm *vm_create_passthrough_guest(struct kvm_vcpu **vcpu);

/* Lets @vcpu do something; the result is of the last repetition. */
struct guest_result guest_do(struct kvm_vcpu *vcpu, enum guest_op op, uint64_t index,
			     uint64_t value, uint64_t n);

/* The same in two steps, for callers that run the vCPU themselves in between. */
void guest_prepare(struct kvm_vcpu *vcpu, enum guest_op op, uint64_t index,
		   uint64_t value, uint64_t n);
struct guest_result guest_finish(struct kvm_vcpu *vcpu);

/* For operations that must not fault. */
uint64_t guest_rdmsr(struct kvm_vcpu *vcpu, uint32_t msr);
void guest_wrmsr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t value);
uint64_t guest_rdpmc(struct kvm_vcpu *vcpu, uint32_t index);

/*
 * Fails unless @value is the number of instructions that the guest executed.  On AMD's
 * CPUs, VMRUN is one of them: there may be one more for each VM-entry so far.
 */
void assert_insns(struct kvm_vcpu *vcpu, uint64_t value, uint64_t expected, const char *what);

/*
 * User space wants to see the guest's accesses to @msr; @access is KVM_MSR_FILTER_READ
 * and KVM_MSR_FILTER_WRITE, or 0 to see none any more.  The VM has
 * KVM_CAP_X86_USER_SPACE_MSR enabled for KVM_MSR_EXIT_REASON_FILTER.
 */
void vm_set_msr_filter(struct kvm_vm *vm, uint32_t msr, uint32_t access);

/* One of KVM's statistics of the vCPU. */
uint64_t vcpu_get_stat(struct kvm_vcpu *vcpu, const char *name);

/* An event of the core PMU, or the negative of errno. */
int host_event_open(uint64_t config, bool exclude_guest, pid_t pid, int cpu);
int host_event_open_attr(struct perf_event_attr *attr, pid_t pid, int cpu);

/* An event of the host that would count guests, or one of many errors; closes it. */
int host_event_include_guest(void);

/* The value of an event. */
uint64_t host_event_read(int fd);

/* MSRs of the host's CPU 0; false if they can't be read here. */
bool host_rdmsr(uint32_t msr, uint64_t *value);

#endif /* SELFTEST_KVM_PASSTHROUGH_PMU_H */
