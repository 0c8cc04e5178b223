// SPDX-License-Identifier: GPL-2.0-only
/* A line of the table has no value: it can't be used like a mask. */
/* Expect: implicit declaration of function .?FEATURE */
#include <linux/kvm_host.h>

#include "cpuid.h"

u32 probe(void);
u32 probe(void)
{
	return FEATURE(hardware, XMM3) 0;
}
