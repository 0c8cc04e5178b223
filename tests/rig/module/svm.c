// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of what SVM does with AMD's core performance counters, against the APM (vol. 2,
 * "Secure Virtual Machine" and "Performance Monitoring").
 *
 * The guests are single routines in the host's own address space; each run sets EFER.SVME,
 * does one VMRUN and clears EFER.SVME, all with interrupts off on one CPU.  KVM must not be
 * loaded.
 */
#include <linux/err.h>
#include <linux/gfp.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/msr-index.h>
#include <asm/special_insns.h>
#include <asm/svm.h>
#include <asm/tlbflush.h>
#include <asm/trapnr.h>

#include "common.h"
#include "svm_asm.h"
#include "amd_host.h"

#define INSN		(RIG_SEL(RIG_AMD_INSN))
#define BRANCH		(RIG_SEL(RIG_AMD_BRANCH))
#define VMRUN_COUNTS	1	/* by the guest that it enters */

static u8 guest_buffer[4096];

/* What the processor is given by physical address. */
static struct {
	struct vmcb *vmcb, *host;
	void *hsave, *iopm, *msrpm;
} page;

#define IOPM_ORDER	2
#define MSRPM_ORDER	1

/*
 * struct guest - one VMRUN
 * @code: what the guest runs
 * @rax: initial value, as @rcx, @rdx and @rdi
 * @intercepts: bits of INTERCEPT_* besides VMRUN, VMMCALL and the MSRs
 * @int_ctl: V_INTR_MASKING and the like
 * @event_inj: event to inject
 * @next: where an injected software interrupt returns to, from the beginning of the code
 * @host_if: RFLAGS.IF of the host at VMRUN, as @guest_if
 * @single_step: RFLAGS.TF of the guest
 * @step_vmrun: RFLAGS.TF of the host when VMRUN begins
 * @sel: selects of counter 0, 1
 * @tr_type: attributes of TR that VMLOAD gives the guest; 0: the host's TR as it is
 * @lbr_virtualization: VMRUN switches DebugCtl
 * @debugctl: the VMCB's DebugCtl, and @host_debugctl the host's at VMRUN
 */
struct guest {
	void (*code)(void);
	u64 rax, rcx, rdx, rdi, cr2;
	u64 intercepts;
	u32 int_ctl, event_inj;
	int next;
	bool host_if, guest_if, single_step, step_vmrun;
	bool host_asid, no_svme, no_pe, no_pae;	/* VMRUN refuses each */
	u64 sel[2];
	u64 preset;
	u16 tr_type;
	bool lbr_virtualization;
	u64 debugctl, host_debugctl;
};

/* What came of it. */
struct outcome {
	u64 code, info1;
	u64 rax, rbx, rdx;
	u64 rip;		/* from the beginning of the code */
	u64 dr6;
	u64 ctr[RIG_AMD_COUNTERS];
	u64 status;
	u32 guest_irqs, host_irqs, lvtpc;
	u32 early_irqs;		/* of host_irqs: between #VMEXIT and STGI */
	u32 host_dbs;
	u64 debugctl;		/* the VMCB's after #VMEXIT, as @host_debugctl */
	u64 host_debugctl;
	bool pending;		/* VECTOR_FIXED waits in the IRR */
	bool others_pending;	/* another does */
};

static void write_segment(struct vmcb_seg *seg, u16 selector, u16 attrib)
{
	*seg = (struct vmcb_seg) { .selector = selector, .attrib = attrib, .limit = 0xffffffff };
}

static void write_vmcb(const struct guest *g)
{
	struct vmcb_control_area *c = &page.vmcb->control;
	struct vmcb_save_area *s = &page.vmcb->save;
	struct desc_ptr gdt;
	u64 bits = g->intercepts | BIT_ULL(INTERCEPT_MSR_PROT - 96) |
		   BIT_ULL(INTERCEPT_VMRUN - 96) | BIT_ULL(INTERCEPT_VMMCALL - 96);

	memset(page.vmcb, 0, PAGE_SIZE);
	c->intercepts[INTERCEPT_WORD3] = (u32)bits;
	c->intercepts[INTERCEPT_WORD4] = (u32)(bits >> 32);
	/* every exception of a guest but the NMI is the test's to see */
	c->intercepts[INTERCEPT_EXCEPTION] = 0xffffffff & ~BIT(X86_TRAP_NMI);
	c->iopm_base_pa = virt_to_phys(page.iopm);
	c->msrpm_base_pa = virt_to_phys(page.msrpm);
	c->asid = g->host_asid ? 0 : 1;
	c->tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;
	c->int_ctl = g->int_ctl;
	c->event_inj = g->event_inj;
	c->next_rip = (unsigned long)g->code + g->next;
	c->virt_ext = g->lbr_virtualization ? LBR_CTL_ENABLE_MASK : 0;
	s->dbgctl = g->debugctl;

	write_segment(&s->es, 0, 0);
	write_segment(&s->cs, __KERNEL_CS, 0xa9b);
	write_segment(&s->ss, __KERNEL_DS, 0xc93);
	write_segment(&s->ds, 0, 0);
	native_store_gdt(&gdt);
	s->gdtr.base = gdt.address;
	s->gdtr.limit = gdt.size;
	s->idtr.base = (unsigned long)guest_idt.gates;
	s->idtr.limit = sizeof(guest_idt.gates) - 1;
	s->efer = rd(MSR_EFER) & ~(g->no_svme ? EFER_SVME : 0);
	s->cr0 = native_read_cr0() & ~(g->no_pe ? X86_CR0_PE : 0);
	s->cr2 = g->cr2;
	s->cr3 = __read_cr3();
	s->cr4 = __read_cr4() & ~(g->no_pae ? X86_CR4_PAE : 0);
	s->dr6 = DR6_RESERVED;
	s->dr7 = 0x400;
	s->rflags = X86_EFLAGS_FIXED | (g->guest_if ? X86_EFLAGS_IF : 0) |
		    (g->single_step ? X86_EFLAGS_TF : 0);
	s->rip = (unsigned long)g->code;
	s->rsp = (unsigned long)(guest_stack + sizeof(guest_stack));
	s->rax = g->rax;
	rdmsrl(MSR_IA32_CR_PAT, s->g_pat);
}

