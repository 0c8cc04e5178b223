// SPDX-License-Identifier: GPL-2.0-only
/*
 * Branch records of guests that own the PMU: they are exactly what the guest executed,
 * neither host nor guest sees any of the other's, and they can be moved to another VM.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "passthrough_pmu.h"
#include "svm_util.h"
#include "vmx.h"

#define X86_FEATURE_ARCH_LBR		KVM_X86_CPU_FEATURE(0x7, 0, EDX, 19)
#define X86_FEATURE_XSAVE_LBR		KVM_X86_CPU_FEATURE(0xd, 1, ECX, 15)
#define X86_FEATURE_AMD_LBR_V2		KVM_X86_CPU_FEATURE(0x80000022, 0, EAX, 1)

#define MSR_ARCH_LER_FROM		0x1dd
#define MSR_ARCH_LER_INFO		0x1e0

#define PMU_CAP_LBR_FMT			0x3f
#define DEBUGCTL_LBR			BIT_ULL(0)
#define DEBUGCTL_FREEZE_LBRS		BIT_ULL(11)

#define MAX_RECORDS			32
#define EXIT_PORT			0x80

/* Kinds of branches, as bits of LBR_SELECT and, with others, of LBR_CTL */
enum { JCC, REL_CALL, IND_CALL, RET, IND_JMP, REL_JMP, NR_KINDS };

static const uint8_t select_bits[NR_KINDS] = { 2, 3, 4, 5, 6, 7 };
static const uint8_t ctl_bits[NR_KINDS] = { 16, 19, 20, 21, 18, 17 };

#define CTL_ALL				0x7f0000ull
#define CTL_OS				BIT_ULL(1)
#define CTL_USR				BIT_ULL(2)
#define CTL_CALL_STACK			BIT_ULL(3)
#define SELECT_CALL_STACK		BIT_ULL(9)

#ifndef MSR_AMD64_LBR_SELECT
#define MSR_AMD64_LBR_SELECT		0xc000010e
#endif
#ifndef MSR_AMD_DBG_EXTN_CFG
#define MSR_AMD_DBG_EXTN_CFG		0xc000010f
#define MSR_AMD_SAMP_BR_FROM		0xc0010300
#define DBG_EXTN_CFG_LBRV2EN		BIT_ULL(6)
#endif

/* AMD: bits of an address in FROM and in TO, which have others as well */
#define AMD_ADDRESS			GENMASK_ULL(57, 0)

/* Which of the three kinds this CPU has; neither of both: the older ones of Intel's CPUs */
static bool arch;
static bool amd;
static int nr_records;

struct record {
	uint64_t from;
	uint64_t to;
	uint64_t info;
};

/*
 * Known branches, one of each kind, between the WRMSR that begins to record and the one
 * that ends it; in the midst of them there is an exit to user space if %r8b says so, and
 * to KVM if %r8w does.  Only guests execute this.
 *
 * In: ECX the register, EAX what starts, EBX what stops, EDX 0.
 */
asm(".pushsection .text\n"
	".balign 4096\n"
	"lbr_code:\n"
	"	wrmsr\n"
	"lbr_jmp: jmp lbr_a\n"
	"	int3\n"
	"lbr_a:	xor %r9d, %r9d\n"
	"lbr_jz: jz lbr_b\n"
	"	int3\n"
	"lbr_b:	jnz lbr_a\n"			/* not taken */
	"lbr_call: call lbr_f\n"
	"lbr_after_call:\n"
	"	lea lbr_c(%rip), %r10\n"
	"lbr_ijmp: jmp *%r10\n"
	"	int3\n"
	"lbr_c:	mov %ebx, %r11d\n"
	"	mov %ecx, %r12d\n"
	"lbr_exits_loop:\n"
	"	test %r8d, %r8d\n"
	"lbr_no_exits: jz lbr_no_more_exits\n"
	"	xor %eax, %eax\n"
	"	cpuid\n"
	"	in $0x80, %al\n"
	"	dec %r8d\n"
	"lbr_exits_jmp: jmp lbr_exits_loop\n"
	"lbr_no_more_exits:\n"
	"	mov %r12d, %ecx\n"
	"	xor %edx, %edx\n"
	"	lea lbr_f(%rip), %r10\n"
	"lbr_icall: call *%r10\n"
	"lbr_after_icall:\n"
	"	mov %r11d, %eax\n"
	"	wrmsr\n"
	"	ret\n"
	"	int3\n"
	"lbr_f:	nop\n"
	"lbr_ret: ret\n"
	"	int3\n"
	/* A loop: its branch is all that is recorded. */
	"lbr_loop_code:\n"
	"	wrmsr\n"
	"lbr_loop: dec %r8d\n"
	"lbr_loop_jnz: jnz lbr_loop\n"
	"	mov %ebx, %eax\n"
	"	wrmsr\n"
	"	ret\n"
	/* All of L2 */
	"lbr_l2: nop\n"
	"lbr_l2_jmp: jmp lbr_l2_end\n"
	"	int3\n"
	"lbr_l2_end:\n"
	"	vmcall\n"
	"lbr_code_end:\n"
	".balign 4096\n"
	".popsection\n");

