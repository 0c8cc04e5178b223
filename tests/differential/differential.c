// SPDX-License-Identifier: GPL-2.0-only
/*
 * The same programs of PMU operations natively, in guests, and on a model of the architecture
 *
 *	differential kvm PMU			writes the PMU that KVM gives guests
 *	differential native PMU SEED N RESULTS	N operations natively, by the module: their results; no VM may be there
 *	differential guest RESULTS		the same in a guest that has that PMU
 *	differential less SEED N		N operations in each guest that has less, moved between vCPUs meanwhile, and
 *						in the way of an event of the host
 *	differential try VARIANT <PROGRAM	runs a program that "less" showed, or one like it, in the guest that it calls
 *						VARIANT: lines KIND INDEX VALUE, numbers of enum op_kind and hexadecimal
 *
 * KTAP.  Every value that is read, every #GP, every PMI, and what its handler read must be the model's, and natively
 * the same as in the guest, to the instruction that a PMI interrupts; but for the table of differences below.  Of a
 * difference that is not in it come the seed, the operation, and the shortest program that still shows one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../ktap.h"
#include "generate.h"
#include "vm.h"

/* What may differ, and why.  An entry that never applies where it should is an error. */
enum { CYCLES, VMRUN, MODELLED, EMULATED, SHARED, FROZEN, DIFFERENCES };

static struct difference {
	const char *name, *reason;
	bool intel, amd;
	u64 times;
} differences[DIFFERENCES] = {
	[CYCLES] = {
		"cycles",
		"the emulated machine charges a VM-exit to the guest: 300 cycles, and one for AMD's VMRUN; an instruction that "
		"KVM emulates takes none, natively one",
		true, true,
	},
	[VMRUN] = {
		"VMRUN",
		"AMD's processors count the VMRUN that enters a guest as an instruction of the guest's kernel",
		false, true,
	},
	[MODELLED] = {
		"modelled",
		"branch misses, cache events and slots are models of the emulated machine: no manual tells their counts; "
		"nor what a branch record says of cycles, and of a branch that may be mispredicted",
		true, true,
	},
	[EMULATED] = {
		"emulated instructions",
		"a counter of instructions counts those that KVM emulates whatever CMASK, INV and EDGE say, as KVM's comment "
		"in kvm_pmu_trigger_event() has it",
		true, true,
	},
	[SHARED] = {
		"shared registers",
		"a guest with all the counters of the processor has its GLOBAL_STATUS_RESET, GLOBAL_CTRL and RDPMC, which take "
		"bits of the status that a guest without SGX, or of an earlier version, doesn't have, and what PERF_METRICS "
		"needs, which guests may not have; nobody else is concerned",
		true, false,
	},
	/* Too rare for each seed to have it */
	[FROZEN] = {
		"frozen",
		"with a virtualized local APIC KVM hears of a write to LVTPC when it is over: that instruction may have frozen a "
		"counter at 0, or an earlier one whose interrupt was masked, and KVM takes it for the latter",
		false, false,
	},
};

/* ---- what operations and records say ---- */

