/* SPDX-License-Identifier: GPL-2.0 */
/* There is no such kind. */
#define CAP_WORD CPUID_1_ECX
	CAP(hardwired, SMX)
#undef CAP_WORD