static void vmsave(struct vmcb *vmcb)
{
	asm volatile("vmsave %%rax" :: "a" (virt_to_phys(vmcb)) : "memory");
}

static void vmload(struct vmcb *vmcb)
{
	asm volatile("vmload %%rax" :: "a" (virt_to_phys(vmcb)) : "memory");
}

/* Enter the guest with the counters as the test wants them. */
static void enter(const struct guest *g, struct outcome *o)
{
	u64 regs[5];
	u64 efer = rd(MSR_EFER), dr7;
	unsigned long flags;
	int i, try;

	for (try = 0; try < 8; try++) {
		/* let what is pending happen outside of the guest */
		local_irq_save(flags);
		local_irq_restore(flags);
		local_irq_save(flags);
		memset(o, 0, sizeof(*o));
		memset(regs, 0, sizeof(regs));
		regs[0] = g->rcx;
		regs[1] = g->rdx;
		regs[2] = g->rdi;
		pmu_quiesce();
		rig_guest_irqs = 0;
		rig_host_irqs = 0;
		rig_host_dbs = 0;
		get_debugreg(dr7, 7);
		wr(MSR_EFER, efer | EFER_SVME);
		wr(MSR_VM_HSAVE_PA, virt_to_phys(page.hsave));
		write_vmcb(g);
		if ((g->sel[0] | g->sel[1]) & RIG_SEL_INT)
			rig_apic_write(APIC_LVTPC, lvtpc);
		wr(RIG_AMD_CTR(0), g->preset & RIG_AMD_WIDTH);

		if (g->tr_type) {
			vmsave(page.host);
			*page.vmcb = *page.host;
			page.vmcb->save.tr.attrib = g->tr_type;
			vmload(page.vmcb);
			write_vmcb(g);
		}
		rig_idt_load(&host_idt);
		wr(RIG_AMD_SEL(1), g->sel[1]);
		wr(RIG_AMD_SEL(0), g->sel[0]);
		wr(RIG_AMD_DEBUGCTL, g->host_debugctl);
		rig_svm_enter(regs, virt_to_phys(page.vmcb),
			      (g->host_if ? RIG_SVM_HOST_IF : 0) |
			      (g->step_vmrun ? RIG_SVM_STEP : 0));
		o->host_debugctl = rd(RIG_AMD_DEBUGCTL);
		wr(RIG_AMD_DEBUGCTL, 0);
		wr(RIG_AMD_SEL(0), 0);
		wr(RIG_AMD_SEL(1), 0);
		if (g->tr_type)
			vmload(page.host);
		o->pending = vector_pending(VECTOR_FIXED);
		o->others_pending = others_pending(VECTOR_FIXED);
		o->guest_irqs = rig_guest_irqs;
		if (o->pending)
			asm volatile("sti; nop; nop; cli" ::: "memory");
		o->host_irqs = rig_host_irqs;
		o->early_irqs = regs[4];
		rig_idt_unload(&host_idt);
		if (o->pending)
			rig_apic_write(APIC_EOI, 0);

		wr(MSR_EFER, efer);
		set_debugreg(DR6_RESERVED, 6);
		set_debugreg(dr7, 7);
		o->code = page.vmcb->control.exit_code;
		o->info1 = page.vmcb->control.exit_info_1;
		o->rip = page.vmcb->save.rip - (unsigned long)g->code;
		o->dr6 = page.vmcb->save.dr6;
		o->debugctl = page.vmcb->save.dbgctl;
		o->host_dbs = rig_host_dbs;
		o->rax = page.vmcb->save.rax;
		o->rdx = regs[1];
		o->rbx = regs[3];
		for (i = 0; i < RIG_AMD_COUNTERS; i++)
			o->ctr[i] = rd(RIG_AMD_CTR(i));
		if (m->v2)
			o->status = rd(RIG_AMD_STATUS);
		o->lvtpc = rig_apic_read(APIC_LVTPC);
		rig_apic_write(APIC_LVTPC, o->lvtpc | APIC_LVT_MASKED);
		pmu_quiesce();
		local_irq_restore(flags);
		/*
		 * Somebody else's interrupt ended it: not what the test is about.  Ours may
		 * have come after #VMEXIT, if it skids.
		 */
		if (o->code != SVM_EXIT_INTR || (o->pending && !o->others_pending))
			break;
	}
}

#define WORD3(bit) BIT_ULL((bit) - 96)

