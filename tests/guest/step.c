// SPDX-License-Identifier: GPL-2.0
/*
 * step PROGRAM STEPS CALLS: executes PROGRAM as a debugger does, instruction by instruction, also over
 * its system calls, and says whether each step ended where it must: after a system call at the
 * instruction that follows (the fast ones of 32-bit programs end in the vDSO, after its INT 80H).
 * STEPS is the number of instructions, CALLS how many of them are system calls, the last one,
 * exit, included; with STEPS 0 only those are counted. A 32-bit program begins with the
 * vDSO's entry for system calls in ESI.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_SYSINFO_32	32

static pid_t child;

static void die(const char *what)
{
	perror(what);
	if (child > 0)
		kill(child, SIGKILL);
	exit(2);
}

/* AT_SYSINFO of a 32-bit process, 0 of another one */
static uint32_t vsyscall(const char *program)
{
	char path[64];
	uint32_t pair[2];
	Elf64_Ehdr elf;
	int fd;

	fd = open(program, O_RDONLY);
	if (fd < 0 || read(fd, &elf, sizeof(elf)) != sizeof(elf))
		die(program);
	close(fd);
	if (elf.e_ident[EI_CLASS] != ELFCLASS32)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/auxv", child);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		die(path);
	while (read(fd, pair, sizeof(pair)) == sizeof(pair) && pair[0]) {
		if (pair[0] == AT_SYSINFO_32) {
			close(fd);
			return pair[1];
		}
	}
	close(fd);
	printf("no AT_SYSINFO\n");
	kill(child, SIGKILL);
	exit(1);
}

static void get(struct user_regs_struct *regs)
{
	if (ptrace(PTRACE_GETREGS, child, NULL, regs))
		die("PTRACE_GETREGS");
}

/* Two bytes of the program, the first in bits 7:0 */
static unsigned int bytes_at(uint64_t rip)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, child, (void *)rip, NULL);
	if (errno)
		die("PTRACE_PEEKTEXT");
	return word & 0xffff;
}

enum { SYSCALL = 0x050f, SYSENTER = 0x340f, INT80 = 0x80cd, CALL_ESI = 0xd6ff, RET = 0xc3 };

int main(int argc, char **argv)
{
	struct user_regs_struct regs;
	unsigned long steps = 0, calls = 0, bad = 0, want_steps, want_calls;
	uint32_t entry;
	int status;

	if (argc != 4) {
		fprintf(stderr, "usage: step PROGRAM STEPS CALLS\n");
		return 2;
	}
	want_steps = strtoul(argv[2], NULL, 0);
	want_calls = strtoul(argv[3], NULL, 0);
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execl(argv[1], argv[1], (char *)NULL);
		_exit(127);
	}
	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
		die(argv[1]);
	entry = vsyscall(argv[1]);
	get(&regs);
	if (entry) {
		regs.rsi = entry;
		if (ptrace(PTRACE_SETREGS, child, NULL, &regs))
			die("PTRACE_SETREGS");
	}

	for (;;) {
		uint64_t from = regs.rip;
		unsigned int code = bytes_at(from);
		int call = code == SYSCALL || code == SYSENTER || code == INT80, right;

		if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL))
			die("PTRACE_SINGLESTEP");
		if (waitpid(child, &status, 0) != child)
			die("waitpid");
		steps++;
		calls += call;
		if (!WIFSTOPPED(status))
			break;
		if (WSTOPSIG(status) != SIGTRAP) {
			printf("step %lu, at %#llx: signal %d\n", steps, (long long)from, WSTOPSIG(status));
			bad++;
			kill(child, SIGKILL);
			break;
		}
		get(&regs);
		if (code == CALL_ESI)
			right = regs.rip == (uint32_t)regs.rsi;
		else if ((code & 0xff) == RET)
			right = 1;
		else if (code == SYSENTER || (entry && code == SYSCALL))
			right = bytes_at(regs.rip - 2) == INT80;
		else if (call)
			right = regs.rip == from + 2;
		else
			right = regs.rip > from && regs.rip <= from + 15;
		if (!right) {
			printf("step %lu, %04x at %#llx, ended at %#llx\n", steps, code, (long long)from,
			       (long long)regs.rip);
			bad++;
		}
	}
	if (want_steps && steps != want_steps) {
		printf("%lu steps, must be %lu\n", steps, want_steps);
		bad++;
	}
	if (calls != want_calls) {
		printf("%lu system calls, must be %lu\n", calls, want_calls);
		bad++;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		printf("the program ended with status %#x\n", status);
		bad++;
	}
	return bad != 0;
}