#define ADDRESS_OF(label)						\
({									\
	uint64_t address;						\
									\
	asm("lea " #label "(%%rip), %0" : "=r" (address));		\
	address;							\
})

enum lbr_op { LBR_RECORD, LBR_LOOP, LBR_READ, LBR_WRITE, LBR_XSAVES, LBR_XRSTORS, LBR_MSR,
	      LBR_EMULATED, LBR_NESTED };

/* The legacy region, the header, and the component: control, depth, 3 registers, records */
struct lbr_xsave {
	uint8_t legacy[512];
	uint64_t xstate_bv;
	uint64_t xcomp_bv;
	uint64_t reserved[6];
	uint64_t ctl;
	uint64_t depth;
	uint64_t ler[3];
	struct record records[MAX_RECORDS];
} __aligned(64);

static struct {
	enum lbr_op op;
	uint32_t msr;
	uint64_t on;
	uint64_t off;
	uint64_t exits;
	struct vmx_pages *vmx;
	struct svm_test_data *svm;
	uint64_t msrpm_gpa;
	uint8_t vector;
	uint64_t tos;
	uint64_t select;
	struct record records[MAX_RECORDS];
	struct lbr_xsave xsave;
} lbr;

static uint32_t from_msr(int i)
{
	if (amd)
		return MSR_AMD_SAMP_BR_FROM + 2 * i;
	return (arch ? MSR_ARCH_LBR_FROM_0 : MSR_LBR_NHM_FROM) + i;
}

static uint32_t to_msr(int i)
{
	if (amd)
		return MSR_AMD_SAMP_BR_FROM + 2 * i + 1;
	return (arch ? MSR_ARCH_LBR_TO_0 : MSR_LBR_NHM_TO) + i;
}

static uint32_t info_msr(int i)
{
	return (arch ? MSR_ARCH_LBR_INFO_0 : MSR_LBR_INFO_0) + i;
}

static uint32_t enable_msr(void)
{
	if (amd)
		return MSR_AMD_DBG_EXTN_CFG;
	return arch ? MSR_ARCH_LBR_CTL : MSR_IA32_DEBUGCTLMSR;
}

static uint32_t select_msr(void)
{
	return amd ? MSR_AMD64_LBR_SELECT : MSR_LBR_SELECT;
}

static uint64_t enable_value(void)
{
	if (amd)
		return DBG_EXTN_CFG_LBRV2EN;
	return arch ? ARCH_LBR_CTL_LBREN | CTL_OS | CTL_USR | CTL_ALL : DEBUGCTL_LBR;
}

static void guest_xsaves(bool save)
{
	uint32_t mask = XFEATURE_MASK_LBR;

	set_cr4(get_cr4() | X86_CR4_OSXSAVE);
	if (save)
		asm volatile("xsaves64 %0" : "+m" (lbr.xsave) : "a" (mask), "d" (0) : "memory");
	else
		asm volatile("xrstors64 %0" : : "m" (lbr.xsave), "a" (mask), "d" (0) : "memory");
}

/* What the guest writes KVM's emulator reads, and the other way round. */
static void guest_emulated(uint32_t msr, uint64_t value, uint64_t next)
{
	uint64_t read;

	wrmsr(msr, value);
	GUEST_ASSERT_EQ(rdmsr_safe_fep(msr, &read), 0);
	GUEST_ASSERT_EQ(read, value);
	asm volatile(KVM_FEP "wrmsr" : : "c" (msr), "a" ((uint32_t)next), "d" (next >> 32)
		     : "memory");
	GUEST_ASSERT_EQ(rdmsr(msr), next);
}

static void guest_nested(void)
{
	static unsigned long l2_stack[64];
	struct vmx_pages *vmx = lbr.vmx;

	GUEST_ASSERT(prepare_for_vmx_operation(vmx));
	GUEST_ASSERT(load_vmcs(vmx));
	prepare_vmcs(vmx, (void *)ADDRESS_OF(lbr_l2), &l2_stack[64]);
	vmwrite(VM_ENTRY_CONTROLS, vmreadz(VM_ENTRY_CONTROLS) | VM_ENTRY_LOAD_DEBUG_CONTROLS);
	if (arch)
		wrmsr(MSR_ARCH_LBR_CTL, enable_value());
	else
		vmwrite(GUEST_IA32_DEBUGCTL, DEBUGCTL_LBR);
	GUEST_ASSERT(!vmlaunch());
	if (arch)
		wrmsr(MSR_ARCH_LBR_CTL, 0);
	GUEST_ASSERT_EQ(vmreadz(VM_EXIT_REASON), EXIT_REASON_VMCALL);
	GUEST_ASSERT_EQ(rdmsr(MSR_IA32_DEBUGCTLMSR), 0);
}

/* L1 lets L2 read its records, which may be taken away at the exit to user space. */
static void l2_read(void)
{
	asm volatile("in $0x80, %%al" : : : "rax");
	lbr.on = rdmsr(from_msr(0));
	vmmcall();
}

static void guest_nested_svm(void)
{
	static unsigned long l2_stack[64];
	struct svm_test_data *svm = lbr.svm;

	wrmsr(from_msr(0), lbr.on);
	generic_svm_setup(svm, l2_read, &l2_stack[64]);
	svm->vmcb->control.intercept |= BIT_ULL(INTERCEPT_MSR_PROT);
	svm->vmcb->control.msrpm_base_pa = lbr.msrpm_gpa;
	run_guest(svm->vmcb, svm->vmcb_gpa);
	GUEST_ASSERT_EQ(svm->vmcb->control.exit_code, SVM_EXIT_VMMCALL);
}

static void guest_lbr(void)
{
	register uint32_t exits asm("r8");
	uint64_t a, b, c, d;
	int i;

	for (;;) {
		a = lbr.on;
		b = lbr.off;
		c = lbr.msr;
		d = 0;
		exits = lbr.exits;

		switch (lbr.op) {
		case LBR_RECORD:
			asm volatile("call lbr_code" : "+a" (a), "+b" (b), "+c" (c), "+d" (d),
				     "+r" (exits) : : "r9", "r10", "r11", "r12", "memory");
			break;
		case LBR_LOOP:
			asm volatile("call lbr_loop_code" : "+a" (a), "+b" (b), "+c" (c),
				     "+d" (d), "+r" (exits) : : "memory");
			break;
		case LBR_READ:
			for (i = 0; i < nr_records; i++) {
				lbr.records[i].from = rdmsr(from_msr(i));
				lbr.records[i].to = rdmsr(to_msr(i));
				lbr.records[i].info = amd ? 0 : rdmsr(info_msr(i));
			}
			lbr.tos = arch || amd ? 0 : rdmsr(MSR_LBR_TOS);
			lbr.select = arch ? 0 : rdmsr(select_msr());
			break;
		case LBR_WRITE:
			for (i = 0; i < nr_records; i++) {
				wrmsr(from_msr(i), lbr.records[i].from);
				wrmsr(to_msr(i), lbr.records[i].to);
				if (!amd)
					wrmsr(info_msr(i), lbr.records[i].info);
			}
			break;
		case LBR_XSAVES:
		case LBR_XRSTORS:
			guest_xsaves(lbr.op == LBR_XSAVES);
			break;
		case LBR_EMULATED:
			for (i = 0; i < nr_records; i++) {
				struct record *now = &lbr.records[i];
				struct record *next = &lbr.records[(i + 1) % nr_records];

				guest_emulated(from_msr(i), now->from, next->from);
				guest_emulated(to_msr(i), now->to, next->to);
				if (!amd)
					guest_emulated(info_msr(i), now->info, next->info);
			}
			if (arch) {
				guest_emulated(MSR_ARCH_LER_FROM, 0x1234, 0x5678);
				guest_emulated(MSR_ARCH_LER_INFO, 0x1f, 0x20);
			} else {
				guest_emulated(select_msr(), 0x1c5, 4);
			}
			if (!arch && !amd)
				guest_emulated(MSR_LBR_TOS, 5, 11);
			break;
		case LBR_NESTED:
			if (amd)
				guest_nested_svm();
			else
				guest_nested();
			break;
		case LBR_MSR:
			lbr.vector = lbr.off ? wrmsr_safe(lbr.msr, lbr.on) :
					       rdmsr_safe(lbr.msr, &lbr.on);
			break;
		}
		GUEST_SYNC(0);
	}
}

#define host_lbr_of(vcpu)						\
	((typeof(lbr) *)addr_gva2hva((vcpu)->vm, (vm_vaddr_t)&lbr))

/* What happens at exits to user space in the midst of an operation */
static void (*at_exit_port)(void);

static void guest_op(struct kvm_vcpu *vcpu, enum lbr_op op)
{
	struct ucall uc;

	host_lbr_of(vcpu)->op = op;

	for (;;) {
		vcpu_run(vcpu);
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
		if (vcpu->run->io.port != EXIT_PORT)
			break;
		if (at_exit_port)
			at_exit_port();
	}
	TEST_ASSERT(get_ucall(vcpu, &uc) == UCALL_SYNC, "Wanted a sync, got %lu: %s", uc.cmd,
		    uc.cmd == UCALL_ABORT ? (char *)(uc.buffer) : "");
}

static struct record *guest_records(struct kvm_vcpu *vcpu)
{
	guest_op(vcpu, LBR_READ);
	return host_lbr_of(vcpu)->records;
}

/* Record number @i, 0 is the newest. */
static struct record *guest_record(struct kvm_vcpu *vcpu, int i)
{
	return &host_lbr_of(vcpu)->records[arch || amd ? i :
					   (host_lbr_of(vcpu)->tos - i) % nr_records];
}

static uint8_t guest_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *value, bool write)
{
	host_lbr_of(vcpu)->msr = msr;
	host_lbr_of(vcpu)->on = *value;
	host_lbr_of(vcpu)->off = write;
	guest_op(vcpu, LBR_MSR);
	*value = host_lbr_of(vcpu)->on;
	return host_lbr_of(vcpu)->vector;
}