/* A bit of the MSR permission map: two per register, read and write. */
static void intercept(u32 msr, bool read, bool write)
{
	unsigned int at;

	memset(page.msrpm, 0, PAGE_SIZE << MSRPM_ORDER);
	if (!read && !write)
		return;
	at = (msr & 0x1fff) * 2 + (msr >= 0xc0010000 ? 0x8000 : msr >= 0xc0000000 ? 0x4000 : 0);
	if (read)
		__set_bit(at, page.msrpm);
	if (write)
		__set_bit(at + 1, page.msrpm);
}

#define EXPECT_EXIT(test, o, _code, fmt, ...) \
	KUNIT_EXPECT_EQ_MSG(test, (o)->code, (u64)(_code), fmt, ##__VA_ARGS__)

/* VMRUN refuses the guest: its state in the VMCB stays what it is. */
static void failed_vmrun_saves_nothing(struct kunit *test)
{
	const u32 inject = SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_INTR | VECTOR_FIXED;
	const struct guest g[] = {
		{ .code = rig_guest_nop10, .rax = 0x123456, .next = 3, .event_inj = inject,
		  .host_asid = true },
		{ .code = rig_guest_nop10, .rax = 0x123456, .next = 3, .event_inj = inject,
		  .no_svme = true },
		{ .code = rig_guest_nop10, .rax = 0x123456, .next = 3, .event_inj = inject,
		  .no_pe = true },
		{ .code = rig_guest_nop10, .rax = 0x123456, .next = 3, .event_inj = inject,
		  .no_pae = true },
	};
	struct outcome o;
	int i;

	for (i = 0; i < ARRAY_SIZE(g); i++) {
		enter(&g[i], &o);
		EXPECT_EXIT(test, &o, (u32)SVM_EXIT_ERR, "%d", i);
		KUNIT_EXPECT_EQ_MSG(test, o.rip, 0, "%d: RIP", i);
		KUNIT_EXPECT_EQ_MSG(test, o.rax, g[i].rax, "%d: RAX", i);
		KUNIT_EXPECT_EQ_MSG(test, page.vmcb->control.next_rip,
				    (unsigned long)g[i].code + g[i].next, "%d: nRIP", i);
		KUNIT_EXPECT_EQ_MSG(test, page.vmcb->control.event_inj, inject,
				    "%d: EVENTINJ", i);
	}
}

/* A fault's address, if KVM injects the fault: the host may have had one since. */
static void cr2_is_the_guests(struct kunit *test)
{
	const struct guest g = { .code = rig_guest_cr2, .cr2 = 0x7f0123456789 };
	struct outcome o;

	native_write_cr2(0x1234);
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "reads and writes CR2");
	KUNIT_EXPECT_EQ(test, o.rax, g.cr2);
	KUNIT_EXPECT_EQ(test, page.vmcb->save.cr2, ~g.cr2);
}

/* ---- intercepts ---- */

static void rdpmc_intercept(struct kunit *test)
{
	struct outcome o;
	int i;

	for (i = 0; i < RIG_AMD_COUNTERS; i++) {
		struct guest g = { .code = rig_guest_rdpmc, .rcx = i };

		enter(&g, &o);
		EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "RDPMC %d", i);
		g.intercepts = WORD3(INTERCEPT_RDPMC);
		enter(&g, &o);
		EXPECT_EXIT(test, &o, SVM_EXIT_RDPMC, "RDPMC %d", i);
		KUNIT_EXPECT_EQ_MSG(test, o.rip, 0, "points at the RDPMC");
	}
}

/* A counter that is not there: the fault has priority over the intercept. */
static void rdpmc_fault_first(struct kunit *test)
{
	struct guest g = { .code = rig_guest_rdpmc, .rcx = RIG_AMD_COUNTERS };
	struct outcome o;

	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_EXCP_BASE + X86_TRAP_GP, "no intercept");
	g.intercepts = WORD3(INTERCEPT_RDPMC);
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_EXCP_BASE + X86_TRAP_GP, "with the intercept");
}

static void msr_permission_map(struct kunit *test)
{
	/* The status is read-only, and ignores what is written. */
	const struct { u32 first, n; } msrs[] = {
		{ RIG_AMD_SEL(0), 2 * RIG_AMD_COUNTERS },
		{ RIG_AMD_OLD_SEL(0), 8 },
		{ RIG_AMD_STATUS, m->v2 ? 4 : 0 },
		/* LBR_SELECT and DBG_EXTN_CFG, and the stack of branch records */
		{ RIG_AMD_LBR_SELECT, m->v2 ? 2 : 0 },
		{ RIG_AMD_LBR_FROM(0), m->v2 ? 2 * RIG_AMD_LBRS : 0 },
	};
	struct outcome o;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		for (j = 0; j < msrs[i].n; j++) {
			u32 msr = msrs[i].first + j;
			const struct guest r = { .code = rig_guest_rdmsr, .rcx = msr };
			const struct guest w = { .code = rig_guest_wrmsr, .rcx = msr };

			intercept(msr, false, true);
			enter(&r, &o);
			EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "RDMSR %#x, open", msr);
			enter(&w, &o);
			EXPECT_EXIT(test, &o, SVM_EXIT_MSR, "WRMSR %#x, intercepted", msr);
			KUNIT_EXPECT_EQ(test, o.info1, 1);

			intercept(msr, true, false);
			enter(&r, &o);
			EXPECT_EXIT(test, &o, SVM_EXIT_MSR, "RDMSR %#x, intercepted", msr);
			KUNIT_EXPECT_EQ(test, o.info1, 0);
			enter(&w, &o);
			EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "WRMSR %#x, open", msr);

			/* the neighbours' bits do not concern it */
			intercept(msr ^ 1, true, true);
			enter(&r, &o);
			EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "RDMSR %#x, neighbour", msr);
		}
	}
	intercept(0, false, false);
}