static const char *msr_name(u32 msr)
{
	static char text[40];
	static const struct {
		u32 msr, nr;
		const char *name;
	} names[] = {
		{ MSR_PERFCTR0, 8, "IA32_PMC" }, { MSR_EVENTSEL0, 8, "PERFEVTSEL" }, { MSR_PMC0, 8, "IA32_A_PMC" },
		{ MSR_FIXED_CTR0, 16, "FIXED_CTR" }, { MSR_DEBUGCTL, 0, "DEBUGCTL" }, { MSR_METRICS, 0, "PERF_METRICS" },
		{ MSR_PERF_CAP, 0, "PERF_CAPABILITIES" }, { MSR_FIXED_CTRL, 0, "FIXED_CTR_CTRL" },
		{ MSR_STATUS, 0, "GLOBAL_STATUS" }, { MSR_CTRL, 0, "GLOBAL_CTRL" }, { MSR_RESET, 0, "GLOBAL_STATUS_RESET" },
		{ MSR_SET, 0, "GLOBAL_STATUS_SET" }, { MSR_INUSE, 0, "GLOBAL_INUSE" },
		{ AMD_STATUS, 0, "PerfCntrGlobalStatus" }, { AMD_CTL, 0, "PerfCntrGlobalCtl" },
		{ AMD_CLR, 0, "PerfCntrGlobalStatusClr" }, { AMD_SET, 0, "PerfCntrGlobalStatusSet" },
		{ AMD_K7_SEL0, 4, "PERF_LEGACY_CTL" }, { AMD_K7_CTR0, 4, "PERF_LEGACY_CTR" },
		{ MSR_LBR_SELECT, 0, "LBR_SELECT" }, { MSR_LBR_TOS, 0, "LBR_TOS" }, { MSR_LBR_FROM, 32, "LBR_FROM" },
		{ MSR_LBR_TO, 32, "LBR_TO" }, { MSR_LBR_INFO, 32, "LBR_INFO" }, { MSR_LER_FROM, 0, "LER_FROM" },
		{ MSR_LER_TO, 0, "LER_TO" }, { MSR_LER_INFO, 0, "LER_INFO" }, { MSR_ARCH_CTL, 0, "LBR_CTL" },
		{ MSR_ARCH_DEPTH, 0, "LBR_DEPTH" }, { MSR_ARCH_FROM, 64, "LBR_FROM" }, { MSR_ARCH_TO, 64, "LBR_TO" },
		{ MSR_ARCH_INFO, 64, "LBR_INFO" }, { AMD_LBR_SELECT, 0, "LBR_SELECT" }, { AMD_EXTN_CFG, 0, "DBG_EXTN_CFG" },
	};
	u32 i;

	if (msr - AMD_SEL0 < 2 * GP_MAX) {
		snprintf(text, sizeof(text), "PERF_CT%c%u", msr & 1 ? 'R' : 'L', (msr - AMD_SEL0) / 2);
		return text;
	}
	if (msr - AMD_LBR < 2 * RECORDS_MAX) {
		snprintf(text, sizeof(text), "LBR_%s%u", msr & 1 ? "TO" : "FROM", (msr - AMD_LBR) / 2);
		return text;
	}
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!names[i].nr && msr == names[i].msr)
			return names[i].name;
		if (msr - names[i].msr < names[i].nr) {
			snprintf(text, sizeof(text), "%s%u", names[i].name, msr - names[i].msr);
			return text;
		}
	}
	snprintf(text, sizeof(text), "MSR %#x", msr);
	return text;
}

static void print_op(u32 n, const struct op *op)
{
	printf("#   %3u ", n);
	switch (op->kind) {
	case OP_WRMSR:
		printf("WRMSR %s (%#x) = %#" PRIx64, msr_name(op->index), op->index, op->value);
		break;
	case OP_RDMSR:
		printf("RDMSR %s (%#x)", msr_name(op->index), op->index);
		break;
	case OP_RDPMC:
	case OP_USER_RDPMC:
		printf("RDPMC %#x%s", op->index, op->kind == OP_RDPMC ? "" : ", in user mode");
		break;
	case OP_LOOP:
	case OP_USER_LOOP:
		printf("%" PRIu64 " times two instructions, one a branch%s", op->value,
		       op->kind == OP_LOOP ? "" : ", in user mode");
		break;
	case OP_NOPS:
		printf("16 instructions");
		break;
	case OP_JUMPS:
		printf("8 branches");
		break;
	case OP_LVTPC:
		printf("LVTPC = %#" PRIx64, op->value);
		break;
	case OP_READ_LVTPC:
		printf("read LVTPC");
		break;
	case OP_HANDLER:
		printf("the handler of PMIs%s%s%s%s", op->value & HANDLER_STATUS ? " reads the status" : "",
		       (op->value & 3) == 3 ? " and clears it," : "",
		       op->value & HANDLER_REARM ? " writes LVTPC" : "", op->value & 7 ? "" : " does nothing");
		break;
	case OP_PORT:
		printf("OUT");
		break;
	case OP_CALLS:
		printf("branches of each kind");
		break;
	}
	printf("\n");
}

