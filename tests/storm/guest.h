/* SPDX-License-Identifier: GPL-2.0-only */
/* What storm.c and the guest (guest.S) share: a vCPU's area, to which the guest's EBP points all the time. */
#ifndef STORM_GUEST_H
#define STORM_GUEST_H

#define GUEST_VCPUS	3
#define GUEST_SIZE	0x40000

#define GDT		0x1000
#define IDT		0x2000
#define CODE		0x4000
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

/* Of A_WRONG */
#define WRONG_COUNT	1
#define WRONG_SAMPLES	2

#ifndef __ASSEMBLER__
#include <stdint.h>
struct area {
	uint32_t selector_msr, counter_msr, ctrl_msr, reset_msr;
	uint32_t selector, selector_pmi;
	uint32_t loops, period, sampled_loops, samples;
	uint32_t pmis, count, rounds, wrong;
};
#endif
#endif