static uint8_t guest_write(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t value)
{
	return guest_msr(vcpu, msr, &value, true);
}

static uint64_t guest_read(struct kvm_vcpu *vcpu, uint32_t msr)
{
	uint64_t value = 0;

	TEST_ASSERT_EQ(guest_msr(vcpu, msr, &value, false), 0);
	return value;
}

static void guest_record_branches(struct kvm_vcpu *vcpu, enum lbr_op op, uint64_t on,
				  uint64_t exits)
{
	host_lbr_of(vcpu)->msr = enable_msr();
	host_lbr_of(vcpu)->on = on;
	host_lbr_of(vcpu)->off = 0;
	host_lbr_of(vcpu)->exits = exits;
	guest_op(vcpu, op);
}

static void guest_clear(struct kvm_vcpu *vcpu)
{
	if (arch) {
		TEST_ASSERT_EQ(guest_write(vcpu, MSR_ARCH_LBR_DEPTH, nr_records), 0);
		return;
	}
	memset(host_lbr_of(vcpu)->records, 0, sizeof(lbr.records));
	guest_op(vcpu, LBR_WRITE);
}

/* With all that KVM offers */
static struct kvm_vm *create_vm(struct kvm_vcpu **vcpu)
{
	struct kvm_vm *vm = vm_create_with_one_vcpu(vcpu, guest_lbr);

	sync_global_to_guest(vm, arch);
	sync_global_to_guest(vm, amd);
	sync_global_to_guest(vm, nr_records);
	return vm;
}

static uint64_t address(uint64_t value)
{
	return amd ? value & AMD_ADDRESS : value;
}

static bool in_guest_code(uint64_t address)
{
	return address >= ADDRESS_OF(lbr_code) && address < ADDRESS_OF(lbr_code_end);
}

/* What lbr_code records, the oldest first */
struct branch {
	int kind;
	uint64_t from;
	uint64_t to;
};

#define MAX_BRANCHES	64

static int add_branch(struct branch *branches, int n, unsigned int kinds, int kind,
		      uint64_t from, uint64_t to)
{
	if (!(kinds & BIT(kind)))
		return n;
	branches[n] = (struct branch) { kind, from, to };
	return n + 1;
}

#define BRANCH(kind, from, to)						\
	(n = add_branch(branches, n, kinds, kind, ADDRESS_OF(from), ADDRESS_OF(to)))

static int expected_branches(struct branch *branches, int exits, unsigned int kinds)
{
	int n = 0;

	BRANCH(REL_JMP, lbr_jmp, lbr_a);
	BRANCH(JCC, lbr_jz, lbr_b);
	BRANCH(REL_CALL, lbr_call, lbr_f);
	BRANCH(RET, lbr_ret, lbr_after_call);
	BRANCH(IND_JMP, lbr_ijmp, lbr_c);
	while (exits--)
		BRANCH(REL_JMP, lbr_exits_jmp, lbr_exits_loop);
	BRANCH(JCC, lbr_no_exits, lbr_no_more_exits);
	BRANCH(IND_CALL, lbr_icall, lbr_f);
	BRANCH(RET, lbr_ret, lbr_after_icall);
	return n;
}

/* Fails unless the records are those branches, the last of them if there are many. */
static void check_records(struct kvm_vcpu *vcpu, int exits, unsigned int kinds)
{
	struct branch branches[MAX_BRANCHES];
	int n = expected_branches(branches, exits, kinds), i;
	struct record *record;

	guest_records(vcpu);
	for (i = 0; i < nr_records; i++) {
		record = guest_record(vcpu, i);
		if (i >= n) {
			TEST_ASSERT(!record->from && !record->to,
				    "Record %d: wanted none after %d, got %#lx to %#lx (begin %#lx)",
				    i, n, record->from, record->to, ADDRESS_OF(lbr_code));
			continue;
		}
		TEST_ASSERT(address(record->from) == branches[n - 1 - i].from &&
			    address(record->to) == branches[n - 1 - i].to,
			    "Record %d of %d: wanted %#lx to %#lx, got %#lx to %#lx", i, n,
			    branches[n - 1 - i].from, branches[n - 1 - i].to, record->from,
			    record->to);
	}
}

#define ALL_KINDS	(BIT(NR_KINDS) - 1)

TEST(records_are_exact)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_vm(&vcpu);
	int i;

	guest_record_branches(vcpu, LBR_RECORD, enable_value(), 0);
	check_records(vcpu, 0, ALL_KINDS);

	/* With nothing enabled nothing is added. */
	guest_record_branches(vcpu, LBR_RECORD, 0, 3);
	check_records(vcpu, 0, ALL_KINDS);

	guest_record_branches(vcpu, LBR_LOOP, enable_value(), 100);
	guest_records(vcpu);
	for (i = 0; i < nr_records; i++) {
		TEST_ASSERT_EQ(address(guest_record(vcpu, i)->from),
			       ADDRESS_OF(lbr_loop_jnz));
		TEST_ASSERT_EQ(address(guest_record(vcpu, i)->to), ADDRESS_OF(lbr_loop));
	}
	kvm_vm_free(vm);
}

/* Exits to KVM and to user space add nothing, and take nothing away. */
TEST(records_outlive_exits)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_vm(&vcpu);
	int exits;

	for (exits = 1; exits <= 32; exits += 5) {
		guest_clear(vcpu);
		guest_record_branches(vcpu, LBR_RECORD, enable_value(), exits);
		check_records(vcpu, exits, ALL_KINDS);
	}
	kvm_vm_free(vm);
}

TEST(filters)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_vm(&vcpu);
	uint64_t value;
	int kind;

	for (kind = 0; kind < NR_KINDS; kind++) {
		guest_clear(vcpu);
		value = enable_value();
		if (arch)
			value &= ~BIT_ULL(ctl_bits[kind]);
		else
			TEST_ASSERT_EQ(guest_write(vcpu, select_msr(),
						   BIT_ULL(select_bits[kind])), 0);
		guest_record_branches(vcpu, LBR_RECORD, value, 2);
		check_records(vcpu, 2, ALL_KINDS & ~BIT(kind));
	}

	/* The guest runs at privilege level 0. */
	guest_clear(vcpu);
	value = enable_value();
	if (arch)
		value &= ~CTL_OS;
	else
		TEST_ASSERT_EQ(guest_write(vcpu, select_msr(), BIT_ULL(0)), 0);
	guest_record_branches(vcpu, LBR_RECORD, value, 2);
	check_records(vcpu, 0, 0);
	kvm_vm_free(vm);
}