static void print_record(const char *who, const struct record *r)
{
	printf("#     %s: ", who);
	if (r->rip & RECORD_FAULT)
		printf("#GP");
	else
		printf("%#" PRIx64, r->value);
	printf(", %u PMIs, the last at %#x, with status %#" PRIx64 "\n", r->pmis, r->rip & ~RECORD_FAULT, r->pmi_status);
}

/* ---- who executes ---- */

static struct pmu guest_pmu, native_pmu;

/* Nothing is to come once the program is over: no PMI. */
static const struct op last = { OP_LVTPC, 0, LVTPC_MASKED | LVTPC_NMI };

#define ROOM (PROGRAM_MAX + 16)

static int device = -1;
static char *user_page;
static u64 native_page;

extern char machine_page[], machine_end[];

static void open_native(void)
{
	device = open("/dev/differential", O_RDWR);
	user_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (device < 0 || user_page == MAP_FAILED || mlock(user_page, 4096)) {
		printf("Bail out! /dev/differential: %s\n", strerror(errno));
		exit(2);
	}
	memcpy(user_page, machine_page, machine_end - machine_page);
}

typedef bool (*executor)(const struct op *ops, struct record *records, u32 count, u32 move);

static bool run_native(const struct op *ops, struct record *records, u32 count, u32 move)
{
	bool amd = native_pmu.amd;
	struct native_run run = {
		.ops = (uintptr_t)ops, .records = (uintptr_t)records, .user = (uintptr_t)user_page, .count = count,
		.status_msr = amd ? AMD_STATUS : MSR_STATUS, .reset_msr = amd ? AMD_CLR : MSR_RESET,
	};

	(void)move;
	if (ioctl(device, NATIVE_RUN, &run)) {
		vm_error = strerror(errno);
		return false;
	}
	native_page = run.page;
	return true;
}

/* ---- comparison ---- */

#define IN_PAGE 0xfffull

/*
 * The entry of the table that explains why *got is not *want, in which the model doesn't know some bits; DIFFERENCES if
 * nothing does, -1 if there is nothing to explain.
 */
static int explain(const struct state *s, const struct record *got, const struct record *want, int inexact, bool guest,
		   u64 unknown)
{
	int64_t more = got->value - want->value;
	u64 differ = (got->value ^ want->value) & ~unknown;

	if (got->pmis != want->pmis || got->pmi_status != want->pmi_status || (got->rip ^ want->rip) & RECORD_FAULT)
		return DIFFERENCES;
	if (!differ)
		return -1;
	if (!(differ & ~s->read.unknown))
		return MODELLED;
	if (inexact & INEXACT_MODEL)
		return MODELLED;
	if (!guest || more >= 1ll << 40)
		return DIFFERENCES;
	if (inexact & INEXACT_EMULATED && more > 0)
		return EMULATED;
	if (inexact & INEXACT_VMRUN)
		return more > 0 ? VMRUN : DIFFERENCES;
	if (inexact & INEXACT_CYCLES) {
		/* Each exit may be that of an instruction that KVM emulated, and so may what let the counter run. */
		int64_t most = s->pmu->amd ? 301 : 300, exits = more > 0 ? (more + most - 1) / most : 0;

		return more >= exits * (most - 1) - s->slack ? CYCLES : DIFFERENCES;
	}
	return DIFFERENCES;
}

/* Would an operation that did not fault have done so, if the guest had registers of its own? */
static bool shared(const struct pmu *pmu, const struct op *op, const struct record *got)
{
	struct pmu own = *pmu;
	u64 took;

	own.reset_extra = own.ctrl_extra = own.rdpmc_metrics = 0;
	if (got->rip & RECORD_FAULT)
		return false;
	if (op->kind == OP_WRMSR)
		return !model_may_write(&own, op->index, op->value, &took);
	return op->kind == OP_RDPMC && model_rdpmc(&own, op->index) < 0;
}

