// SPDX-License-Identifier: GPL-2.0-only
/* A feature that Linux made up isn't part of any CPUID. */
/* Expect: BUILD_BUG_ON failed: x86_leaf == CPUID_LNX_1 */
#include <linux/kvm_host.h>

#include "cpuid.h"

bool probe(struct kvm_vcpu *vcpu);
bool probe(struct kvm_vcpu *vcpu)
{
	return guest_cpu_cap_has(vcpu, X86_FEATURE_REP_GOOD);
}
