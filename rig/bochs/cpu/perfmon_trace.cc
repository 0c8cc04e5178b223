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
// Intel Processor Trace: SDM vol. 3C, "Intel Processor Trace", and vol. 4 for the MSRs.
//
// The trace is as little as the registers and the output schemes need to be real. Each
// BX_TRACE_PERIOD instructions that retire in its context give a block of BX_TRACE_BLOCK
// bytes. A block says that packets were lost (OVF), and then where execution is (PSB to
// PSBEND), so a decoder synchronizes and follows nothing between two blocks. The counter
// BX_PMU_TRACE paces them; it has no register.
//

#include "bochs.h"
#include "cpu.h"
#include "memory/memory-bochs.h"

#if BX_SUPPORT_PERFMON

#define LOG_THIS cpu->

enum {
  MSR_RTIT_OUTPUT_BASE      = 0x560,
  MSR_RTIT_OUTPUT_MASK_PTRS = 0x561,
  MSR_RTIT_CTL              = 0x570,
  MSR_RTIT_STATUS           = 0x571,
  MSR_RTIT_CR3_MATCH        = 0x572,
  MSR_RTIT_ADDR0_A          = 0x580,
  MSR_RTIT_ADDR3_B          = 0x587,
};

const Bit64u RTIT_CTL_TRACE_EN   = 1 << 0;
const Bit64u RTIT_CTL_OS         = 1 << 2;
const Bit64u RTIT_CTL_USER       = 1 << 3;
const Bit64u RTIT_CTL_CR3_FILTER = 1 << 7;
const Bit64u RTIT_CTL_TOPA       = 1 << 8;
const Bit64u RTIT_CTL_TSC_EN     = 1 << 10;
const Bit64u RTIT_CTL_DIS_RETC   = 1 << 11;
const Bit64u RTIT_CTL_BRANCH_EN  = 1 << 13;
// What CPUID leaf 14H does not report is reserved: cycle-accurate mode, the frequency of PSB,
// MTC, PTWRITE, power events, trace transport, filters by address and so on.
const Bit64u RTIT_CTL_VALID      = RTIT_CTL_TRACE_EN | RTIT_CTL_OS | RTIT_CTL_USER | RTIT_CTL_CR3_FILTER |
  RTIT_CTL_TOPA | RTIT_CTL_TSC_EN | RTIT_CTL_DIS_RETC | RTIT_CTL_BRANCH_EN;

const Bit64u RTIT_STATUS_FILTER_EN  = 1 << 0;
const Bit64u RTIT_STATUS_CONTEXT_EN = 1 << 1;
const Bit64u RTIT_STATUS_TRIGGER_EN = 1 << 2;
const Bit64u RTIT_STATUS_ERROR      = 1 << 4;
const Bit64u RTIT_STATUS_STOPPED    = 1 << 5;

const Bit64u TOPA_END      = 1 << 0;
const Bit64u TOPA_INT      = 1 << 2;
const Bit64u TOPA_STOP     = 1 << 4;
const Bit64u TOPA_RESERVED = (1 << 1) | (1 << 3) | (1 << 5) | (3 << 10);

const Bit64u GLOBAL_STATUS_TRACE = BX_CONST64(1) << 55;

const Bit64u MASK_PTRS_LOW = 0x7f;    // always 1

const unsigned BX_TRACE_PERIOD = 1024;
const unsigned BX_TRACE_BLOCK  = 64;

bool bx_perfmon_c::has_trace(void) const
{
  return model != NULL && cpu->is_cpu_extension_supported(BX_ISA_PT);
}

// TriggerEn: the trace is on, and neither an error nor a STOP region has ended it.
bool bx_perfmon_c::tracing(void) const
{
  return (trace.ctl & RTIT_CTL_TRACE_EN) && ! (trace.status & (RTIT_STATUS_ERROR | RTIT_STATUS_STOPPED));
}

void bx_perfmon_c::trace_reset(void)
{
  trace.ctl = trace.status = trace.output_base = trace.cr3_match = 0;
  trace.output_mask_ptrs = MASK_PTRS_LOW;
  trace.lost = false;
}

// ContextEn: the modes in which packets are made. Guests are traced like the host: there are none
// of the VMX controls about PT.
void bx_perfmon_c::trace_context(void)
{
  bx_perfmon_counter_t *c = &counter[BX_PMU_TRACE];
  bool on = tracing();

  trace_cr3 = on && (trace.ctl & RTIT_CTL_CR3_FILTER);
  if (trace_cr3) on = ((cpu->cr3 ^ trace.cr3_match) & ~BX_CONST64(0x1f)) == 0;

  c->event = BX_PMU_EVENT_INSTRUCTIONS;
  c->inverted = false;
  c->mask = BX_TRACE_PERIOD - 1;
  for (unsigned g = 0; g < 2; g++) {
    c->in_mode[g][0] = on && (trace.ctl & RTIT_CTL_OS);
    c->in_mode[g][1] = on && (trace.ctl & RTIT_CTL_USER);
  }
}

