// SPDX-License-Identifier: GPL-2.0-only
/* Setting a feature that isn't in the table if the kernel has it. */
/* Expect: KVM does not know the feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	kvm_cpu_cap_check_and_set(X86_FEATURE_SHSTK);
	return true;
}
