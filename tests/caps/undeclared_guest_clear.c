// SPDX-License-Identifier: GPL-2.0-only
/* Taking from a vCPU a feature that KVM doesn't know. */
/* Expect: KVM does not know the feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	guest_cpu_cap_clear(vcpu, X86_FEATURE_SMX);
	return true;
}
