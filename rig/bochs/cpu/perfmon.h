/////////////////////////////////////////////////////////////////////////
// $Id$
/////////////////////////////////////////////////////////////////////////
//
//   Copyright (c) 2026 vPMU developers
//
//  This library is free software; you can redistribute it and/or
//  modify it under the terms of the GNU Lesser General Public
//  License as published by the Free Software Foundation; either
//  version 2.1 of the License, or (at your option) any later version.
//
//  This library is distributed in the hope that it will be useful,
//  but WITHOUT ANY WARRANTY; without even the implied warranty of
//  MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the GNU
//  Lesser General Public License for more details.
//
//  You should have received a copy of the GNU Lesser General Public
//  License along with this library; if not, write to the Free Software
//  Foundation, Inc., 51 Franklin St, Fifth Floor, Boston, MA B 02110-1301 USA
/////////////////////////////////////////////////////////////////////////

#ifndef BX_PERFMON_H
#define BX_PERFMON_H

//
// The performance-monitoring unit of one emulated processor.
//
// Counting is lazy. Execution only advances a few totals (instructions by
// icount, branches by the branch handlers); a counter holds its value at its
// last update together with the total of its event at that moment. Counters
// are brought up to date ("settled") when somebody reads one, when their
// configuration changes, and when the processor changes its mode: CPL, guest
// or host. A mode change takes effect between two instructions, so an
// instruction belongs to the mode that it began in.
//
// Overflow is found without a check per instruction: plan() computes how many
// instructions can retire before any counter can overflow, and the CPU loop
// compares icount with stop_icount once per trace. Within the last
// BX_PERFMON_WINDOW instructions the CPU executes single instructions, so that
// an overflow is seen right after the instruction that caused it.
//
// doc/perfmon.md has the definition of each event and each rule.
//

class BX_CPU_C;

// What a counter can count. A select that names nothing of this counts zero.
enum bx_perfmon_event_t {
  BX_PMU_EVENT_NONE = 0,
  BX_PMU_EVENT_INSTRUCTIONS,          // exact
  BX_PMU_EVENT_BRANCHES,              // exact
  BX_PMU_EVENT_COND_BRANCHES,         // exact
  BX_PMU_EVENT_CYCLES,                // modelled
  BX_PMU_EVENT_REF_CYCLES,            // modelled
  BX_PMU_EVENT_BRANCH_MISSES,         // modelled
  BX_PMU_EVENT_CACHE_REFERENCES,      // modelled
  BX_PMU_EVENT_CACHE_MISSES,          // modelled
  BX_PMU_EVENT_SLOTS,                 // modelled
  BX_PMU_EVENT_LOADS,                 // modelled
  BX_PMU_EVENT_STORES,                // modelled
  BX_PMU_EVENT_LOADS_STORES,          // modelled
  BX_PMU_EVENT_LAST
};

const unsigned BX_PMU_MAX_GP = 8;
const unsigned BX_PMU_MAX_FIXED = 4;
const unsigned BX_PMU_FIXED_BASE = BX_PMU_MAX_GP; // index of fixed counter 0
const unsigned BX_PMU_TRACE = BX_PMU_MAX_GP + BX_PMU_MAX_FIXED; // paces Intel PT, no register
const unsigned BX_PMU_MAX_COUNTERS = BX_PMU_TRACE + 1;

// Branch records, see perfmon_lbr.cc
const unsigned BX_PMU_MAX_LBR = 32;
const unsigned BX_PMU_LBR_IMAGE = 5 + 3 * BX_PMU_MAX_LBR; // quadwords of the XSAVE state component

enum bx_perfmon_lbr_format_t {
  BX_PMU_LBR_NONE = 0,
  BX_PMU_LBR_INFO,                    // Intel's older interface with INFO registers, format 5
  BX_PMU_LBR_ARCH,                    // Intel's architectural one
  BX_PMU_LBR_AMD,                     // AMD's stack
};