/* In this mode a return takes away what its call has added. */
TEST(call_stack_mode)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_vm(&vcpu);
	uint64_t value = enable_value();

	if (amd)
		SKIP(return, "no call-stack mode");
	if (arch)
		value |= CTL_CALL_STACK;
	else
		TEST_ASSERT_EQ(guest_write(vcpu, MSR_LBR_SELECT, SELECT_CALL_STACK | 0xc5), 0);
	guest_record_branches(vcpu, LBR_RECORD, value, 3);
	check_records(vcpu, 0, 0);
	kvm_vm_free(vm);
}

static uint64_t pattern(int i, int which)
{
	if (which == 2)
		return amd ? 0 : (uint64_t)(i * 17 + 3) | (i & 1 ? BIT_ULL(63) : 0);
	return (which ? 0x7abcdef01000ull : 0xffffffff81234000ull) + i * 16;
}

static void set_patterns(struct kvm_vcpu *vcpu)
{
	int i;

	for (i = 0; i < nr_records; i++)
		host_lbr_of(vcpu)->records[i] = (struct record) {
			pattern(i, 0), pattern(i, 1), pattern(i, 2)
		};
}

static void guest_write_patterns(struct kvm_vcpu *vcpu)
{
	set_patterns(vcpu);
	guest_op(vcpu, LBR_WRITE);
}

static void check_patterns(struct kvm_vcpu *vcpu)
{
	struct record *records = guest_records(vcpu);
	int i;

	for (i = 0; i < nr_records; i++) {
		TEST_ASSERT_EQ(records[i].from, pattern(i, 0));
		TEST_ASSERT_EQ(records[i].to, pattern(i, 1));
		TEST_ASSERT_EQ(records[i].info, pattern(i, 2));
	}
}

/* All of them, in the order of KVM_GET_MSR_INDEX_LIST; returns how many there are. */
static int lbr_msrs(uint32_t *msrs)
{
	const struct kvm_msr_list *list = kvm_get_msr_index_list();
	int i, n = 0;

	for (i = 0; i < list->nmsrs; i++) {
		uint32_t msr = list->indices[i];
		bool one = amd ? msr == MSR_AMD_DBG_EXTN_CFG || msr == MSR_AMD64_LBR_SELECT :
			   arch ? msr == MSR_ARCH_LBR_CTL || msr == MSR_ARCH_LBR_DEPTH ||
				  msr == MSR_ARCH_LER_FROM || msr == MSR_ARCH_LER_FROM + 1 ||
				  msr == MSR_ARCH_LER_INFO :
				  msr == MSR_LBR_SELECT || msr == MSR_LBR_TOS;

		if (amd && msr - from_msr(0) < 2 * nr_records)
			one = true;
		if (!amd && (msr - from_msr(0) < nr_records || msr - to_msr(0) < nr_records ||
			     msr - info_msr(0) < nr_records))
			one = true;
		if (one)
			msrs[n++] = msr;
	}
	return n;
}

TEST(save_and_restore)
{
	uint32_t msrs[3 * MAX_RECORDS + 5];
	uint64_t values[ARRAY_SIZE(msrs)];
	int n = lbr_msrs(msrs), i;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	TEST_ASSERT_EQ(n, (amd ? 2 : 3) * nr_records + (arch ? 5 : 2));

	vm = create_vm(&vcpu);
	guest_write_patterns(vcpu);
	if (!arch) {
		TEST_ASSERT_EQ(amd ? 0 : guest_write(vcpu, MSR_LBR_TOS, 11), 0);
		TEST_ASSERT_EQ(guest_write(vcpu, select_msr(), 0x1c5), 0);
	} else {
		TEST_ASSERT_EQ(guest_write(vcpu, MSR_ARCH_LER_FROM, 0x1234), 0);
		TEST_ASSERT_EQ(guest_write(vcpu, MSR_ARCH_LBR_CTL, CTL_OS | BIT(18)), 0);
	}
	for (i = 0; i < n; i++)
		values[i] = vcpu_get_msr(vcpu, msrs[i]);
	check_patterns(vcpu);
	kvm_vm_free(vm);

	vm = create_vm(&vcpu);
	for (i = 0; i < n; i++)
		vcpu_set_msr(vcpu, msrs[i], values[i]);
	for (i = 0; i < n; i++)
		TEST_ASSERT_EQ(vcpu_get_msr(vcpu, msrs[i]), values[i]);
	check_patterns(vcpu);
	if (!arch) {
		TEST_ASSERT_EQ(amd ? 11 : guest_read(vcpu, MSR_LBR_TOS), 11);
		TEST_ASSERT_EQ(guest_read(vcpu, select_msr()), 0x1c5);
	} else {
		TEST_ASSERT_EQ(guest_read(vcpu, MSR_ARCH_LER_FROM), 0x1234);
		TEST_ASSERT_EQ(guest_read(vcpu, MSR_ARCH_LBR_CTL), CTL_OS | BIT(18));
	}
	kvm_vm_free(vm);

	/* Records that were saved while the guest was recording go on. */
	vm = create_vm(&vcpu);
	vcpu_set_msr(vcpu, enable_msr(), enable_value());
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, enable_msr()), enable_value());
	guest_record_branches(vcpu, LBR_LOOP, enable_value(), 100);
	guest_records(vcpu);
	TEST_ASSERT_EQ(address(guest_record(vcpu, 0)->from), ADDRESS_OF(lbr_loop_jnz));
	kvm_vm_free(vm);
}

/* What KVM's emulator reads and writes are the registers that the guest has open. */
TEST(emulated)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!is_forced_emulation_enabled)
		SKIP(return, "kvm.force_emulation_prefix is off");

	vm = create_vm(&vcpu);
	/* The first access opens the registers. */
	guest_records(vcpu);
	set_patterns(vcpu);
	guest_op(vcpu, LBR_EMULATED);
	kvm_vm_free(vm);
}

/* What one guest leaves behind, nobody finds. */
TEST(other_guests_see_nothing)
{
	struct kvm_vcpu *vcpu[2];
	struct kvm_vm *vm[2];
	int i;

	vm[0] = create_vm(&vcpu[0]);
	vm[1] = create_vm(&vcpu[1]);
	guest_write_patterns(vcpu[0]);
	check_records(vcpu[1], 0, 0);
	check_patterns(vcpu[0]);
	guest_record_branches(vcpu[1], LBR_RECORD, enable_value(), 2);
	check_patterns(vcpu[0]);
	check_records(vcpu[1], 2, ALL_KINDS);
	for (i = 0; i < 2; i++)
		kvm_vm_free(vm[i]);

	vm[0] = create_vm(&vcpu[0]);
	check_records(vcpu[0], 0, 0);
	kvm_vm_free(vm[0]);
}

