/* SPDX-License-Identifier: GPL-2.0 */
/* What all others here are variations of: this one must compile. */
#define FEATURE_WORD CPUID_1_ECX
	FEATURE(hardware, XTPR)
#undef FEATURE_WORD
