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

//
// Register rules of Intel's architectural performance monitoring, version 2
// and later: SDM vol. 3, "Performance Monitoring", and vol. 4 for the MSRs.
//

#include "bochs.h"
#include "cpu.h"

#if BX_SUPPORT_PERFMON

#include "cpuid.h"

enum {
  MSR_PMC0                 = 0x0c1,
  MSR_PERFEVTSEL0          = 0x186,
  MSR_MISC_ENABLE          = 0x1a0,
  MSR_OFFCORE_RSP0         = 0x1a6,
  MSR_OFFCORE_RSP1         = 0x1a7,
  MSR_DEBUGCTL             = 0x1d9,
  MSR_FIXED_CTR0           = 0x309,
  MSR_PERF_METRICS         = 0x329,
  MSR_PERF_CAPABILITIES    = 0x345,
  MSR_FIXED_CTR_CTRL       = 0x38d,
  MSR_GLOBAL_STATUS        = 0x38e,
  MSR_GLOBAL_CTRL          = 0x38f,
  MSR_GLOBAL_STATUS_RESET  = 0x390,   // GLOBAL_OVF_CTRL before version 4
  MSR_GLOBAL_STATUS_SET    = 0x391,
  MSR_GLOBAL_INUSE         = 0x392,
  MSR_PEBS_ENABLE          = 0x3f1,
  MSR_PEBS_LD_LAT          = 0x3f6,
  MSR_PEBS_FRONTEND        = 0x3f7,
  MSR_A_PMC0               = 0x4c1,
};

// The architecture has room for so many; what a model lacks of it is #GP.
const unsigned ARCH_GP = 10, ARCH_FIXED = 16;

const Bit64u EVTSEL_USR   = 1 << 16;
const Bit64u EVTSEL_OS    = 1 << 17;
const Bit64u EVTSEL_EDGE  = 1 << 18;
const Bit64u EVTSEL_INT   = 1 << 20;
const Bit64u EVTSEL_ANY   = 1 << 21;
const Bit64u EVTSEL_EN    = 1 << 22;
const Bit64u EVTSEL_INV   = 1 << 23;

const Bit64u FIXED_OS = 1, FIXED_USR = 2, FIXED_ANY = 4, FIXED_PMI = 8;

const unsigned FIXED_SHIFT = 32;
const Bit64u GLOBAL_METRICS   = BX_CONST64(1) << 48;
const Bit64u STATUS_TRACE     = BX_CONST64(1) << 55;
const Bit64u STATUS_LBR_FRZ   = BX_CONST64(1) << 58;
const Bit64u STATUS_CTR_FRZ   = BX_CONST64(1) << 59;
const Bit64u STATUS_ASCI      = BX_CONST64(1) << 60;
const Bit64u STATUS_OVF_BUF   = BX_CONST64(1) << 62;
const Bit64u STATUS_COND_CHGD = BX_CONST64(1) << 63;

// bits 5:0, the format of branch records: FROM, TO and INFO registers; see CPUID leaf 1CH
const Bit64u CAP_LBR_INFO     = 5;
const Bit64u CAP_LBR_ARCH     = 0x3f;
const Bit64u CAP_FW_WRITES    = 1 << 13;
const Bit64u CAP_PERF_METRICS = 1 << 15;

const Bit64u DEBUGCTL_FREEZE_LBRS    = 1 << 11;
const Bit64u DEBUGCTL_FREEZE_PERFMON = 1 << 12;
// LBR, BTF, TR, BTS, BTINT, BTS_OFF_OS, BTS_OFF_USR and the two above
const Bit64u DEBUGCTL_VALID = 0x1fc3;

const Bit64u MISC_FAST_STRINGS   = 1 << 0;
const Bit64u MISC_PERFMON        = 1 << 7;
const Bit64u MISC_NO_BTS         = 1 << 11;
const Bit64u MISC_NO_PEBS        = 1 << 12;
const Bit64u MISC_MONITOR        = 1 << 18;
const Bit64u MISC_READ_ONLY      = MISC_PERFMON | MISC_NO_BTS | MISC_NO_PEBS;

