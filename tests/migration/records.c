// SPDX-License-Identifier: GPL-2.0
/*
 * records set|check: gives the registers of architectural branch records (SDM vol. 3B, "Last Branch Records") values that
 * tell which register of which record they are in; or says how many registers have theirs, and in which there is another
 * one. Recording stays off.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LBR_CTL		0x14ce
#define LBR_DEPTH	0x14cf
#define LBR_FROM	0x1500
#define LBR_TO		0x1600
#define LBR_INFO	0x1200
#define DEPTH		32

/* All kinds of branches, in user mode and the kernel, but not enabled. */
#define CTL		0x7f0006

static int msrs, good;

static uint64_t get(uint32_t msr)
{
	uint64_t value;

	if (pread(msrs, &value, sizeof(value), msr) != sizeof(value)) {
		fprintf(stderr, "records: reading MSR %#x: %m\n", msr);
		exit(2);
	}
	return value;
}

static void set(uint32_t msr, uint64_t value)
{
	if (pwrite(msrs, &value, sizeof(value), msr) != sizeof(value)) {
		fprintf(stderr, "records: writing %#" PRIx64 " to MSR %#x: %m\n", value, msr);
		exit(2);
	}
}

static void check(uint32_t msr, uint64_t want)
{
	uint64_t value = get(msr);

	if (value == want)
		good++;
	else
		printf("MSR %#x: wanted %#" PRIx64 ", got %#" PRIx64 "\n", msr, want, value);
}

int main(int argc, char **argv)
{
	void (*with)(uint32_t msr, uint64_t value);
	uint32_t i;

	if (argc != 2 || (strcmp(argv[1], "set") && strcmp(argv[1], "check"))) {
		fprintf(stderr, "usage: records set|check\n");
		return 2;
	}
	msrs = open("/dev/cpu/0/msr", O_RDWR);
	if (msrs < 0) {
		perror("records: /dev/cpu/0/msr");
		return 2;
	}

	with = strcmp(argv[1], "set") ? check : set;
	/* Setting the depth clears the records. */
	with(LBR_DEPTH, DEPTH);
	with(LBR_CTL, CTL);
	for (i = 0; i < DEPTH; i++) {
		with(LBR_FROM + i, 0x7f1100000000 | i << 8);
		with(LBR_TO + i, 0xffffffff22000000 | i << 8);
		/* A conditional jump, after so many cycles. */
		with(LBR_INFO + i, i + 1);
	}
	if (with == check)
		printf("%d registers\n", good);
	return 0;
}
