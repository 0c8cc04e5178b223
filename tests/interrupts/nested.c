// SPDX-License-Identifier: GPL-2.0
/*
 * A guest whose timer interrupt is served for so long that the host's timer interrupts it: the
 * handler, which runs with interrupts disabled, is entered once for each interrupt. An emulator
 * that injects them twice fails.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../ktap.h"

#define CODE		0x1000
#define HANDLER		(CODE + 0x80)
#define VECTOR		0x40
#define INTERRUPTS	20

/* What the guest counts, at 0x500 */
struct counts {
	uint16_t depth;		/* entries that have not come to their end */
	uint16_t nested;	/* entries at a depth of more than one */
	uint16_t served;
};

extern const uint8_t guest[], guest_end[];

/* In real mode: the PIC's first input is the PIT's channel 0, 50 times per second. */
asm(".pushsection .rodata\n"
    "	.code16\n"
    "guest:\n"
    "	mov	$0x11, %al\n"
    "	out	%al, $0x20\n"
    "	mov	$0x40, %al\n"
    "	out	%al, $0x21\n"
    "	mov	$0x04, %al\n"
    "	out	%al, $0x21\n"
    "	mov	$0x01, %al\n"
    "	out	%al, $0x21\n"
    "	mov	$0xfe, %al\n"
    "	out	%al, $0x21\n"
    "	mov	$0x34, %al\n"
    "	out	%al, $0x43\n"
    "	mov	$(1193182 / 50) & 0xff, %al\n"
    "	out	%al, $0x40\n"
    "	mov	$(1193182 / 50) >> 8, %al\n"
    "	out	%al, $0x40\n"
    "	sti\n"
    "1:	pause\n"
    "	cmpw	$20, 0x504\n"
    "	jb	1b\n"
    "	cli\n"
    "	out	%al, $0x80\n"
    "	.org	guest + 0x80\n"
    "	push	%cx\n"
    "	push	%dx\n"
    "	incw	0x500\n"
    "	cmpw	$1, 0x500\n"
    "	je	2f\n"
    "	incw	0x502\n"
    /* Some milliseconds without an exit of its own: two million instructions */
    "2:	mov	$40, %dx\n"
    "3:	mov	$50000, %cx\n"
    "4:	loop	4b\n"
    "	dec	%dx\n"
    "	jnz	3b\n"
    "	pop	%dx\n"
    "	pop	%cx\n"
    "	decw	0x500\n"
    "	incw	0x504\n"
    "	mov	$0x20, %al\n"
    "	out	%al, $0x20\n"
    "	iretw\n"
    "guest_end:\n"
    "	.code64\n"
    ".popsection\n");

static int try_ioctl(int fd, unsigned long request, void *arg, const char *what)
{
	int r = ioctl(fd, request, arg);

	if (r < 0)
		err(1, "%s", what);
	return r;
}

int main(void)
{
	struct kvm_userspace_memory_region region = { .memory_size = 0x10000 };
	struct kvm_regs regs = { .rip = CODE, .rsp = 0x8000, .rflags = 2 };
	struct kvm_pit_config pit = {};
	struct kvm_sregs sregs;
	struct kvm_run *run;
	struct counts counts;
	int kvm, vm, vcpu;
	uint8_t *memory;

	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		err(1, "/dev/kvm");
	vm = try_ioctl(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	memory = mmap(NULL, region.memory_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "memory");
	region.userspace_addr = (uintptr_t)memory;
	try_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
	try_ioctl(vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	try_ioctl(vm, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
	vcpu = try_ioctl(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
	run = mmap(NULL, try_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE"),
		   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		err(1, "kvm_run");

	memcpy(memory + CODE, guest, guest_end - guest);
	memory[VECTOR * 4] = HANDLER & 0xff;
	memory[VECTOR * 4 + 1] = HANDLER >> 8;
	try_ioctl(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	try_ioctl(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	try_ioctl(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");

	/* A guest that spins for ever is a failure, too. */
	alarm(60);
	try_ioctl(vcpu, KVM_RUN, NULL, "KVM_RUN");
	memcpy(&counts, memory + 0x500, sizeof(counts));
	check(run->exit_reason == KVM_EXIT_IO && run->io.port == 0x80, "the guest comes to its end",
	      "exit reason %u, %u interrupts", run->exit_reason, counts.served);
	check(counts.served == INTERRUPTS, "it has served its interrupts", "%u of %u", counts.served, INTERRUPTS);
	check(counts.nested == 0, "no handler is entered while it runs with interrupts disabled",
	      "%u times while %u interrupts were served", counts.nested, counts.served);
	return ktap_end();
}