static void absent_msr_faults_in_guest(struct kunit *test)
{
	struct guest g = { .code = rig_guest_rdmsr, .rcx = RIG_AMD_SEL(RIG_AMD_COUNTERS) };
	struct outcome o;

	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_EXCP_BASE + X86_TRAP_GP, "RDMSR %#llx", g.rcx);
	/* The map is asked first. */
	intercept(g.rcx, true, true);
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_MSR, "RDMSR %#llx, intercepted", g.rcx);
	intercept(0, false, false);
}

/* ---- counting ---- */

/* GuestOnly: VMRUN and what the guest retires, exactly; an instruction that exits does not. */
static void guest_counts_exactly(struct kunit *test)
{
	const struct {
		const char *name;
		void (*code)(void);
		u64 rdi, intercepts, exit, insns, branches;
	} v[] = {
		{ "VMMCALL", rig_guest_nothing, 0, 0, SVM_EXIT_VMMCALL, 0, 0 },
		{ "1000 NOPs", rig_guest_nop1000, 0, 0, SVM_EXIT_VMMCALL, 1000, 0 },
		{ "loop of 1", rig_guest_loop, 1, 0, SVM_EXIT_VMMCALL, 2, 1 },
		{ "loop of 100000", rig_guest_loop, 100000, 0, SVM_EXIT_VMMCALL, 200000, 100000 },
		{ "CPUID that exits", rig_guest_cpuid, 0, WORD3(INTERCEPT_CPUID), SVM_EXIT_CPUID,
		  10, 0 },
		{ "CPUID", rig_guest_cpuid, 0, 0, SVM_EXIT_VMMCALL, 11, 0 },
		{ "UD2", rig_guest_ud2, 0, 0, SVM_EXIT_EXCP_BASE + X86_TRAP_UD, 10, 0 },
		{ "RDPMC", rig_guest_rdpmc, 0, 0, SVM_EXIT_VMMCALL, 1, 0 },
		{ "RDPMC that exits", rig_guest_rdpmc, 0, WORD3(INTERCEPT_RDPMC), SVM_EXIT_RDPMC,
		  0, 0 },
		{ "HLT that exits", rig_guest_hlt, 0, WORD3(INTERCEPT_HLT), SVM_EXIT_HLT, 10, 0 },
		{ "REP STOSB", rig_guest_rep, (u64)guest_buffer, 0, SVM_EXIT_VMMCALL, 3, 0 },
	};
	struct outcome o;
	int i;

	for (i = 0; i < ARRAY_SIZE(v); i++) {
		const struct guest g = {
			.code = v[i].code, .rdi = v[i].rdi, .intercepts = v[i].intercepts,
			.sel = { INSN | RIG_AMD_GUESTONLY, BRANCH | RIG_AMD_GUESTONLY },
		};

		enter(&g, &o);
		EXPECT_EXIT(test, &o, v[i].exit, "%s", v[i].name);
		KUNIT_EXPECT_EQ_MSG(test, o.ctr[0], v[i].insns + VMRUN_COUNTS, "%s: instructions",
				    v[i].name);
		KUNIT_EXPECT_EQ_MSG(test, o.ctr[1], v[i].branches, "%s: branches", v[i].name);
	}
}

/* HostOnly: nothing of the guest, whatever it does. */
static void host_counts_no_guest(struct kunit *test)
{
	struct guest g = { .code = rig_guest_loop, .rdi = 10,
			   .sel = { INSN | RIG_AMD_HOSTONLY, BRANCH | RIG_AMD_HOSTONLY } };
	struct outcome few, many;

	enter(&g, &few);
	g.rdi = 100000;
	enter(&g, &many);
	EXPECT_EXIT(test, &many, SVM_EXIT_VMMCALL, "loop");
	KUNIT_EXPECT_NE(test, few.ctr[0], 0);
	KUNIT_EXPECT_EQ(test, few.ctr[0], many.ctr[0]);
	KUNIT_EXPECT_EQ(test, few.ctr[1], many.ctr[1]);
}

/* Neither bit, and both: everything.  It is the sum of the host's part and the guest's. */
static void counters_run_through(struct kunit *test)
{
	const u64 bits[] = { 0, RIG_AMD_HOSTONLY | RIG_AMD_GUESTONLY };
	struct guest g = { .code = rig_guest_loop, .rdi = 1000 };
	struct outcome here, there, all;
	int i;

	g.sel[0] = INSN | RIG_AMD_HOSTONLY;
	enter(&g, &here);
	g.sel[0] = INSN | RIG_AMD_GUESTONLY;
	enter(&g, &there);
	KUNIT_EXPECT_EQ(test, there.ctr[0], 2000 + VMRUN_COUNTS);
	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		g.sel[0] = INSN | bits[i];
		enter(&g, &all);
		KUNIT_EXPECT_EQ_MSG(test, all.ctr[0], here.ctr[0] + there.ctr[0], "%#llx", bits[i]);
	}
}

