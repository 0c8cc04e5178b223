// SPDX-License-Identifier: GPL-2.0-only
/* Changing a feature at runtime that KVM doesn't know. */
/* Expect: KVM does not know the feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	guest_cpu_cap_change(vcpu, X86_FEATURE_SMX, vcpu->arch.cr0);
	return true;
}
