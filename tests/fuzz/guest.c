// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest: it executes the operations in its vCPU's area, some of them in a guest of its own, notes what came of
 * each and begins again when user space has new ones.  It must survive whatever comes of them.
 */
#include "guest.h"

u64 step(u64 code, u64 ring, u32 index, u64 value);
int vmx_enter(u64 *registers, u64 launch);
void svm_enter(u64 *registers, u64 vmcb);
extern char step_rdmsr[], step_wrmsr[], step_rdpmc[], step_loop[], step_cpuid[], step_sti[], vmx_exit[], l2_start[];

static void out(u16 port, u8 value)
{
	asm volatile("outb %0, %1" :: "a"(value), "d"(port) : "memory");
}

static void pce(u64 on)
{
	u64 cr4;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 = on & 1 ? cr4 | 1 << 8 : cr4 & ~(1ul << 8);
	asm volatile("mov %0, %%cr4" :: "r"(cr4) : "memory");
}

static void one(struct area *a, u32 i, u32 by)
{
	const struct op *op = &a->ops[i];
	struct result *r = &a->results[i];
	static char *const code[] = {
		[OP_RDMSR] = step_rdmsr, [OP_WRMSR] = step_wrmsr, [OP_RDPMC] = step_rdpmc, [OP_LOOP] = step_loop,
		[OP_CPUID] = step_cpuid, [OP_STI] = step_sti,
	};
	u64 value = 0;

	a->next = i;
	switch (op->kind) {
	case OP_RDMSR:
	case OP_WRMSR:
	case OP_RDPMC:
	case OP_LOOP:
	case OP_CPUID:
	case OP_STI:
		value = step((u64)code[op->kind], op->kind == OP_STI ? 0 : op->ring & 3, op->index, op->value);
		r->fault = a->fault;
		break;
	case OP_LVTPC:
		*(volatile u32 *)(APIC + APIC_LVTPC) = op->value;
		break;
	case OP_PCE:
		pce(op->value);
		break;
	case OP_PORT:
		out(PORT_LOOK, 0);
		break;
	}
	r->value = value;
	r->done = by;
}

void l2_main(struct area *a, u32 first, u32 n)
{
	u32 i;

	for (i = first; i < first + n; i++)
		one(a, i, 2);
}

/* ---- L2 ---- */

static u64 rd(u32 msr)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (u64)high << 32 | low;
}

