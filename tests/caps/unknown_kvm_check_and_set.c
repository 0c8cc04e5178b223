// SPDX-License-Identifier: GPL-2.0-only
/* Setting a feature that the kernel has no number for if the kernel has it. */
/* Expect: The kernel has no number for the feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	kvm_cpu_cap_check_and_set(X86_FEATURE_AVX10);
	return true;
}
