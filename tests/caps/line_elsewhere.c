// SPDX-License-Identifier: GPL-2.0-only
/* A line of the table has no value: it can't be used like a mask. */
#include <linux/kvm_host.h>

#include "cpuid.h"

u32 probe(void);
u32 probe(void)
{
	return CAP(hardware, XMM3) 0;
}
