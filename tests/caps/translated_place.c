// SPDX-License-Identifier: GPL-2.0-only
/* A feature is asked for by the kernel's number, not by its place in a word of KVM's own that isn't in use. */
/* Expect: KVM does not know the feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	return guest_cpu_cap_has(vcpu, KVM_X86_FEATURE(CPUID_7_2_EDX, 31));
}