TEST(host_registers_hold_nothing_of_a_guest)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint64_t value;
	int i;

	if (!host_rdmsr(from_msr(0), &value))
		SKIP(return, "no access to the host's MSRs");

	vm = create_vm(&vcpu);
	guest_write_patterns(vcpu);
	guest_record_branches(vcpu, LBR_RECORD, enable_value(), 1);
	for (i = 0; i < nr_records; i++) {
		host_rdmsr(from_msr(i), &value);
		TEST_ASSERT_EQ(value, 0);
		host_rdmsr(to_msr(i), &value);
		TEST_ASSERT_EQ(value, 0);
		if (amd)
			continue;
		host_rdmsr(info_msr(i), &value);
		TEST_ASSERT_EQ(value, 0);
	}
	host_rdmsr(enable_msr(), &value);
	TEST_ASSERT_EQ(value & (amd ? DBG_EXTN_CFG_LBRV2EN : 1), 0);
	kvm_vm_free(vm);
}

/* A guest that uses its records accesses them without exits, after the first one. */
TEST(exits)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_vm(&vcpu);
	uint64_t before;

	guest_records(vcpu);
	before = vcpu_get_stat(vcpu, "exits");
	guest_records(vcpu);
	TEST_ASSERT(vcpu_get_stat(vcpu, "exits") - before < 8,
		    "Wanted hardly any exit for %d accesses, got %lu", 3 * nr_records,
		    vcpu_get_stat(vcpu, "exits") - before);
	kvm_vm_free(vm);
}

TEST(values_that_fault)
{
	const uint64_t noncanonical = BIT_ULL(62);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int again;

	if (amd)
		SKIP(return, "reserved bits are ignored");
	vm = create_vm(&vcpu);

	/* The second time they are open. */
	for (again = 0; again < 2; again++) {
		TEST_ASSERT_EQ(guest_write(vcpu, from_msr(3), noncanonical), GP_VECTOR);
		TEST_ASSERT_EQ(guest_write(vcpu, to_msr(3), noncanonical), GP_VECTOR);
		TEST_ASSERT_EQ(guest_write(vcpu, from_msr(nr_records), 0), GP_VECTOR);
		if (arch) {
			TEST_ASSERT_EQ(guest_write(vcpu, MSR_ARCH_LBR_CTL, BIT_ULL(4)), GP_VECTOR);
			TEST_ASSERT_EQ(guest_write(vcpu, MSR_ARCH_LBR_CTL, BIT_ULL(23)), GP_VECTOR);
			TEST_ASSERT_EQ(guest_write(vcpu, MSR_ARCH_LBR_DEPTH, 8), GP_VECTOR);
			TEST_ASSERT_EQ(guest_write(vcpu, MSR_ARCH_LBR_DEPTH, 33), GP_VECTOR);
			TEST_ASSERT_EQ(guest_write(vcpu, MSR_LBR_TOS, 0), GP_VECTOR);
			TEST_ASSERT_EQ(guest_read(vcpu, MSR_ARCH_LBR_DEPTH), nr_records);
		} else {
			TEST_ASSERT_EQ(guest_write(vcpu, info_msr(3), BIT_ULL(40)), GP_VECTOR);
			TEST_ASSERT_EQ(guest_write(vcpu, MSR_LBR_SELECT, BIT_ULL(10)), GP_VECTOR);
			TEST_ASSERT_EQ(guest_write(vcpu, MSR_LBR_TOS, nr_records), GP_VECTOR);
			TEST_ASSERT_EQ(guest_write(vcpu, MSR_ARCH_LBR_CTL, 0), GP_VECTOR);
		}
		guest_records(vcpu);
	}

	TEST_ASSERT(!_vcpu_set_msr(vcpu, from_msr(3), noncanonical), "Wanted a refusal");
	if (arch)
		TEST_ASSERT(!_vcpu_set_msr(vcpu, MSR_ARCH_LBR_DEPTH, 16), "Wanted a refusal");
	kvm_vm_free(vm);
}

/* User space decides, and what the guest doesn't have faults. */
TEST(negotiation)
{
	const uint64_t caps = amd ? 0 : kvm_get_feature_msr(MSR_IA32_PERF_CAPABILITIES);
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_vm(&vcpu);

	if (amd) {
		vcpu_clear_cpuid_feature(vcpu, X86_FEATURE_AMD_LBR_V2);
	} else if (arch) {
		vcpu_clear_cpuid_feature(vcpu, X86_FEATURE_ARCH_LBR);
		TEST_ASSERT(!_vcpu_set_msr(vcpu, MSR_IA32_XSS, XFEATURE_MASK_LBR),
			    "Wanted XSS[15] to be refused");
	} else {
		TEST_ASSERT(!_vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES,
					   (caps & ~PMU_CAP_LBR_FMT) | 4), "Wanted a refusal");
		TEST_ASSERT(!_vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES,
					   caps | PMU_CAP_LBR_FMT), "Wanted a refusal");
		vcpu_set_msr(vcpu, MSR_IA32_DEBUGCTLMSR, DEBUGCTL_LBR);
		vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, caps & ~PMU_CAP_LBR_FMT);
		TEST_ASSERT_EQ(vcpu_get_msr(vcpu, MSR_IA32_DEBUGCTLMSR), 0);
	}

	TEST_ASSERT_EQ(guest_write(vcpu, from_msr(0), 0), GP_VECTOR);
	TEST_ASSERT_EQ(guest_write(vcpu, to_msr(nr_records - 1), 0), GP_VECTOR);
	if (amd) {
		TEST_ASSERT_EQ(guest_write(vcpu, MSR_AMD_DBG_EXTN_CFG, 0), GP_VECTOR);
		TEST_ASSERT_EQ(guest_write(vcpu, MSR_AMD64_LBR_SELECT, 0), GP_VECTOR);
	} else if (arch) {
		TEST_ASSERT_EQ(guest_write(vcpu, info_msr(nr_records - 1), 0), GP_VECTOR);
		TEST_ASSERT_EQ(guest_write(vcpu, MSR_ARCH_LBR_CTL, 0), GP_VECTOR);
		TEST_ASSERT_EQ(guest_write(vcpu, MSR_IA32_XSS, XFEATURE_MASK_LBR), GP_VECTOR);
	} else {
		/* For guests that have none the bit has always been ignored. */
		TEST_ASSERT_EQ(guest_write(vcpu, MSR_IA32_DEBUGCTLMSR, DEBUGCTL_LBR), 0);
		TEST_ASSERT_EQ(guest_read(vcpu, MSR_IA32_DEBUGCTLMSR), 0);
	}
	kvm_vm_free(vm);
}

static void enable_xsave(struct kvm_vcpu *vcpu)
{
	TEST_ASSERT_EQ(guest_write(vcpu, MSR_IA32_XSS, XFEATURE_MASK_LBR), 0);
}

