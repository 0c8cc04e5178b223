// SPDX-License-Identifier: GPL-2.0-only
/*
 * A loop of known length: `loop N` retires 2 * N instructions in it, N of them
 * conditional branches.  What is around the loop is the same for every N of the
 * same number of digits.
 */
#include <stdlib.h>

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;

	if (!n)
		return 2;
	asm volatile("1:\n\t"
		     "dec %0\n\t"
		     "jnz 1b"
		     : "+r" (n) : : "cc");
	return 0;
}
