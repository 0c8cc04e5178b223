// SPDX-License-Identifier: GPL-2.0-only
/* Raw CPUID can't be asked for features, other than XSAVES. */
/* Expect: implicit declaration of function .?guest_cpuid_has */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	return guest_cpuid_has(vcpu, X86_FEATURE_XSAVE);
}