// The kinds of branches: the bit of LBR_SELECT that suppresses the kind
enum bx_perfmon_branch_t {
  BX_PMU_BRANCH_COND = 2,
  BX_PMU_BRANCH_REL_CALL = 3,
  BX_PMU_BRANCH_IND_CALL = 4,
  BX_PMU_BRANCH_RET = 5,
  BX_PMU_BRANCH_IND_JMP = 6,
  BX_PMU_BRANCH_REL_JMP = 7,
  BX_PMU_BRANCH_FAR = 8,              // and the delivery of interrupts and exceptions
};

// of a near branch, as instrumentation libraries are told of it
BX_CPP_INLINE unsigned bx_perfmon_branch_kind(unsigned what)
{
  switch(what) {
  case BX_INSTR_IS_JMP:
    return BX_PMU_BRANCH_REL_JMP;
  case BX_INSTR_IS_JMP_INDIRECT:
    return BX_PMU_BRANCH_IND_JMP;
  case BX_INSTR_IS_CALL:
    return BX_PMU_BRANCH_REL_CALL;
  case BX_INSTR_IS_CALL_INDIRECT:
    return BX_PMU_BRANCH_IND_CALL;
  default:
    return BX_PMU_BRANCH_RET;
  }
}

// One row of a model's event table.
struct bx_perfmon_select_t {
  Bit16u select;                      // AMD: 12 bits
  Bit8u  umask;
  Bit8u  event;                       // bx_perfmon_event_t
};

class bx_perfmon_c;
struct cpuid_function_t;

// The register rules of a vendor. Each function gets the unit to act on;
// rdmsr and wrmsr return 1 when done, 0 for #GP and -1 when the register
// is none of the unit's.
struct bx_perfmon_rules_t {
  void (*reset)(bx_perfmon_c *pmu);
  int  (*rdmsr)(bx_perfmon_c *pmu, Bit32u index, Bit64u *val);
  int  (*wrmsr)(bx_perfmon_c *pmu, Bit32u index, Bit64u val);
  bool (*is_pmu_msr)(const bx_perfmon_c *pmu, Bit32u index);
  bool (*rdpmc)(bx_perfmon_c *pmu, Bit32u ecx, Bit64u *val);
  void (*cpuid)(const bx_perfmon_c *pmu, Bit32u function, Bit32u subfunction, cpuid_function_t *leaf);
  // recompute what each counter counts now: enable, privilege, event
  void (*configure)(bx_perfmon_c *pmu);
  // a counter passed its top; returns true if it asks for an interrupt
  bool (*overflow)(bx_perfmon_c *pmu, unsigned n);
  // the interrupt is about to be raised (freeze); returns true if the
  // hardware masks the LVT entry
  bool (*interrupt)(bx_perfmon_c *pmu);
};

// A machine's unit as data. perfmon_<vendor>.cc holds the table of models.
struct bx_perfmon_model_t {
  const char *name;                   // as in bochsrc
  const bx_perfmon_rules_t *rules;
  const bx_perfmon_select_t *events;  // ends with BX_PMU_EVENT_NONE

  unsigned version;                   // Intel: architectural version; AMD: 2 = PerfMonV2
  unsigned num_gp, gp_width;
  unsigned num_fixed, fixed_width;
  unsigned num_arch_events;           // CPUID 0xA EAX[31:24]
  Bit32u   arch_events_absent;        // CPUID 0xA EBX: 1 = not available
  bool     anythread_deprecated;      // CPUID 0xA EDX[15]
  Bit64u   perf_capabilities;         // IA32_PERF_CAPABILITIES
  unsigned slots_per_cycle;
  unsigned metrics_fields;            // 8-bit fields of PERF_METRICS, 0 = none
  unsigned lbr_format;                // bx_perfmon_lbr_format_t
  unsigned lbr_depth;                 // branch records: a power of two, at most BX_PMU_MAX_LBR
  bool     vmx_save_global_ctrl;      // VM-exit control "save IA32_PERF_GLOBAL_CTRL"
  Bit32u   signature;                 // CPUID 1 EAX: family and model that drivers choose
                                      // this unit by; 0 = those of the CPU model
};

