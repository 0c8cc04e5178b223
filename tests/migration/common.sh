# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# For what runs in the guests of this suite.

. /tests/ktap.sh

# count EVENT CMD...: what perf counts, or what it says instead
count()
{
	perf stat -x ';' -o /tmp/stat -e "$@" || echo "perf stat failed: $?"
	awk -F ';' '!/^#/ && NF > 4 { print $1 }' /tmp/stat
}

# host QUESTION...: the answer of the host's handler
host()
{
	echo "vpmu: call $*" >/dev/console
	read -r answer </dev/console
	echo "$answer"
}

stty -echo </dev/console