/* Is what a guest misses the PMI of the overflow by an instruction that unmasked LVTPC, which froze the counters? */
static bool without_pmi(const struct state *s, const struct record *got, const struct record *want)
{
	return s->frozen_unmasking && got->pmis + 1 == want->pmis;
}

/* How often an address was read that a branch had written to a record */
static u64 addresses_read;

static void reset(struct state *s, const struct pmu *pmu, bool guest)
{
	model_reset(s, pmu);
	if (!guest) {
		s->page = native_page;
		s->user_page = (uintptr_t)user_page;
	}
}

/* The first operation whose record is not the model's; count if there is none. */
static u32 compare(const struct pmu *pmu, const struct op *ops, const struct record *got, u32 count, bool guest,
		   u32 move, struct record *want)
{
	struct state s;
	u32 i;

	reset(&s, pmu, guest);
	s.move = move;
	for (i = 0; i < count; i++) {
		int inexact = model_step(&s, &ops[i], want), why;

		addresses_read += s.read.address != NO_ADDRESS;
		why = explain(&s, &got[i], want, inexact, guest, s.read.address == PMI_ADDRESS ? IN_PAGE : 0);
		/* From there on it is another program. */
		if (why == DIFFERENCES && guest && without_pmi(&s, &got[i], want)) {
			differences[FROZEN].times++;
			return count;
		}
		if (why == DIFFERENCES)
			return i;
		if (why >= 0)
			differences[why].times++;
		if (shared(pmu, &ops[i], &got[i]))
			differences[SHARED].times++;
	}
	return count;
}

/* Does the program show a difference? Its length up to there, or 0. */
static u32 differs(executor execute, const struct pmu *pmu, struct op *ops, u32 count, u32 move)
{
	static struct record got[ROOM];
	struct record want;
	u32 at;

	u32 tries;

	ops[count] = last;
	/* The host's clock ticks at other places each time. */
	for (tries = 0; tries < 4; tries++) {
		if (!execute(ops, got, count + 1, move))
			return count;
		at = compare(pmu, ops, got, count, execute == vm_run, move, &want);
		if (at < count)
			return at + 1;
	}
	return 0;
}

/* Leave out what is not needed: halves, quarters, and so on, until no single operation can go. */
static u32 shrink(executor execute, const struct pmu *pmu, struct op *ops, u32 begins, u32 count, u32 move)
{
	static struct op without[ROOM];
	u32 size, from, n, tries = 0;
	bool again;

	for (size = (count - begins + 1) / 2; size; size = again ? size : size / 2) {
		again = false;
		for (from = begins; from + size <= count && tries < 2000;) {
			memcpy(without, ops, from * sizeof(*ops));
			memcpy(without + from, ops + from + size, (count - from - size) * sizeof(*ops));
			tries++;
			n = differs(execute, pmu, without, count - size, move);
			if (n) {
				memcpy(ops, without, n * sizeof(*ops));
				count = n;
				again = size == 1;
			} else {
				from += size;
			}
		}
		if (tries >= 2000)
			break;
	}
	return count;
}

