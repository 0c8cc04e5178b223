/* SPDX-License-Identifier: GPL-2.0 */
/* A copy isn't where the original is. */
/* Expect: only 0x80000001.EDX has copies */
#define FEATURE_WORD CPUID_1_EDX
	FEATURE(aliased, ACPI)
#undef FEATURE_WORD