// The models of each vendor; ends with a NULL name.
extern const bx_perfmon_model_t bx_perfmon_intel_models[];
extern const bx_perfmon_model_t bx_perfmon_amd_models[];

// One hardware counter.
struct bx_perfmon_counter_t {
  Bit64u value;                       // at the last settling, 'width' bits
  Bit64u since;                       // total of the event at the last settling
  Bit64u select;                      // PERFEVTSEL / PerfEvtSel as written

  // derived by rules->configure()
  Bit64u mask;                        // (1 << width) - 1
  Bit8u  event;                       // bx_perfmon_event_t
  bool   inverted;                    // counts cycles without the event instead
  bool   in_mode[2][2];               // counts in [guest][user]
};

// Registers of Intel Processor Trace, see perfmon_trace.cc.
struct bx_perfmon_trace_t {
  Bit64u ctl;                         // IA32_RTIT_CTL
  Bit64u status;                      // IA32_RTIT_STATUS: Error and Stopped
  Bit64u output_base;
  Bit64u output_mask_ptrs;
  Bit64u cr3_match;
  bool   lost;                        // packets are missing since the last block
};

// Branch records.
struct bx_perfmon_lbr_t {
  Bit64u select;                      // LBR_SELECT
  Bit64u ctl;                         // IA32_LBR_CTL; AMD: DBG_EXTN_CFG
  Bit32u depth;                       // IA32_LBR_DEPTH, or what there is
  Bit32u tos;                         // the place of the newest record
  Bit64u ler[3];                      // IA32_LER_FROM_IP, TO_IP, INFO
  Bit64u from[BX_PMU_MAX_LBR], to[BX_PMU_MAX_LBR], info[BX_PMU_MAX_LBR];
  Bit64u cycles_since;                // total of cycles at the last record

  // derived by lbr_configure()
  Bit32u suppressed;                  // as in LBR_SELECT, for all formats
  bool   call_stack;
};

// Totals for benchmarks, [0] host, [1] guest; see sample().
struct bx_perfmon_totals_t {
  Bit64u instructions[2];
  Bit64u vm_entries;
  Bit64u vm_exits;
  Bit64u pmis[2];                     // interrupts raised while in host, guest
};

#define BX_PERFMON_NEVER   BX_CONST64(0xffffffffffffffff)
#define BX_PERFMON_WINDOW  36         // > BX_MAX_TRACE_LENGTH

// Modelled cycles beyond the one of each instruction. They belong to the mode
// that is left.
#define BX_PERFMON_CYCLES_INTERRUPT   50  // delivery of an interrupt or exception, INT n
#define BX_PERFMON_CYCLES_VMENTRY    200
#define BX_PERFMON_CYCLES_VMEXIT     300

class BOCHSAPI bx_perfmon_c {
public:
  //
  // Touched by execution all the time
  //
  Bit64u stop_icount;                 // CPU loop calls approach() from here on
  Bit64u cond_branches;               // retired, since reset
  Bit64u other_branches;
  Bit64u unwound;                     // icount steps that retired nothing: exceptions,
                                      // VM-exits, all but the last step of a REP
  bool   branch_model;                // somebody counts branch misses, or branches are recorded
  bool   recording;                   // branches are recorded
  bool   cache_model;                 // somebody counts cache events, loads or stores
  bool   active;                      // some counter is enabled
  bool   early;                       // the current instruction is counted already
  bool   trace_cr3;                   // a trace depends on CR3

  bx_perfmon_c();
 ~bx_perfmon_c();

  //
  // Life cycle
  //
  void init(BX_CPU_C *cpu);           // after the bochsrc was read
  void reset(unsigned source);        // BX_RESET_HARDWARE or BX_RESET_SOFTWARE (INIT)
  void register_state(bx_param_c *parent);
  void after_restore_state(void);

