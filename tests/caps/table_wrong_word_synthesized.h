/* SPDX-License-Identifier: GPL-2.0 */
/* SMX is in 0x1.ECX. */
/* Expect: move it to its word, or use SCATTERED_FEATURE */
#define FEATURE_WORD CPUID_7_0_EBX
	FEATURE(synthesized, SMX)
#undef FEATURE_WORD
