/* SPDX-License-Identifier: GPL-2.0-only */
/* What storm.c and the guest (guest.S) share: a vCPU's area, to which the guest's EBP points all the time. */
#ifndef STORM_GUEST_H
#define STORM_GUEST_H

#define GUEST_VCPUS	3
#define GUEST_SIZE	0x40000

#define GDT		0x1000
#define IDT		0x2000
#define CODE		0x4000
#define GUEST_CODE	0x4000		/* so much room for it, below any address of user space */
#define AREA(v)		(0x8000 + (v) * 0x1000)
#define STACK(v)	(AREA(v) + 0x1000)

#define CODE_SEL	0x10
#define DATA_SEL	0x18

/* Ports: user space may have a look; something is not as it must be */
#define PORT_LOOK	0x80
#define PORT_WRONG	0x81

/* struct area */
#define A_SELECTOR_MSR	0
#define A_COUNTER_MSR	4
#define A_CTRL_MSR	8
#define A_RESET_MSR	12
#define A_SELECTOR	16
#define A_SELECTOR_PMI	20
#define A_LOOPS		24
#define A_PERIOD	28
#define A_SAMPLED_LOOPS	32
#define A_SAMPLES	36
#define A_PMIS		40
#define A_COUNT		44
#define A_ROUNDS	48
#define A_WRONG		52
#define A_LBR		56
#define A_LBR_MSR	60
#define A_LBR_ON	64
#define A_SELECT_MSR	68
#define A_SELECT	72
#define A_TOS_MSR	76
#define A_FROM_MSR	80
#define A_TO_MSR	84
#define A_STEP		88
#define A_RECORDS	92
#define A_CHECKED	96
#define A_FROM_IGNORED	100
#define A_TO_HIGH	104
#define A_LBR_LOOPS	108
#define A_RECORD	112
#define A_READ		116
#define A_FROM		0x100
#define A_TO		0x180

#define RECORDS_MAX	32

/* Of A_WRONG */
#define WRONG_COUNT	1
#define WRONG_SAMPLES	2
#define WRONG_RECORD	3

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>
struct area {
	uint32_t selector_msr, counter_msr, ctrl_msr, reset_msr;
	uint32_t selector, selector_pmi;
	uint32_t loops, period, sampled_loops, samples;
	uint32_t pmis, count, rounds, wrong;
	/* Branch records, if lbr is set: what enables them, and what selects some if there is such a register */
	uint32_t lbr, lbr_msr, lbr_on, select_msr, select;
	/* The newest of them, or 0 if that is always the first; the first registers, and from one to the next */
	uint32_t tos_msr, from_msr, to_msr, step;
	/* How many there are, and how many of the newest are known; bits 63:32: some of FROM, all of TO */
	uint32_t records, checked, from_ignored, to_high;
	uint32_t lbr_loops;
	/* Of WRONG_RECORD: which one, FROM and TO */
	uint32_t record, read[4];
	uint32_t padding[0x100 / 4 - 33];
	uint32_t from[RECORDS_MAX], to[RECORDS_MAX];
};
_Static_assert(offsetof(struct area, read) == A_READ && offsetof(struct area, from) == A_FROM &&
	       offsetof(struct area, to) == A_TO, "A_*");
#endif
#endif