static void wr(u32 msr, u64 value)
{
	asm volatile("wrmsr" :: "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static u64 vmread(u64 field)
{
	u64 value;

	asm volatile("vmread %1, %0" : "=r"(value) : "r"(field) : "cc");
	return value;
}

static void vmwrite(u64 field, u64 value)
{
	asm volatile("vmwrite %1, %0" :: "r"(field), "r"(value) : "cc");
}

/* What L2 wants and its hypervisor does for it. */
static void access_for(struct area *a, u64 *regs, u64 *rax, u32 kind)
{
	char *code = kind == OP_WRMSR ? step_wrmsr : kind == OP_RDMSR ? step_rdmsr : step_rdpmc;
	u64 rsp = a->rsp, fault = a->fault, value;

	/* L2 is in the middle of a step. */
	value = step((u64)code, 0, regs[2], (u32)*rax | regs[3] << 32);
	a->rsp = rsp;
	a->fault = fault;
	if (kind != OP_WRMSR) {
		*rax = (u32)value;
		regs[3] = value >> 32;
	}
	a->results[a->next].done = 3;
}

static u64 control(u32 msr, u64 want)
{
	u64 may = rd(msr);

	return (want | (u32)may) & may >> 32;
}

static void vmx_state(struct area *a, u64 what)
{
	static const struct { u16 selector, limit, rights, base; } *s, segments[] = {
		{ 0x800, 0x4800, 0x4814, 0x6806 }, { 0x804, 0x4804, 0x4818, 0x680a },
		{ 0x806, 0x4806, 0x481a, 0x680c }, { 0x808, 0x4808, 0x481c, 0x680e },
		{ 0x80a, 0x480a, 0x481e, 0x6810 },
	};
	struct __attribute__((packed)) { u16 limit; u64 base; } table;
	u32 true_controls = rd(0x480) >> 55 & 1 ? 0xc : 0, v = a->vcpu;
	u64 cr;

	vmwrite(0x4000, control(0x481 + true_controls, (what & L2_INTR_EXITS ? 1 : 0) |
				(what & L2_NMI_EXITS ? 8 : 0)));
	vmwrite(0x4002, control(0x482 + true_controls, (what & L2_MSR_EXITS ? 0 : 1 << 28) |
				(what & L2_RDPMC_EXITS ? 1 << 11 : 0)));
	vmwrite(0x400c, control(0x483 + true_controls, 1 << 9 | (what & L1_LOAD_CTRL ? 1 << 12 : 0)));
	vmwrite(0x4012, control(0x484 + true_controls, 1 << 9 | (what & L2_LOAD_CTRL ? 1 << 13 : 0)));
	vmwrite(0x2004, NESTED(v) + NESTED_BITMAP);
	vmwrite(0x2800, ~0ull);
	vmwrite(0x2802, 0);
	vmwrite(0x2808, what >> 8);
	vmwrite(0x2c04, what >> 16);
	vmwrite(0x4004, 0);
	vmwrite(0x400a, 0);
	vmwrite(0x400e, 0);
	vmwrite(0x4010, 0);
	vmwrite(0x4014, 0);
	vmwrite(0x4016, 0);

	vmwrite(0x802, CODE_OF(0));
	vmwrite(0x4802, 0xffffffff);
	vmwrite(0x4816, 0xa09b);
	vmwrite(0x6808, 0);
	for (s = segments; s < segments + 5; s++) {
		u16 selector = s->selector == 0x804 ? DATA_OF(0) : DATA_OF(3) | 3;

		vmwrite(s->selector, selector);
		vmwrite(s->limit, 0xffffffff);
		vmwrite(s->rights, selector & 3 ? 0xc0f3 : 0xc093);
		vmwrite(s->base, s->selector == 0x80a ? (u64)a : 0);
	}
	vmwrite(0x80c, 0);
	vmwrite(0x480c, 0);
	vmwrite(0x4820, 0x10000);
	vmwrite(0x6812, 0);
	vmwrite(0x80e, TSS_OF(v));
	vmwrite(0x480e, 0x67);
	vmwrite(0x4822, 0x8b);
	vmwrite(0x6814, TSS(v));
	asm volatile("sgdt %0" : "=m"(table));
	vmwrite(0x6816, table.base);
	vmwrite(0x4810, table.limit);
	vmwrite(0x6c0c, table.base);
	asm volatile("sidt %0" : "=m"(table));
	vmwrite(0x6818, table.base);
	vmwrite(0x4812, table.limit);
	vmwrite(0x6c0e, table.base);
	vmwrite(0x681a, 0x400);
	vmwrite(0x6822, 0);
	vmwrite(0x4824, 0);
	vmwrite(0x4826, 0);
	vmwrite(0x482a, 0);
	vmwrite(0x4c00, 0);

	asm volatile("mov %%cr0, %0" : "=r"(cr));
	vmwrite(0x6800, cr);
	vmwrite(0x6c00, cr);
	vmwrite(0x6000, 0);
	vmwrite(0x6002, 0);
	asm volatile("mov %%cr3, %0" : "=r"(cr));
	vmwrite(0x6802, cr);
	vmwrite(0x6c02, cr);
	asm volatile("mov %%cr4, %0" : "=r"(cr));
	vmwrite(0x6804, cr);
	vmwrite(0x6c04, cr);

	vmwrite(0xc00, 0);
	vmwrite(0xc02, CODE_OF(0));
	vmwrite(0xc04, DATA_OF(0));
	vmwrite(0xc06, 0);
	vmwrite(0xc08, 0);
	vmwrite(0xc0a, 0);
	vmwrite(0xc0c, TSS_OF(v));
	vmwrite(0x6c06, 0);
	vmwrite(0x6c08, (u64)a);
	vmwrite(0x6c0a, TSS(v));
	vmwrite(0x6c16, (u64)vmx_exit);
}

static void reload_data_segments(u64 gs)
{
	asm volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%fs; mov %0, %%gs" :: "r"(DATA_OF(3) | 3) : "memory");
	wr(0xc0000101, gs);
}

static u32 vmx_nested(struct area *a, u32 first, u32 n, u64 what)
{
	u64 vmxon = NESTED(a->vcpu) + NESTED_VMXON, vmcs = NESTED(a->vcpu) + NESTED_VMCS, cr4;
	u64 regs[15] = { [5] = (u64)a, [4] = first, [3] = n };
	u64 launch = 1, reason, gs = (u64)a;
	u32 left;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" :: "r"(cr4 | 1 << 13));
	*(u32 *)vmxon = rd(0x480) & 0x7fffffff;
	*(u32 *)vmcs = rd(0x480) & 0x7fffffff;
	asm volatile("vmxon %0; vmclear %1; vmptrld %1" :: "m"(vmxon), "m"(vmcs) : "cc", "memory");
	vmx_state(a, what);
	vmwrite(0x681c, STACKS(a->vcpu) + STACK_L2 - 8);
	vmwrite(0x681e, (u64)l2_start);
	vmwrite(0x6820, 2);
	for (left = 1000; left; left--) {
		if (vmx_enter(regs, launch)) {
			a->refused++;
			break;
		}
		reload_data_segments(gs);
		reason = vmread(0x4402);
		if (reason >> 31) {
			a->refused++;
			break;
		}
		if (launch)
			a->entries++;
		launch = 0;
		if (reason == 31 || reason == 32 || reason == 15)
			access_for(a, regs, &regs[0], reason == 31 ? OP_RDMSR : reason == 32 ? OP_WRMSR : OP_RDPMC);
		else if (reason == 10)
			asm volatile("cpuid" : "+a"(regs[0]), "=b"(regs[1]), "+c"(regs[2]), "=d"(regs[3]));
		else if (reason == 0)		/* NMI: it is blocked until IRET */
			asm volatile("int $2");
		else if (reason == 1)
			asm volatile("sti; nop; nop; cli");
		else
			break;
		if (reason > 1)
			vmwrite(0x681e, vmread(0x681e) + vmread(0x440c));
	}
	/* L2 may have ended in the middle of a step. */
	a->rsp = 0;
	asm volatile("vmxoff; mov %0, %%cr4" :: "r"(cr4) : "cc", "memory");
	return n;
}

static void segment(u64 at, u16 selector, u16 rights, u32 limit, u64 base)
{
	*(u16 *)at = selector;
	*(u16 *)(at + 2) = rights;
	*(u32 *)(at + 4) = limit;
	*(u64 *)(at + 8) = base;
}

static u32 svm_nested(struct area *a, u32 first, u32 n, u64 what)
{
	u64 b = NESTED(a->vcpu) + NESTED_VMCS, cr, code;
	u64 regs[15] = { [5] = (u64)a, [4] = first, [3] = n };
	struct __attribute__((packed)) { u16 limit; u64 base; } table;
	u32 i, left;

	wr(0xc0000080, rd(0xc0000080) | 1 << 12);
	wr(0xc0010117, NESTED(a->vcpu) + NESTED_HSAVE);
	for (i = 0; i < 0x1000; i += 8)
		*(volatile u64 *)(b + i) = 0;
	*(u32 *)(b + 0x0c) = 1u << 31 | (what & L2_MSR_EXITS ? 1 << 28 : 0) | (what & L2_RDPMC_EXITS ? 1 << 15 : 0) |
			     (what & L2_INTR_EXITS ? 1 : 0) | (what & L2_NMI_EXITS ? 2 : 0);
	*(u32 *)(b + 0x10) = 3;
	/* With the interception on, a map that is all clear intercepts nothing: only KVM's own does. */
	*(u64 *)(b + 0x48) = NESTED(a->vcpu) + NESTED_BITMAP;
	*(u32 *)(b + 0x58) = 1;
	segment(b + 0x400, DATA_OF(3) | 3, 0xcf3, 0xffffffff, 0);
	segment(b + 0x410, CODE_OF(0), 0xa9b, 0xffffffff, 0);
	segment(b + 0x420, DATA_OF(0), 0xc93, 0xffffffff, 0);
	segment(b + 0x430, DATA_OF(3) | 3, 0xcf3, 0xffffffff, 0);
	asm volatile("sgdt %0" : "=m"(table));
	segment(b + 0x460, 0, 0, table.limit, table.base);
	asm volatile("sidt %0" : "=m"(table));
	segment(b + 0x480, 0, 0, table.limit, table.base);
	*(u64 *)(b + 0x4d0) = rd(0xc0000080);
	asm volatile("mov %%cr4, %0" : "=r"(cr));
	*(u64 *)(b + 0x548) = cr;
	asm volatile("mov %%cr3, %0" : "=r"(cr));
	*(u64 *)(b + 0x550) = cr;
	asm volatile("mov %%cr0, %0" : "=r"(cr));
	*(u64 *)(b + 0x558) = cr;
	*(u64 *)(b + 0x560) = 0x400;
	*(u64 *)(b + 0x568) = 0xffff0ff0;
	*(u64 *)(b + 0x570) = 2;
	*(u64 *)(b + 0x578) = (u64)l2_start;
	*(u64 *)(b + 0x5d8) = STACKS(a->vcpu) + STACK_L2 - 8;
	*(u64 *)(b + 0x668) = 0x0007040600070406ull;
	asm volatile("clgi; vmsave %0" :: "a"(b) : "memory");
	for (left = 1000; left; left--) {
		svm_enter(regs, b);
		asm volatile("vmload %0" :: "a"(b) : "memory");
		code = *(u64 *)(b + 0x70);
		if (left == 1000 && code != ~0ull)
			a->entries++;
		if (code == ~0ull) {
			a->refused++;
			break;
		}
		if (code == 0x7c) {
			access_for(a, regs, (u64 *)(b + 0x5f8), *(u64 *)(b + 0x78) ? OP_WRMSR : OP_RDMSR);
			*(u64 *)(b + 0x578) += 2;
		} else if (code == 0x6f) {
			access_for(a, regs, (u64 *)(b + 0x5f8), OP_RDPMC);
			*(u64 *)(b + 0x578) += 2;
		} else if (code == 0x60) {
			asm volatile("sti; nop; nop; cli");
		} else if (code != 0x61) {	/* NMI: taken when GIF was set */
			break;
		}
	}
	a->rsp = 0;
	asm volatile("stgi");
	wr(0xc0000080, rd(0xc0000080) & ~(1ull << 12));
	return n;
}

static u32 nested(struct area *a, u32 first, u32 n, u64 what)
{
	u32 eax = a->svm ? 0x80000001 : 1, ecx = 0;

	asm volatile("cpuid" : "+a"(eax), "+c"(ecx) :: "ebx", "edx");
	if (!(ecx >> (a->svm ? 2 : 5) & 1))
		return n;
	return a->svm ? svm_nested(a, first, n, what) : vmx_nested(a, first, n, what);
}

void guest_main(struct area *a)
{
	u32 i, n;

	for (;;) {
		for (i = 0; i < a->count; i++) {
			if (a->ops[i].kind != OP_NESTED) {
				one(a, i, 1);
				continue;
			}
			a->results[i].done = 1;
			n = a->ops[i].index;
			if (i + 1 + n > a->count)
				n = a->count - i - 1;
			i += nested(a, i + 1, n, a->ops[i].value);
		}
		out(PORT_END, 0);
	}
}
