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

#define NEED_CPU_REG_SHORTCUTS 1
#include "bochs.h"
#include "cpu.h"
#include "param_names.h"
#include "iodev/iodev.h"

#if BX_SUPPORT_PERFMON

#define LOG_THIS genlog->

#define X2APIC_MSR_LVTPC 0x834

bx_perfmarks_c::bx_perfmarks_c(): cpu(NULL)
{
  memset(&totals, 0, sizeof(totals));
  memset(&last, 0, sizeof(last));
  memset(&last_perfmon, 0, sizeof(last_perfmon));
}

bool bx_perfmarks_c::in_guest(void) const
{
#if BX_SUPPORT_VMX
  if (cpu->in_vmx_guest) return true;
#endif
#if BX_SUPPORT_SVM
  if (cpu->in_svm_guest) return true;
#endif
  return false;
}

bx_perfmarks_msr_group_t bx_perfmarks_c::msr_group(Bit32u index) const
{
  if (index == X2APIC_MSR_LVTPC) return BX_PERFMARKS_MSR_LVTPC;
  if (cpu->perfmon.is_pmu_msr(index)) return BX_PERFMARKS_MSR_PMU;
  return BX_PERFMARKS_MSR_OTHER;
}

static void print_groups(FILE *file, const char *name, const Bit64u *now, const Bit64u *before)
{
  fprintf(file, "\"%s\":{\"pmu\":" FMT_LL "u,\"lvtpc\":" FMT_LL "u,\"other\":" FMT_LL "u}", name,
    now[BX_PERFMARKS_MSR_PMU]   - before[BX_PERFMARKS_MSR_PMU],
    now[BX_PERFMARKS_MSR_LVTPC] - before[BX_PERFMARKS_MSR_LVTPC],
    now[BX_PERFMARKS_MSR_OTHER] - before[BX_PERFMARKS_MSR_OTHER]);
}

void bx_perfmarks_c::print(FILE *file)
{
  bx_perfmon_totals_t perfmon = cpu->perfmon.sample();

  Bit64u exits = totals.invalid_exits - last.invalid_exits;
  for (unsigned code=0; code < BX_PERFMARKS_EXIT_CODES; code++)
    exits += totals.vm_exits[code] - last.vm_exits[code];

  fprintf(file, "{\"vm_entries\":" FMT_LL "u,\"vm_entry_failures\":" FMT_LL "u,\"vm_exits\":" FMT_LL "u,\"vm_exits_by_reason\":{",
    totals.vm_entries - last.vm_entries, totals.vm_entry_failures - last.vm_entry_failures, exits);
  const char *separator = "";
  for (unsigned code=0; code < BX_PERFMARKS_EXIT_CODES; code++) {
    Bit64u n = totals.vm_exits[code] - last.vm_exits[code];
    if (! n) continue;
    fprintf(file, "%s\"%u\":" FMT_LL "u", separator, code, n);
    separator = ",";
  }
  if (totals.invalid_exits != last.invalid_exits)
    fprintf(file, "%s\"invalid\":" FMT_LL "u", separator, totals.invalid_exits - last.invalid_exits);
  fprintf(file, "},");
  print_groups(file, "msr_load", totals.msr_load, last.msr_load);
  fprintf(file, ",");
  print_groups(file, "msr_store", totals.msr_store, last.msr_store);

  for (unsigned guest=0; guest < 2; guest++) {
    fprintf(file, ",\"%s\":{\"instructions\":" FMT_LL "u,", guest ? "guest" : "host",
      perfmon.instructions[guest] - last_perfmon.instructions[guest]);
    print_groups(file, "rdmsr", totals.rdmsr[guest], last.rdmsr[guest]);
    fprintf(file, ",");
    print_groups(file, "wrmsr", totals.wrmsr[guest], last.wrmsr[guest]);
    fprintf(file, ",\"lvtpc_mmio\":{\"read\":" FMT_LL "u,\"write\":" FMT_LL "u},\"rdpmc\":" FMT_LL "u,\"pmis\":" FMT_LL "u}",
      totals.lvtpc_read[guest] - last.lvtpc_read[guest],
      totals.lvtpc_write[guest] - last.lvtpc_write[guest],
      totals.rdpmc[guest] - last.rdpmc[guest],
      perfmon.pmis[guest] - last_perfmon.pmis[guest]);
  }
  fprintf(file, "}");

  last = totals;
  last_perfmon = perfmon;
}

static FILE *perfmarks_file = NULL;
static Bit64u perfmarks_ticks = 0;
static Bit32u perfmarks_count = 0;

static void perfmarks_write(void *this_ptr, Bit32u address, Bit32u value, unsigned io_len)
{
  Bit64u ticks = bx_pc_system.time_ticks();

  fprintf(perfmarks_file, "{\"mark\":%u,\"number\":%u,\"ticks\":" FMT_LL "u,\"cpus\":[",
    value & 0xff, perfmarks_count, ticks - perfmarks_ticks);
  for (unsigned i=0; i < BX_SMP_PROCESSORS; i++) {
    if (i) fprintf(perfmarks_file, ",");
    BX_CPU(i)->perfmarks.print(perfmarks_file);
  }
  fprintf(perfmarks_file, "]}\n");
  if (fflush(perfmarks_file) != 0)
    BX_PANIC(("perfmon: cannot write to the file of marks: %s", strerror(errno)));

  perfmarks_ticks = ticks;
  perfmarks_count++;
}

void bx_perfmarks_init(void)
{
  bx_param_string_c *marks = SIM->get_param_string(BXPN_PERFMON_MARKS);
  if (marks->isempty()) return;

  if (perfmarks_file) fclose(perfmarks_file); // the machine is set up once more
  perfmarks_file = fopen(marks->getptr(), "a");
  if (! perfmarks_file) {
    BX_FATAL(("perfmon: cannot open the file of marks '%s': %s", marks->getptr(), strerror(errno)));
    return;
  }
  perfmarks_ticks = 0;
  perfmarks_count = 0;

  DEV_register_iowrite_handler(NULL, perfmarks_write, BX_PERFMARKS_PORT, "performance marks", 1);
}

#endif
