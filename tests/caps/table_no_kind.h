/* SPDX-License-Identifier: GPL-2.0 */
/* There is no such kind. */
/* Expect: CPU_CAP_hardwired.? undeclared */
#define FEATURE_WORD CPUID_1_ECX
	FEATURE(hardwired, SMX)
#undef FEATURE_WORD
