// SPDX-License-Identifier: GPL-2.0-only
/* Giving a vCPU a feature that KVM doesn't know. */
/* Expect: KVM does not know the feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	guest_cpu_cap_set(vcpu, X86_FEATURE_SMX);
	return true;
}
