/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_X86_VMX_PASSTHROUGH_LBR_H
#define __KVM_X86_VMX_PASSTHROUGH_LBR_H

#include <linux/init.h>
#include <linux/kvm_host.h>

void __init vmx_passthrough_lbr_setup(void);
u64 vmx_passthrough_lbr_format(void);
bool vmx_passthrough_lbr_is_arch(void);
void vmx_passthrough_lbr_refresh(struct kvm_vcpu *vcpu);
void vmx_passthrough_lbr_recheck(struct kvm_vcpu *vcpu);
void vmx_passthrough_lbr_load(struct kvm_vcpu *vcpu);
bool vmx_passthrough_lbr_put(struct kvm_vcpu *vcpu);
void vmx_passthrough_lbr_leave_vmcs(struct kvm_vcpu *vcpu);
void vmx_passthrough_lbr_enter_vmcs(struct kvm_vcpu *vcpu);
u64 vmx_passthrough_lbr_xss_exits(struct kvm_vcpu *vcpu);
void vmx_passthrough_lbr_update(struct kvm_vcpu *vcpu);
bool vmx_passthrough_lbr_has_msr(struct kvm_vcpu *vcpu, u32 msr);
int vmx_passthrough_lbr_get_msr(struct kvm_vcpu *vcpu, struct msr_data *msr_info);
int vmx_passthrough_lbr_set_msr(struct kvm_vcpu *vcpu, struct msr_data *msr_info);
int vmx_passthrough_lbr_handle_xsaves(struct kvm_vcpu *vcpu);

#endif /* __KVM_X86_VMX_PASSTHROUGH_LBR_H */
