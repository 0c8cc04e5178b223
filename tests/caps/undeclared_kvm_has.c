// SPDX-License-Identifier: GPL-2.0-only
/* KVM doesn't know SMX: nobody sets it. */
/* Expect: KVM does not know the feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	return kvm_cpu_cap_has(X86_FEATURE_SMX);
}