//
// Masks of what a model has
//

static Bit64u counter_bits(const bx_perfmon_c *pmu)
{
  return ((BX_CONST64(1) << pmu->model->num_gp) - 1) |
        (((BX_CONST64(1) << pmu->model->num_fixed) - 1) << FIXED_SHIFT);
}

static bool has_metrics(const bx_perfmon_c *pmu)
{
  return (pmu->model->perf_capabilities & CAP_PERF_METRICS) != 0;
}

static Bit64u evtsel_valid(const bx_perfmon_c *pmu)
{
  return pmu->model->anythread_deprecated ? (0xffffffff & ~EVTSEL_ANY) : 0xffffffff;
}

static Bit64u fixed_ctrl_valid(const bx_perfmon_c *pmu)
{
  Bit64u nibble = FIXED_OS | FIXED_USR | FIXED_PMI, valid = 0;

  if (! pmu->model->anythread_deprecated) nibble |= FIXED_ANY;
  for (unsigned n = 0; n < pmu->model->num_fixed; n++)
    valid |= nibble << (n * 4);

  return valid;
}

// No uncore PMIs (61) on these machines.
static Bit64u status_valid(const bx_perfmon_c *pmu)
{
  Bit64u valid = counter_bits(pmu) | STATUS_OVF_BUF | STATUS_COND_CHGD;

  if (has_metrics(pmu)) valid |= GLOBAL_METRICS;
  if (pmu->model->version >= 4) valid |= STATUS_LBR_FRZ | STATUS_CTR_FRZ;
  if (pmu->has_trace()) valid |= STATUS_TRACE;
  // no enclave ever runs: only software sets this one
  if (pmu->cpu->is_cpu_extension_supported(BX_ISA_SGX)) valid |= STATUS_ASCI;

  return valid;
}

static Bit64u width_mask(unsigned width)
{
  return (BX_CONST64(1) << width) - 1;
}

//
// Reset: everything 0, but GLOBAL_CTRL enables all general-purpose counters.
//
static void intel_reset(bx_perfmon_c *pmu)
{
  pmu->global_ctrl_mask = counter_bits(pmu) | (has_metrics(pmu) ? GLOBAL_METRICS : 0);
  pmu->global_ctrl = width_mask(pmu->model->num_gp);
  pmu->global_status = 0;
  pmu->fixed_ctrl = 0;
  pmu->debugctl = 0;
  pmu->debugctl_mask = DEBUGCTL_VALID;
  pmu->misc_enable = MISC_FAST_STRINGS | MISC_READ_ONLY;
  if (pmu->cpu->is_cpu_extension_supported(BX_ISA_MONITOR_MWAIT))
    pmu->misc_enable |= MISC_MONITOR;
  pmu->offcore_rsp[0] = pmu->offcore_rsp[1] = 0;
  pmu->ld_lat = pmu->frontend = 0;
  pmu->metrics = pmu->metrics_slots = pmu->metrics_instructions = 0;
  pmu->metrics_slots_written = 0;
}

//
// What each counter counts
//

static unsigned find_event(const bx_perfmon_c *pmu, unsigned select, unsigned umask)
{
  for (const bx_perfmon_select_t *e = pmu->model->events; e->event != BX_PMU_EVENT_NONE; e++) {
    if (e->select == select && e->umask == umask) return e->event;
  }
  return BX_PMU_EVENT_NONE;
}

static void set_modes(bx_perfmon_counter_t *c, bool on, bool os, bool usr)
{
  for (unsigned guest = 0; guest < 2; guest++) {
    c->in_mode[guest][0] = on && os;
    c->in_mode[guest][1] = on && usr;
  }
}

