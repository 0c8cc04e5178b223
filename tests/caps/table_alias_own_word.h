/* SPDX-License-Identifier: GPL-2.0 */
/* A copy isn't where the original is. */
#define CAP_WORD CPUID_1_EDX
	CAP(alias, ACPI)
#undef CAP_WORD