static void report(const char *what, executor execute, const struct pmu *pmu, u64 seed, struct op *ops, u32 begins,
		   u32 at, const struct record *got, const struct record *want, u32 move)
{
	static struct record again[ROOM];
	struct record expected;
	u32 count, i;

	printf("# %s, seed %" PRIu64 ", operation %u of the program:\n", what, seed, at);
	print_op(at, &ops[at]);
	print_record("have", got);
	print_record("want", want);
	count = differs(execute, pmu, ops, at + 1, move);
	if (!count) {
		printf("# Alone, the program shows no difference: it takes what was before it.\n");
		return;
	}
	count = shrink(execute, pmu, ops, begins, count, move);
	printf("# shortest program that differs, after all registers were cleared:\n");
	for (i = begins; i < count; i++)
		print_op(i - begins, &ops[i]);
	ops[count] = last;
	if (!execute(ops, again, count + 1, move)) {
		printf("#     %s\n", vm_error);
		return;
	}
	i = compare(pmu, ops, again, count, execute == vm_run, move, &expected);
	if (i < count) {
		print_record("have", &again[i]);
		print_record("want", &expected);
	}
	/* Is a PMI late, or lost? */
	for (i = 0; i < 8; i++)
		ops[count + i] = (struct op) { OP_NOPS, 0, 0 };
	ops[count + i] = last;
	if (execute(ops, again, count + i + 1, move))
		printf("# 150 instructions later: %u PMIs\n", again[count + i - 1].pmis);
	fflush(stdout);
}

/* Of a program that came to no end. */
static void report_failure(const char *what, const struct pmu *pmu, u64 seed, struct op *ops, u32 begins, u32 count,
			   u32 move)
{
	u32 i;

	printf("# %s, seed %" PRIu64 ": %s\n", what, seed, vm_error);
	fflush(stdout);
	count = shrink(vm_run, pmu, ops, begins, count, move);
	printf("# shortest program that fails or differs, after all registers were cleared, moved each %u times:\n", move);
	for (i = begins; i < count; i++)
		print_op(i - begins, &ops[i]);
	fflush(stdout);
}

/* ---- the parts ---- */

struct results {
	struct pmu guest, native;
	u64 seed, operations;
};

static u64 number(const char *text)
{
	return strtoull(text, NULL, 0);
}

static void read_file(const char *name, void *to, size_t size)
{
	FILE *f = fopen(name, "rb");

	if (!f || fread(to, size, 1, f) != 1) {
		printf("Bail out! %s: %s\n", name, strerror(errno));
		exit(2);
	}
	fclose(f);
}

static void describe(const char *who, const struct pmu *p)
{
	printf("# %s: %s, version %u, %u counters of %u bits, fixed %#x of %u bits, capabilities %#" PRIx64 "%s%s%s%s%s\n",
	       who, p->amd ? "AMD" : "Intel", p->version, p->gp, p->gp_width, p->fixed, p->fixed_width, p->capabilities,
	       p->pdcm ? ", PDCM" : "", p->any ? ", AnyThread" : "", p->freeze ? ", freezes" : "",
	       p->core_ext ? ", PerfCtrExtCore" : "",
	       (const char *[]) { "", ", branch records", ", architectural LBRs", ", LbrExtV2" }[p->lbr]);
}

static void native(const char *pmu_file, u64 seed, u64 operations, const char *results_file)
{
	static struct op ops[ROOM];
	static struct record records[ROOM];
	struct results results = { .seed = seed, .operations = operations };
	struct op capabilities[] = { { OP_RDMSR, MSR_PERF_CAP, 0 }, last };
	u64 done, n;
	FILE *f;

	read_file(pmu_file, &guest_pmu, sizeof(guest_pmu));
	open_native();
	if (!run_native(capabilities, records, 2, 0))
		printf("# the module: %s\n", vm_error);
	pmu_of_processor(&native_pmu, records[0].value);
	describe("natively", &native_pmu);
	describe("guests", &guest_pmu);
	results.guest = guest_pmu;
	results.native = native_pmu;
	f = fopen(results_file, "wb");
	if (!f || fwrite(&results, sizeof(results), 1, f) != 1) {
		printf("Bail out! %s\n", results_file);
		exit(2);
	}
	for (done = n = 0; done < operations; n++) {
		struct record want;
		u32 begins, count = generate(seed + n, &guest_pmu, &native_pmu, ops, PROGRAM_MAX, &begins), at;

		ops[count] = last;
		if (!run_native(ops, records, count + 1, 0)) {
			check(false, "the module executes a program", "%s", vm_error);
			return;
		}
		fwrite(records, sizeof(*records), count, f);
		at = compare(&native_pmu, ops, records, count, false, 0, &want);
		if (at < count) {
			report("natively", run_native, &native_pmu, seed + n, ops, begins, at, &records[at], &want, 0);
			check(false, "natively: the model's results", "of %" PRIu64 " operations", done);
			return;
		}
		done += count;
	}
	fclose(f);
	printf("# %" PRIu64 " operations in %" PRIu64 " programs, which read %" PRIu64 " addresses of branches\n", done,
	       n, addresses_read);
	check(!native_pmu.lbr || addresses_read, "natively: the model's results", "no branch was recorded");
}

