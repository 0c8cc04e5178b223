// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading it is the end of the kernel.
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/panic.h>

static int __init crash_init(void)
{
	panic("crash: as was asked for");
}
module_init(crash_init);

MODULE_DESCRIPTION("Crash the kernel");
MODULE_LICENSE("GPL");
