/* SPDX-License-Identifier: GPL-2.0 */
/* SGX1 is in 0x12.EAX. */
/* Expect: move it to the word of KVM_X86_FEATURE_SGX1 */
#define FEATURE_WORD CPUID_24_0_EBX
	SCATTERED_FEATURE(hardware, SGX1)
#undef FEATURE_WORD