static void applied(void)
{
	char name[80];
	int i;

	for (i = 0; i < DIFFERENCES; i++) {
		struct difference *d = &differences[i];

		if (!(guest_pmu.amd ? d->amd : d->intel)) {
			if (d->times)
				printf("# %s, %" PRIu64 " times: %s\n", d->name, d->times, d->reason);
			continue;
		}
		printf("# %s, %" PRIu64 " times: %s\n", d->name, d->times, d->reason);
		snprintf(name, sizeof(name), "the table's difference \"%s\" is there", d->name);
		check(d->times > 0, name, "it never applies");
	}
}

/* So many programs that differ are shown. */
#define SHOWN 3

static void guest(const char *results_file)
{
	static struct op ops[ROOM];
	static struct record got[ROOM], as_native[ROOM];
	struct results results;
	u32 bad = 0;
	u64 done, n;
	FILE *f = fopen(results_file, "rb");

	if (!f || fread(&results, sizeof(results), 1, f) != 1) {
		printf("Bail out! %s\n", results_file);
		exit(2);
	}
	guest_pmu = results.guest;
	native_pmu = results.native;
	vm_create(&guest_pmu);
	for (done = n = 0; done < results.operations && bad < SHOWN; n++) {
		u32 begins, count = generate(results.seed + n, &guest_pmu, &native_pmu, ops, PROGRAM_MAX, &begins), at, i;
		struct record want;
		struct state s;

		ops[count] = last;
		if (fread(as_native, sizeof(*as_native), count, f) != count)
			break;
		if (!vm_run(ops, got, count + 1, 0)) {
			report_failure("in a guest", &guest_pmu, results.seed + n, ops, begins, count, 0);
			bad++;
			break;
		}
		done += count;
		at = compare(&guest_pmu, ops, got, count, true, 0, &want);
		if (at < count) {
			struct record was = got[at];

			print_record("natively", &as_native[at]);
			report("in a guest", vm_run, &guest_pmu, results.seed + n, ops, begins, at, &was, &want, 0);
			bad++;
			continue;
		}
		/* What the model doesn't know: where PMIs came. The rest follows, but is looked at all the same. */
		reset(&s, &guest_pmu, true);
		for (i = 0; i < count; i++) {
			int inexact = model_step(&s, &ops[i], &want);

			/* The machine was in another page. */
			if (s.read.address)
				as_native[i].value = (as_native[i].value & IN_PAGE) | (want.value & ~IN_PAGE);
			if (got[i].rip == as_native[i].rip &&
			    explain(&s, &got[i], &as_native[i], inexact, true, 0) != DIFFERENCES)
				continue;
			/* See compare(). */
			if (without_pmi(&s, &got[i], &as_native[i]))
				break;
			printf("# in a guest, seed %" PRIu64 ", operation %u:\n", results.seed + n, i);
			print_op(i, &ops[i]);
			print_record("have", &got[i]);
			print_record("natively", &as_native[i]);
			bad++;
			break;
		}
	}
	vm_destroy();
	printf("# %" PRIu64 " operations in %" PRIu64 " programs, which read %" PRIu64 " addresses of branches\n", done,
	       n, addresses_read);
	check(!bad && done >= results.operations, "in a guest: what was natively, and the model's results",
	      "%u programs differ", bad);
	if (!bad)
		applied();
}

/* ---- guests that have less ---- */

static struct variant {
	const char *name;
	struct pmu pmu;
} variants[32];
static u32 nr_variants;

