/* SPDX-License-Identifier: GPL-2.0 */
/* AVX10 has a number of KVM's own only, which the kernel cannot be asked for. */
/* Expect: AVX10: the kernel lacks it, use FEATURE */
#define KVM_X86_FEATURE_AVX10 X86_FEATURE_AVX10
#define FEATURE_WORD CPUID_7_1_EDX
	SCATTERED_FEATURE(hardware, AVX10)
#undef FEATURE_WORD
