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
// Register rules of AMD's core performance counters: APM vol. 2, "Performance
// Monitoring Counters" and "Performance Monitoring Version 2", and the PPR of
// family 19h for the MSRs.
//

#include "bochs.h"
#include "cpu.h"

#if BX_SUPPORT_PERFMON

#include "cpuid.h"

enum {
  MSR_DEBUGCTL             = 0x1d9,
  MSR_GLOBAL_STATUS        = 0xc0000300,
  MSR_GLOBAL_CTL           = 0xc0000301,
  MSR_GLOBAL_STATUS_CLR    = 0xc0000302,
  MSR_GLOBAL_STATUS_SET    = 0xc0000303,
  MSR_LEGACY_SELECT0       = 0xc0010000,
  MSR_LEGACY_COUNTER0      = 0xc0010004,
  MSR_SELECT0              = 0xc0010200, // select n at 2 * n, counter n at 2 * n + 1
};

// The addresses have room for so many; what a model lacks of it is #GP.
const unsigned ARCH_CORE = 8, LEGACY = 4;

const Bit64u SELECT_USR       = 1 << 16;
const Bit64u SELECT_OS        = 1 << 17;
const Bit64u SELECT_EDGE      = 1 << 18;
const Bit64u SELECT_INT       = 1 << 20;
const Bit64u SELECT_EN        = 1 << 22;
const Bit64u SELECT_INV       = 1 << 23;
const Bit64u SELECT_GUESTONLY = BX_CONST64(1) << 40;
const Bit64u SELECT_HOSTONLY  = BX_CONST64(1) << 41;

// event 35:32 and 7:0, unit mask 15:8, counter mask 31:24, and the bits above.
// The processor ignores a write to the other bits, which read as 0.
const Bit64u SELECT_IMPLEMENTED = BX_CONST64(0x30fffd7ffff);

// LBR, BTF and the pin controls PB3:0
const Bit64u DEBUGCTL_VALID = 0x3f;
// LbrAndPmcFreeze: what the interrupt of an overflow freezes ...
const Bit64u DEBUGCTL_FREEZE_LBRS = 1 << 11;
const Bit64u DEBUGCTL_FREEZE_PMCS = 1 << 12;
// ... until software clears these bits of GlobalStatus
const Bit64u STATUS_LBRS_FROZEN = BX_CONST64(1) << 58;
const Bit64u STATUS_PMCS_FROZEN = BX_CONST64(1) << 59;

static bool has_v2(const bx_perfmon_c *pmu)
{
  return pmu->model->version >= 2;
}

static Bit64u counter_bits(const bx_perfmon_c *pmu)
{
  return (BX_CONST64(1) << pmu->model->num_gp) - 1;
}

// LbrAndPmcFreeze is a feature of its own, which all processors with version 2 have.
static bool has_freeze(const bx_perfmon_c *pmu)
{
  return has_v2(pmu);
}

static Bit64u status_bits(const bx_perfmon_c *pmu)
{
  return counter_bits(pmu) | (has_freeze(pmu) ? STATUS_LBRS_FROZEN | STATUS_PMCS_FROZEN : 0);
}