static struct pmu *variant(const char *name)
{
	variants[nr_variants].name = name;
	variants[nr_variants].pmu = guest_pmu;
	return &variants[nr_variants++].pmu;
}

static void without_records(struct pmu *p)
{
	p->lbr = p->lbr_nr = p->lbr_depths = 0;
	p->lbr_ctl = 0;
}

static void older(struct pmu *p, u8 version)
{
	p->version = version;
	if (version < 5)
		p->fixed &= 7;
	if (version < 2)
		p->fixed = p->fixed_width = 0;
	if (version < 4) {
		p->freeze = p->address_bits = 0;
		without_records(p);
	}
	p->any = version >= 3 && version < 5;
	p->capabilities &= ~CAP_METRICS;
}

static void add_variants(void)
{
	struct pmu *p;

	variant("all that KVM offers");
	if (guest_pmu.amd) {
		if (guest_pmu.lbr) {
			p = variant("without LbrExtV2");
			without_records(p);
		}
		if (guest_pmu.version >= 2) {
			p = variant("4 counters");
			p->gp = 4;
			p = variant("without PerfMonV2");
			p->version = 1;
			p->freeze = 0;
			without_records(p);
		}
		p = variant("without PerfCtrExtCore");
		p->version = 1;
		p->freeze = 0;
		without_records(p);
		p->core_ext = 0;
		p->gp = 4;
		return;
	}
	older(variant("version 1"), 1);
	p = variant("version 1, without PDCM");
	older(p, 1);
	p->pdcm = p->capabilities = 0;
	older(variant("version 2"), 2);
	if (guest_pmu.version >= 3)
		older(variant("version 3"), 3);
	if (guest_pmu.version >= 4)
		older(variant("version 4"), 4);
	p = variant("2 counters, 1 fixed");
	p->gp = 2;
	p->fixed = 1;
	p->capabilities &= ~CAP_METRICS;
	p = variant("without fixed counters");
	p->fixed = p->fixed_width = 0;
	p->capabilities &= ~CAP_METRICS;
	p = variant("counters of 40 bits, fixed ones of 36");
	p->gp_width = 40;
	p->fixed_width = 36;
	p->capabilities &= ~CAP_METRICS;
	p = variant("counters of 32 bits");
	p->gp_width = 32;
	p = variant("without full-width writes");
	p->capabilities &= ~CAP_FULL_WIDTH;
	p = variant("without PDCM");
	p->pdcm = p->capabilities = p->freeze = 0;
	if (p->lbr == LBR_OLD)
		without_records(p);
	if (guest_pmu.lbr) {
		p = variant("without branch records");
		p->capabilities &= ~CAP_LBR_FORMAT;
		without_records(p);
	}
	if (guest_pmu.lbr == LBR_ARCH)
		variant("without the call-stack mode")->lbr_ctl &= ~ARCH_CTL_CALL_STACK;
	if (guest_pmu.version >= 5 && guest_pmu.fixed >> 3 & 1) {
		p = variant("fixed counters 0 and 3");
		p->fixed = 9;
		p = variant("fixed counters 1 and 2");
		p->fixed = 6;
		p->capabilities &= ~CAP_METRICS;
	}
	if (guest_pmu.capabilities & CAP_METRICS)
		variant("without PERF_METRICS")->capabilities &= ~CAP_METRICS;
}

static void make_variants(void)
{
	u32 i;

	add_variants();
	for (i = 0; i < nr_variants; i++)
		pmu_share_registers(&variants[i].pmu);
}

/* An event that records branches of this task, but not of guests: both have the same registers. */
static int host_event(bool call_stack)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE, .size = sizeof(attr), .config = PERF_COUNT_HW_CPU_CYCLES,
		.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_BRANCH_STACK, .sample_period = 100000, .exclude_guest = 1,
		.branch_sample_type = call_stack ? PERF_SAMPLE_BRANCH_CALL_STACK | PERF_SAMPLE_BRANCH_USER :
						   PERF_SAMPLE_BRANCH_ANY,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0) {
		printf("Bail out! an event of the host that records branches: %s\n", strerror(errno));
		exit(2);
	}
	return fd;
}

