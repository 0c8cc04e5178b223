// SPDX-License-Identifier: GPL-2.0
/*
 * Test that VMware's pseudo-PMCs, which tell the host's TSC and times, exist if
 * the administrator wants them, and not otherwise.
 */
#include "kvm_util.h"
#include "processor.h"

/* Host TSC, real time, apparent time */
#define PSEUDO_PMC_FIRST	0x10000
#define PSEUDO_PMC_LAST		0x10002

static void guest_code(bool backdoor)
{
	uint8_t vector, expected = backdoor ? 0 : GP_VECTOR;
	uint64_t value;
	uint32_t i;

	/* There is a PMU, i.e. it's not for want of one that RDPMC fails. */
	vector = rdpmc_safe(0, &value);
	__GUEST_ASSERT(!vector, "RDPMC(0): vector 0x%x", vector);

	for (i = PSEUDO_PMC_FIRST; i <= PSEUDO_PMC_LAST; i++) {
		value = 0;
		vector = rdpmc_safe(i, &value);
		__GUEST_ASSERT(vector == expected,
			       "RDPMC(0x%x): expected vector 0x%x, got 0x%x, value 0x%lx",
			       i, expected, vector, value);
	}

	GUEST_DONE();
}

int main(int argc, char *argv[])
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct ucall uc;

	TEST_REQUIRE(kvm_is_pmu_enabled());
	TEST_REQUIRE(host_cpu_is_amd || kvm_cpu_property(X86_PROPERTY_PMU_VERSION) > 0);

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	vcpu_args_set(vcpu, 1, get_kvm_param_bool("enable_vmware_backdoor"));
	vcpu_run(vcpu);

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	case UCALL_DONE:
		break;
	default:
		TEST_FAIL("Unexpected ucall: %lu", uc.cmd);
	}

	kvm_vm_free(vm);
}