//
// Reset: everything 0, but GlobalCtl enables all counters, so that software
// that knows nothing of version 2 finds them as ever.
//
static void amd_reset(bx_perfmon_c *pmu)
{
  pmu->global_ctrl_mask = counter_bits(pmu);
  pmu->global_ctrl = counter_bits(pmu);
  pmu->global_status = 0;
  pmu->debugctl = 0;
  pmu->debugctl_mask = DEBUGCTL_VALID;
  if (has_freeze(pmu)) pmu->debugctl_mask |= DEBUGCTL_FREEZE_LBRS | DEBUGCTL_FREEZE_PMCS;
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

// HG_ONLY, bits 41:40 of the select: both clear count always. One set counts in
// its mode, both set in both, but only as long as EFER.SVME is set.
static bool counts_in(const bx_perfmon_c *pmu, Bit64u select, bool guest)
{
  if (! (select & (SELECT_GUESTONLY | SELECT_HOSTONLY))) return true;
  if (! pmu->cpu->efer.get_SVME()) return false;
  return (select & (guest ? SELECT_GUESTONLY : SELECT_HOSTONLY)) != 0;
}

static void amd_configure(bx_perfmon_c *pmu)
{
  pmu->frozen = (pmu->global_status & STATUS_PMCS_FROZEN) != 0;
  pmu->metrics_enabled = false;

  for (unsigned n = 0; n < pmu->model->num_gp; n++) {
    bx_perfmon_counter_t *c = &pmu->counter[n];
    Bit64u select = c->select;
    unsigned cmask = (select >> 24) & 0xff;
    bool on = ! pmu->frozen && (select & SELECT_EN) &&
       (! has_v2(pmu) || (pmu->global_ctrl & (BX_CONST64(1) << n)));

    c->mask = (BX_CONST64(1) << pmu->model->gp_width) - 1;
    c->event = find_event(pmu, (select & 0xff) | ((select >> 24) & 0xf00), (select >> 8) & 0xff);
    c->inverted = false;
    // As on Intel's processors: a cycle in which the event happens at least
    // CntMask times counts one, and no event happens twice in a modelled cycle.
    if (cmask > 1) c->event = BX_PMU_EVENT_NONE;
    if (cmask > 0 && (select & SELECT_INV)) c->inverted = true;
    if (select & SELECT_EDGE) {
      c->event = BX_PMU_EVENT_NONE;
      c->inverted = false;
    }
    for (unsigned guest = 0; guest < 2; guest++) {
      bool here = on && counts_in(pmu, select, guest);
      c->in_mode[guest][0] = here && (select & SELECT_OS);
      c->in_mode[guest][1] = here && (select & SELECT_USR);
    }
  }
}

static bool amd_overflow(bx_perfmon_c *pmu, unsigned n)
{
  pmu->global_status |= BX_CONST64(1) << n;
  return (pmu->counter[n].select & SELECT_INT) != 0;
}

static bool amd_interrupt(bx_perfmon_c *pmu)
{
  if (pmu->debugctl & DEBUGCTL_FREEZE_LBRS) pmu->global_status |= STATUS_LBRS_FROZEN;

  if (pmu->debugctl & DEBUGCTL_FREEZE_PMCS) {
    pmu->settle();
    pmu->global_status |= STATUS_PMCS_FROZEN;
    pmu->reconfigure();
  }

  return false; // the mask bit of LVTPC stays as it is
}

//
// MSRs
//

// The counter and whether it is the select of it; -1 when the address is no
// counter's. The first four have a second, older address.
static int find_register(Bit32u index, bool *select)
{
  if (index >= MSR_SELECT0 && index < MSR_SELECT0 + 2 * ARCH_CORE) {
    *select = ! (index & 1);
    return (index - MSR_SELECT0) / 2;
  }
  if (index >= MSR_LEGACY_SELECT0 && index < MSR_LEGACY_SELECT0 + LEGACY) {
    *select = true;
    return index - MSR_LEGACY_SELECT0;
  }
  if (index >= MSR_LEGACY_COUNTER0 && index < MSR_LEGACY_COUNTER0 + LEGACY) {
    *select = false;
    return index - MSR_LEGACY_COUNTER0;
  }
  return -1;
}

static bool amd_is_pmu_msr(const bx_perfmon_c *pmu, Bit32u index)
{
  bool select;
  return find_register(index, &select) >= 0 ||
        (index >= MSR_GLOBAL_STATUS && index <= MSR_GLOBAL_STATUS_SET);
}

// Registers of Intel's unit, which an emulator that ignores unknown registers
// would otherwise show as zeros
static bool is_foreign(Bit32u index)
{
  return (index >= 0x0c1 && index <= 0x0c8) || // counters
         (index >= 0x186 && index <= 0x18d) || // selects
         (index >= 0x309 && index <= 0x318) || // fixed counters
          index == 0x329 || index == 0x345 ||  // PERF_METRICS, PERF_CAPABILITIES
         (index >= 0x38d && index <= 0x392) || // FIXED_CTR_CTRL, GLOBAL_*
          index == 0x3f1 ||                    // PEBS_ENABLE
         (index >= 0x4c1 && index <= 0x4c8);   // counters in full width
}

static int amd_rdmsr(bx_perfmon_c *pmu, Bit32u index, Bit64u *val)
{
  bool select;
  int n = find_register(index, &select);

  if (n >= 0) {
    if (n >= (int) pmu->model->num_gp) return 0;
    *val = select ? pmu->counter[n].select : pmu->read_counter(n);
    return 1;
  }

  switch(index) {
  case MSR_GLOBAL_STATUS:
    if (! has_v2(pmu)) return 0;
    pmu->settle();
    *val = pmu->global_status;
    return 1;
  case MSR_GLOBAL_CTL:
    if (! has_v2(pmu)) return 0;
    *val = pmu->global_ctrl;
    return 1;
  case MSR_GLOBAL_STATUS_CLR:
  case MSR_GLOBAL_STATUS_SET:
    if (! has_v2(pmu)) return 0;
    *val = 0;
    return 1;
  case MSR_DEBUGCTL:
    *val = pmu->debugctl;
    return 1;
  default:
    return is_foreign(index) ? 0 : pmu->lbr_rdmsr(index, val);
  }
}

static int amd_wrmsr(bx_perfmon_c *pmu, Bit32u index, Bit64u val)
{
  bool select;
  int n = find_register(index, &select);

  if (n >= 0) {
    if (n >= (int) pmu->model->num_gp) return 0;
    if (select) {
      pmu->settle();
      pmu->counter[n].select = val & SELECT_IMPLEMENTED;
      pmu->reconfigure();
    }
    else {
      pmu->write_counter(n, val); // bits 63:48 are ignored
    }
    return 1;
  }

  switch(index) {
  case MSR_GLOBAL_STATUS: // read-only, which in the PPR means that writes are ignored
    return has_v2(pmu);
  case MSR_GLOBAL_CTL:
    if (! has_v2(pmu)) return 0;
    pmu->load_global_ctrl(val & counter_bits(pmu));
    return 1;
  case MSR_GLOBAL_STATUS_CLR:
    if (! has_v2(pmu)) return 0;
    pmu->settle();
    pmu->global_status &= ~val;
    pmu->reconfigure();
    return 1;
  case MSR_GLOBAL_STATUS_SET:
    if (! has_v2(pmu)) return 0;
    pmu->settle();
    pmu->global_status |= val & status_bits(pmu);
    pmu->reconfigure();
    return 1;
  case MSR_DEBUGCTL:
    if (! pmu->is_valid_debugctl(val)) return 0;
    pmu->load_debugctl(val);
    return 1;
  default:
    return is_foreign(index) ? 0 : pmu->lbr_wrmsr(index, val);
  }
}

static bool amd_rdpmc(bx_perfmon_c *pmu, Bit32u ecx, Bit64u *val)
{
  if (ecx >= pmu->model->num_gp) return false;
  *val = pmu->read_counter(ecx);
  return true;
}

static void amd_cpuid(const bx_perfmon_c *pmu, Bit32u function, Bit32u subfunction, cpuid_function_t *leaf)
{
  const bx_perfmon_model_t *m = pmu->model;

  switch(function) {
  case 0x00000001:
    if (m->signature) leaf->eax = m->signature;
    break;
  case 0x80000000:
    if (has_v2(pmu) && leaf->eax < 0x80000022) leaf->eax = 0x80000022;
    break;
  case 0x80000001:
    if (m->signature) leaf->eax = m->signature;
    leaf->ecx |= BX_CPUID_EXT1_ECX_PERFCTR_EXT_CORE;
    // there are no counters of the data fabric and of the last-level cache
    leaf->ecx &= ~(BX_CPUID_EXT1_ECX_PERFCTR_EXT_NB | BX_CPUID_EXT1_ECX_PERFCTR_EXT_L2I);
    break;
  case 0x80000022:
    if (! has_v2(pmu)) break;
    // PerfMonV2, LbrStack, LbrAndPmcFreeze
    leaf->eax = 1 | (m->lbr_depth ? 2 : 0) | (has_freeze(pmu) ? 4 : 0);
    leaf->ebx = m->num_gp | (m->lbr_depth << 4);
    leaf->ecx = leaf->edx = 0;
    break;
  }
}

static const bx_perfmon_rules_t amd_rules = {
  amd_reset,
  amd_rdmsr,
  amd_wrmsr,
  amd_is_pmu_msr,
  amd_rdpmc,
  amd_cpuid,
  amd_configure,
  amd_overflow,
  amd_interrupt
};

//
// Models
//

#define COMMON_EVENTS                                \
  { 0x0c0, 0x00, BX_PMU_EVENT_INSTRUCTIONS },        \
  { 0x0c2, 0x00, BX_PMU_EVENT_BRANCHES },            \
  { 0x0d1, 0x00, BX_PMU_EVENT_COND_BRANCHES },       \
  { 0x0c3, 0x00, BX_PMU_EVENT_BRANCH_MISSES },       \
  { 0x076, 0x00, BX_PMU_EVENT_CYCLES },              \
  { 0x060, 0xff, BX_PMU_EVENT_CACHE_REFERENCES },    \
  { 0x064, 0x09, BX_PMU_EVENT_CACHE_MISSES },        \
  { 0x029, 0x01, BX_PMU_EVENT_LOADS },               \
  { 0x029, 0x02, BX_PMU_EVENT_STORES },              \
  { 0x029, 0x04, BX_PMU_EVENT_LOADS_STORES }

static const bx_perfmon_select_t zen1_events[] = {
  COMMON_EVENTS,
  { 0, 0, BX_PMU_EVENT_NONE }
};

static const bx_perfmon_select_t zen4_events[] = {
  COMMON_EVENTS,
  { 0x120, 0x01, BX_PMU_EVENT_REF_CYCLES },
  { 0, 0, BX_PMU_EVENT_NONE }
};

const bx_perfmon_model_t bx_perfmon_amd_models[] = {
  {
    "zen1", &amd_rules, zen1_events,
    1,                  // version
    6, 48,              // counters
    0, 0,               // fixed counters
    0, 0, false, 0,     // what is Intel's
    6, 0,               // slots per cycle, fields of PERF_METRICS
    BX_PMU_LBR_NONE, 0, // branch records
    false,              // VM-exit "save IA32_PERF_GLOBAL_CTRL"
    0                   // signature: the CPU model's
  },
  {
    "zen4", &amd_rules, zen4_events,
    2,
    6, 48,
    0, 0,
    0, 0, false, 0,
    6, 0,
    BX_PMU_LBR_AMD, 16,
    false,
    0x00a10f11          // family 19h, model 11h
  },
  { NULL }
};

#endif
