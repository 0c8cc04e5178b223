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

#include "bochs.h"
#include "cpu.h"
#include "gui/siminterface.h"
#include "param_names.h"

#if BX_SUPPORT_PERFMON

#include "cpuid.h"
#if BX_SUPPORT_APIC
#include "apic.h"
#endif

#define LOG_THIS cpu->

// What counting rarely touches. The models of events are indexed by address only, so that the
// same execution gives the same numbers.
struct bx_perfmon_cold_t {
  // two-bit saturating counters: 0, 1 predict not taken, 2, 3 taken
  static const unsigned PREDICTOR_SIZE = 4096;
  Bit8u predictor[PREDICTOR_SIZE];

  // Two levels of direct-mapped cache of 64-byte physical lines. An access
  // that misses the first (32 KiB) is a reference to the second (2 MiB).
  static const unsigned L1_LINES = 512, LAST_LINES = 32768;
  Bit64u l1[L1_LINES], last[LAST_LINES];

  // totals of data accesses, and where the next counter overflows
  Bit64u loads, stores;
  Bit64u loads_due, stores_due, loads_stores_due;

  bx_perfmon_cold_t() { clear(); }
  void clear(void) {
    memset(predictor, 1, sizeof(predictor));
    memset(l1, 0xff, sizeof(l1));
    memset(last, 0xff, sizeof(last));
    loads = stores = 0;
    loads_due = stores_due = loads_stores_due = BX_PERFMON_NEVER;
  }
};

// All models of all vendors.
static const bx_perfmon_model_t *find_model(const char *name)
{
  static const bx_perfmon_model_t *vendors[] = { bx_perfmon_intel_models, bx_perfmon_amd_models };

  for (unsigned v = 0; v < sizeof(vendors) / sizeof(vendors[0]); v++) {
    for (const bx_perfmon_model_t *m = vendors[v]; m->name != NULL; m++) {
      if (! strcmp(m->name, name)) return m;
    }
  }

  return NULL;
}

bx_perfmon_c::bx_perfmon_c():
  stop_icount(BX_PERFMON_NEVER), cond_branches(0), other_branches(0),
  unwound(0), branch_model(false), recording(false), cache_model(false),
  active(false), early(false), trace_cr3(false), cpu(NULL), model(NULL),
  global_ctrl(0), global_ctrl_mask(0), global_status(0), fixed_ctrl(0),
  debugctl(0), debugctl_mask(0), misc_enable(0), ld_lat(0), frontend(0),
  metrics(0), metrics_slots(0), metrics_slots_written(0), metrics_instructions(0),
  metrics_enabled(false), frozen(false), hidden(false), pmi_skid(0),
  pmi_due(BX_PERFMON_NEVER), guest(false), user(false), next_guest(false),
  num_active(0), extra_cycles(0), instructions_since(0), metrics_since(0),
  cold(NULL), counts_misses(false), branch_misses(0), cache_references(0), cache_misses(0),
  branch_misses_due(BX_PERFMON_NEVER), cache_references_due(BX_PERFMON_NEVER),
  cache_misses_due(BX_PERFMON_NEVER)
{
  memset(counter, 0, sizeof(counter));
  memset(&trace, 0, sizeof(trace));
  memset(&lbr, 0, sizeof(lbr));
  memset(offcore_rsp, 0, sizeof(offcore_rsp));
  memset(active_list, 0, sizeof(active_list));
  memset(&totals, 0, sizeof(totals));
}

bx_perfmon_c::~bx_perfmon_c()
{
  delete cold;
}

void bx_perfmon_c::init(BX_CPU_C *_cpu)
{
  cpu = _cpu;

  const char *name = SIM->get_param_enum(BXPN_PERFMON_MODEL)->get_selected();
  pmi_skid = SIM->get_param_num(BXPN_PERFMON_PMI_SKID)->get();
  hidden = ! strcmp(name, "hidden");
  model = find_model(name);

  if (model == NULL) {
    if (! hidden && strcmp(name, "none"))
      BX_PANIC(("perfmon: there is no model '%s'", name));
    return;
  }

  cold = new bx_perfmon_cold_t;
  BX_INFO(("perfmon: %s, %u+%u counters, pmi_skid=%u", name, model->num_gp, model->num_fixed, pmi_skid));
#if BX_INSTRUMENTATION
  BX_INFO(("perfmon: built with an instrumentation library, branch events count nothing"));
#endif
}

