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
// Branch records: SDM vol. 3B, "Last Branch, Interrupt, and Exception Recording" (the older
// interface) and "Last Branch Records" (the architectural one), APM vol. 2, "Control-Transfer
// Recording", with the PPR of family 19h for the MSRs of AMD's stack.
//
// All of them are one ring of records here, and a record is kept as its registers have it. In
// the older interface a register is a place in the ring, and TOS tells the newest one; in the
// other two register 0 is the newest.
//

#include "bochs.h"
#include "cpu.h"

#if BX_SUPPORT_PERFMON

#define LOG_THIS cpu->

enum {
  // the older interface
  MSR_LBR_SELECT       = 0x1c8,
  MSR_LBR_TOS          = 0x1c9,
  MSR_LBR_FROM0        = 0x680,
  MSR_LBR_TO0          = 0x6c0,
  MSR_LBR_INFO0        = 0xdc0,
  // the architectural one
  MSR_LER_FROM         = 0x1dd,
  MSR_LER_TO           = 0x1de,
  MSR_LER_INFO         = 0x1e0,
  MSR_ARCH_LBR_INFO0   = 0x1200,
  MSR_ARCH_LBR_CTL     = 0x14ce,
  MSR_ARCH_LBR_DEPTH   = 0x14cf,
  MSR_ARCH_LBR_FROM0   = 0x1500,
  MSR_ARCH_LBR_TO0     = 0x1600,
  // AMD
  MSR_AMD_LBR_SELECT   = 0xc000010e,
  MSR_AMD_DBG_EXTN_CFG = 0xc000010f,
  MSR_AMD_LBR0         = 0xc0010300,  // FROM at 2 * n, TO at 2 * n + 1
};

// The addresses have room for so many; what a model lacks of it is #GP.
const unsigned OLD_RECORDS = 32, ARCH_RECORDS = 64, AMD_RECORDS = 16;

const Bit64u DEBUGCTL_LBR = 1 << 0;
const Bit64u STATUS_LBRS_FROZEN = BX_CONST64(1) << 58;  // of both vendors

// LBR_SELECT: each bit suppresses what it names, in the order of bx_perfmon_branch_t; but
// the last one, which Intel alone has, sets the call-stack mode
const Bit32u SELECT_CPL_EQ_0     = 1 << 0;
const Bit32u SELECT_CPL_NEQ_0    = 1 << 1;
const Bit64u SELECT_FILTERS      = 0x1ff;
const Bit64u SELECT_CALL_STACK   = 1 << 9;

// IA32_LBR_CTL: bits 22:16 record what they name
const Bit64u LBR_CTL_EN          = 1 << 0;
const Bit64u LBR_CTL_OS          = 1 << 1;
const Bit64u LBR_CTL_USR         = 1 << 2;
const Bit64u LBR_CTL_CALL_STACK  = 1 << 3;
const Bit64u LBR_CTL_VALID       = 0x7f000f;

const Bit64u DBG_EXTN_CFG_LBRS   = 1 << 6;

const Bit64u MISPREDICTED        = BX_CONST64(1) << 63; // INFO; AMD: FROM
const Bit64u INFO_CYCLES         = 0xffff;
const Bit64u INFO_FLAGS          = BX_CONST64(7) << 61; // and in a transaction, and its abort
const Bit64u INFO_CYCLES_VALID   = BX_CONST64(1) << 60;
const unsigned INFO_TYPE_SHIFT   = 56;
const Bit64u INFO_TYPE           = BX_CONST64(0xf) << INFO_TYPE_SHIFT;

const Bit64u AMD_TO_VALID        = BX_CONST64(1) << 63;
const Bit64u AMD_TO_SPEC         = BX_CONST64(1) << 62;
const Bit64u AMD_TO_RESERVED     = BX_CONST64(1) << 61;
const Bit64u AMD_TO_IP           = (BX_CONST64(1) << 61) - 1;

