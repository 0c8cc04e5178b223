/* SPDX-License-Identifier: GPL-2.0 */
/* SMX is in 0x1.ECX. */
#define CAP_WORD CPUID_7_0_EBX
	CAP(x86_64, SMX)
#undef CAP_WORD
