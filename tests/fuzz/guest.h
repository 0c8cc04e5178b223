/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the host (fuzz.c) and the guest (guest.c, entry.S) share: operations, what came of them, and where things are
 * in the guest's memory. Each vCPU has an area of its own; GS points there at each privilege level, in L1 and L2.
 */
#ifndef FUZZ_GUEST_H
#define FUZZ_GUEST_H

#define GUEST_VCPUS	2

/* The guest's memory: identity-mapped, all of it for user mode, too, as is the local APIC. */
#define PML4		0x1000
#define PDPT		0x2000
#define PD_LOW		0x3000
#define PD_APIC		0x4000
#define GDT		0x5000
#define IDT		0x6000
#define TSS(v)		(0x7000 + (v) * 0x100)
#define STACKS(v)	(0x20000 + (v) * 0x10000)	/* the ends of five stacks, of 0x2000 bytes each: */
#define STACK_L1	0x2000
#define STACK_TSS	0x4000		/* from the other rings */
#define STACK_NMI	0x6000
#define STACK_RING	0x8000		/* of the other rings */
#define STACK_L2	0xa000
#define NESTED(v)	(0x40000 + (v) * 0x8000)	/* pages for VMX and SVM: */
#define NESTED_VMXON	0x0000
#define NESTED_VMCS	0x1000		/* or the VMCB */
#define NESTED_HSAVE	0x2000
#define NESTED_BITMAP	0x3000		/* of MSRs, two pages, all clear */
#define CODE		0x100000
#define GUEST_HANDLERS	(CODE + 0x10)	/* of vectors 0 to 31, VECTOR_BACK, interrupts */
#define AREA(v)		(0x200000 + (v) * 0x80000)
#define GUEST_SIZE	0x400000

#define APIC		0xfee00000
#define APIC_EOI	0xb0
#define APIC_SPIV	0xf0
#define APIC_LVTPC	0x340

/* Selectors: code and data of each ring, then the TSS of each vCPU. */
#define CODE_OF(ring)	(0x10 + (ring) * 0x10)
#define DATA_OF(ring)	(0x18 + (ring) * 0x10)
#define TSS_OF(v)	(0x60 + (v) * 0x10)
#define GDT_SIZE	0x80

#define VECTOR_BACK	0x81
#define VECTOR_PMI	0x51

/* Ports: the end of a program; user space may have a look; an exception that nobody expects (AL: its vector) */
#define PORT_END	0x80
#define PORT_LOOK	0x81
#define PORT_FAULT	0x82

/* struct area for entry.S */
#define AREA_FAULT	0
#define AREA_RSP	8
#define AREA_RING	16
#define AREA_NMIS	24
#define AREA_INTS	32

#define MAX_OPS		1000

#ifndef __ASSEMBLER__
#include <stdint.h>
typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;

enum op_kind {
	OP_RDMSR,	/* index */
	OP_WRMSR,	/* index, value */
	OP_RDPMC,	/* index */
	OP_LOOP,	/* value times two instructions */
	OP_CPUID,	/* index: leaf, value: subleaf */
	OP_LVTPC,	/* value */
	OP_PCE,		/* value: whether user mode may read counters */
	OP_STI,		/* interrupts on, then off */
	OP_PORT,
	OP_NESTED,	/* the next index operations are L2's; value: NESTED_* and its VMCS's GLOBAL_CTRLs */
	OP_KINDS
};

/* Of OP_NESTED's value; the other bits are values of GLOBAL_CTRL. */
#define L2_MSR_EXITS	1
#define L2_RDPMC_EXITS	2
#define L2_LOAD_CTRL	4
#define L1_LOAD_CTRL	8
#define L2_NMI_EXITS	16
#define L2_INTR_EXITS	32

struct op {
	u16 kind;
	u8 ring;
	u8 unused;
	u32 index;
	u64 value;
};

struct result {
	u64 value;
	u32 fault;	/* vector + 1 of an exception */
	u32 done;	/* 1: by L1, 2: by L2, 3: by L1 for L2 */
};

struct area {
	u64 fault;
	u64 rsp;
	u64 ring_rsp;
	u64 nmis;
	u64 ints;
	u64 vcpu;
	u64 svm;
	u32 count;
	u32 next;
	u32 entries;		/* into L2 that succeeded */
	u32 refused;		/* that did not */
	u64 unused;
	struct op ops[MAX_OPS];
	struct result results[MAX_OPS];
};

#endif
#endif