/* XSAVES has the same records as the registers. */
TEST(xsaves)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	typeof(lbr) *of;
	int i;

	if (!arch)
		SKIP(return, "no architectural LBRs");

	/* The first access may be this one. */
	vm = create_vm(&vcpu);
	of = host_lbr_of(vcpu);
	enable_xsave(vcpu);
	memset(&of->xsave, 0, sizeof(of->xsave));
	guest_op(vcpu, LBR_XSAVES);
	for (i = 0; i < nr_records; i++)
		TEST_ASSERT_EQ(of->xsave.records[i].from, 0);

	guest_write_patterns(vcpu);
	guest_op(vcpu, LBR_XSAVES);
	TEST_ASSERT_EQ(of->xsave.xstate_bv, XFEATURE_MASK_LBR);
	TEST_ASSERT_EQ(of->xsave.depth, nr_records);
	for (i = 0; i < nr_records; i++) {
		TEST_ASSERT_EQ(of->xsave.records[i].from, pattern(i, 0));
		TEST_ASSERT_EQ(of->xsave.records[i].to, pattern(i, 1));
		TEST_ASSERT_EQ(of->xsave.records[i].info, pattern(i, 2));
	}

	guest_clear(vcpu);
	check_records(vcpu, 0, 0);
	guest_op(vcpu, LBR_XRSTORS);
	check_patterns(vcpu);
	kvm_vm_free(vm);
}

/* XRSTORS may be what begins to record. */
TEST(xrstors_first)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	typeof(lbr) *of;
	int i;

	if (!arch)
		SKIP(return, "no architectural LBRs");

	vm = create_vm(&vcpu);
	of = host_lbr_of(vcpu);
	enable_xsave(vcpu);
	memset(&of->xsave, 0, sizeof(of->xsave));
	of->xsave.xstate_bv = XFEATURE_MASK_LBR;
	of->xsave.xcomp_bv = BIT_ULL(63) | XFEATURE_MASK_LBR;
	of->xsave.depth = nr_records;
	for (i = 0; i < nr_records; i++)
		of->xsave.records[i] = (struct record) {
			pattern(i, 0), pattern(i, 1), pattern(i, 2)
		};
	guest_op(vcpu, LBR_XRSTORS);
	check_patterns(vcpu);
	kvm_vm_free(vm);
}

/* AMD: LbrAndPmcFreeze; the older ones of Intel's CPUs are enabled in the same register. */
static bool can_freeze(void)
{
	return !amd || kvm_cpu_has(X86_FEATURE_AMD_LBR_PMC_FREEZE);
}

static uint64_t debugctl_value(uint64_t freeze)
{
	return freeze | (arch || amd ? 0 : DEBUGCTL_LBR);
}

static uint64_t enable_value_freezing(void)
{
	return enable_value() | (arch || amd ? 0 : DEBUGCTL_FREEZE_LBRS);
}

/* Frozen records are what they are until the guest clears the status. */
TEST(freeze)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!can_freeze())
		SKIP(return, "guests don't have LbrAndPmcFreeze");
	vm = create_vm(&vcpu);
	TEST_ASSERT_EQ(guest_write(vcpu, MSR_IA32_DEBUGCTLMSR,
				   debugctl_value(DEBUGCTL_FREEZE_LBRS)), 0);
	TEST_ASSERT_EQ(guest_write(vcpu, status_set_msr(), STATUS_LBR_FRZ), 0);
	guest_clear(vcpu);
	guest_record_branches(vcpu, LBR_RECORD, enable_value_freezing(), 3);
	check_records(vcpu, 0, 0);

	TEST_ASSERT_EQ(guest_write(vcpu, MSR_IA32_DEBUGCTLMSR, 0), 0);
	TEST_ASSERT_EQ(guest_write(vcpu, status_clear_msr(), STATUS_LBR_FRZ), 0);
	guest_clear(vcpu);
	guest_record_branches(vcpu, LBR_RECORD, enable_value(), 3);
	check_records(vcpu, 3, ALL_KINDS);
	kvm_vm_free(vm);
}

/* All records are of the loop with the exits, and none of what follows. */
static void check_frozen_in_loop(struct kvm_vcpu *vcpu)
{
	struct record *record;
	int i;

	guest_records(vcpu);
	for (i = 0; i < nr_records; i++) {
		record = guest_record(vcpu, i);
		TEST_ASSERT(address(record->from) == ADDRESS_OF(lbr_exits_jmp) &&
			    address(record->to) == ADDRESS_OF(lbr_exits_loop),
			    "Record %d: wanted %#lx to %#lx, got %#lx to %#lx", i,
			    ADDRESS_OF(lbr_exits_jmp), ADDRESS_OF(lbr_exits_loop), record->from,
			    record->to);
	}
}

#define FREEZE_EXITS		150

/* A counter interrupts in the midst of the loop, with its @n-th event. */
static void guest_overflow(struct kvm_vcpu *vcpu, uint64_t event, uint64_t n)
{
	uint64_t mask = GENMASK_ULL(default_pmu_model().width_gp - 1, 0);

	TEST_ASSERT_EQ(guest_write(vcpu, MSR_IA32_DEBUGCTLMSR,
				   debugctl_value(DEBUGCTL_FREEZE_LBRS)), 0);
	TEST_ASSERT_EQ(guest_write(vcpu, gp_selector_msr(0), EVENTSEL_COUNT_PMI | event), 0);
	TEST_ASSERT_EQ(guest_write(vcpu, gp_counter_msr(0), -n & mask), 0);
	guest_record_branches(vcpu, LBR_RECORD, enable_value_freezing(), FREEZE_EXITS);
	TEST_ASSERT_EQ(guest_read(vcpu, global_status_msr()), STATUS_LBR_FRZ | 1);
	TEST_ASSERT_EQ(guest_write(vcpu, gp_selector_msr(0), 0), 0);
}

/* Hardware freezes the records, and they remain frozen in another VM, until the thaw. */
TEST(overflow_freezes)
{
	uint64_t event = host_cpu_is_intel ? RAW_EVENT(0xc4, 0) : RAW_EVENT(0xc2, 0);
	uint64_t values[3 * MAX_RECORDS + 5], status, debugctl;
	uint32_t msrs[ARRAY_SIZE(values)];
	int n = lbr_msrs(msrs), i;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!can_freeze())
		SKIP(return, "guests don't have LbrAndPmcFreeze");
	vm = create_vm(&vcpu);
	/* The loop has two branches. */
	guest_overflow(vcpu, event, FREEZE_EXITS);
	check_frozen_in_loop(vcpu);

	for (i = 0; i < n; i++)
		values[i] = vcpu_get_msr(vcpu, msrs[i]);
	status = vcpu_get_msr(vcpu, global_status_msr());
	debugctl = vcpu_get_msr(vcpu, MSR_IA32_DEBUGCTLMSR);
	kvm_vm_free(vm);

	vm = create_vm(&vcpu);
	vcpu_set_msr(vcpu, global_status_msr(), status);
	for (i = 0; i < n; i++)
		vcpu_set_msr(vcpu, msrs[i], values[i]);
	vcpu_set_msr(vcpu, MSR_IA32_DEBUGCTLMSR, debugctl);
	guest_record_branches(vcpu, LBR_RECORD, enable_value_freezing(), 3);
	check_frozen_in_loop(vcpu);

	TEST_ASSERT_EQ(guest_write(vcpu, status_clear_msr(), status), 0);
	guest_clear(vcpu);
	guest_record_branches(vcpu, LBR_RECORD, enable_value_freezing(), 3);
	check_records(vcpu, 3, ALL_KINDS);
	kvm_vm_free(vm);
}