static void intel_configure(bx_perfmon_c *pmu)
{
  static const Bit8u fixed_event[] = {
    BX_PMU_EVENT_INSTRUCTIONS, BX_PMU_EVENT_CYCLES, BX_PMU_EVENT_REF_CYCLES, BX_PMU_EVENT_SLOTS
  };

  pmu->frozen = (pmu->global_status & STATUS_CTR_FRZ) != 0;

  for (unsigned n = 0; n < pmu->model->num_gp; n++) {
    bx_perfmon_counter_t *c = &pmu->counter[n];
    Bit64u select = c->select;
    unsigned cmask = (select >> 24) & 0xff;

    c->mask = width_mask(pmu->model->gp_width);
    c->event = find_event(pmu, select & 0xff, (select >> 8) & 0xff);
    c->inverted = false;
    // CMASK counts the cycles in which the event happens at least so often. No
    // event happens twice in a modelled cycle. INV turns the comparison round.
    if (cmask > 1) c->event = BX_PMU_EVENT_NONE;
    if (cmask > 0 && (select & EVTSEL_INV)) c->inverted = true;
    // an edge would need cycles with and without: not modelled, counts nothing
    if (select & EVTSEL_EDGE) {
      c->event = BX_PMU_EVENT_NONE;
      c->inverted = false;
    }
    set_modes(c, ! pmu->frozen && (select & EVTSEL_EN) && (pmu->global_ctrl & (BX_CONST64(1) << n)),
       (select & EVTSEL_OS) != 0, (select & EVTSEL_USR) != 0);
  }

  for (unsigned n = 0; n < pmu->model->num_fixed; n++) {
    bx_perfmon_counter_t *c = &pmu->counter[BX_PMU_FIXED_BASE + n];
    Bit64u ctrl = pmu->fixed_ctrl >> (n * 4);

    c->mask = width_mask(pmu->model->fixed_width);
    c->event = fixed_event[n];
    c->inverted = false;
    set_modes(c, ! pmu->frozen && (pmu->global_ctrl & (BX_CONST64(1) << (FIXED_SHIFT + n))),
       (ctrl & FIXED_OS) != 0, (ctrl & FIXED_USR) != 0);
  }

  pmu->metrics_enabled = has_metrics(pmu) && (pmu->global_ctrl & GLOBAL_METRICS);
}

static bool intel_overflow(bx_perfmon_c *pmu, unsigned n)
{
  if (n >= BX_PMU_FIXED_BASE) {
    n -= BX_PMU_FIXED_BASE;
    pmu->global_status |= BX_CONST64(1) << (FIXED_SHIFT + n);
    return (pmu->fixed_ctrl >> (n * 4)) & FIXED_PMI;
  }

  pmu->global_status |= BX_CONST64(1) << n;
  return (pmu->counter[n].select & EVTSEL_INT) != 0;
}

// Freezing: from version 4 on STATUS[59] stops the counters until software
// resets it; before that the processor clears GLOBAL_CTRL.
static bool intel_interrupt(bx_perfmon_c *pmu)
{
  if (pmu->debugctl & DEBUGCTL_FREEZE_LBRS) {
    if (pmu->model->version >= 4) pmu->global_status |= STATUS_LBR_FRZ;
  }

  if (pmu->debugctl & DEBUGCTL_FREEZE_PERFMON) {
    if (pmu->model->version >= 4)
      pmu->global_status |= STATUS_CTR_FRZ;
    else
      pmu->global_ctrl = 0;
    pmu->reconfigure();
  }

  return true; // the mask bit of LVTPC gets set
}

//
// PERF_METRICS: retired slots and the rest, in 1/255 of the slots. The level 1
// fields add up to 255, and so do the level 2 fields of each level 1 field. They
// are fractions of what fixed counter 3 has counted, and software that restores
// both writes the counter first ("Performance Metrics"): what PERF_METRICS is
// written with holds until slots are counted, and goes in by weight afterwards.
//
static Bit64u read_metrics(bx_perfmon_c *pmu)
{
  pmu->settle();
  if (pmu->metrics_slots == pmu->metrics_slots_written) return pmu->metrics;

  Bit64u retiring = pmu->metrics_instructions * 255 / pmu->metrics_slots;
  if (retiring > 255) retiring = 255;
  Bit64u backend = 255 - retiring;

  // level 1: retiring, bad speculation, frontend bound, backend bound;
  // level 2: heavy operations, mispredicts, fetch latency, memory bound
  return retiring | (backend << 24);
}

