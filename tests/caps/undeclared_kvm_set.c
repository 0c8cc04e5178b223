// SPDX-License-Identifier: GPL-2.0-only
/* KVM doesn't know SHSTK: setting it would offer what isn't virtualized. */
/* Expect: KVM does not know the feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	kvm_cpu_cap_set(X86_FEATURE_SHSTK);
	return true;
}