// What the architectural interface calls the kinds of bx_perfmon_branch_t: the bit of
// IA32_LBR_CTL, and the type in INFO
static const struct { Bit8u ctl, type; } arch_kind[] = {
  { 0, 0 }, { 0, 0 },
  { 16, 0 },                          // JCC
  { 19, 4 },                          // NEAR_REL_CALL
  { 20, 3 },                          // NEAR_IND_CALL
  { 21, 5 },                          // NEAR_RET
  { 18, 1 },                          // NEAR_IND_JMP
  { 17, 2 },                          // NEAR_REL_JMP
  { 22, 8 },                          // OTHER_BRANCH
};

void bx_perfmon_c::lbr_reset(void)
{
  memset(&lbr, 0, sizeof(lbr));
  lbr.depth = model->lbr_depth;
  recording = false;
}

// What is recorded now? After each change of a register that it depends on.
void bx_perfmon_c::lbr_configure(void)
{
  bool on = false;

  switch(model->lbr_format) {
  case BX_PMU_LBR_INFO:
    on = (debugctl & DEBUGCTL_LBR) != 0;
    lbr.suppressed = lbr.select & SELECT_FILTERS;
    lbr.call_stack = (lbr.select & SELECT_CALL_STACK) != 0;
    break;
  case BX_PMU_LBR_ARCH:
    on = (lbr.ctl & LBR_CTL_EN) != 0;
    lbr.suppressed = 0;
    if (! (lbr.ctl & LBR_CTL_OS)) lbr.suppressed |= SELECT_CPL_EQ_0;
    if (! (lbr.ctl & LBR_CTL_USR)) lbr.suppressed |= SELECT_CPL_NEQ_0;
    for (unsigned kind = BX_PMU_BRANCH_COND; kind <= BX_PMU_BRANCH_FAR; kind++) {
      if (! ((lbr.ctl >> arch_kind[kind].ctl) & 1)) lbr.suppressed |= 1 << kind;
    }
    lbr.call_stack = (lbr.ctl & LBR_CTL_CALL_STACK) != 0;
    break;
  case BX_PMU_LBR_AMD:
    on = (lbr.ctl & DBG_EXTN_CFG_LBRS) != 0;
    lbr.suppressed = lbr.select & SELECT_FILTERS;
    break;
  }

  if (global_status & STATUS_LBRS_FROZEN) on = false;
  if (on && ! recording) lbr.cycles_since = total(BX_PMU_EVENT_CYCLES);
  recording = on;
  branch_model = counts_misses || recording;
}

void bx_perfmon_c::load_debugctl(Bit64u val)
{
  debugctl = val;
  if (model != NULL) lbr_configure();
}

bool bx_perfmon_c::is_valid_lbr_ctl(Bit64u val) const
{
  return (val & ~LBR_CTL_VALID) == 0;
}

void bx_perfmon_c::load_lbr_ctl(Bit64u val)
{
  lbr.ctl = val;
  lbr_configure();
}

// #DB is about to be delivered. The processor stops recording, but for the architectural
// interface, and AMD's stack, which has an enable bit of its own.
void bx_perfmon_c::debug_exception(void)
{
  if (model != NULL && model->lbr_format != BX_PMU_LBR_ARCH && (debugctl & DEBUGCTL_LBR))
    load_debugctl(debugctl & ~DEBUGCTL_LBR);
}

//
// Recording
//

