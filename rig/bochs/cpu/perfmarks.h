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
/////////////////////////////////////////////////////////////////////////

#ifndef BX_PERFMARKS_H
#define BX_PERFMARKS_H

#if BX_SUPPORT_PERFMON

//
// The instrument for benchmarks: what each processor does that costs a
// hypervisor time, split by host and guest. With the option 'perfmon:
// marks=FILE' a write to the mark port appends the totals since the last mark
// to FILE. doc/instrument.md describes the port and the file.
//
// Counting changes nothing that the emulated software can see, and is always
// on: it is a handful of increments at places that are slow anyway.
//

#define BX_PERFMARKS_PORT 0x0510

// VMX basic exit reasons, or SVM exit codes (0 to 0xa4, 0x400 to 0x403)
const unsigned BX_PERFMARKS_EXIT_CODES = 0x410;

enum bx_perfmarks_msr_group_t {
  BX_PERFMARKS_MSR_PMU = 0,
  BX_PERFMARKS_MSR_LVTPC = 1,
  BX_PERFMARKS_MSR_OTHER = 2,
  BX_PERFMARKS_MSR_GROUPS = 3
};

// first index of what is split: [0] host, [1] guest
struct bx_perfmarks_totals_t {
  Bit64u vm_entries;
  Bit64u vm_entry_failures;           // with the exit reasons of a failed entry
  Bit64u vm_exits[BX_PERFMARKS_EXIT_CODES];
  Bit64u invalid_exits;               // SVM_VMEXIT_INVALID and other codes
  Bit64u msr_load[BX_PERFMARKS_MSR_GROUPS];  // by the MSR areas of
  Bit64u msr_store[BX_PERFMARKS_MSR_GROUPS]; // VM-entry and VM-exit
  Bit64u rdmsr[2][BX_PERFMARKS_MSR_GROUPS];
  Bit64u wrmsr[2][BX_PERFMARKS_MSR_GROUPS];
  Bit64u lvtpc_read[2];               // through the APIC page
  Bit64u lvtpc_write[2];
  Bit64u rdpmc[2];
};

class BX_CPU_C;

class BOCHSAPI bx_perfmarks_c {
public:
  bx_perfmarks_c();

  void init(BX_CPU_C *_cpu) { cpu = _cpu; }

  void vm_entry(void) { totals.vm_entries++; }
  void vm_entry_failed(void) { totals.vm_entry_failures++; }
  void vm_exit(Bit32u code)
  {
    if (code < BX_PERFMARKS_EXIT_CODES) totals.vm_exits[code]++;
    else totals.invalid_exits++;
  }

  // the register was read or written, without an exception or a VM exit
  void rdmsr(Bit32u index) { totals.rdmsr[in_guest()][msr_group(index)]++; }
  void wrmsr(Bit32u index, bool guest) { totals.wrmsr[guest][msr_group(index)]++; }
  void rdpmc(void) { totals.rdpmc[in_guest()]++; }
  void msr_load(Bit32u index) { totals.msr_load[msr_group(index)]++; }
  void msr_store(Bit32u index) { totals.msr_store[msr_group(index)]++; }
  void lvtpc_read(void) { totals.lvtpc_read[in_guest()]++; }
  void lvtpc_write(void) { totals.lvtpc_write[in_guest()]++; }

  bool in_guest(void) const;          // as the processor is now

  // append what happened since the last call, as a JSON object
  void print(FILE *file);

private:
  bx_perfmarks_msr_group_t msr_group(Bit32u index) const;

  BX_CPU_C *cpu;
  bx_perfmarks_totals_t totals;
  bx_perfmarks_totals_t last;         // at the last mark
  bx_perfmon_totals_t last_perfmon;
};

// Open the file and the port, if the option is given; once, after the CPUs
// and devices were set up
void bx_perfmarks_init(void);

#endif

#endif
