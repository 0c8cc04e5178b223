/* SPDX-License-Identifier: GPL-2.0 */
/* No CPUID has Linux's own words. */
#define CAP_WORD CPUID_LNX_1
	CAP(hardware, REP_GOOD)
#undef CAP_WORD
