/* SPDX-License-Identifier: GPL-2.0-only */
/* The sequences and handlers of the PMU's tests, for those of Intel PT. */
#include "pmu_asm.S"