// An operational error, or the end of the last region: TriggerEn is 0 from now on. The counter
// leaves the list of active ones with the next change of the configuration.
void bx_perfmon_c::trace_error(void)
{
  BX_ERROR(("Intel PT: operational error, output base %08x:%08x, pointers %08x:%08x",
    GET32H(trace.output_base), GET32L(trace.output_base),
    GET32H(trace.output_mask_ptrs), GET32L(trace.output_mask_ptrs)));
  trace.status |= RTIT_STATUS_ERROR;
  trace_context();
}

// Find the output region that is being filled. False: an operational error.
bool bx_perfmon_c::trace_region(Bit64u *base, Bit64u *size, Bit64u *entry)
{
  Bit64u offset = GET32H(trace.output_mask_ptrs);

  *entry = 0;
  if (! (trace.ctl & RTIT_CTL_TOPA)) {
    // the mask is a number of low bits, and the base is aligned to them
    Bit64u mask = GET32L(trace.output_mask_ptrs);
    *base = trace.output_base;
    *size = mask + 1;
    return (mask & (mask + 1)) == 0 && (*base & mask) == 0 && offset <= mask;
  }

  if (trace.output_base & 0xfff) return false;

  for (unsigned jumps = 0; jumps < 2; jumps++) {
    Bit64u address = trace.output_base + ((GET32L(trace.output_mask_ptrs) >> 7) << 3);
    if (! IsValidPhyAddr(address) || address >= BX_MEM(0)->get_memory_len()) return false;
    BX_MEM(0)->readPhysicalPage(cpu, address, 8, entry);

    if ((*entry & TOPA_RESERVED) || ! IsValidPhyAddr(*entry)) return false;

    if (*entry & TOPA_END) {
      // another table; its first entry is a region
      if (*entry & (TOPA_INT | TOPA_STOP)) return false;
      trace.output_base = *entry & ~BX_CONST64(0xfff);
      trace.output_mask_ptrs = MASK_PTRS_LOW | (offset << 32);
      continue;
    }

    *size = BX_CONST64(4096) << ((*entry >> 6) & 0xf);
    *base = *entry & ~BX_CONST64(0xfff);
    return (*base & (*size - 1)) == 0 && offset < *size;
  }

  return false;
}

// Put packets out. True: a region with INT got full.
bool bx_perfmon_c::trace_output(const Bit8u *data, unsigned len)
{
  bool pmi = false;

  while (len != 0) {
    Bit64u base, size, entry;
    if (! trace_region(&base, &size, &entry)) {
      trace_error();
      break;
    }

    Bit64u offset = GET32H(trace.output_mask_ptrs), address = base + offset;
    unsigned n = len;
    if (n > size - offset) n = (unsigned) (size - offset);
    if (n > 0x1000 - (address & 0xfff)) n = 0x1000 - (unsigned) (address & 0xfff);
    // what goes where no memory is is lost
    if (address < BX_MEM(0)->get_memory_len())
      BX_MEM(0)->writePhysicalPage(cpu, address, n, (void*) data);
    data += n;
    len -= n;
    offset += n;

    trace.output_mask_ptrs = GET32L(trace.output_mask_ptrs) | (offset << 32);
    if (offset < size) continue;

    // the region is full
    if (entry & TOPA_INT) {
      global_status |= GLOBAL_STATUS_TRACE;
      pmi = true;
    }
    if (entry & TOPA_STOP) { // the pointers stay behind its last byte
      trace.status |= RTIT_STATUS_STOPPED;
      trace_context();
      break;
    }

    // the next one of the table, or the beginning of the only one
    Bit32u ptrs = GET32L(trace.output_mask_ptrs);
    trace.output_mask_ptrs = (trace.ctl & RTIT_CTL_TOPA) ? (Bit32u) (ptrs + (1 << 7)) : ptrs;
    if (! trace_region(&base, &size, &entry)) {
      trace_error();
      break;
    }
  }

  return pmi;
}