static void less(u64 seed, u64 operations)
{
	static struct op ops[ROOM];
	static struct record got[ROOM];
	u64 done, n;
	u32 i;

	pmu_of_kvm(&guest_pmu);
	make_variants();
	for (i = 0; i < nr_variants; i++) {
		const struct pmu *p = &variants[i].pmu;
		u32 bad = 0;

		describe(variants[i].name, p);
		vm_moves = 0;
		addresses_read = 0;
		vm_create(p);
		for (done = n = 0; done < operations && bad < SHOWN; n++) {
			struct record want;
			u32 begins, count = generate(seed + n, p, NULL, ops, PROGRAM_MAX, &begins), at;
			/* every other program moves */
			u32 move = n & 1 ? 1 + n % 3 : 0;
			/* in every other pair an event of the host takes the records away whenever the guest stops */
			int event = n & 2 && guest_pmu.lbr ? host_event(n & 4 && !p->amd) : -1;

			ops[count] = last;
			if (!vm_run(ops, got, count + 1, move)) {
				report_failure(variants[i].name, p, seed + n, ops, begins, count, move);
				bad++;
				close(event);
				break;
			}
			at = compare(p, ops, got, count, true, move, &want);
			if (at < count) {
				struct record was = got[at];

				report(variants[i].name, vm_run, p, seed + n, ops, begins, at, &was, &want, move);
				bad++;
			}
			done += count;
			close(event);
		}
		vm_destroy();
		printf("# %" PRIu64 " operations in %" PRIu64 " programs, moved %u times; they read %" PRIu64
		       " addresses of branches\n", done, n, vm_moves, addresses_read);
		check(!bad && vm_moves && !p->lbr == !addresses_read, variants[i].name,
		      "%u programs differ, or did not move, or read records", bad);
	}
}

static void try(const char *name)
{
	static struct op ops[ROOM];
	static struct record got[ROOM];
	struct record want;
	struct state s;
	u32 i, count = 0;

	pmu_of_kvm(&guest_pmu);
	make_variants();
	for (i = 0; i < nr_variants && strcmp(variants[i].name, name); i++)
		;
	if (i == nr_variants)
		exit(2);
	while (count < PROGRAM_MAX && scanf("%" SCNu32 " %" SCNx32 " %" SCNx64, &ops[count].kind, &ops[count].index,
					    &ops[count].value) == 3)
		count++;
	ops[count] = last;
	vm_create(&variants[i].pmu);
	check(vm_run(ops, got, count + 1, 0), "the program runs", "%s", vm_error);
	reset(&s, &variants[i].pmu, true);
	for (i = 0; i < count; i++) {
		model_step(&s, &ops[i], &want);
		print_op(i, &ops[i]);
		print_record("have", &got[i]);
		print_record("want", &want);
	}
}

int main(int argc, char **argv)
{
	FILE *f;

	if (machine_end - machine_page > 4096)
		return 2;
	if (argc == 3 && !strcmp(argv[1], "kvm")) {
		pmu_of_kvm(&guest_pmu);
		pmu_share_registers(&guest_pmu);
		f = fopen(argv[2], "wb");
		return !f || fwrite(&guest_pmu, sizeof(guest_pmu), 1, f) != 1 || fclose(f);
	}
	if (argc == 6 && !strcmp(argv[1], "native"))
		native(argv[2], number(argv[3]), number(argv[4]), argv[5]);
	else if (argc == 3 && !strcmp(argv[1], "guest"))
		guest(argv[2]);
	else if (argc == 4 && !strcmp(argv[1], "less"))
		less(number(argv[2]), number(argv[3]));
	else if (argc == 3 && !strcmp(argv[1], "try"))
		try(argv[2]);
	else
		return 2;
	return ktap_end();
}