static void write_metrics(bx_perfmon_c *pmu, Bit64u val)
{
  Bit64u slots = val ? pmu->read_counter(BX_PMU_FIXED_BASE + 3) : 0;

  pmu->metrics = val;
  pmu->metrics_slots = pmu->metrics_slots_written = slots;
  pmu->metrics_instructions = ((val & 0xff) * slots + 254) / 255;
}

// GLOBAL_INUSE tells software what somebody has programmed.
static Bit64u read_inuse(const bx_perfmon_c *pmu)
{
  Bit64u val = 0, pmi = 0;

  for (unsigned n = 0; n < pmu->model->num_gp; n++) {
    if (pmu->counter[n].select & 0xff) val |= BX_CONST64(1) << n;
    if (pmu->counter[n].select & EVTSEL_INT) pmi = 1;
  }
  for (unsigned n = 0; n < pmu->model->num_fixed; n++) {
    Bit64u ctrl = pmu->fixed_ctrl >> (n * 4);
    if (ctrl & (FIXED_OS | FIXED_USR)) val |= BX_CONST64(1) << (FIXED_SHIFT + n);
    if (ctrl & FIXED_PMI) pmi = 1;
  }

  return val | (pmi << 63);
}

//
// MSRs
//

static bool intel_is_pmu_msr(const bx_perfmon_c *pmu, Bit32u index)
{
  if ((index >= MSR_PMC0 && index < MSR_PMC0 + ARCH_GP) ||
      (index >= MSR_PERFEVTSEL0 && index < MSR_PERFEVTSEL0 + ARCH_GP) ||
      (index >= MSR_A_PMC0 && index < MSR_A_PMC0 + ARCH_GP) ||
      (index >= MSR_FIXED_CTR0 && index < MSR_FIXED_CTR0 + ARCH_FIXED))
    return true;

  switch(index) {
  case MSR_OFFCORE_RSP0:
  case MSR_OFFCORE_RSP1:
  case MSR_PERF_METRICS:
  case MSR_PERF_CAPABILITIES:
  case MSR_FIXED_CTR_CTRL:
  case MSR_GLOBAL_STATUS:
  case MSR_GLOBAL_CTRL:
  case MSR_GLOBAL_STATUS_RESET:
  case MSR_GLOBAL_STATUS_SET:
  case MSR_GLOBAL_INUSE:
  case MSR_PEBS_ENABLE:
  case MSR_PEBS_LD_LAT:
  case MSR_PEBS_FRONTEND:
    return true;
  default:
    return false;
  }
}

