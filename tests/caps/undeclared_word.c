// SPDX-License-Identifier: GPL-2.0-only
/* A word of CPUID that has no features in the table. */
/* Expect: KVM does not know the feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	return kvm_cpu_cap_has(X86_FEATURE_ARAT);
}
