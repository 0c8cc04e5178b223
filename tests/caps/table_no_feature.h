/* SPDX-License-Identifier: GPL-2.0 */
/* There is no such feature. */
#define CAP_WORD CPUID_1_ECX
	CAP(hardware, CX17)
#undef CAP_WORD
