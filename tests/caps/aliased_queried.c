// SPDX-License-Identifier: GPL-2.0-only
/* AMD's copy of APIC: has no number, and whoever makes one up can't ask for it. */
/* Expect: AMD.s copy of a feature */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	return guest_cpu_cap_has(vcpu, CPUID_8000_0001_EDX * 32 + 9);
}
