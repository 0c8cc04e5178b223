/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel keeps SGX1 in a word of its own: SCATTERED_FEATURE() has its place. */
/* Expect: move it to its word, or use SCATTERED_FEATURE */
#define FEATURE_WORD CPUID_12_EAX
	FEATURE(hardware, SGX1)
#undef FEATURE_WORD
