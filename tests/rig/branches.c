// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program whose branches are known, for perf record -b and --call-graph lbr.
 *
 * `branches list` prints the branches of a turn of its loop, in the order in which they are taken:
 * from, to, kind. `branches stack` prints the addresses from which its innermost function is called,
 * the innermost first, then the first and last address in it. `branches syscalls` prints the address
 * of its system call, where that returns to, and the first and last address of the loop around it.
 * With a number behind it, `branches MODE N` does N turns, as root, in real time: each change of the
 * task would make the kernel forget the records, and a sample soon after it had only few.
 */
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct branch {
	uint64_t from, to;
	const char *kind;
};

extern const struct branch branch_list[], branch_list_end[];
extern const uint64_t stack_list[], stack_list_end[];
extern const char syscall_at[], syscall_end[], syscall_loop[], syscall_last[], deep_loop[], deep_last[];
void turns(uint64_t n);
void stack(uint64_t n);
void syscalls(uint64_t n);

asm(".text\n"
    "turns:\n"
    "1:	call	11f\n"
    "2:	lea	12f(%rip), %rax\n"
    "3:	call	*%rax\n"
    "4:	jmp	5f\n"
    "	nop\n"
    "11:	ret\n"
    "12:	nop\n"
    "13:	ret\n"
    "5:	lea	7f(%rip), %rax\n"
    "6:	jmp	*%rax\n"
    "	nop\n"
    "7:	xor	%eax, %eax\n"
    "8:	jz	9f\n"
    "	nop\n"
    "9:	jnz	1b\n"		/* not taken */
    "	dec	%rdi\n"
    "10:	jnz	1b\n"
    "	ret\n"

    ".section .rodata\n"
    ".balign 8\n"
    "branch_list:\n"
    "	.quad	1b, 11b, rel_call\n"
    "	.quad	11b, 2b, near_ret\n"
    "	.quad	3b, 12b, ind_call\n"
    "	.quad	13b, 4b, near_ret\n"
    "	.quad	4b, 5b, rel_jmp\n"
    "	.quad	6b, 7b, ind_jmp\n"
    "	.quad	8b, 9b, cond\n"
    "	.quad	10b, 1b, cond\n"
    "branch_list_end:\n"
    "rel_call: .asciz \"call\"\n"
    "ind_call: .asciz \"ind_call\"\n"
    "near_ret: .asciz \"ret\"\n"
    "rel_jmp: .asciz \"jmp\"\n"
    "ind_jmp: .asciz \"ind_jmp\"\n"
    "cond: .asciz \"cond\"\n"
    ".text\n"

    /* three calls to the loop, past functions that returned, and a call that only asks for its address */
    "stack:\n"
    "	call	25f\n"
    "21:	call	31f\n"
    "	ret\n"
    "31:	call	25f\n"
    "	lea	32f(%rip), %rax\n"
    "22:	call	*%rax\n"
    "	ret\n"
    "32:	call	33f\n"
    "33:	pop	%rax\n"
    "23:	call	34f\n"
    "	ret\n"
    "25:	ret\n"
    "34:\n"
    "deep_loop:\n"
    "	dec	%rdi\n"
    "deep_last:\n"
    "	jnz	34b\n"
    "	ret\n"

    ".section .rodata\n"
    ".balign 8\n"
    "stack_list: .quad 23b, 22b, 21b\n"
    "stack_list_end:\n"
    ".text\n"

    /* getppid */
    "syscalls:\n"
    "syscall_loop:\n"
    "	mov	$110, %eax\n"
    "syscall_at:\n"
    "	syscall\n"
    "syscall_end:\n"
    "	dec	%rdi\n"
    "syscall_last:\n"
    "	jnz	syscall_loop\n"
    "	ret\n");

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	struct sched_param first = { .sched_priority = sched_get_priority_max(SCHED_FIFO) };

	if (n && sched_setscheduler(0, SCHED_FIFO, &first)) {
		perror("branches: SCHED_FIFO");
		return 1;
	}
	if (!strcmp(mode, "list")) {
		if (n)
			turns(n);
		for (const struct branch *b = branch_list; !n && b < branch_list_end; b++)
			printf("0x%llx 0x%llx %s\n", (long long)b->from, (long long)b->to, b->kind);
	} else if (!strcmp(mode, "stack")) {
		if (n)
			stack(n);
		for (const uint64_t *a = stack_list; !n && a < stack_list_end; a++)
			printf("%llx ", (long long)*a);
		if (!n)
			printf("%llx %llx\n", (long long)deep_loop, (long long)deep_last);
	} else if (!strcmp(mode, "syscalls")) {
		if (n)
			syscalls(n);
		else
			printf("0x%llx 0x%llx 0x%llx 0x%llx\n", (long long)syscall_at, (long long)syscall_end,
			       (long long)syscall_loop, (long long)syscall_last);
	} else {
		fprintf(stderr, "usage: %s list|stack|syscalls [N]\n", argv[0]);
		return 2;
	}
	return 0;
}