/* So does KVM, if it is an instruction that it emulates: one of these is. */
TEST(overflow_by_an_emulated_instruction_freezes)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	if (!can_freeze())
		SKIP(return, "guests don't have LbrAndPmcFreeze");
	/* The loop has seven instructions, and two VMRUN on AMD's CPUs. */
	for (i = 0; i < 9; i++) {
		vm = create_vm(&vcpu);
		guest_overflow(vcpu, EVENT_INSTRUCTIONS, 5 * FREEZE_EXITS + i);
		check_frozen_in_loop(vcpu);
		kvm_vm_free(vm);
	}
}

/* L2 records what L1 wants it to, and nothing of KVM is in between. */
TEST(nested)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	vm_vaddr_t vmx;
	int i, of_l2 = 0, of_l1 = 0;

	if (amd || !kvm_cpu_has(X86_FEATURE_VMX))
		SKIP(return, "no nested VMX");

	vm = create_vm(&vcpu);
	vcpu_alloc_vmx(vm, &vmx);
	host_lbr_of(vcpu)->vmx = (void *)vmx;
	guest_op(vcpu, LBR_NESTED);
	guest_records(vcpu);
	for (i = 0; i < nr_records; i++) {
		struct record *record = guest_record(vcpu, i);

		if (record->from == ADDRESS_OF(lbr_l2_jmp) &&
		    record->to == ADDRESS_OF(lbr_l2_end))
			of_l2++;
		else if (record->from)
			of_l1++;
		TEST_ASSERT(record->from < BIT_ULL(47) && record->to < BIT_ULL(47),
			    "Record %d: %#lx to %#lx is none of the guest", i, record->from,
			    record->to);
	}
	TEST_ASSERT_EQ(of_l2, 1);
	/* L1 doesn't branch in between; and if it did, DEBUGCTL would not let it record. */
	TEST_ASSERT_EQ(of_l1, 0);
	kvm_vm_free(vm);
}

/* Branches that only the host executes, and that a guest must not see */
static noinline void host_code(void)
{
	asm volatile("mov $1000, %%ecx\n\t"
		     "host_lbr_loop: dec %%ecx\n\t"
		     "host_lbr_jnz: jnz host_lbr_loop\n\t" : : : "rcx");
}

struct host_lbr {
	int fd;
	struct perf_event_mmap_page *page;
	uint64_t samples;
	uint64_t records;
	uint64_t of_host_code;
	uint64_t of_guest;
};

#define RING_SIZE	(64 * 4096)

static void host_lbr_open(struct host_lbr *host, uint64_t type)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
		.sample_period = 1009,
		.sample_type = PERF_SAMPLE_BRANCH_STACK,
		.branch_sample_type = PERF_SAMPLE_BRANCH_USER | type,
		.exclude_guest = 1,
	};

	memset(host, 0, sizeof(*host));
	host->fd = host_event_open_attr(&attr, 0, -1);
	TEST_ASSERT(host->fd >= 0, "Wanted an event with a branch stack, got %d", host->fd);
	host->page = mmap(NULL, 4096 + RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, host->fd, 0);
	TEST_ASSERT(host->page != MAP_FAILED, "Mapping an event failed, errno %d", errno);
}

/* Looks at all samples so far. */
static void host_lbr_read(struct host_lbr *host)
{
	uint64_t head = __atomic_load_n(&host->page->data_head, __ATOMIC_ACQUIRE);
	uint64_t at, i, nr, *entries;
	struct perf_event_header *header;

	for (at = host->page->data_tail; at < head; at += header->size) {
		header = (void *)host->page + 4096 + at % RING_SIZE;
		/* Ends at the end of the ring, where a sample would have to be pieced together. */
		if (at % RING_SIZE + header->size > RING_SIZE)
			continue;
		if (header->type != PERF_RECORD_SAMPLE)
			continue;
		nr = *(uint64_t *)(header + 1);
		entries = (uint64_t *)(header + 1) + 1;
		host->samples++;
		host->records += nr;
		for (i = 0; i < nr; i++) {
			uint64_t from = entries[3 * i], to = entries[3 * i + 1];

			if (from == ADDRESS_OF(host_lbr_jnz))
				host->of_host_code++;
			if (in_guest_code(from) || in_guest_code(to))
				host->of_guest++;
		}
	}
	host->page->data_tail = head;
}

static void host_lbr_close(struct host_lbr *host)
{
	munmap(host->page, 4096 + RING_SIZE);
	close(host->fd);
}

/* The host records its own branches, and the guest the guest's, both of this thread. */
static void check_beside_host(uint64_t type)
{
	struct host_lbr host;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int round, i;

	host_lbr_open(&host, type);
	vm = create_vm(&vcpu);

	/* Has not touched its own yet. */
	for (i = 0; i < 20; i++)
		host_code();
	check_records(vcpu, 0, 0);

	for (round = 0; round < 5; round++) {
		for (i = 0; i < 20; i++)
			host_code();
		guest_clear(vcpu);
		guest_record_branches(vcpu, LBR_RECORD, enable_value(), 10);
		check_records(vcpu, 10, ALL_KINDS);
		guest_write_patterns(vcpu);
		for (i = 0; i < 20; i++)
			host_code();
		check_patterns(vcpu);
		host_lbr_read(&host);
	}

	kvm_vm_free(vm);
	host_lbr_close(&host);
	TEST_ASSERT(host.samples > 50 && host.records > 50,
		    "Wanted samples with records of the host, got %lu with %lu", host.samples,
		    host.records);
	TEST_ASSERT(type == PERF_SAMPLE_BRANCH_CALL_STACK || host.of_host_code > 1000,
		    "Wanted records of the host's loop, got %lu", host.of_host_code);
	TEST_ASSERT_EQ(host.of_guest, 0);
}

TEST(beside_host_records)
{
	check_beside_host(PERF_SAMPLE_BRANCH_ANY);
}

TEST(beside_host_call_stack)
{
	if (amd)
		SKIP(return, "no call-stack mode");
	check_beside_host(PERF_SAMPLE_BRANCH_CALL_STACK);
}

/* An event that begins while the records are the guest's has them taken out before. */
TEST(host_begins)
{
	struct host_lbr host;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_vm(&vcpu);
	int i;

	guest_write_patterns(vcpu);
	for (i = 0; i < 3; i++) {
		host_lbr_open(&host, PERF_SAMPLE_BRANCH_ANY);
		host_code();
		check_patterns(vcpu);
		host_code();
		host_lbr_read(&host);
		host_lbr_close(&host);
		TEST_ASSERT_EQ(host.of_guest, 0);
		check_patterns(vcpu);
	}
	kvm_vm_free(vm);
}

