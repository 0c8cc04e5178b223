// SPDX-License-Identifier: GPL-2.0-only
/* Clearing a feature that can't be set. */
/* Expect: KVM does not know the feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	kvm_cpu_cap_clear(X86_FEATURE_SHSTK);
	return true;
}
