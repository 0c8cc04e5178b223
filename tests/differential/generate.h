/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DIFFERENTIAL_GENERATE_H
#define DIFFERENTIAL_GENERATE_H

#include "model.h"

#define PROGRAM_MAX 900

/*
 * The program of a seed, for a PMU or, if there is a second one, for both: at most room (PROGRAM_MAX) operations.
 * Returns how many; *begins: so many of them only make the registers what the program begins with.
 */
u32 generate(u64 seed, const struct pmu *guest, const struct pmu *native, struct op *to, u32 room, u32 *begins);

#endif
