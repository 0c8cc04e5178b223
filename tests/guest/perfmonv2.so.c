// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU as it is in Debian 12 knows nothing of CPUID leaf 0x80000022, hence its guests have no
 * PerfMonV2. Preloaded into QEMU, this gives them what KVM supports of it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#define LEAF 0x80000022
#define MAX 256

static int (*next)(int fd, unsigned long request, void *arg);

static struct kvm_cpuid2 *allocate(void)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + MAX * sizeof(cpuid->entries[0]));

	if (cpuid)
		cpuid->nent = MAX;
	return cpuid;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid, unsigned int leaf)
{
	for (unsigned int i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == leaf)
			return &cpuid->entries[i];
	}
	return NULL;
}

static int set_cpuid(int fd, struct kvm_cpuid2 *wanted)
{
	struct kvm_cpuid2 *supported = allocate(), *cpuid = allocate();
	struct kvm_cpuid_entry2 *entry, *leaf;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (!supported || !cpuid || kvm < 0 || next(kvm, KVM_GET_SUPPORTED_CPUID, supported))
		abort();
	close(kvm);
	entry = find(supported, LEAF);
	if (!entry || !(entry->eax & 1) || wanted->nent >= MAX)
		abort();

	memcpy(cpuid->entries, wanted->entries, wanted->nent * sizeof(cpuid->entries[0]));
	cpuid->nent = wanted->nent;
	leaf = find(cpuid, LEAF);
	if (!leaf)
		leaf = &cpuid->entries[cpuid->nent++];
	*leaf = *entry;
	leaf = find(cpuid, 0x80000000);
	if (leaf && leaf->eax < LEAF)
		leaf->eax = LEAF;

	return next(fd, KVM_SET_CPUID2, cpuid);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "ioctl");
	return request == KVM_SET_CPUID2 ? set_cpuid(fd, arg) : next(fd, request, arg);
}