// Reset clears the unit; INIT leaves all of it alone (SDM vol. 3, "Processor
// State Following Power-up, Reset, or INIT").
void bx_perfmon_c::reset(unsigned source)
{
  // VMX operation does not survive, and the processor continues at CPL 0
  attribute_instructions();
  early = false;
  guest = next_guest = false;

  if (source != BX_RESET_HARDWARE) {
    if (model != NULL) {
      settle();
      user = false;
      reconfigure(); // EFER.SVME is 0
    }
    return;
  }

  stop_icount = BX_PERFMON_NEVER;
  cond_branches = other_branches = unwound = 0;
  extra_cycles = branch_misses = cache_references = cache_misses = 0;
  instructions_since = metrics_since = 0;
  pmi_due = BX_PERFMON_NEVER;
  user = false;

  if (model == NULL) return;

  cold->clear();
  for (unsigned n = 0; n < BX_PMU_MAX_COUNTERS; n++) {
    counter[n].value = counter[n].since = counter[n].select = 0;
  }
  num_active = 0;
  trace_reset();
  lbr_reset();
  model->rules->reset(this);
  reconfigure();
}

void bx_perfmon_c::register_state(bx_param_c *parent)
{
  char name[16];

  bx_list_c *list = new bx_list_c(parent, "perfmon");

  BXRS_DEC_PARAM_SIMPLE(list, cond_branches);
  BXRS_DEC_PARAM_SIMPLE(list, other_branches);
  BXRS_DEC_PARAM_SIMPLE(list, unwound);
  BXRS_DEC_PARAM_SIMPLE(list, extra_cycles);
  BXRS_DEC_PARAM_SIMPLE(list, branch_misses);
  BXRS_DEC_PARAM_SIMPLE(list, cache_references);
  BXRS_DEC_PARAM_SIMPLE(list, cache_misses);
  BXRS_DEC_PARAM_SIMPLE(list, instructions_since);
  BXRS_DEC_PARAM_SIMPLE(list, metrics_since);
  BXRS_DEC_PARAM_SIMPLE(list, pmi_due);
  BXRS_PARAM_BOOL(list, early, early);
  BXRS_PARAM_BOOL(list, guest, guest);
  BXRS_PARAM_BOOL(list, user, user);
  BXRS_PARAM_BOOL(list, next_guest, next_guest);

  BXRS_HEX_PARAM_SIMPLE(list, global_ctrl);
  BXRS_HEX_PARAM_SIMPLE(list, global_status);
  BXRS_HEX_PARAM_SIMPLE(list, fixed_ctrl);
  BXRS_HEX_PARAM_SIMPLE(list, debugctl);
  BXRS_HEX_PARAM_SIMPLE(list, misc_enable);
  BXRS_HEX_PARAM_FIELD(list, offcore_rsp0, offcore_rsp[0]);
  BXRS_HEX_PARAM_FIELD(list, offcore_rsp1, offcore_rsp[1]);
  BXRS_HEX_PARAM_SIMPLE(list, ld_lat);
  BXRS_HEX_PARAM_SIMPLE(list, frontend);
  BXRS_HEX_PARAM_SIMPLE(list, metrics);
  BXRS_DEC_PARAM_SIMPLE(list, metrics_slots);
  BXRS_DEC_PARAM_SIMPLE(list, metrics_slots_written);
  BXRS_DEC_PARAM_SIMPLE(list, metrics_instructions);

  bx_list_c *pt = new bx_list_c(list, "trace");
  BXRS_HEX_PARAM_FIELD(pt, ctl, trace.ctl);
  BXRS_HEX_PARAM_FIELD(pt, status, trace.status);
  BXRS_HEX_PARAM_FIELD(pt, output_base, trace.output_base);
  BXRS_HEX_PARAM_FIELD(pt, output_mask_ptrs, trace.output_mask_ptrs);
  BXRS_HEX_PARAM_FIELD(pt, cr3_match, trace.cr3_match);
  BXRS_PARAM_BOOL(pt, lost, trace.lost);

  for (unsigned n = 0; n < BX_PMU_MAX_COUNTERS; n++) {
    sprintf(name, "counter%u", n);
    bx_list_c *c = new bx_list_c(list, name);
    BXRS_HEX_PARAM_FIELD(c, value, counter[n].value);
    BXRS_HEX_PARAM_FIELD(c, since, counter[n].since);
    BXRS_HEX_PARAM_FIELD(c, select, counter[n].select);
  }

  bx_list_c *t = new bx_list_c(list, "totals");
  BXRS_DEC_PARAM_FIELD(t, host_instructions, totals.instructions[0]);
  BXRS_DEC_PARAM_FIELD(t, guest_instructions, totals.instructions[1]);
  BXRS_DEC_PARAM_FIELD(t, vm_entries, totals.vm_entries);
  BXRS_DEC_PARAM_FIELD(t, vm_exits, totals.vm_exits);
  BXRS_DEC_PARAM_FIELD(t, host_pmis, totals.pmis[0]);
  BXRS_DEC_PARAM_FIELD(t, guest_pmis, totals.pmis[1]);

  if (cold != NULL) {
    new bx_shadow_data_c(list, "predictor", cold->predictor, sizeof(cold->predictor));
    new bx_shadow_data_c(list, "cache1", (Bit8u*) cold->l1, sizeof(cold->l1));
    new bx_shadow_data_c(list, "cache2", (Bit8u*) cold->last, sizeof(cold->last));
    BXRS_DEC_PARAM_FIELD(list, loads, cold->loads);
    BXRS_DEC_PARAM_FIELD(list, stores, cold->stores);
    new bx_shadow_data_c(list, "lbr", (Bit8u*) &lbr, sizeof(lbr));
  }
}