// A branch retired, or an event was delivered, and the processor is at its destination. 'next' is
// the address of the instruction behind a near call.
void bx_perfmon_c::record(unsigned kind, Bit64u from, Bit64u to, Bit64u next, bool mispredicted)
{
  // the privilege level is that of the destination
  unsigned cpl = cpu->sregs[BX_SEG_REG_CS].selector.rpl;
  Bit32u wanted = (1 << kind) | (cpl == 0 ? SELECT_CPL_EQ_0 : SELECT_CPL_NEQ_0);

  if ((lbr.suppressed & wanted) || cpu->in_smm) return;

  if (lbr.call_stack) {
    switch(kind) {
    case BX_PMU_BRANCH_RET:
      lbr.from[lbr.tos] = lbr.to[lbr.tos] = lbr.info[lbr.tos] = 0;
      lbr.tos = (lbr.tos - 1) & (lbr.depth - 1);
      return;
    case BX_PMU_BRANCH_REL_CALL:
    case BX_PMU_BRANCH_IND_CALL:
      if (to == next) return;         // it only asks for its own address
      break;
    default:
      return;
    }
  }

  Bit64u now = total(BX_PMU_EVENT_CYCLES), cycles = now - lbr.cycles_since;
  Bit64u info = (cycles < INFO_CYCLES) ? cycles : INFO_CYCLES;
  lbr.cycles_since = now;

  switch(model->lbr_format) {
  case BX_PMU_LBR_ARCH:
    info |= INFO_CYCLES_VALID | (Bit64u(arch_kind[kind].type) << INFO_TYPE_SHIFT);
    // fall through
  case BX_PMU_LBR_INFO:
    if (mispredicted) info |= MISPREDICTED;
    break;
  case BX_PMU_LBR_AMD:
    from = (from & ~MISPREDICTED) | (mispredicted ? MISPREDICTED : 0);
    to = (to & AMD_TO_IP) | AMD_TO_VALID;
    info = 0;
    break;
  }

  lbr.tos = (lbr.tos + 1) & (lbr.depth - 1);
  lbr.from[lbr.tos] = from;
  lbr.to[lbr.tos] = to;
  lbr.info[lbr.tos] = info;
}

void bx_perfmon_c::cond_branch(Bit64u rip, Bit64u to, bool taken)
{
  bool mispredicted = count_branch(rip, taken);

  if (recording && taken) record(BX_PMU_BRANCH_COND, rip, to, 0, mispredicted);
}

//
// MSRs
//

static bool in_range(Bit32u index, Bit32u base, unsigned n)
{
  return index >= base && index < base + n;
}

static bool is_lbr_msr(Bit32u index)
{
  return index == MSR_LBR_SELECT || index == MSR_LBR_TOS || in_range(index, MSR_LBR_FROM0, OLD_RECORDS) ||
         in_range(index, MSR_LBR_TO0, OLD_RECORDS) || in_range(index, MSR_LBR_INFO0, OLD_RECORDS) ||
         index == MSR_ARCH_LBR_CTL || index == MSR_ARCH_LBR_DEPTH ||
         in_range(index, MSR_ARCH_LBR_FROM0, ARCH_RECORDS) ||
         in_range(index, MSR_ARCH_LBR_TO0, ARCH_RECORDS) || in_range(index, MSR_ARCH_LBR_INFO0, ARCH_RECORDS) ||
         index == MSR_AMD_LBR_SELECT || index == MSR_AMD_DBG_EXTN_CFG ||
         in_range(index, MSR_AMD_LBR0, 2 * AMD_RECORDS);
}

