/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs of PMU operations: what the generator makes, what the machine (machine.S) executes natively and in a
 * guest, and what the model of the architecture predicts.
 */
#ifndef DIFFERENTIAL_PROGRAM_H
#define DIFFERENTIAL_PROGRAM_H

/* Selectors of segments, Linux' own, and where the machine's vectors are. */
#define MACHINE_KERNEL_CS	0x10
#define MACHINE_KERNEL_SS	0x18
#define MACHINE_USER_SS		0x2b
#define MACHINE_USER_CS		0x33
#define MACHINE_VECTOR_BACK	0x81	/* from user mode, by INT n */

/* Where the machine's page is in guests */
#define MACHINE_PAGE_GUEST	0x8000

/* A debug port natively; user space of the guest takes what it wants there. */
#define MACHINE_PORT		0x80

/* What the handler of PMIs does: bits of OP_HANDLER's value. */
#define HANDLER_STATUS		1	/* reads the status */
#define HANDLER_RESET		2	/* clears what it read */
#define HANDLER_REARM		4	/* writes LVTPC as OP_LVTPC did */

/* struct context for machine.S */
#define CTX_OPS			0
#define CTX_RECORDS		8
#define CTX_COUNT		16
#define CTX_APIC_LVTPC		24
#define CTX_STATUS_MSR		32
#define CTX_RESET_MSR		36
#define CTX_HANDLER		40
#define CTX_LVTPC		48
#define CTX_PMIS		56
#define CTX_PMI_STATUS		64
#define CTX_PMI_RIP		72
#define CTX_USER		80
#define CTX_RSP			88
#define CTX_SIZE		96

#define OP_SIZE			16
#define RECORD_SIZE		24

#ifndef __ASSEMBLER__

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;
#endif

/* In the order of the table in machine.S. */
enum op_kind {
	OP_WRMSR,		/* index, value */
	OP_RDMSR,		/* index */
	OP_RDPMC,		/* index */
	OP_LOOP,		/* value times two instructions, one of them a conditional branch */
	OP_NOPS,		/* sixteen instructions */
	OP_JUMPS,		/* eight branches that are not conditional */
	OP_USER_LOOP,		/* as OP_LOOP, in user mode */
	OP_USER_RDPMC,		/* RDPMC in user mode, which may not */
	OP_LVTPC,		/* value, to the local APIC */
	OP_READ_LVTPC,
	OP_HANDLER,		/* value: HANDLER_*, for PMIs from here on */
	OP_PORT,		/* OUT: a guest may find itself on another vCPU afterwards */
	OP_CALLS,		/* branches of each kind */
	OP_KINDS
};

struct op {
	u32 kind;
	u32 index;
	u64 value;
};

#define RECORD_FAULT	(1u << 31)

struct record {
	u64 value;		/* that was read */
	u64 pmi_status;		/* that the last PMI's handler read */
	u32 pmis;		/* until now */
	u32 rip;		/* that the last PMI interrupted, in the machine's page; RECORD_FAULT: #GP */
};

/* What the machine works on; its register 15 points there all the time. */
struct context {
	u64 ops;
	u64 records;
	u64 count;
	u64 apic_lvtpc;		/* where that register is */
	u32 status_msr;
	u32 reset_msr;
	u64 handler;
	u64 lvtpc;
	u64 pmis;
	u64 pmi_status;
	u64 pmi_rip;
	u64 user;		/* where the machine's page is in user mode */
	u64 rsp;
};

/* For the module: execute these. */
struct native_run {
	u64 ops;
	u64 records;
	u64 user;
	u32 count;
	u32 status_msr;
	u32 reset_msr;
	u32 padding;
	u64 page;		/* the module tells where the machine's page is */
};

#define NATIVE_RUN	_IOWR('d', 1, struct native_run)

#define LVTPC_NMI	0x400u
#define LVTPC_MASKED	0x10000u

#endif /* __ASSEMBLER__ */
#endif