bool bx_perfmon_c::trace_block(void)
{
  Bit8u block[BX_TRACE_BLOCK];        // PAD is 00
  Bit8u fup[9], exec[2], *p = block;
  Bit64u rip = cpu->gen_reg[BX_64BIT_REG_RIP].rrx;
  static const Bit8u psb[] = { 0x02, 0x82 }, psbend[] = { 0x02, 0x23 }, ovf[] = { 0x02, 0xf3 };

  memset(block, 0, sizeof(block));

  // FUP with all of the address; MODE.Exec: CS.L, CS.D
  fup[0] = 0xdd;
  for (unsigned n = 0; n < 8; n++) fup[1 + n] = (Bit8u) (rip >> (8 * n));
  exec[0] = 0x99;
  exec[1] = cpu->long64_mode() ? 1 : cpu->sregs[BX_SEG_REG_CS].cache.u.segment.d_b ? 2 : 0;

  if (trace.lost && (trace.ctl & RTIT_CTL_BRANCH_EN)) {
    memcpy(p, ovf, sizeof(ovf));
    memcpy(p + sizeof(ovf), fup, sizeof(fup));
    p += sizeof(ovf) + sizeof(fup);
  }

  for (unsigned n = 0; n < 8; n++, p += sizeof(psb)) memcpy(p, psb, sizeof(psb));
  if (trace.ctl & RTIT_CTL_TSC_EN) {
    Bit64u tsc = cpu->get_TSC();
    *p++ = 0x19;
    for (unsigned n = 0; n < 7; n++) *p++ = (Bit8u) (tsc >> (8 * n));
  }
  if (trace.ctl & RTIT_CTL_BRANCH_EN) {
    memcpy(p, exec, sizeof(exec));
    memcpy(p + sizeof(exec), fup, sizeof(fup));
    p += sizeof(exec) + sizeof(fup);
  }
  memcpy(p, psbend, sizeof(psbend));

  trace.lost = true;
  return trace_output(block, sizeof(block));
}

//
// MSRs
//

static bool is_trace_msr(Bit32u index)
{
  return index == MSR_RTIT_OUTPUT_BASE || index == MSR_RTIT_OUTPUT_MASK_PTRS ||
        (index >= MSR_RTIT_CTL && index <= MSR_RTIT_CR3_MATCH) ||
        (index >= MSR_RTIT_ADDR0_A && index <= MSR_RTIT_ADDR3_B);
}

int bx_perfmon_c::trace_rdmsr(Bit32u index, Bit64u *val)
{
  if (! is_trace_msr(index)) return -1;
  if (! has_trace()) return 0;

  settle();

  switch(index) {
  case MSR_RTIT_OUTPUT_BASE:
    *val = trace.output_base;
    return 1;
  case MSR_RTIT_OUTPUT_MASK_PTRS:
    *val = trace.output_mask_ptrs;
    return 1;
  case MSR_RTIT_CTL:
    *val = trace.ctl;
    return 1;
  case MSR_RTIT_STATUS:
    // FilterEn is reserved, as there are no filters by address
    *val = trace.status;
    if (tracing()) {
      trace_context();
      *val |= RTIT_STATUS_TRIGGER_EN;
      if (counter[BX_PMU_TRACE].in_mode[guest][cpu->user_pl]) *val |= RTIT_STATUS_CONTEXT_EN;
    }
    return 1;
  case MSR_RTIT_CR3_MATCH:
    *val = trace.cr3_match;
    return 1;
  default: // no filters by address
    return 0;
  }
}

int bx_perfmon_c::trace_wrmsr(Bit32u index, Bit64u val)
{
  if (! is_trace_msr(index)) return -1;
  if (! has_trace()) return 0;

  settle();

  bool on = (trace.ctl & RTIT_CTL_TRACE_EN) != 0;

  switch(index) {
  case MSR_RTIT_CTL:
    if (val & ~RTIT_CTL_VALID) return 0;
    // while it is on it can be switched off, with any other change, or be left alone
    if (on && (val & RTIT_CTL_TRACE_EN) && val != trace.ctl) return 0;
    trace.ctl = val;
    if (! on && tracing()) {
      Bit64u base, size, entry;
      counter[BX_PMU_TRACE].value = BX_TRACE_PERIOD - 1; // the first block comes at once
      trace.lost = false;
      if (! trace_region(&base, &size, &entry)) trace_error();
    }
    reconfigure();
    return 1;
  case MSR_RTIT_OUTPUT_BASE:
    if (on || (val & 0x7f) || ! IsValidPhyAddr(val)) return 0;
    trace.output_base = val;
    return 1;
  case MSR_RTIT_OUTPUT_MASK_PTRS:
    if (on) return 0;
    trace.output_mask_ptrs = val | MASK_PTRS_LOW;
    return 1;
  case MSR_RTIT_STATUS:
    // FilterEn, ContextEn and TriggerEn ignore what is written
    if (on || (val & ~(RTIT_STATUS_FILTER_EN | RTIT_STATUS_CONTEXT_EN | RTIT_STATUS_TRIGGER_EN |
                       RTIT_STATUS_ERROR | RTIT_STATUS_STOPPED))) return 0;
    trace.status = val & (RTIT_STATUS_ERROR | RTIT_STATUS_STOPPED);
    return 1;
  case MSR_RTIT_CR3_MATCH:
    if (on || (val & 0x1f)) return 0;
    trace.cr3_match = val;
    return 1;
  default: // no filters by address
    return 0;
  }
}

#endif