// What is derived from the registers isn't saved.
void bx_perfmon_c::after_restore_state(void)
{
  if (model == NULL) return;

  num_active = 0; // 'since' of each counter was restored
  reconfigure();
}

void bx_perfmon_c::cpuid(Bit32u function, Bit32u subfunction, cpuid_function_t *leaf) const
{
  if (model != NULL) {
    model->rules->cpuid(this, function, subfunction, leaf);
  }
  else if (hidden) {
    if (function == 0x0000000A)
      leaf->eax = leaf->ebx = leaf->ecx = leaf->edx = 0;
    else if (function == 0x00000001)
      leaf->ecx &= ~BX_CPUID_STD1_ECX_PDCM;
    else if (function == 0x80000001)
      leaf->ecx &= ~(BX_CPUID_EXT1_ECX_PERFCTR_EXT_CORE | BX_CPUID_EXT1_ECX_PERFCTR_EXT_NB |
                     BX_CPUID_EXT1_ECX_PERFCTR_EXT_L2I);
  }
}

int bx_perfmon_c::rdmsr(Bit32u index, Bit64u *val)
{
  return (model != NULL) ? model->rules->rdmsr(this, index, val) : -1;
}

int bx_perfmon_c::wrmsr(Bit32u index, Bit64u val)
{
  return (model != NULL) ? model->rules->wrmsr(this, index, val) : -1;
}

bool bx_perfmon_c::rdpmc(Bit32u ecx, Bit64u *val)
{
  return model->rules->rdpmc(this, ecx, val);
}

bool bx_perfmon_c::is_pmu_msr(Bit32u index) const
{
  return model != NULL && (model->rules->is_pmu_msr(this, index) || lbr_is_msr(index));
}

void bx_perfmon_c::load_global_ctrl(Bit64u val)
{
  if (val == global_ctrl) return;

  settle();
  global_ctrl = val;
  reconfigure();
}

//
// Totals
//

Bit64u bx_perfmon_c::retired(void) const
{
  return cpu->icount - unwound;
}