static void guest_reads_its_counter(struct kunit *test)
{
	const struct guest g = { .code = rig_guest_rdpmc_twice,
				 .sel[0] = INSN | RIG_AMD_GUESTONLY };
	struct outcome o;

	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "RDPMC twice");
	KUNIT_EXPECT_EQ_MSG(test, (u32)o.rbx, VMRUN_COUNTS + 1, "VMRUN and XOR");
	KUNIT_EXPECT_EQ_MSG(test, (u32)o.rax - (u32)o.rbx, 102, "from one RDPMC to the next");
	KUNIT_EXPECT_EQ(test, o.ctr[0], VMRUN_COUNTS + 104);
}

/* What is injected is no instruction; its handler has two. */
static void injected_events_are_not_counted(struct kunit *test)
{
	const struct { const char *name; u32 event; } v[] = {
		{ "nothing", 0 },
		{ "interrupt", SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_INTR | VECTOR_FIXED },
		{ "NMI", SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_NMI | X86_TRAP_NMI },
		{ "software interrupt", SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_SOFT | VECTOR_FIXED },
	};
	struct outcome o;
	int i;

	for (i = 0; i < ARRAY_SIZE(v); i++) {
		const struct guest g = { .code = rig_guest_nop10, .event_inj = v[i].event,
					 .sel = { INSN | RIG_AMD_GUESTONLY,
						  BRANCH | RIG_AMD_GUESTONLY } };

		enter(&g, &o);
		EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "%s", v[i].name);
		KUNIT_EXPECT_EQ_MSG(test, o.guest_irqs, !!v[i].event, "%s", v[i].name);
		KUNIT_EXPECT_EQ_MSG(test, page.vmcb->control.event_inj, 0, "%s", v[i].name);
		KUNIT_EXPECT_EQ_MSG(test, o.ctr[0], VMRUN_COUNTS + 10 + (v[i].event ? 2 : 0), "%s",
				    v[i].name);
		KUNIT_EXPECT_EQ_MSG(test, o.ctr[1], v[i].event ? 1 : 0, "%s: branches", v[i].name);
	}
}

/* A software interrupt returns to where nRIP points to, all else to RIP. */
static void injected_software_interrupt_returns_to_nrip(struct kunit *test)
{
	struct guest g = { .code = rig_guest_nop10, .next = 4,
			   .event_inj = SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_SOFT | VECTOR_FIXED,
			   .sel[0] = INSN | RIG_AMD_GUESTONLY };
	struct outcome o;

	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "software interrupt");
	KUNIT_EXPECT_EQ(test, o.guest_irqs, 1);
	KUNIT_EXPECT_EQ_MSG(test, o.ctr[0], VMRUN_COUNTS + 2 + 10 - 4, "four NOPs are left out");

	g.event_inj = SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_INTR | VECTOR_FIXED;
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "interrupt");
	KUNIT_EXPECT_EQ(test, o.ctr[0], VMRUN_COUNTS + 2 + 10);
}

/* What a guest's #DB leaves to its debugger: the cause in DR6. */
static void debug_exception_saves_dr6(struct kunit *test)
{
	const struct guest g = { .code = rig_guest_nop10, .single_step = true };
	struct outcome o;

	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_EXCP_BASE + X86_TRAP_DB, "single step");
	KUNIT_EXPECT_EQ_MSG(test, o.rip, 1, "after the first instruction");
	KUNIT_EXPECT_NE_MSG(test, o.dr6 & DR_STEP, 0, "DR6.BS");
}

/* A trap that is pending when the guest exits for another reason is not the host's. */
static void single_step_stays_in_guest(struct kunit *test)
{
	const struct guest g = { .code = rig_guest_rdpmc, .single_step = true,
				 .intercepts = WORD3(INTERCEPT_RDPMC) };
	struct outcome o;

	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_RDPMC, "intercepted instruction");
	KUNIT_EXPECT_EQ_MSG(test, o.host_dbs, 0, "#DB in the host");
}

/*
 * For the host VMRUN acts like one instruction, which completes with #VMEXIT: there its single-step
 * trap comes, and not in the guest.
 */
static void vmrun_is_one_step(struct kunit *test)
{
	const struct guest g = { .code = rig_guest_nop10, .step_vmrun = true };
	struct outcome o;

	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "guest without a trap");
	KUNIT_EXPECT_EQ_MSG(test, o.host_dbs, 1, "#DB in the host");
	KUNIT_EXPECT_EQ_MSG(test, rig_host_db_rip - (unsigned long)rig_svm_exited, 0,
			    "place of the trap");
}

/* ---- the interrupt ---- */

/* The guest's 1000 instructions must do for the overflow and the skid after it. */
#define SKID_MAX 400

static const struct guest pmi_guest = {
	.code = rig_guest_nop1000,
	.sel[0] = INSN | RIG_AMD_GUESTONLY | RIG_SEL_INT,
	.preset = -(500 + VMRUN_COUNTS),
};

#define SKIP_LONG_SKID(test) do {						\
	if (skid > SKID_MAX)						\
		kunit_skip(test, "a skid of more than %u", SKID_MAX);	\
} while (0)

static u64 status_of(u64 bits)
{
	return m->v2 ? bits : 0;
}

