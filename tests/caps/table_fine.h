/* SPDX-License-Identifier: GPL-2.0 */
/* What all others here are variations of: this one must compile. */
#define CAP_WORD CPUID_1_ECX
	CAP(hardware, XTPR)
#undef CAP_WORD