static int intel_rdmsr(bx_perfmon_c *pmu, Bit32u index, Bit64u *val)
{
  const bx_perfmon_model_t *m = pmu->model;

  if (index >= MSR_PERFEVTSEL0 && index < MSR_PERFEVTSEL0 + ARCH_GP) {
    unsigned n = index - MSR_PERFEVTSEL0;
    if (n >= m->num_gp) return 0;
    *val = pmu->counter[n].select;
    return 1;
  }

  if (index >= MSR_PMC0 && index < MSR_PMC0 + ARCH_GP) {
    unsigned n = index - MSR_PMC0;
    if (n >= m->num_gp) return 0;
    *val = pmu->read_counter(n);
    return 1;
  }

  if (index >= MSR_A_PMC0 && index < MSR_A_PMC0 + ARCH_GP) {
    unsigned n = index - MSR_A_PMC0;
    if (n >= m->num_gp || ! (m->perf_capabilities & CAP_FW_WRITES)) return 0;
    *val = pmu->read_counter(n);
    return 1;
  }

  if (index >= MSR_FIXED_CTR0 && index < MSR_FIXED_CTR0 + ARCH_FIXED) {
    unsigned n = index - MSR_FIXED_CTR0;
    if (n >= m->num_fixed) return 0;
    *val = pmu->read_counter(BX_PMU_FIXED_BASE + n);
    return 1;
  }

  switch(index) {
  case MSR_PERF_CAPABILITIES:
    *val = m->perf_capabilities;
    return 1;
  case MSR_FIXED_CTR_CTRL:
    *val = pmu->fixed_ctrl;
    return 1;
  case MSR_GLOBAL_STATUS:
    pmu->settle();
    *val = pmu->global_status;
    return 1;
  case MSR_GLOBAL_CTRL:
    *val = pmu->global_ctrl;
    return 1;
  case MSR_GLOBAL_STATUS_RESET:
    *val = 0;
    return 1;
  case MSR_GLOBAL_STATUS_SET:
    if (m->version < 4) return 0;
    *val = 0;
    return 1;
  case MSR_GLOBAL_INUSE:
    if (m->version < 4) return 0;
    *val = read_inuse(pmu);
    return 1;
  case MSR_PERF_METRICS:
    if (! has_metrics(pmu)) return 0;
    *val = read_metrics(pmu);
    return 1;
  case MSR_DEBUGCTL:
    *val = pmu->debugctl;
    return 1;
  case MSR_MISC_ENABLE:
    *val = pmu->misc_enable;
    return 1;
  case MSR_OFFCORE_RSP0:
  case MSR_OFFCORE_RSP1:
    *val = pmu->offcore_rsp[index - MSR_OFFCORE_RSP0];
    return 1;
  case MSR_PEBS_LD_LAT:
    *val = pmu->ld_lat;
    return 1;
  case MSR_PEBS_FRONTEND:
    *val = pmu->frontend;
    return 1;
  case MSR_PEBS_ENABLE: // no PEBS: MISC_ENABLE[12]
    return 0;
  default:
    int result = pmu->lbr_rdmsr(index, val);
    return (result >= 0) ? result : pmu->trace_rdmsr(index, val);
  }
}

static int intel_wrmsr(bx_perfmon_c *pmu, Bit32u index, Bit64u val)
{
  const bx_perfmon_model_t *m = pmu->model;

  if (index >= MSR_PERFEVTSEL0 && index < MSR_PERFEVTSEL0 + ARCH_GP) {
    unsigned n = index - MSR_PERFEVTSEL0;
    if (n >= m->num_gp || (val & ~evtsel_valid(pmu))) return 0;
    pmu->settle();
    pmu->counter[n].select = val;
    pmu->reconfigure();
    return 1;
  }

  if (index >= MSR_PMC0 && index < MSR_PMC0 + ARCH_GP) {
    unsigned n = index - MSR_PMC0;
    if (n >= m->num_gp) return 0;
    // bits 63:32 are ignored, bit 31 is extended
    pmu->write_counter(n, (Bit64u)(Bit64s)(Bit32s) GET32L(val));
    return 1;
  }

  if (index >= MSR_A_PMC0 && index < MSR_A_PMC0 + ARCH_GP) {
    unsigned n = index - MSR_A_PMC0;
    if (n >= m->num_gp || ! (m->perf_capabilities & CAP_FW_WRITES)) return 0;
    if (val & ~width_mask(m->gp_width)) return 0;
    pmu->write_counter(n, val);
    return 1;
  }

  if (index >= MSR_FIXED_CTR0 && index < MSR_FIXED_CTR0 + ARCH_FIXED) {
    unsigned n = index - MSR_FIXED_CTR0;
    if (n >= m->num_fixed || (val & ~width_mask(m->fixed_width))) return 0;
    pmu->write_counter(BX_PMU_FIXED_BASE + n, val);
    return 1;
  }

  switch(index) {
  case MSR_FIXED_CTR_CTRL:
    if (val & ~fixed_ctrl_valid(pmu)) return 0;
    pmu->settle();
    pmu->fixed_ctrl = val;
    pmu->reconfigure();
    return 1;
  case MSR_GLOBAL_CTRL:
    if (! pmu->is_valid_global_ctrl(val)) return 0;
    pmu->load_global_ctrl(val);
    return 1;
  case MSR_GLOBAL_STATUS_RESET:
    if (val & ~status_valid(pmu)) return 0;
    pmu->settle();
    pmu->global_status &= ~val;
    pmu->reconfigure();
    return 1;
  case MSR_GLOBAL_STATUS_SET:
    // software can set what the processor can set by counting
    if (m->version < 4 || (val & ~(status_valid(pmu) & ~STATUS_COND_CHGD))) return 0;
    pmu->settle();
    pmu->global_status |= val;
    pmu->reconfigure();
    return 1;
  case MSR_PERF_METRICS:
    if (! has_metrics(pmu) || (m->metrics_fields < 8 && (val >> (8 * m->metrics_fields)) != 0)) return 0;
    pmu->settle();
    write_metrics(pmu, val);
    return 1;
  case MSR_DEBUGCTL:
    if (! pmu->is_valid_debugctl(val)) return 0;
    pmu->load_debugctl(val);
    return 1;
  case MSR_MISC_ENABLE:
    // the bits about the unit are read-only; the other ones have no function here
    pmu->misc_enable = (val & ~MISC_READ_ONLY) | (pmu->misc_enable & MISC_READ_ONLY);
    return 1;
  case MSR_OFFCORE_RSP0:
  case MSR_OFFCORE_RSP1:
    if (val & ~BX_CONST64(0x3fffffffff)) return 0;
    pmu->offcore_rsp[index - MSR_OFFCORE_RSP0] = val;
    return 1;
  case MSR_PEBS_LD_LAT:
    if (val & ~BX_CONST64(0xffff)) return 0;
    pmu->ld_lat = val;
    return 1;
  case MSR_PEBS_FRONTEND:
    if (val & ~BX_CONST64(0x7fffff)) return 0;
    pmu->frontend = val;
    return 1;
  case MSR_PERF_CAPABILITIES: // read-only
  case MSR_GLOBAL_STATUS:
  case MSR_GLOBAL_INUSE:
  case MSR_PEBS_ENABLE:       // not there
    return 0;
  default:
    int result = pmu->lbr_wrmsr(index, val);
    return (result >= 0) ? result : pmu->trace_wrmsr(index, val);
  }
}

