// SPDX-License-Identifier: GPL-2.0-only
/* What all others here are variations of: this one must compile. */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	kvm_cpu_cap_set(X86_FEATURE_SVM);
	kvm_cpu_cap_clear(X86_FEATURE_RDTSCP);
	guest_cpu_cap_change(vcpu, X86_FEATURE_OSXSAVE, true);
	return guest_cpu_cap_has(vcpu, X86_FEATURE_SGX1) && kvm_cpu_cap_has(X86_FEATURE_APIC);
}
