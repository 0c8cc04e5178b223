// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the tests of the passthrough vPMU share, see passthrough_pmu.h
 */
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "passthrough_pmu.h"

#define NR_GUEST_VCPUS		4

#define X86_FEATURE_PERFCTR_CORE_BIT	KVM_X86_CPU_FEATURE(0x80000001, 0, ECX, 23)
#define X86_FEATURE_PERFMON_V2_BIT	KVM_X86_CPU_FEATURE(0x80000022, 0, EAX, 0)
#define X86_PROPERTY_NR_CORE_COUNTERS	KVM_X86_CPU_PROPERTY(0x80000022, 0, EBX, 0, 3)

#define AMD_COUNTER_WIDTH		48
#define AMD_NR_LEGACY			4
#define AMD_NR_CORE			6

bool host_has_passthrough_pmu(void)
{
	const char *intel = "/sys/module/kvm_intel/parameters/enable_passthrough_pmu";
	const char *amd = "/sys/module/kvm_amd/parameters/enable_passthrough_pmu";

	if (!access(intel, R_OK))
		return get_kvm_intel_param_bool("enable_passthrough_pmu");
	if (!access(amd, R_OK))
		return get_kvm_amd_param_bool("enable_passthrough_pmu");
	return false;
}

struct pmu_model host_pmu_model(void)
{
	struct pmu_model model = {};
	uint64_t caps;

	if (host_cpu_is_intel) {
		model.version = this_cpu_property(X86_PROPERTY_PMU_VERSION);
		if (!model.version)
			return model;
		model.nr_gp = this_cpu_property(X86_PROPERTY_PMU_NR_GP_COUNTERS);
		model.nr_fixed = this_cpu_property(X86_PROPERTY_PMU_NR_FIXED_COUNTERS);
		model.width_gp = this_cpu_property(X86_PROPERTY_PMU_GP_COUNTERS_BIT_WIDTH);
		model.width_fixed = this_cpu_property(X86_PROPERTY_PMU_FIXED_COUNTERS_BIT_WIDTH);
		model.full_width = true;
		model.has_metrics = this_cpu_has(X86_FEATURE_PDCM) &&
				    host_rdmsr(MSR_IA32_PERF_CAPABILITIES, &caps) &&
				    (caps & PMU_CAP_METRICS);
		return model;
	}

	model.version = 1;
	model.nr_gp = AMD_NR_LEGACY;
	model.width_gp = AMD_COUNTER_WIDTH;
	model.full_width = this_cpu_has(X86_FEATURE_PERFCTR_CORE_BIT);
	if (model.full_width)
		model.nr_gp = AMD_NR_CORE;
	if (this_cpu_has(X86_FEATURE_PERFMON_V2_BIT)) {
		model.version = 2;
		model.nr_gp = this_cpu_property(X86_PROPERTY_NR_CORE_COUNTERS);
	}
	return model;
}

struct pmu_model default_pmu_model(void)
{
	struct pmu_model model = {};

	if (host_cpu_is_intel) {
		model.version = kvm_cpu_property(X86_PROPERTY_PMU_VERSION);
		if (!model.version)
			return model;
		model.nr_gp = kvm_cpu_property(X86_PROPERTY_PMU_NR_GP_COUNTERS);
		model.nr_fixed = kvm_cpu_property(X86_PROPERTY_PMU_NR_FIXED_COUNTERS);
		model.width_gp = kvm_cpu_property(X86_PROPERTY_PMU_GP_COUNTERS_BIT_WIDTH);
		model.width_fixed = kvm_cpu_property(X86_PROPERTY_PMU_FIXED_COUNTERS_BIT_WIDTH);
		model.full_width = kvm_cpu_has(X86_FEATURE_PDCM) &&
				   (kvm_get_feature_msr(MSR_IA32_PERF_CAPABILITIES) &
				    PMU_CAP_FW_WRITES);
		model.has_metrics = kvm_cpu_has(X86_FEATURE_PDCM) &&
				    (kvm_get_feature_msr(MSR_IA32_PERF_CAPABILITIES) &
				     PMU_CAP_METRICS);
		return model;
	}

	model.version = 1;
	model.nr_gp = AMD_NR_LEGACY;
	model.width_gp = AMD_COUNTER_WIDTH;
	model.full_width = kvm_cpu_has(X86_FEATURE_PERFCTR_CORE_BIT);
	if (model.full_width)
		model.nr_gp = AMD_NR_CORE;
	if (kvm_cpu_has(X86_FEATURE_PERFMON_V2_BIT)) {
		model.version = 2;
		model.nr_gp = kvm_cpu_property(X86_PROPERTY_NR_CORE_COUNTERS);
	}
	return model;
}