Bit64u bx_perfmon_c::total(unsigned event) const
{
  switch(event) {
  case BX_PMU_EVENT_INSTRUCTIONS:
    return retired();
  case BX_PMU_EVENT_BRANCHES:
    return cond_branches + other_branches;
  case BX_PMU_EVENT_COND_BRANCHES:
    return cond_branches;
  case BX_PMU_EVENT_CYCLES:
  case BX_PMU_EVENT_REF_CYCLES:
    return retired() + extra_cycles;
  case BX_PMU_EVENT_SLOTS:
    return (retired() + extra_cycles) * model->slots_per_cycle;
  case BX_PMU_EVENT_BRANCH_MISSES:
    return branch_misses;
  case BX_PMU_EVENT_CACHE_REFERENCES:
    return cache_references;
  case BX_PMU_EVENT_CACHE_MISSES:
    return cache_misses;
  case BX_PMU_EVENT_LOADS:
    return cold->loads;
  case BX_PMU_EVENT_STORES:
    return cold->stores;
  case BX_PMU_EVENT_LOADS_STORES:
    return cold->loads + cold->stores;
  default:
    return 0;
  }
}

Bit64u bx_perfmon_c::total_of(const bx_perfmon_counter_t *c) const
{
  Bit64u now = total(c->event);
  return c->inverted ? total(BX_PMU_EVENT_CYCLES) - now : now;
}

//
// Counters
//

void bx_perfmon_c::settle(void)
{
  for (unsigned k = 0; k < num_active; k++) {
    unsigned n = active_list[k];
    bx_perfmon_counter_t *c = &counter[n];
    Bit64u now = total_of(c);
    Bit64u delta = now - c->since;
    c->since = now;

    if (delta == 0 || ! c->in_mode[guest][user]) continue;

    c->value += delta;
    if (c->value > c->mask) {
      c->value &= c->mask;
      if ((n == BX_PMU_TRACE) ? trace_block() : model->rules->overflow(this, n)) request_pmi();
    }

    if (metrics_enabled && c->event == BX_PMU_EVENT_SLOTS && n >= BX_PMU_FIXED_BASE) {
      metrics_slots += delta;
      metrics_instructions += retired() - metrics_since;
    }
  }

  metrics_since = retired();
}

// After any change of what the counters count.
void bx_perfmon_c::reconfigure(void)
{
  settle();

  model->rules->configure(this);
  trace_context();

  bool each_access = cache_model;

  num_active = 0;
  counts_misses = cache_model = false;
  for (unsigned n = 0; n < BX_PMU_MAX_COUNTERS; n++) {
    bx_perfmon_counter_t *c = &counter[n];

    // a trace may go on in another context
    if (! (c->in_mode[0][0] || c->in_mode[0][1] || c->in_mode[1][0] || c->in_mode[1][1]) &&
        ! (n == BX_PMU_TRACE && tracing())) continue;
    if (c->event == BX_PMU_EVENT_NONE && ! c->inverted) continue;

    c->since = total_of(c);
    active_list[num_active++] = n;

    switch(c->event) {
    case BX_PMU_EVENT_BRANCH_MISSES:
      counts_misses = true;
      break;
    case BX_PMU_EVENT_CACHE_REFERENCES:
    case BX_PMU_EVENT_CACHE_MISSES:
    case BX_PMU_EVENT_LOADS:
    case BX_PMU_EVENT_STORES:
    case BX_PMU_EVENT_LOADS_STORES:
      cache_model = true;
      break;
    }
  }

  lbr_configure();

  // without host pointers in the TLB each access takes the way that counts it
  if (cache_model != each_access) cpu->TLB_flush();

  if (num_active != 0) {
    if (! active) { // nobody looked at the mode until now
      active = true;
      user = cpu->user_pl;
    }
  }
  else {
    active = false;
  }

  plan();
}

static void lower(Bit64u *limit, Bit64u val)
{
  if (*limit > val) *limit = val;
}