/* Intercepted, the interrupt of an overflow in the guest ends it right there and waits for STGI. */
static void pmi_nmi_exits(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;

	SKIP_LONG_SKID(test);
	g.intercepts = WORD3(INTERCEPT_NMI);
	lvtpc = APIC_DM_NMI;
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_NMI, "NMI intercept");
	KUNIT_EXPECT_EQ_MSG(test, o.rip, 500 + skid, "one byte each");
	KUNIT_EXPECT_EQ(test, o.ctr[0], skid);
	KUNIT_EXPECT_EQ(test, o.status, status_of(1));
	KUNIT_EXPECT_EQ_MSG(test, o.guest_irqs, 0, "not the guest's");
	KUNIT_EXPECT_EQ_MSG(test, o.early_irqs, 0, "GIF is 0 after #VMEXIT");
	KUNIT_EXPECT_EQ_MSG(test, o.host_irqs, 1, "it is the host's after STGI");
	KUNIT_EXPECT_EQ_MSG(test, o.lvtpc, APIC_DM_NMI, "not masked");
}

/*
 * SVM has no mask of the guest's NMIs: a hypervisor intercepts IRET.  While the guest handles one
 * that was injected, and after an exit from there, those of the host come in.
 */
static void injected_nmi_masks_none(struct kunit *test)
{
	const struct guest g = {
		.code = rig_guest_nop10,
		.event_inj = SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_NMI | X86_TRAP_NMI,
		.intercepts = WORD3(INTERCEPT_NMI) | WORD3(INTERCEPT_IRET),
		.sel = { INSN | RIG_AMD_GUESTONLY | RIG_SEL_INT },
		.preset = -(VMRUN_COUNTS + 1),
	};
	struct outcome o;

	if (skid)
		kunit_skip(test, "a skid of %u, the handler has two instructions", skid);
	lvtpc = APIC_DM_NMI;
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_NMI, "before IRET");
	KUNIT_EXPECT_EQ_MSG(test, o.guest_irqs, 1, "injected");
	KUNIT_EXPECT_EQ_MSG(test, o.host_irqs, 1, "the counter's, after STGI");
}

/* VMLOAD gives a guest any TR: the processor looks at no attribute of it but the size of the TSS. */
static void stack_from_any_tr(struct kunit *test)
{
	static const u16 types[] = { 0x8b, 0x0b, 0x89, 0x0f, 0x9b };
	struct guest g = {
		.code = rig_guest_nop10,
		.event_inj = SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_NMI | X86_TRAP_NMI,
	};
	struct outcome o;
	int i;

	guest_idt.gates[X86_TRAP_NMI].bits.ist = 1 + IST_INDEX_NMI;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		g.tr_type = types[i];
		enter(&g, &o);
		EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "TR %#x", types[i]);
		KUNIT_EXPECT_EQ_MSG(test, o.guest_irqs, 1, "TR %#x: handler", types[i]);
	}
	guest_idt.gates[X86_TRAP_NMI].bits.ist = 0;
}

static void pmi_nmi_in_guest(struct kunit *test)
{
	struct outcome o;

	SKIP_LONG_SKID(test);
	lvtpc = APIC_DM_NMI;
	enter(&pmi_guest, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "no NMI intercept");
	KUNIT_EXPECT_EQ(test, o.guest_irqs, 1);
	KUNIT_EXPECT_EQ(test, o.host_irqs, 0);
	/* 1000 NOPs and the handler's two instructions */
	KUNIT_EXPECT_EQ(test, o.ctr[0], 502);
	KUNIT_EXPECT_EQ_MSG(test, o.lvtpc, APIC_DM_NMI, "not masked");
}

/* V_INTR_MASKING: the host's IF decides whether a physical interrupt exits, not the guest's. */
static void pmi_fixed_exits(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;
	int i;

	SKIP_LONG_SKID(test);
	g.intercepts = WORD3(INTERCEPT_INTR);
	g.int_ctl = V_INTR_MASKING_MASK;
	lvtpc = APIC_DM_FIXED | VECTOR_FIXED;
	for (i = 0; i < 2; i++) {
		g.guest_if = i;
		g.host_if = true;
		enter(&g, &o);
		EXPECT_EXIT(test, &o, SVM_EXIT_INTR, "host's IF 1, guest's %d", i);
		KUNIT_EXPECT_EQ(test, o.rip, 500 + skid);
		KUNIT_EXPECT_TRUE(test, o.pending);
		KUNIT_EXPECT_EQ(test, o.host_irqs, 1);
		KUNIT_EXPECT_EQ(test, o.guest_irqs, 0);

		g.host_if = false;
		enter(&g, &o);
		EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "host's IF 0, guest's %d", i);
		KUNIT_EXPECT_TRUE(test, o.pending);
		KUNIT_EXPECT_EQ(test, o.ctr[0], 500);
		KUNIT_EXPECT_EQ(test, o.host_irqs, 1);
		KUNIT_EXPECT_EQ(test, o.guest_irqs, 0);
	}
}

/* Without it the guest's IF does. */
static void pmi_fixed_without_masking(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;

	SKIP_LONG_SKID(test);
	g.intercepts = WORD3(INTERCEPT_INTR);
	lvtpc = APIC_DM_FIXED | VECTOR_FIXED;
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "guest's IF 0");
	KUNIT_EXPECT_TRUE(test, o.pending);
	g.guest_if = true;
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_INTR, "guest's IF 1");
	KUNIT_EXPECT_EQ(test, o.rip, 500 + skid);
}

/*
 * Overflow with the guest's last instruction: without skid the NMI ends the guest, with enough of
 * it VMMCALL does.  The host has it in both cases, and not before STGI.
 */