void vcpu_set_pmu_model(struct kvm_vcpu *vcpu, const struct pmu_model *model)
{
	if (!host_cpu_is_intel) {
		vcpu_set_or_clear_cpuid_feature(vcpu, X86_FEATURE_PERFCTR_CORE_BIT,
						model->full_width);
		if (!vcpu_get_cpuid_entry(vcpu, 0x80000022))
			return;
		vcpu_set_or_clear_cpuid_feature(vcpu, X86_FEATURE_PERFMON_V2_BIT,
						model->version > 1);
		vcpu_set_cpuid_property(vcpu, X86_PROPERTY_NR_CORE_COUNTERS,
					model->version > 1 ? model->nr_gp : 0);
		return;
	}

	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_PMU_VERSION, model->version);
	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_PMU_NR_GP_COUNTERS, model->nr_gp);
	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_PMU_NR_FIXED_COUNTERS, model->nr_fixed);
	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_PMU_FIXED_COUNTERS_BITMASK,
				model->version < 5 ? 0 : BIT(model->nr_fixed) - 1);
	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_PMU_GP_COUNTERS_BIT_WIDTH, model->width_gp);
	vcpu_set_cpuid_property(vcpu, X86_PROPERTY_PMU_FIXED_COUNTERS_BIT_WIDTH,
				model->width_fixed);
	/* KVM has no PERF_CAPABILITIES of a guest without a PMU. */
	if (model->version && kvm_cpu_has(X86_FEATURE_PDCM)) {
		uint64_t caps = kvm_get_feature_msr(MSR_IA32_PERF_CAPABILITIES);

		if (!model->full_width)
			caps &= ~PMU_CAP_FW_WRITES;
		if (!model->has_metrics)
			caps &= ~PMU_CAP_METRICS;
		vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, caps);
	}
}

struct guest_call {
	uint64_t op;
	uint64_t index;
	uint64_t value;
	uint64_t n;
	struct guest_result result;
};

static struct guest_call guest_calls[NR_GUEST_VCPUS];

/* One piece of assembly, so that it is known what is counted. */
#define COUNT(body)							\
do {									\
	uint32_t lo = call->value, hi = call->value >> 32;		\
	uint64_t c = call->index;					\
									\
	asm volatile("wrmsr\n\t"					\
		     "mov %[n], %%rcx\n\t"				\
		     "1:\n\t"						\
		     body						\
		     "mov %[msr], %%rcx\n\t"				\
		     "xor %%eax, %%eax\n\t"				\
		     "xor %%edx, %%edx\n\t"				\
		     "wrmsr\n\t"					\
		     : "+&a" (lo), "+&d" (hi), "+&c" (c)		\
		     : [n] "r" (call->n), [msr] "r" (call->index)	\
		     : "rbx", "r9", "memory");				\
} while (0)

static void guest_execute(struct guest_call *call)
{
	struct guest_result *result = &call->result;
	uint64_t i;

	result->vector = 0;
	result->value = 0;

	switch (call->op) {
	case GUEST_RDMSR:
		for (i = 0; i < call->n; i++)
			result->vector = rdmsr_safe(call->index, &result->value);
		break;
	case GUEST_WRMSR:
		for (i = 0; i < call->n; i++)
			result->vector = wrmsr_safe(call->index, call->value);
		break;
	case GUEST_RDPMC:
		for (i = 0; i < call->n; i++)
			result->vector = rdpmc_safe(call->index, &result->value);
		break;
	case GUEST_COUNT:
		COUNT("loop 1b\n\t");
		break;
	case GUEST_COUNT_CPUID:
		/* 4 instructions per iteration, of which 1 is a branch */
		COUNT("mov %%rcx, %%r9\n\t"
		      "cpuid\n\t"
		      "mov %%r9, %%rcx\n\t"
		      "loop 1b\n\t");
		break;
	case GUEST_COUNT_FEP:
		/* 3 instructions per iteration, of which 1 is a branch */
		COUNT(KVM_FEP "nop\n\t"
		      "nop\n\t"
		      KVM_FEP "loop 1b\n\t");
		break;
	case GUEST_COUNT_WRMSR:
		/* 7 instructions per iteration, of which 1 is a branch */
		COUNT("mov %%rcx, %%r9\n\t"
		      "mov $" __stringify(MSR_IA32_TSC_DEADLINE) ", %%ecx\n\t"
		      "xor %%eax, %%eax\n\t"
		      "xor %%edx, %%edx\n\t"
		      "wrmsr\n\t"
		      "mov %%r9, %%rcx\n\t"
		      "loop 1b\n\t");
		break;
	case GUEST_LOOP:
		asm volatile("1: loop 1b" : "+c" (call->n));
		break;
	case GUEST_CPUID:
		for (i = 0; i < call->n; i++) {
			uint32_t a, b, c, d;

			cpuid(0, &a, &b, &c, &d);
		}
		break;
	case GUEST_APIC:
		x2apic_write_reg(call->index, call->value);
		break;
	case GUEST_APIC_READ:
		result->value = x2apic_read_reg(call->index);
		break;
	case GUEST_ENABLE_IRQS:
		x2apic_enable();
		x2apic_write_reg(APIC_LVTPC, call->value);
		fallthrough;
	case GUEST_STI:
		/* The instruction after STI still holds interrupts off. */
		asm volatile("sti; nop");
		break;
	case GUEST_CLI:
		asm volatile("cli");
		break;
	default:
		GUEST_FAIL("Unknown operation %lu", call->op);
	}
}

