/* SPDX-License-Identifier: GPL-2.0-only */
/* The same sequences for another module. */
#include "pmu_asm.S"
