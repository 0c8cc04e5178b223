# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# For guests with $RECORDS branch records. /tmp/samples: what perf script says of samples, with -F ip,brstack.

# follow PROGRAM KINDS [FEW]: do the records of each sample go backwards through the branches of those kinds that the
# program's loop takes? An interrupt, whose return perf leaves out, may take one or two; FEW samples may have less, or
# none, as the kernel forgets them when it lets another task run, and does that once a second in a real-time program.
follow()
{
	"$1" list | awk -v kinds=" $2 " -v depth="$RECORDS" -v few="${3:-0}" '
	BEGIN { n = 0 }
	FNR == NR {
		if (kinds == " any " || index(kinds, " " $3 " ")) {
			at[$1 "/" $2] = n
			name[n++] = $1 "/" $2
		}
		next
	}
	{
		split($2, field, "/")
		good = NF > 1 ? (field[1] "/" field[2]) in at : 1
		if (NF - 1 < depth - 2 && few-- <= 0)
			good = 0
		place = at[field[1] "/" field[2]]
		for (i = 2; i <= NF; i++) {
			split($i, field, "/")
			if (field[1] "/" field[2] != name[place])
				good = 0
			place = (place + n - 1) % n
		}
		if (!good && !wrong++)
			print "# " $0 >"/dev/stderr"
	}
	END { print FNR " samples, " wrong + 0 " wrong" }' - /tmp/samples
}