/* The host's records have no branch of a guest that doesn't use its own. */
static void check_host_beside(int counting)
{
	struct host_lbr host;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int i;

	/*
	 * The guest runs at privilege level 0.  Calls are left out, with which KVM would fill
	 * the records on each VM-exit.
	 */
	host_lbr_open(&host, PERF_SAMPLE_BRANCH_COND | PERF_SAMPLE_BRANCH_KERNEL);
	vm = create_vm(&vcpu);
	for (i = 0; i < 1000; i++) {
		if (counting)
			guest_write(vcpu, gp_selector_msr(0),
				    EVENTSEL_COUNT | EVENT_INSTRUCTIONS);
		guest_record_branches(vcpu, LBR_LOOP, 0, 100);
		/* Whatever KVM has executed meanwhile may have filled the ring. */
		host_lbr_read(&host);
		if (i % 16 == 0)
			host_code();
		host_lbr_read(&host);
	}
	kvm_vm_free(vm);
	host_lbr_close(&host);
	TEST_ASSERT(host.of_host_code > 100, "Wanted records of the host's loop, got %lu",
		    host.of_host_code);
	TEST_ASSERT_EQ(host.of_guest, 0);
}

TEST(host_beside_dormant_guest)
{
	check_host_beside(false);
}

TEST(host_beside_counting_guest)
{
	check_host_beside(true);
}

/* Other events of the host leave the records where they are. */
TEST(beside_other_events)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_vm(&vcpu);
	int fd = host_event_open(PERF_COUNT_HW_INSTRUCTIONS, true, 0, -1);

	TEST_ASSERT(fd >= 0, "Wanted an event, got %d", fd);
	guest_record_branches(vcpu, LBR_RECORD, enable_value(), 20);
	check_records(vcpu, 20, ALL_KINDS);
	close(fd);
	kvm_vm_free(vm);
}

static struct host_lbr beginning;

static void begin_in_host(void)
{
	host_lbr_open(&beginning, PERF_SAMPLE_BRANCH_ANY);
	host_code();
}

/* What L1 may no longer touch, as it is the host's now, L2 may not touch either. */
TEST(nested_svm)
{
	const uint64_t pattern = 0x123456;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	vm_vaddr_t svm;

	if (!amd || !kvm_cpu_has(X86_FEATURE_SVM))
		SKIP(return, "no nested SVM");

	vm = create_vm(&vcpu);
	vcpu_alloc_svm(vm, &svm);
	host_lbr_of(vcpu)->svm = (void *)svm;
	host_lbr_of(vcpu)->msrpm_gpa = vm_phy_pages_alloc(vm, 2, KVM_GUEST_PAGE_TABLE_MIN_PADDR, 0);
	host_lbr_of(vcpu)->on = pattern;
	at_exit_port = begin_in_host;
	guest_op(vcpu, LBR_NESTED);
	at_exit_port = NULL;
	TEST_ASSERT_EQ(host_lbr_of(vcpu)->on, pattern);
	host_lbr_read(&beginning);
	host_lbr_close(&beginning);
	TEST_ASSERT_EQ(beginning.of_guest, 0);
	kvm_vm_free(vm);
}

/* What enables records outlives a new CPUID, and adds to the guest's own. */
TEST(cpuid_set_again)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (arch || amd)
		SKIP(return, "a new CPUID clears the register that enables records");

	vm = create_vm(&vcpu);
	vcpu_set_msr(vcpu, MSR_IA32_DEBUGCTLMSR, DEBUGCTL_LBR);
	vcpu_set_cpuid(vcpu);
	TEST_ASSERT_EQ(vcpu_get_msr(vcpu, MSR_IA32_DEBUGCTLMSR), DEBUGCTL_LBR);
	/* On its way to this the guest has branched. */
	TEST_ASSERT_EQ(guest_write(vcpu, MSR_IA32_DEBUGCTLMSR, 0), 0);
	guest_records(vcpu);
	TEST_ASSERT(guest_record(vcpu, 0)->from && guest_record(vcpu, 0)->to,
		    "Wanted records of what the guest executed first");
	kvm_vm_free(vm);
}

/* What was open to a guest is closed when a new CPUID takes its records away. */
TEST(taken_away)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_vm(&vcpu);
	uint64_t caps = amd ? 0 : vcpu_get_msr(vcpu, MSR_IA32_PERF_CAPABILITIES);

	/* Before it has run; the second one has KVM look at what is open. */
	vcpu_set_msr(vcpu, enable_msr(), enable_value());
	if (!amd)
		vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, caps);
	if (amd)
		vcpu_clear_cpuid_feature(vcpu, X86_FEATURE_AMD_LBR_V2);
	else if (arch)
		vcpu_clear_cpuid_feature(vcpu, X86_FEATURE_ARCH_LBR);
	else
		vcpu_set_msr(vcpu, MSR_IA32_PERF_CAPABILITIES, caps & ~PMU_CAP_LBR_FMT);

	TEST_ASSERT_EQ(guest_write(vcpu, from_msr(0), 0), GP_VECTOR);
	TEST_ASSERT_EQ(guest_write(vcpu, to_msr(nr_records - 1), 0), GP_VECTOR);
	kvm_vm_free(vm);
}

/* A VM without a PMU has none, whatever user space was offered. */
TEST(none_without_a_pmu)
{
	struct kvm_vm *vm = vm_create(1);
	struct kvm_vcpu *vcpu;
	int i;

	vm_enable_cap(vm, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
	vcpu = vm_vcpu_add(vm, 0, guest_lbr);
	sync_global_to_guest(vm, arch);
	sync_global_to_guest(vm, amd);
	sync_global_to_guest(vm, nr_records);

	for (i = 0; i < 2; i++) {
		if (amd)
			TEST_ASSERT(!vcpu_cpuid_has(vcpu, X86_FEATURE_AMD_LBR_V2) &&
				    !vcpu_cpuid_has(vcpu, X86_FEATURE_AMD_LBR_PMC_FREEZE),
				    "Wanted neither branch records in CPUID nor their freezing");
		if (arch)
			TEST_ASSERT(!vcpu_cpuid_has(vcpu, X86_FEATURE_ARCH_LBR) &&
				    !vcpu_cpuid_has(vcpu, X86_FEATURE_XSAVE_LBR),
				    "Wanted neither branch records in CPUID nor a component of XSAVES");
		TEST_ASSERT_EQ(guest_write(vcpu, to_msr(0), 0), GP_VECTOR);
		/* As user space does that has another look at what it is offered. */
		vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());
	}
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(host_has_passthrough_pmu());
	arch = kvm_cpu_has(X86_FEATURE_ARCH_LBR);
	amd = kvm_cpu_has(X86_FEATURE_AMD_LBR_V2);
	nr_records = amd ? 16 : 32;
	TEST_REQUIRE(arch || amd ||
		     (host_cpu_is_intel &&
		      (kvm_get_feature_msr(MSR_IA32_PERF_CAPABILITIES) & PMU_CAP_LBR_FMT)));

	return test_harness_run(argc, argv);
}
