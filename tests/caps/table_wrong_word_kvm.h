/* SPDX-License-Identifier: GPL-2.0 */
/* SGX1 is in 0x12.EAX. */
#define CAP_WORD CPUID_24_0_EBX
	CAP_KVM(scattered, SGX1)
#undef CAP_WORD
