/* SPDX-License-Identifier: GPL-2.0 */
/* Copies are of features of 0x1.EDX. */
#define CAP_WORD CPUID_8000_0001_EDX
	CAP(alias, SMX)
#undef CAP_WORD
