/* SPDX-License-Identifier: GPL-2.0 */
/* AVX10 is a number of KVM's own, which the kernel can't be asked for. */
#define CAP_WORD CPUID_7_1_EDX
	CAP(scattered, AVX10)
#undef CAP_WORD