// How far can execution go before the next overflow (or interrupt)?  Each
// event that follows icount advances by at most 'rate' per step of icount; the
// other ones have an exact limit where they are counted.
void bx_perfmon_c::plan(void)
{
  Bit64u steps = BX_PERFMON_NEVER;

  branch_misses_due = cache_references_due = cache_misses_due = BX_PERFMON_NEVER;
  cold->loads_due = cold->stores_due = cold->loads_stores_due = BX_PERFMON_NEVER;

  if (pmi_due != BX_PERFMON_NEVER) {
    Bit64u now = retired();
    steps = (pmi_due > now) ? pmi_due - now : 0;
  }

  for (unsigned k = 0; k < num_active; k++) {
    const bx_perfmon_counter_t *c = &counter[active_list[k]];
    if (! c->in_mode[guest][user]) continue;

    Bit64u left = c->mask + 1 - c->value, limit = left;

    if (! c->inverted) {
      switch(c->event) {
      case BX_PMU_EVENT_SLOTS:
        limit = (left + model->slots_per_cycle - 1) / model->slots_per_cycle;
        break;
      case BX_PMU_EVENT_BRANCH_MISSES:
        lower(&branch_misses_due, branch_misses + left);
        continue;
      case BX_PMU_EVENT_CACHE_REFERENCES:
        lower(&cache_references_due, cache_references + left);
        continue;
      case BX_PMU_EVENT_CACHE_MISSES:
        lower(&cache_misses_due, cache_misses + left);
        continue;
      case BX_PMU_EVENT_LOADS:
        lower(&cold->loads_due, cold->loads + left);
        continue;
      case BX_PMU_EVENT_STORES:
        lower(&cold->stores_due, cold->stores + left);
        continue;
      case BX_PMU_EVENT_LOADS_STORES:
        lower(&cold->loads_stores_due, cold->loads + cold->stores + left);
        continue;
      }
    }

    if (steps > limit) steps = limit;
  }

  if (steps == BX_PERFMON_NEVER) {
    stop_icount = BX_PERFMON_NEVER;
  }
  else if (steps > BX_PERFMON_WINDOW) {
    stop_icount = cpu->icount + (steps - BX_PERFMON_WINDOW);
  }
  else {
    // close: single instructions from here on
    stop_icount = BX_PERFMON_NEVER;
    cpu->signal_event(BX_EVENT_PERFMON);
  }
}

void bx_perfmon_c::approach(void)
{
  stop_icount = BX_PERFMON_NEVER;
  cpu->signal_event(BX_EVENT_PERFMON);
}

// Between two instructions: what the last instruction did to the mode takes
// effect now.
void bx_perfmon_c::service(void)
{
  cpu->clear_event(BX_EVENT_PERFMON);

  if (early) { // counted by vm_enter() or vm_exit(), and retired since
    early = false;
    unwound++;
  }

  if (guest != next_guest) attribute_instructions();

  settle();
  guest = next_guest;
  user = cpu->user_pl;
  if (trace_cr3) trace_context();

  // a halted processor retires nothing: don't keep its interrupt from it
  if (pmi_due != BX_PERFMON_NEVER) {
    if (retired() >= pmi_due || cpu->activity_state != BX_CPU_C::BX_ACTIVITY_STATE_ACTIVE)
      deliver_pmi();
  }

  if (model != NULL) plan();
}

Bit64u bx_perfmon_c::read_counter(unsigned n)
{
  settle();
  return counter[n].value;
}

void bx_perfmon_c::write_counter(unsigned n, Bit64u val)
{
  settle();
  counter[n].value = val & counter[n].mask;
  plan();
}

//
// Interrupt
//

void bx_perfmon_c::request_pmi(void)
{
  if (pmi_due == BX_PERFMON_NEVER) pmi_due = retired() + pmi_skid;
  cpu->signal_event(BX_EVENT_PERFMON);
}

void bx_perfmon_c::deliver_pmi(void)
{
  pmi_due = BX_PERFMON_NEVER;

  bool set_mask = model->rules->interrupt(this);
  lbr_configure(); // it may have frozen the records

#if BX_SUPPORT_APIC
  if (cpu->lapic->deliver_perfmon(set_mask)) totals.pmis[guest]++;
#endif
}

//
// Mode changes
//

void bx_perfmon_c::mode_changed(void)
{
  cpu->signal_event(BX_EVENT_PERFMON);
}