static bool intel_rdpmc(bx_perfmon_c *pmu, Bit32u ecx, Bit64u *val)
{
  const bx_perfmon_model_t *m = pmu->model;
  unsigned n = ecx & 0xffff;

  switch(ecx >> 16) {
  case 0x0000:
    if (n >= m->num_gp) return false;
    *val = pmu->read_counter(n);
    return true;
  case 0x4000:
    if (n >= m->num_fixed) return false;
    *val = pmu->read_counter(BX_PMU_FIXED_BASE + n);
    return true;
  case 0x2000:
    if (n != 0 || ! has_metrics(pmu)) return false;
    *val = read_metrics(pmu);
    return true;
  default:
    return false;
  }
}

static void intel_cpuid(const bx_perfmon_c *pmu, Bit32u function, Bit32u subfunction, cpuid_function_t *leaf)
{
  const bx_perfmon_model_t *m = pmu->model;

  switch(function) {
  case 0x00000001:
    leaf->ecx |= BX_CPUID_STD1_ECX_PDCM;
    break;
  case 0x00000007:
    if (subfunction == 0 && m->lbr_format == BX_PMU_LBR_ARCH)
      leaf->edx |= BX_CPUID_STD7_SUBLEAF0_EDX_ARCH_LBR;
    break;
  case 0x0000000A:
    leaf->eax = m->version | (m->num_gp << 8) | (m->gp_width << 16) | (m->num_arch_events << 24);
    leaf->ebx = m->arch_events_absent;
    leaf->ecx = (m->version >= 5) ? (1 << m->num_fixed) - 1 : 0;
    leaf->edx = m->num_fixed | (m->fixed_width << 5) | (m->anythread_deprecated ? 1 << 15 : 0);
    break;
  case 0x00000014:
    // Intel Processor Trace, subleaf 0. EBX: CR3 filtering. ECX: ToPA output, with any number of
    // entries in a table; single-range output.
    if (pmu->has_trace() && subfunction == 0) {
      leaf->ebx = 0x00000001;
      leaf->ecx = 0x00000007;
    }
    break;
  case 0x0000001C:
    // Architectural LBRs, subleaf 0. EAX: depths 8, 16 and 32; no deep C-state resets them; IP values
    // are offsets into the code segment. EBX: filters by CPL and kind, call-stack mode. ECX:
    // mispredictions, cycles, branch types.
    if (subfunction == 0 && m->lbr_format == BX_PMU_LBR_ARCH) {
      leaf->eax = 0x0000000b;
      leaf->ebx = 0x00000007;
      leaf->ecx = 0x00000007;
    }
    break;
  }
}

