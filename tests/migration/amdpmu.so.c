// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU moves the PMU of Intel's guests, but not that of AMD's. Preloaded into each QEMU, this takes along what QEMU leaves
 * behind, at the times when QEMU asks KVM for MSRs and gives them back: through the file $L2_WORK/pmu. For guests with one
 * vCPU.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CTL0		0xc0010200
#define NR_CTL_CTR	12
#define GLOBAL_STATUS	0xc0000300
#define GLOBAL_CTL	0xc0000301
#define NR		(NR_CTL_CTR + 2)

struct pmu {
	struct kvm_msrs msrs;
	struct kvm_msr_entry entries[NR];
};

static int (*next)(int fd, unsigned long request, void *arg);
static int vcpu = -1;

static void file_name(char *name, size_t size, const char *suffix)
{
	if ((size_t)snprintf(name, size, "%s/pmu%s", getenv("L2_WORK"), suffix) >= size)
		abort();
}

static void save(void)
{
	char name[200], tmp[200];
	struct pmu pmu;
	int i, fd;

	memset(&pmu, 0, sizeof(pmu));
	pmu.msrs.nmsrs = NR;
	for (i = 0; i < NR_CTL_CTR; i++)
		pmu.entries[i].index = CTL0 + i;
	pmu.entries[i++].index = GLOBAL_STATUS;
	pmu.entries[i].index = GLOBAL_CTL;
	if (next(vcpu, KVM_GET_MSRS, &pmu) != NR)
		abort();

	file_name(name, sizeof(name), "");
	file_name(tmp, sizeof(tmp), ".new");
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, &pmu, sizeof(pmu)) != sizeof(pmu) || close(fd) || rename(tmp, name))
		abort();
}

static void restore(int to)
{
	char name[200];
	struct pmu pmu;
	int fd;

	file_name(name, sizeof(name), "");
	fd = open(name, O_RDONLY | O_CLOEXEC);
	/* The first QEMU has nothing to restore. */
	if (fd < 0)
		return;
	if (read(fd, &pmu, sizeof(pmu)) != sizeof(pmu) || close(fd) || next(to, KVM_SET_MSRS, &pmu) != NR)
		abort();
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "ioctl");
	/* QEMU keeps it in an int, the sign of which comes along. */
	request = (unsigned int)request;
	if (request == KVM_RUN)
		vcpu = fd;
	r = next(fd, request, arg);
	/* What a QEMU has that has not run its guest yet is nothing to save, and what one has that has run it, to restore. */
	if (request == KVM_GET_MSRS && fd == vcpu)
		save();
	else if (request == KVM_SET_MSRS && vcpu < 0)
		restore(fd);
	return r;
}