bool bx_perfmon_c::mode_differs(void) const
{
  return user != cpu->user_pl || guest != next_guest;
}

void bx_perfmon_c::svme_changed(void)
{
  if (model != NULL) reconfigure();
}

void bx_perfmon_c::vm_enter(bool counted_by_guest)
{
  add_cycles(BX_PERFMON_CYCLES_VMENTRY);

  if (counted_by_guest) {
    attribute_instructions();
    settle();
    guest = true;
  }

  // The instruction retires before the guest's controls are loaded.
  if (! early) {
    early = true;
    unwound--;
  }

  totals.vm_entries++;
  next_guest = true;
  cpu->signal_event(BX_EVENT_PERFMON);
}

void bx_perfmon_c::vm_exit(bool retires)
{
  if (retires && ! early) {
    early = true;
    unwound--;
  }

  if (next_guest) totals.vm_exits++;
  add_cycles(BX_PERFMON_CYCLES_VMEXIT);
  next_guest = false;
  cpu->signal_event(BX_EVENT_PERFMON);
}

void bx_perfmon_c::attribute_instructions(void)
{
  Bit64u now = retired();
  totals.instructions[guest] += now - instructions_since;
  instructions_since = now;
}

bx_perfmon_totals_t bx_perfmon_c::sample(void)
{
  attribute_instructions();
  return totals;
}

//
// Modelled events
//

void bx_perfmon_c::charge_cycles(unsigned n)
{
  extra_cycles += n;
  cpu->signal_event(BX_EVENT_PERFMON); // may have passed a limit
}

void bx_perfmon_c::missed(void)
{
  if (branch_misses >= branch_misses_due || cache_references >= cache_references_due ||
      cache_misses >= cache_misses_due)
  {
    cpu->signal_event(BX_EVENT_PERFMON);
  }
}

bool bx_perfmon_c::count_branch(Bit64u rip, bool taken)
{
  Bit8u *state = &cold->predictor[(rip ^ (rip >> 12)) & (bx_perfmon_cold_t::PREDICTOR_SIZE - 1)];

  bool mispredicted = (*state >= 2) != taken;

  if (mispredicted) {
    branch_misses++;
    missed();
  }

  if (taken) {
    if (*state < 3) (*state)++;
  }
  else {
    if (*state > 0) (*state)--;
  }

  return mispredicted;
}

void bx_perfmon_c::count_access(unsigned rw)
{
  if (rw == BX_RW || ! (rw & 1)) cold->loads++;
  if (rw & 1) cold->stores++;

  if (cold->loads >= cold->loads_due || cold->stores >= cold->stores_due ||
      cold->loads + cold->stores >= cold->loads_stores_due)
  {
    cpu->signal_event(BX_EVENT_PERFMON);
  }
}

void bx_perfmon_c::count_flush(bx_phy_address paddr)
{
  Bit64u line = paddr >> 6;
  Bit64u *l1 = &cold->l1[line & (bx_perfmon_cold_t::L1_LINES - 1)];
  Bit64u *last = &cold->last[line & (bx_perfmon_cold_t::LAST_LINES - 1)];

  // the last level is asked for the line, and neither has it afterwards
  cache_references++;
  if (*last != line) cache_misses++;
  else *last = BX_PERFMON_NEVER;
  if (*l1 == line) *l1 = BX_PERFMON_NEVER;
  missed();
}

void bx_perfmon_c::count_lines(bx_phy_address paddr, unsigned len)
{
  Bit64u line = paddr >> 6, end = (paddr + len - 1) >> 6;

  for (; line <= end; line++) {
    Bit64u *l1 = &cold->l1[line & (bx_perfmon_cold_t::L1_LINES - 1)];
    if (*l1 == line) continue;
    *l1 = line;
    cache_references++;

    Bit64u *last = &cold->last[line & (bx_perfmon_cold_t::LAST_LINES - 1)];
    if (*last != line) {
      *last = line;
      cache_misses++;
      // the prefetcher: two lines, aligned to their size, come together
      cold->last[(line ^ 1) & (bx_perfmon_cold_t::LAST_LINES - 1)] = line ^ 1;
    }
    missed();
  }
}

#endif
