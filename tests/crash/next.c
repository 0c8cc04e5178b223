// SPDX-License-Identifier: GPL-2.0-only
/*
 * next panic|restart KERNEL INITRD COMMANDLINE: load a kernel that is to take over when this one panics, or restarts
 * next now: restart into it, without stopping anything first, as reboot -f does
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int kernel, initrd;

	if (argc == 2 && !strcmp(argv[1], "now")) {
		reboot(LINUX_REBOOT_CMD_KEXEC);
	} else if (argc == 5) {
		kernel = open(argv[2], O_RDONLY);
		initrd = open(argv[3], O_RDONLY);
		if (kernel < 0 || initrd < 0) {
			perror("next: its files");
			return 1;
		}
		if (!syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[4]) + 1, argv[4],
			     strcmp(argv[1], "panic") ? 0 : KEXEC_FILE_ON_CRASH))
			return 0;
	} else {
		fprintf(stderr, "usage: next panic|restart KERNEL INITRD COMMANDLINE; next now\n");
		return 2;
	}
	fprintf(stderr, "next: %s\n", strerror(errno));
	return 1;
}
