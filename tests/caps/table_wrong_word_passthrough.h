/* SPDX-License-Identifier: GPL-2.0 */
/* SMX is in 0x1.ECX. */
/* Expect: SMX: move the line to the word of the feature, or use SCATTERED_FEATURE */
#define FEATURE_WORD CPUID_7_0_EBX
	FEATURE(passthrough, SMX)
#undef FEATURE_WORD
