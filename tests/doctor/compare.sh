# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# compare NAME OUTPUT STATUS WANT: what doctor has printed into the file OUTPUT, compared with the file WANT, after
# ktap.sh. WANT has lines
#
#	exit N			the exit status
#	MARK REGEX		a line of doctor's with this mark, whose text matches from its beginning
#	any REGEX		a line of doctor's with the mark ok or note
#	next REGEX		one of the numbered things to do
#	end REGEX		the last line, without a number
#
# Each line of doctor's with the mark todo, no or ? must be wanted: a false alarm fails.

compare()
{
	_patterns=$2.patterns
	: >"$_patterns"
	while read -r mark text; do
		case $mark in
		'' | '#'*) ;;
		exit) equal "$1: exit status" "$3" "$text" ;;
		next) _matches "$1: to do: $text" "$2" "^  [0-9]+[.] $text" ;;
		end) _matches "$1: in the end: $text" "$2" "^$text" ;;
		*)
			printf '^  %-4s  %s\n' "$mark" "$text" |
				sed 's/^\^  ? /^  [?] /; s/^\^  any /^  (ok  |note)/' >>"$_patterns"
			_matches "$1: $mark: $text" "$2" "$(tail -n 1 "$_patterns")"
			;;
		esac
	done <"$4"
	# A file without patterns would match nothing, which is right, too.
	equal "$1: no other alarm" "$(grep -E '^  (todo|no  |[?]   )  ' "$2" | grep -v -E -f "$_patterns")" ''
}

_matches()
{
	if grep -q -E -e "$3" "$2"; then
		ktap_ok "$1"
	else
		ktap_not_ok "$1" "no such line in: $(cat "$2")"
	fi
}
