/* SPDX-License-Identifier: GPL-2.0 */
/* No CPUID has Linux's own words. */
/* Expect: Linux made the word up */
#define FEATURE_WORD CPUID_LNX_1
	FEATURE(hardware, REP_GOOD)
#undef FEATURE_WORD
