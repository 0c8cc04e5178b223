// SPDX-License-Identifier: GPL-2.0-only
/*
 * ENCLU in user mode: prints the name of the signal that it raises.  SDM vol. 3D: #UD without SGX,
 * #GP(0) while the firmware has not enabled it, and of a leaf that is not there.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

static sigjmp_buf back;

static void handler(int sig)
{
	siglongjmp(back, sig);
}

int main(void)
{
	int sig;

	signal(SIGILL, handler);
	signal(SIGSEGV, handler);
	sig = sigsetjmp(back, 1);
	if (!sig)
		__asm__ volatile(".byte 0x0f, 0x01, 0xd7" : : "a" (0x7fffffff), "b" (0), "c" (0));
	puts(sig == SIGILL ? "SIGILL" : sig == SIGSEGV ? "SIGSEGV" : "none");
	return 0;
}