static void pmi_at_the_exit(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;

	g.intercepts = WORD3(INTERCEPT_NMI);
	g.preset = -(1000 + VMRUN_COUNTS);
	lvtpc = APIC_DM_NMI;
	enter(&g, &o);
	EXPECT_EXIT(test, &o, skid ? SVM_EXIT_VMMCALL : SVM_EXIT_NMI, "skid %u", skid);
	KUNIT_EXPECT_EQ(test, o.status, status_of(1));
	KUNIT_EXPECT_EQ(test, o.guest_irqs, 0);
	KUNIT_EXPECT_EQ(test, o.ctr[0], 0);
	KUNIT_EXPECT_EQ(test, o.early_irqs, 0);
	KUNIT_EXPECT_EQ(test, o.host_irqs, 1);

	/* One instruction less: no overflow, no interrupt. */
	g.preset--;
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "one short");
	KUNIT_EXPECT_EQ(test, o.status, 0);
	KUNIT_EXPECT_EQ(test, o.host_irqs, 0);
}

/* VMRUN is the first instruction that a guest's counter sees. */
static void vmrun_can_overflow(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;

	SKIP_LONG_SKID(test);
	g.intercepts = WORD3(INTERCEPT_NMI);
	g.preset = -1;
	lvtpc = APIC_DM_NMI;
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_NMI, "overflow by VMRUN");
	KUNIT_EXPECT_EQ_MSG(test, o.rip, skid, "before the guest's first instruction, plus skid");
	KUNIT_EXPECT_EQ(test, o.host_irqs, 1);
}

/* LBR virtualization gives the guest a DebugCtl of its own, and the host's back. */
static void lbr_virtualization_switches_debugctl(struct kunit *test)
{
	const u64 host = BIT_ULL(3), guest = BIT_ULL(0), written = BIT_ULL(4);
	struct guest r = { .code = rig_guest_rdmsr, .rcx = RIG_AMD_DEBUGCTL,
			   .debugctl = guest | BIT_ULL(20), .host_debugctl = host };
	struct guest w = r;
	struct outcome o;

	w.code = rig_guest_wrmsr;
	w.rax = written;

	enter(&r, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "RDMSR");
	KUNIT_EXPECT_EQ_MSG(test, o.rax, host, "one DebugCtl for both");
	KUNIT_EXPECT_EQ_MSG(test, o.debugctl, r.debugctl, "not touched");
	KUNIT_EXPECT_EQ(test, o.host_debugctl, host);
	enter(&w, &o);
	KUNIT_EXPECT_EQ_MSG(test, o.host_debugctl, written, "one DebugCtl for both");

	r.lbr_virtualization = true;
	w.lbr_virtualization = true;
	enter(&r, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "RDMSR with LBR virtualization");
	KUNIT_EXPECT_EQ_MSG(test, o.rax, guest, "reserved bits of the VMCB are ignored");
	KUNIT_EXPECT_EQ(test, o.debugctl, guest);
	KUNIT_EXPECT_EQ(test, o.host_debugctl, host);
	enter(&w, &o);
	KUNIT_EXPECT_EQ(test, o.debugctl, written);
	KUNIT_EXPECT_EQ(test, o.host_debugctl, host);
}

/* What freezes with an interrupt in the guest is up to the DebugCtl that it runs with. */
static void freeze_in_guest(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;
	int i;

	if (!m->freeze)
		kunit_skip(test, "no LbrAndPmcFreeze");
	SKIP_LONG_SKID(test);
	lvtpc = VECTOR_FIXED;
	for (i = 0; i < 8; i++) {
		bool frozen = i & 4 ? i & 1 : i & 2;

		g.debugctl = i & 1 ? RIG_AMD_FREEZE_PMCS : 0;
		g.host_debugctl = i & 2 ? RIG_AMD_FREEZE_PMCS : 0;
		g.lbr_virtualization = i & 4;
		enter(&g, &o);
		EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "%d", i);
		KUNIT_EXPECT_EQ_MSG(test, o.status, 1 | (frozen ? RIG_AMD_PMCS_FROZEN : 0), "%d", i);
		if (frozen)
			KUNIT_EXPECT_EQ_MSG(test, o.ctr[0], skid, "%d", i);
		else
			KUNIT_EXPECT_GE_MSG(test, o.ctr[0], 490, "%d", i);
	}
}

/* A guest that halts is woken by the interrupt of a counter that overflows with the HLT. */
static void pmi_wakes_halted_guest(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;

	g.code = rig_guest_hlt;
	g.preset = -(11 + VMRUN_COUNTS);
	/* If all goes wrong the host's timer ends it. */
	g.intercepts = WORD3(INTERCEPT_INTR);
	g.int_ctl = V_INTR_MASKING_MASK;
	g.host_if = true;
	lvtpc = APIC_DM_NMI;
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_VMMCALL, "NMI in the guest");
	KUNIT_EXPECT_EQ(test, o.guest_irqs, 1);
	/* NOP and the handler's two instructions */
	KUNIT_EXPECT_EQ(test, o.ctr[0], 3);

	lvtpc = APIC_DM_FIXED | VECTOR_FIXED;
	enter(&g, &o);
	EXPECT_EXIT(test, &o, SVM_EXIT_INTR, "the host's IF, not the guest's");
	KUNIT_EXPECT_EQ_MSG(test, o.rip, 11, "after the HLT");
	KUNIT_EXPECT_EQ(test, o.ctr[0], 0);
}