// Where the register of a record is kept; NULL if there is none. Also tells bits that must be 0, and
// whether it is an address, which must be canonical.
Bit64u *bx_perfmon_c::find_record(Bit32u index, Bit64u *reserved, bool *address)
{
  *reserved = 0;
  *address = false;

  switch(model->lbr_format) {
  case BX_PMU_LBR_INFO:
    if (in_range(index, MSR_LBR_INFO0, lbr.depth)) {
      *reserved = ~(INFO_FLAGS | INFO_CYCLES);
      return &lbr.info[index - MSR_LBR_INFO0];
    }
    *address = true;
    if (in_range(index, MSR_LBR_FROM0, lbr.depth)) return &lbr.from[index - MSR_LBR_FROM0];
    if (in_range(index, MSR_LBR_TO0, lbr.depth)) return &lbr.to[index - MSR_LBR_TO0];
    break;
  case BX_PMU_LBR_ARCH:
    // 55:16 may be written, and need not keep what was
    if (in_range(index, MSR_ARCH_LBR_INFO0, lbr.depth)) return &lbr.info[lbr_place(index - MSR_ARCH_LBR_INFO0)];
    if (index == MSR_LER_INFO) return &lbr.ler[2];
    *address = true;
    if (in_range(index, MSR_ARCH_LBR_FROM0, lbr.depth)) return &lbr.from[lbr_place(index - MSR_ARCH_LBR_FROM0)];
    if (in_range(index, MSR_ARCH_LBR_TO0, lbr.depth)) return &lbr.to[lbr_place(index - MSR_ARCH_LBR_TO0)];
    if (index == MSR_LER_FROM) return &lbr.ler[0];
    if (index == MSR_LER_TO) return &lbr.ler[1];
    break;
  case BX_PMU_LBR_AMD:
    if (in_range(index, MSR_AMD_LBR0, 2 * lbr.depth)) {
      unsigned n = lbr_place((index - MSR_AMD_LBR0) / 2);
      return (index & 1) ? &lbr.to[n] : &lbr.from[n];
    }
    break;
  }

  return NULL;
}

bool bx_perfmon_c::lbr_is_msr(Bit32u index) const
{
  bool ler = (model->lbr_format == BX_PMU_LBR_ARCH) &&
             (index == MSR_LER_FROM || index == MSR_LER_TO || index == MSR_LER_INFO);

  return ler || is_lbr_msr(index);
}

int bx_perfmon_c::lbr_rdmsr(Bit32u index, Bit64u *val)
{
  Bit64u reserved;
  bool address;

  if (const Bit64u *reg = find_record(index, &reserved, &address)) {
    *val = *reg;
    return 1;
  }

  switch(model->lbr_format) {
  case BX_PMU_LBR_INFO:
    if (index == MSR_LBR_SELECT) *val = lbr.select;
    else if (index == MSR_LBR_TOS) *val = lbr.tos;
    else break;
    return 1;
  case BX_PMU_LBR_ARCH:
    if (index == MSR_ARCH_LBR_CTL) *val = lbr.ctl;
    else if (index == MSR_ARCH_LBR_DEPTH) *val = lbr.depth;
    else break;
    return 1;
  case BX_PMU_LBR_AMD:
    if (index == MSR_AMD_LBR_SELECT) *val = lbr.select;
    else if (index == MSR_AMD_DBG_EXTN_CFG) *val = lbr.ctl;
    else break;
    return 1;
  }

  return is_lbr_msr(index) ? 0 : -1;
}

int bx_perfmon_c::lbr_wrmsr(Bit32u index, Bit64u val)
{
  Bit64u reserved;
  bool address;

  if (Bit64u *reg = find_record(index, &reserved, &address)) {
    if ((val & reserved) || (address && ! cpu->IsCanonicalToMaxWidth(val))) return 0;
    if (model->lbr_format == BX_PMU_LBR_ARCH && ! address)
      val &= INFO_FLAGS | INFO_CYCLES_VALID | INFO_TYPE | INFO_CYCLES;
    if (model->lbr_format == BX_PMU_LBR_AMD && (index & 1))
      val &= ~AMD_TO_RESERVED;
    *reg = val;
    return 1;
  }

  switch(model->lbr_format) {
  case BX_PMU_LBR_INFO:
    if (index == MSR_LBR_SELECT) {
      if (val & ~(SELECT_FILTERS | SELECT_CALL_STACK)) return 0;
      lbr.select = val;
      lbr_configure();
      return 1;
    }
    if (index == MSR_LBR_TOS) {
      if (val >= lbr.depth) return 0;
      lbr.tos = (Bit32u) val;
      return 1;
    }
    break;
  case BX_PMU_LBR_ARCH:
    if (index == MSR_ARCH_LBR_CTL) {
      if (! is_valid_lbr_ctl(val)) return 0;
      load_lbr_ctl(val);
      return 1;
    }
    if (index == MSR_ARCH_LBR_DEPTH) {
      if (val != 8 && val != 16 && val != 32) return 0;
      lbr_clear((Bit32u) val);
      return 1;
    }
    break;
  case BX_PMU_LBR_AMD:
    if (index == MSR_AMD_LBR_SELECT) {
      lbr.select = val & SELECT_FILTERS;
      lbr_configure();
      return 1;
    }
    if (index == MSR_AMD_DBG_EXTN_CFG) {
      load_lbr_ctl(val & DBG_EXTN_CFG_LBRS);
      return 1;
    }
    break;
  }

  return is_lbr_msr(index) ? 0 : -1;
}

