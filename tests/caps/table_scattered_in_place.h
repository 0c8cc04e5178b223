/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel keeps SGX1 in a word of its own: CAP_KVM() has its place. */
#define CAP_WORD CPUID_12_EAX
	CAP(scattered, SGX1)
#undef CAP_WORD