  //
  // What the machine has
  //
  bool present(void) const { return model != NULL; }
  const bx_perfmon_model_t *get_model(void) const { return model; }
  void cpuid(Bit32u function, Bit32u subfunction, cpuid_function_t *leaf) const;

  //
  // Registers. rdmsr/wrmsr: 1 done, 0 #GP, -1 not a register of the unit.
  // A write takes effect before the writing instruction retires: the WRMSR
  // that enables a counter is counted by it, the one that disables it is not.
  //
  int  rdmsr(Bit32u index, Bit64u *val);
  int  wrmsr(Bit32u index, Bit64u val);
  bool rdpmc(Bit32u ecx, Bit64u *val); // false: #GP. CPL and CR4.PCE are the caller's
  bool is_pmu_msr(Bit32u index) const; // for statistics: a register of the counting unit or of branch records

  //
  // IA32_PERF_GLOBAL_CTRL and IA32_DEBUGCTL for VM-entry and VM-exit. Reading
  // never disturbs counting. load_*() expect a valid value and take effect at
  // once; call them after vm_enter() resp. vm_exit().
  //
  Bit64u get_global_ctrl(void) const { return global_ctrl; }
  bool   is_valid_global_ctrl(Bit64u val) const { return (val & ~global_ctrl_mask) == 0; }
  void   load_global_ctrl(Bit64u val);
  Bit64u get_debugctl(void) const { return debugctl; }
  bool   is_valid_debugctl(Bit64u val) const { return model == NULL || (val & ~debugctl_mask) == 0; }
  Bit64u known_debugctl(Bit64u val) const { return model == NULL ? val : val & debugctl_mask; }
  void   load_debugctl(Bit64u val);
  bool   has_vmx_load_global_ctrl(void) const { return model != NULL && model->version >= 2; }
  bool   has_vmx_save_global_ctrl(void) const { return model != NULL && model->vmx_save_global_ctrl; }
  // the same for IA32_LBR_CTL, if there are architectural LBRs
  bool   has_arch_lbr(void) const { return model != NULL && model->lbr_format == BX_PMU_LBR_ARCH; }
  Bit64u get_lbr_ctl(void) const { return lbr.ctl; }
  bool   is_valid_lbr_ctl(Bit64u val) const;
  void   load_lbr_ctl(Bit64u val);

  //
  // Mode changes. All of them take effect at the next instruction boundary.
  //
  void mode_changed(void);            // CPL changed; needed only if active
  void svme_changed(void);            // EFER.SVME changed; takes effect at once
  bool mode_differs(void) const;      // a change waits for service()
  // guest state is being loaded, the instruction retires: VMLAUNCH and VMRESUME in the
  // host, VMRUN in the guest
  void vm_enter(bool counted_by_guest);
  void vm_exit(bool retires);         // retires: trap-like exit within an instruction

  //
  // CPU loop
  //
  void unwind(void) { unwound++; early = false; } // an exception or VM-exit ended the instruction
  void approach(void);                // icount reached stop_icount
  void service(void);                 // between two instructions, BX_EVENT_PERFMON pending
  // an event of the processor took this many modelled cycles
  void add_cycles(unsigned n) { if (active) charge_cycles(n); }
  bool count_branch(Bit64u rip, bool taken);              // if branch_model; was it mispredicted?
  void cond_branch(Bit64u rip, Bit64u to, bool taken);    // the same, and records it
  // if recording
  void record(unsigned kind, Bit64u from, Bit64u to, Bit64u next = 0, bool mispredicted = false);
  void debug_exception(void);         // #DB is about to be delivered
  void count_access(unsigned rw);                         // if cache_model
  void count_lines(bx_phy_address paddr, unsigned len);   // if cache_model
  void count_flush(bx_phy_address paddr);                 // if cache_model

