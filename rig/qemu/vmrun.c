// SPDX-License-Identifier: GPL-2.0
/*
 * Mends the emulation of VMRUN in a QEMU that runs the tcg-* machines, in memory, as LD_PRELOAD.
 *
 * QEMU (7.2 and 10.0 at least) delivers a hardware interrupt that VMRUN injects (EVENTINJ, type
 * INTR) at once, but before that it stores the vector in the CPU's exception_index, as it does
 * for the events that are delivered later. Nothing takes it away. If the CPU's loop is left before
 * the guest has an exit or an exception, QEMU delivers the vector a second time, wherever the guest
 * is by then and whether its interrupts are enabled or not. With -icount the loop is left whenever
 * a timer of the machine expires, so every handler that runs when the host's timer does is entered
 * twice; without, it takes a race with the kick of another thread. A handler that holds a lock
 * spins for ever.
 *
 * The store is looked for by what it is, not by where: the only one of the second argument's
 * register into that field shortly before a call of do_interrupt_x86_hardirq(). The suite
 * "interrupts" fails if it was not found in a QEMU that needs it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOOK_BACK	80	/* bytes between the store and the call */

struct search {
	const uint8_t *target;	/* do_interrupt_x86_hardirq() */
	int32_t index;		/* offset of exception_index in CPUState */
	uint8_t *store;
	unsigned int length, found;
};

static int32_t get32(const uint8_t *p)
{
	int32_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

/* cpu_loop_exit_noexc(cpu) begins with cpu->exception_index = -1: movl $-1, disp32(%rdi) */
static int32_t exception_index(const uint8_t *code)
{
	unsigned int i;

	for (i = 0; code && i < 32; i++) {
		if (code[i] == 0xc7 && code[i + 1] == 0x87 && get32(code + i + 6) == -1)
			return get32(code + i + 2);
	}
	return 0;
}

/*
 * movl %esi, disp32(base): its length, or 0. The base is the CPUState, or the CPUX86State that
 * stands behind it, aligned to 16 bytes.
 */
static unsigned int is_store(const uint8_t *p, int32_t index)
{
	unsigned int rex = p[0] == 0x41;
	int32_t disp;

	p += rex;
	if (p[0] != 0x89 || (p[1] & 0xf8) != 0xb0 || (p[1] & 7) == 4)
		return 0;
	disp = get32(p + 2);
	if (disp != index && (disp >= 0 || (index - disp) % 16))
		return 0;
	return rex + 6;
}

static void search_code(struct search *s, uint8_t *code, size_t size)
{
	uint8_t *call, *p;
	unsigned int length;

	for (call = code + LOOK_BACK; call + 5 <= code + size; call++) {
		if (*call != 0xe8 || call + 5 + get32(call + 1) != s->target)
			continue;
		for (p = call - LOOK_BACK; p + 6 <= call; p++) {
			length = is_store(p, s->index);
			if (!length)
				continue;
			s->store = p;
			s->length = length;
			s->found++;
			p += length - 1;
		}
	}
}

/* The first object is the program. */
static int search_program(struct dl_phdr_info *info, size_t size, void *data)
{
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];

		if (h->p_type == PT_LOAD && (h->p_flags & PF_X))
			search_code(data, (uint8_t *)info->dlpi_addr + h->p_vaddr, h->p_memsz);
	}
	return 1;
}

static int replace(uint8_t *p, unsigned int length)
{
	static const uint8_t nop[2][7] = {
		{ 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
	};
	uintptr_t page = sysconf(_SC_PAGESIZE), first = (uintptr_t)p & -page;
	size_t size = (((uintptr_t)p + length - 1) & -page) + page - first;

	if (mprotect((void *)first, size, PROT_READ | PROT_WRITE))
		return -1;
	memcpy(p, nop[length - 6], length);
	return mprotect((void *)first, size, PROT_READ | PROT_EXEC);
}

__attribute__((constructor))
static void mend(void)
{
	struct search s = {
		.target = dlsym(RTLD_DEFAULT, "do_interrupt_x86_hardirq"),
		.index = exception_index(dlsym(RTLD_DEFAULT, "cpu_loop_exit_noexc")),
	};

	if (s.target && s.index > 0)
		dl_iterate_phdr(search_program, &s);
	if (s.found != 1)
		fprintf(stderr, "vmrun: %u places that could be mended: VMRUN is left as it is\n", s.found);
	else if (replace(s.store, s.length))
		fprintf(stderr, "vmrun: cannot write there: %s\n", strerror(errno));
	else
		fprintf(stderr, "vmrun: interrupts that VMRUN injects are delivered once\n");
}
