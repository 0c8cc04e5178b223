/* SPDX-License-Identifier: GPL-2.0 */
/* KTAP for the C programs of tests/: check() each behaviour, return ktap_end() from main(). */
#ifndef TESTS_KTAP_H
#define TESTS_KTAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int ktap_count, ktap_failed;

/* One result; for a failure what printf makes of the rest of the arguments is the diagnostics. */
__attribute__((format(printf, 3, 4)))
static inline bool check(bool ok, const char *name, const char *fmt, ...)
{
	va_list ap;

	if (!ktap_count)
		printf("KTAP version 1\n");
	if (!ok) {
		ktap_failed++;
		va_start(ap, fmt);
		printf("# ");
		vprintf(fmt, ap);
		printf("\n");
		va_end(ap);
	}
	printf("%sok %d - %s\n", ok ? "" : "not ", ++ktap_count, name);
	fflush(stdout);
	return ok;
}

static inline int ktap_end(void)
{
	printf("1..%d\n", ktap_count);
	return !!ktap_failed;
}

#endif