  //
  // Statistics; changes no state that the guest can see.
  //
  bx_perfmon_totals_t sample(void);
  Bit64u retired(void) const;         // instructions retired since reset
  bool   in_guest(void) const { return guest; }
  bool   pmi_pending(void) const { return pmi_due != BX_PERFMON_NEVER; } // waits for its skid

  //
  // Intel Processor Trace: perfmon_trace.cc. Registers as above.
  //
  bool has_trace(void) const;
  int  trace_rdmsr(Bit32u index, Bit64u *val);
  int  trace_wrmsr(Bit32u index, Bit64u val);
  void trace_context(void);           // where does the trace go on? part of reconfigure()

  //
  // Branch records: perfmon_lbr.cc. Registers as above; the other four are the XSAVE state
  // component of the architectural ones.
  //
  bool lbr_is_msr(Bit32u index) const;
  int  lbr_rdmsr(Bit32u index, Bit64u *val);
  int  lbr_wrmsr(Bit32u index, Bit64u val);
  void lbr_configure(void);           // part of reconfigure()
  bool lbr_in_use(void) const;
  void lbr_init_state(void);
  unsigned lbr_save_state(Bit64u *image) const;
  bool lbr_restore_state(const Bit64u *image);

  //
  // For the vendor's file
  //
  Bit64u read_counter(unsigned n);
  void   write_counter(unsigned n, Bit64u val); // already extended to its width
  void   reconfigure(void);           // settle, rules->configure(), plan
  void   settle(void);                // bring all enabled counters up to date

  BX_CPU_C *cpu;
  const bx_perfmon_model_t *model;

  bx_perfmon_counter_t counter[BX_PMU_MAX_COUNTERS];

  Bit64u global_ctrl, global_ctrl_mask;
  Bit64u global_status;
  Bit64u fixed_ctrl;
  Bit64u debugctl, debugctl_mask;
  Bit64u misc_enable;
  bx_perfmon_trace_t trace;
  bx_perfmon_lbr_t lbr;
  Bit64u offcore_rsp[2], ld_lat, frontend;
  Bit64u metrics;                     // PERF_METRICS as written
  Bit64u metrics_slots;               // that it is a fraction of
  Bit64u metrics_slots_written;       // those at that time
  Bit64u metrics_instructions;
  bool   metrics_enabled;
  bool   frozen;

private:
  Bit64u total(unsigned event) const;
  Bit64u total_of(const bx_perfmon_counter_t *c) const;
  void   plan(void);
  void   charge_cycles(unsigned n);
  void   request_pmi(void);
  void   deliver_pmi(void);
  void   attribute_instructions(void);
  void   missed(void);
  bool   tracing(void) const;
  void   trace_reset(void);
  bool   trace_block(void);
  bool   trace_output(const Bit8u *data, unsigned len);
  bool   trace_region(Bit64u *base, Bit64u *size, Bit64u *entry);
  void   trace_error(void);
  void   lbr_reset(void);
  void   lbr_clear(Bit32u depth);
  unsigned lbr_place(unsigned n) const { return (lbr.tos - n) & (lbr.depth - 1); } // of the n-th newest record
  Bit64u *find_record(Bit32u index, Bit64u *reserved, bool *address);

  bool hidden;                        // CPUID reports no unit
  unsigned pmi_skid;
  Bit64u pmi_due;                     // retired() at which the interrupt is raised

  bool guest, user;                   // the mode that is being counted
  bool next_guest;
  unsigned num_active;
  Bit8u active_list[BX_PMU_MAX_COUNTERS];

  Bit64u extra_cycles;
  Bit64u instructions_since;          // retired() at the last attribution
  Bit64u metrics_since;               // the same for PERF_METRICS
  bx_perfmon_totals_t totals;

  struct bx_perfmon_cold_t *cold;     // branch predictor, cache
  bool counts_misses;                 // somebody counts branch misses
  Bit64u branch_misses, cache_references, cache_misses;
  Bit64u branch_misses_due, cache_references_due, cache_misses_due;
};

#endif