void passthrough_guest(int vcpu)
{
	for (;;) {
		guest_execute(&guest_calls[vcpu]);
		GUEST_SYNC(vcpu);
	}
}

struct kvm_vm *vm_create_passthrough_guest(struct kvm_vcpu **vcpu)
{
	struct kvm_vm *vm = vm_create_with_one_vcpu(vcpu, passthrough_guest);

	vcpu_args_set(*vcpu, 1, 0);
	return vm;
}

static struct guest_call *guest_call(struct kvm_vcpu *vcpu)
{
	struct guest_call *calls = addr_gva2hva(vcpu->vm, (vm_vaddr_t)guest_calls);

	return &calls[vcpu->id];
}

void guest_prepare(struct kvm_vcpu *vcpu, enum guest_op op, uint64_t index,
		   uint64_t value, uint64_t n)
{
	*guest_call(vcpu) = (struct guest_call) {
		.op = op,
		.index = index,
		.value = value,
		.n = n,
	};
}

struct guest_result guest_finish(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("Unexpected ucall %lu, exit reason %u (%s)", uc.cmd,
			  vcpu->run->exit_reason, exit_reason_str(vcpu->run->exit_reason));
	}
	return guest_call(vcpu)->result;
}

struct guest_result guest_do(struct kvm_vcpu *vcpu, enum guest_op op, uint64_t index,
			     uint64_t value, uint64_t n)
{
	guest_prepare(vcpu, op, index, value, n);
	vcpu_run(vcpu);
	return guest_finish(vcpu);
}

uint64_t guest_rdmsr(struct kvm_vcpu *vcpu, uint32_t msr)
{
	struct guest_result result = guest_do(vcpu, GUEST_RDMSR, msr, 0, 1);

	TEST_ASSERT(!result.vector, "RDMSR(%#x) in the guest: exception %u", msr, result.vector);
	return result.value;
}

void guest_wrmsr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t value)
{
	struct guest_result result = guest_do(vcpu, GUEST_WRMSR, msr, value, 1);

	TEST_ASSERT(!result.vector, "WRMSR(%#x, %#lx) in the guest: exception %u",
		    msr, value, result.vector);
}

uint64_t guest_rdpmc(struct kvm_vcpu *vcpu, uint32_t index)
{
	struct guest_result result = guest_do(vcpu, GUEST_RDPMC, index, 0, 1);

	TEST_ASSERT(!result.vector, "RDPMC(%#x) in the guest: exception %u", index,
		    result.vector);
	return result.value;
}

void vm_set_msr_filter(struct kvm_vm *vm, uint32_t msr, uint32_t access)
{
	uint8_t deny = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
	};

	/* Without ranges there is no filter. */
	if (access)
		filter.ranges[0] = (struct kvm_msr_filter_range) {
			.flags = access,
			.nmsrs = 1,
			.base = msr,
			.bitmap = &deny,
		};

	vm_ioctl(vm, KVM_X86_SET_MSR_FILTER, &filter);
}

uint64_t vcpu_get_stat(struct kvm_vcpu *vcpu, const char *name)
{
	struct kvm_stats_header header;
	struct kvm_stats_desc *descs;
	uint64_t value = 0;
	bool found = false;
	int fd, i;

	fd = vcpu_get_stats_fd(vcpu);
	read_stats_header(fd, &header);
	descs = read_stats_descriptors(fd, &header);
	for (i = 0; i < header.num_desc && !found; i++) {
		struct kvm_stats_desc *desc = get_stats_descriptor(descs, i, &header);

		found = !strcmp(desc->name, name);
		if (found)
			read_stat_data(fd, &header, desc, &value, 1);
	}
	free(descs);
	close(fd);
	TEST_ASSERT(found, "The vCPU has no statistic '%s'", name);
	return value;
}

void assert_insns(struct kvm_vcpu *vcpu, uint64_t value, uint64_t expected, const char *what)
{
	uint64_t more = host_cpu_is_intel ? 0 : vcpu_get_stat(vcpu, "exits") + 1;

	TEST_ASSERT(value >= expected && value <= expected + more,
		    "%s: wanted %lu instructions (and up to %lu VMRUN), got %lu", what,
		    expected, more, value);
}

int host_event_open_attr(struct perf_event_attr *attr, pid_t pid, int cpu)
{
	int fd = syscall(SYS_perf_event_open, attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int host_event_open(uint64_t config, bool exclude_guest, pid_t pid, int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = config,
		.exclude_guest = exclude_guest,
	};

	return host_event_open_attr(&attr, pid, cpu);
}

int host_event_include_guest(void)
{
	int fd = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, false, 0, -1);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

uint64_t host_event_read(int fd)
{
	uint64_t value;

	TEST_ASSERT(read(fd, &value, sizeof(value)) == sizeof(value),
		    "Reading an event failed, errno %d (%s)", errno, strerror(errno));
	return value;
}

bool host_rdmsr(uint32_t msr, uint64_t *value)
{
	int fd = open("/dev/cpu/0/msr", O_RDONLY);
	bool ok;

	if (fd < 0)
		return false;
	ok = pread(fd, value, sizeof(*value), msr) == sizeof(*value);
	close(fd);
	return ok;
}
