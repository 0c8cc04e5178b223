/* SPDX-License-Identifier: GPL-2.0 */
/* Only 0x80000001.EDX has copies. */
#define CAP_WORD CPUID_8000_0001_ECX
	CAP(alias, CLFLUSH)
#undef CAP_WORD
