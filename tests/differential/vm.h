/* SPDX-License-Identifier: GPL-2.0-only */
/* A guest with one vCPU, and nothing in its memory but the machine. */
#ifndef DIFFERENTIAL_VM_H
#define DIFFERENTIAL_VM_H

#include "model.h"

extern const char *vm_error;		/* why something failed */

/* The PMU that CPUID and IA32_PERF_CAPABILITIES describe: of this processor, or of guests with all that KVM offers. */
void pmu_of_processor(struct pmu *pmu, u64 capabilities);
void pmu_of_kvm(struct pmu *pmu);
/* The status bits of Intel PT and SGX are not taken from *pmu. */

/*
 * KVM gives a guest GLOBAL_STATUS_RESET, GLOBAL_CTRL and RDPMC of the processor if it has all its counters, and refuses
 * nothing of what it then takes, whether or not there is an exit: fills in what that is.
 */
void pmu_share_registers(struct pmu *pmu);

/* A guest that has this PMU. */
void vm_create(const struct pmu *pmu);
void vm_destroy(void);

/*
 * Run operations: their records, and false with vm_error if that came to no end.  With move, every so many OP_PORT
 * the guest finds itself on a fresh vCPU of a fresh VM.
 */
bool vm_run(const struct op *ops, struct record *records, u32 count, u32 move);

extern u32 vm_moves;

#endif