/* GIF=0 keeps an NMI of the host's own counter waiting until STGI. */
static void gif_holds_nmi(struct kunit *test)
{
	u64 efer = rd(MSR_EFER);
	unsigned long flags;
	u32 before, after;
	int i;

	local_irq_save(flags);
	pmu_quiesce();
	wr(MSR_EFER, efer | EFER_SVME);
	rig_host_irqs = 0;
	rig_apic_write(APIC_LVTPC, APIC_DM_NMI);
	wr(RIG_AMD_CTR(0), -500 & RIG_AMD_WIDTH);
	rig_idt_load(&host_idt);
	before = rig_svm_gif(INSN | RIG_SEL_INT, RIG_AMD_SEL(0));
	for (i = 0; i < skid + 16; i++)
		cpu_relax();
	rig_idt_unload(&host_idt);
	after = rig_host_irqs;
	wr(MSR_EFER, efer);
	rig_apic_write(APIC_LVTPC, APIC_DM_NMI | APIC_LVT_MASKED);
	pmu_quiesce();
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, before, 0);
	KUNIT_EXPECT_EQ(test, after, 1);
}

/* ---- the suite ---- */

static void rig_svm_suite_exit(struct kunit_suite *suite)
{
	free_page((unsigned long)page.vmcb);
	free_page((unsigned long)page.host);
	free_page((unsigned long)page.hsave);
	free_pages((unsigned long)page.iopm, IOPM_ORDER);
	free_pages((unsigned long)page.msrpm, MSRPM_ORDER);
}

static int rig_svm_suite_init(struct kunit_suite *suite)
{
	page.vmcb = (void *)get_zeroed_page(GFP_KERNEL);
	page.host = (void *)get_zeroed_page(GFP_KERNEL);
	page.hsave = (void *)get_zeroed_page(GFP_KERNEL);
	page.iopm = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, IOPM_ORDER);
	page.msrpm = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, MSRPM_ORDER);
	return page.vmcb && page.host && page.hsave && page.iopm && page.msrpm ? 0 : -ENOMEM;
}

static int enter_times(unsigned int n)
{
	const struct guest g = { .code = rig_guest_cpuid, .intercepts = WORD3(INTERCEPT_CPUID) };
	struct outcome o;
	int err;

	m = rig_find_amd(machine);
	if (IS_ERR_OR_NULL(m))
		return -ENODEV;
	if (rd(MSR_EFER) & EFER_SVME)
		return -EBUSY;
	err = rig_svm_suite_init(NULL);
	for (fill_idts(); !err && n; n--) {
		enter(&g, &o);
		if (o.code != SVM_EXIT_CPUID)
			err = -EIO;
	}
	rig_svm_suite_exit(NULL);
	return err;
}
RIG_TIMES_PARAM(enter, enter_times, "enter a guest n times that executes ten instructions and CPUID");

static int rig_svm_init(struct kunit *test)
{
	int err = host_keep(test);

	if (err)
		return err;
	KUNIT_ASSERT_TRUE_MSG(test, cpuid_ecx(0x80000001) & BIT(2), "no SVM");
	KUNIT_ASSERT_EQ_MSG(test, rd(MSR_EFER) & EFER_SVME, 0, "unload kvm_amd first");

	rig_apic_write(APIC_LVTPC, APIC_DM_NMI | APIC_LVT_MASKED);
	pmu_quiesce();
	intercept(0, false, false);
	fill_idts();
	rig_idt_set(&host_idt, X86_TRAP_DB, rig_host_db);
	return 0;
}

static struct kunit_case rig_svm_cases[] = {
	KUNIT_CASE(failed_vmrun_saves_nothing),
	KUNIT_CASE(cr2_is_the_guests),
	KUNIT_CASE(rdpmc_intercept),
	KUNIT_CASE(rdpmc_fault_first),
	KUNIT_CASE(msr_permission_map),
	KUNIT_CASE(absent_msr_faults_in_guest),
	KUNIT_CASE(guest_counts_exactly),
	KUNIT_CASE(host_counts_no_guest),
	KUNIT_CASE(counters_run_through),
	KUNIT_CASE(guest_reads_its_counter),
	KUNIT_CASE(injected_events_are_not_counted),
	KUNIT_CASE(injected_software_interrupt_returns_to_nrip),
	KUNIT_CASE(debug_exception_saves_dr6),
	KUNIT_CASE(single_step_stays_in_guest),
	KUNIT_CASE(vmrun_is_one_step),
	KUNIT_CASE(pmi_nmi_exits),
	KUNIT_CASE(injected_nmi_masks_none),
	KUNIT_CASE(stack_from_any_tr),
	KUNIT_CASE(pmi_nmi_in_guest),
	KUNIT_CASE(pmi_fixed_exits),
	KUNIT_CASE(pmi_fixed_without_masking),
	KUNIT_CASE(pmi_at_the_exit),
	KUNIT_CASE(vmrun_can_overflow),
	KUNIT_CASE(lbr_virtualization_switches_debugctl),
	KUNIT_CASE(freeze_in_guest),
	KUNIT_CASE(pmi_wakes_halted_guest),
	KUNIT_CASE(gif_holds_nmi),
	{}
};

static struct kunit_suite rig_svm_suite = {
	.name = "rig_svm",
	.suite_init = rig_svm_suite_init,
	.suite_exit = rig_svm_suite_exit,
	.init = rig_svm_init,
	.exit = host_put_back,
	.test_cases = rig_svm_cases,
};

kunit_test_suite(rig_svm_suite);

MODULE_DESCRIPTION("Tests of SVM and the PMU of the emulated machine against the APM");
MODULE_LICENSE("GPL");