static const bx_perfmon_rules_t intel_rules = {
  intel_reset,
  intel_rdmsr,
  intel_wrmsr,
  intel_is_pmu_msr,
  intel_rdpmc,
  intel_cpuid,
  intel_configure,
  intel_overflow,
  intel_interrupt
};

//
// Models
//

#define COMMON_EVENTS                                \
  { 0xc0, 0x00, BX_PMU_EVENT_INSTRUCTIONS },         \
  { 0x3c, 0x00, BX_PMU_EVENT_CYCLES },               \
  { 0x3c, 0x01, BX_PMU_EVENT_REF_CYCLES },           \
  { 0x2e, 0x4f, BX_PMU_EVENT_CACHE_REFERENCES },     \
  { 0x2e, 0x41, BX_PMU_EVENT_CACHE_MISSES },         \
  { 0xc4, 0x00, BX_PMU_EVENT_BRANCHES },             \
  { 0xc5, 0x00, BX_PMU_EVENT_BRANCH_MISSES },        \
  /* these are not architectural, but all models have them: MEM_INST_RETIRED */ \
  { 0xd0, 0x81, BX_PMU_EVENT_LOADS },                \
  { 0xd0, 0x82, BX_PMU_EVENT_STORES },               \
  { 0xd0, 0x83, BX_PMU_EVENT_LOADS_STORES }

static const bx_perfmon_select_t skylake_x_events[] = {
  COMMON_EVENTS,
  { 0xc4, 0x01, BX_PMU_EVENT_COND_BRANCHES },
  { 0, 0, BX_PMU_EVENT_NONE }
};

static const bx_perfmon_select_t icelake_events[] = {
  COMMON_EVENTS,
  { 0xa4, 0x01, BX_PMU_EVENT_SLOTS },
  { 0xc4, 0x11, BX_PMU_EVENT_COND_BRANCHES },
  { 0, 0, BX_PMU_EVENT_NONE }
};

const bx_perfmon_model_t bx_perfmon_intel_models[] = {
  {
    "skylake_x", &intel_rules, skylake_x_events,
    4,                  // version
    4, 48,              // general-purpose counters
    3, 48,              // fixed counters
    7, 0,               // architectural events, absent ones
    false,              // AnyThread deprecated
    CAP_FW_WRITES | CAP_LBR_INFO,
    4, 0,               // slots per cycle, fields of PERF_METRICS
    BX_PMU_LBR_INFO, 32, // branch records
    false               // VM-exit "save IA32_PERF_GLOBAL_CTRL"
  },
  {
    // No such processor: those that save have PERF_METRICS and a fourth fixed
    // counter as well, and what hypervisors do with the control depends on both.
    "skylake_x_save", &intel_rules, skylake_x_events,
    4,
    4, 48,
    3, 48,
    7, 0,
    false,
    CAP_FW_WRITES | CAP_LBR_INFO,
    4, 0,
    BX_PMU_LBR_INFO, 32,
    true
  },
  {
    "icelake", &intel_rules, icelake_events,
    5,
    8, 48,
    4, 48,
    8, 0,
    true,
    CAP_FW_WRITES | CAP_PERF_METRICS | CAP_LBR_INFO,
    5, 4,
    BX_PMU_LBR_INFO, 32,
    false
  },
  {
    "sapphire_rapids", &intel_rules, icelake_events,
    5,
    8, 48,
    4, 48,
    8, 0,
    true,
    CAP_FW_WRITES | CAP_PERF_METRICS | CAP_LBR_ARCH,
    6, 8,
    BX_PMU_LBR_ARCH, 32,
    true
  },
  { NULL }
};

#endif
