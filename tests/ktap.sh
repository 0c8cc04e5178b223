# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# KTAP for the shell scripts of tests/*: ". /tests/ktap.sh", then
#
#	ktap_ok NAME		ktap_not_ok NAME [DIAGNOSTIC]	ktap_skip NAME REASON
#	check NAME CMD...	ok if CMD succeeds; its output as diagnostics if not
#	equal NAME HAVE WANT	ok if they are the same text
#	near NAME HAVE WANT D	ok if the numbers differ by D at most
#	ktap_part PREFIX CMD...	the results of a program that prints KTAP without subtests
#	ktap_end		the plan; exit status 1 if something failed

_ktap_n=0
_ktap_bad=0
echo "KTAP version 1"

ktap_ok()
{
	_ktap_n=$((_ktap_n + 1))
	echo "ok $_ktap_n - $1"
}

ktap_not_ok()
{
	_ktap_n=$((_ktap_n + 1))
	_ktap_bad=$((_ktap_bad + 1))
	# shellcheck disable=SC2001 # not in ash
	[ -z "${2-}" ] || echo "$2" | sed 's/^/# /'
	echo "not ok $_ktap_n - $1"
}

ktap_skip()
{
	_ktap_n=$((_ktap_n + 1))
	echo "ok $_ktap_n - $1 # SKIP $2"
}

check()
{
	_ktap_name=$1
	shift
	if "$@" >/tmp/ktap.out 2>&1; then
		ktap_ok "$_ktap_name"
	else
		ktap_not_ok "$_ktap_name" "$* ended with $?: $(tail -n 20 /tmp/ktap.out)"
	fi
}

equal()
{
	if [ "$2" = "$3" ]; then
		ktap_ok "$1"
	else
		ktap_not_ok "$1" "have '$2', want '$3'"
	fi
}

near()
{
	if [ -n "$2" ] && [ "$2" -ge $(($3 - $4)) ] 2>/dev/null && [ "$2" -le $(($3 + $4)) ]; then
		ktap_ok "$1"
	else
		ktap_not_ok "$1" "have '$2', want $3, plus or minus $4"
	fi
}

ktap_part()
{
	_ktap_prefix=$1
	shift
	"$@" >/tmp/ktap.part 2>&1
	_ktap_status=$?
	while read -r _ktap_line; do
		case $_ktap_line in
		'ok '*) ktap_ok "$_ktap_prefix: ${_ktap_line#* - }" ;;
		'not ok '*) ktap_not_ok "$_ktap_prefix: ${_ktap_line#* - }" ;;
		'KTAP '* | 1..*) ;;
		*) echo "$_ktap_line" ;;
		esac
	done </tmp/ktap.part
	if [ $_ktap_status -ge 2 ] || ! grep -q '^1\.\.' /tmp/ktap.part; then
		ktap_not_ok "$_ktap_prefix: runs to its end" "exit status $_ktap_status"
	fi
}

ktap_end()
{
	echo "1..$_ktap_n"
	[ "$_ktap_bad" = 0 ]
	exit
}
