// SPDX-License-Identifier: GPL-2.0-only
/* `mark N`: tell the emulator that point N is reached (a byte to I/O port 0x510). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned char id;
	int fd;

	if (argc != 2) {
		fprintf(stderr, "usage: %s 0..255\n", argv[0]);
		return 2;
	}
	id = atoi(argv[1]);
	fd = open("/dev/port", O_WRONLY);
	if (fd < 0 || pwrite(fd, &id, 1, 0x510) != 1) {
		perror("/dev/port");
		return 1;
	}
	return 0;
}