// A write to IA32_LBR_DEPTH resets all records.
void bx_perfmon_c::lbr_clear(Bit32u depth)
{
  memset(lbr.from, 0, sizeof(lbr.from));
  memset(lbr.to, 0, sizeof(lbr.to));
  memset(lbr.info, 0, sizeof(lbr.info));
  lbr.depth = depth;
  lbr.tos = 0;
}

//
// The XSAVE state component: IA32_LBR_CTL, IA32_LBR_DEPTH, the three LER registers, and FROM, TO
// and INFO of each record, the newest one first.
//

bool bx_perfmon_c::lbr_in_use(void) const
{
  Bit64u any = lbr.ctl | lbr.ler[0] | lbr.ler[1] | lbr.ler[2];

  for (unsigned n = 0; n < lbr.depth; n++) any |= lbr.from[n] | lbr.to[n] | lbr.info[n];

  return any != 0;
}

// All but IA32_LBR_DEPTH, which is no part of the initial configuration
void bx_perfmon_c::lbr_init_state(void)
{
  lbr_clear(lbr.depth);
  memset(lbr.ler, 0, sizeof(lbr.ler));
  load_lbr_ctl(0);
}

// Returns the number of quadwords; records that the depth leaves out are none of them.
unsigned bx_perfmon_c::lbr_save_state(Bit64u *image) const
{
  image[0] = lbr.ctl;
  image[1] = lbr.depth;
  memcpy(&image[2], lbr.ler, sizeof(lbr.ler));

  Bit64u *record = &image[5];
  for (unsigned n = 0; n < lbr.depth; n++) {
    *record++ = lbr.from[lbr_place(n)];
    *record++ = lbr.to[lbr_place(n)];
    *record++ = lbr.info[lbr_place(n)];
  }

  return record - image;
}

// Returns false for #GP, and has changed nothing then. The depth does not change: if the image has
// another one the records are reset.
bool bx_perfmon_c::lbr_restore_state(const Bit64u *image)
{
  bool same_depth = image[1] == lbr.depth;
  const Bit64u *record = &image[5];

  if (! is_valid_lbr_ctl(image[0])) return false;
  for (unsigned n = 0; n < 2; n++) {
    if (! cpu->IsCanonicalToMaxWidth(image[2 + n])) return false;
  }
  for (unsigned n = 0; same_depth && n < lbr.depth; n++) {
    if (! cpu->IsCanonicalToMaxWidth(record[3 * n]) || ! cpu->IsCanonicalToMaxWidth(record[3 * n + 1]))
      return false;
  }

  lbr_clear(lbr.depth);
  memcpy(lbr.ler, &image[2], sizeof(lbr.ler));
  for (unsigned n = 0; same_depth && n < lbr.depth; n++, record += 3) {
    lbr.from[lbr_place(n)] = record[0];
    lbr.to[lbr_place(n)] = record[1];
    lbr.info[lbr_place(n)] = record[2] & (INFO_FLAGS | INFO_CYCLES_VALID | INFO_TYPE | INFO_CYCLES);
  }
  load_lbr_ctl(image[0]);

  return true;
}

#endif
