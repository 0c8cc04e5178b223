# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared shell functions of ./vpmu. Each scripts/<subcommand> begins with
#
#     #!/usr/bin/env bash
#     # SPDX-License-Identifier: GPL-2.0
#     #: vpmu NAME - one line that `./vpmu --help` lists
#     #:
#     #: more help, with an example
#     set -euo pipefail
#     . "$(dirname "$(readlink -f "$0")")/lib.sh"
#
# Places (exported):
#   VPMU_ROOT      the checkout
#   VPMU_BUILD     $VPMU_ROOT/build; everything in it can be removed at any time
#   VPMU_LOG       $VPMU_BUILD/log; one log per step
#   VPMU_CACHE     ~/.cache/vpmu unless set; shared by all checkouts, keyed by content
#   VPMU_VERBOSE   1 after -v: each command is shown before it runs
#
# Messages (all to stderr, so that a script's stdout stays its result):
#   info TEXT            a line
#   warn TEXT            a line marked as a warning
#   die TEXT [NEXT]      error, what to do next, exit 1
#   usage                prints the calling script's #: lines
#   usage_error TEXT     error, where to find the usage, exit 2
#
# Steps:
#   steps N              this script has N steps from here on
#   step TEXT            "[ 1:05] step 2 of 5: TEXT"; nested scripts show "step 2 of 5, part 1 of 3: TEXT"
#   hint TEXT            what to do should the next `run` fail
#   run NAME CMD...      runs CMD (program or function), output into $VPMU_LOG/NAME.log. A life sign with the last
#                        line of the log every 30 s (every second on a terminal). When CMD fails: the last lines, the
#                        log's name, the hint; exit 1. Not to be called from a condition (`if run`, `run ||`).
#   try NAME CMD...      the same, but returns CMD's exit status without a word. In a condition, errexit is off in CMD.
#   cmd CMD...           runs CMD with its output as it is; shows it after -v
#   attended CMD...      the same for what takes long: what ends this script ends CMD, too, at once, with all that it
#                        started (so do run and try). Otherwise bash lets it finish first.
#   as_root CMD...       the same as root: directly, else through sudo
#
# Files:
#   content_key ARG...   sha256 over the arguments; "@FILE" stands for the content and mode of FILE (or of all files
#                        below the directory FILE). Prints 64 hex digits.
#   publish DIR CMD...   unless DIR exists: runs CMD... TMP with a new directory TMP beside DIR, then renames TMP to
#                        DIR. Whoever sees DIR sees it whole; an interrupted run leaves only DIR.tmp.*, removed by the
#                        next one that publishes anything beside DIR.
#   cached DIR           succeeds if DIR was published, and notes that it is used: ./vpmu setup --clean asks for that
#   publish_file FILE CMD...   the same for one file: CMD... TMP writes TMP. Replaces an existing FILE.
#   lock NAME [WHO]      exclusive lock for all processes that share the cache, until unlock NAME or the script's end.
#                        WHO: for the message when somebody has it.
#                        Children inherit it: unlock before starting what outlives the script.
#   unlock NAME
#   need PROGRAM...      dies naming ./vpmu setup if one is missing
#   tree_dir linux|bochs the work tree: build/linux or build/bochs
#   show_new_files TREE  lets git see new files in a work tree of Debian's source, whose .gitignore hides them all
#   tree_key linux|bochs git's hash of the content of the work tree's commit: a content key for what is built from it
#
# Cleaning up:
#   on_exit CMD...       runs at the end of the script, whichever way it ends, last registered first

if [[ -n ${VPMU_LIB-} && ${VPMU_LIB} == "$BASHPID" ]]; then
	return 0
fi
VPMU_LIB=$BASHPID

VPMU_ROOT=${VPMU_ROOT:-$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")}
VPMU_CACHE=${VPMU_CACHE:-${HOME:?HOME is not set: set it or VPMU_CACHE}/.cache/vpmu}
[[ $VPMU_CACHE == /* ]] || VPMU_CACHE=$PWD/$VPMU_CACHE
VPMU_BUILD=$VPMU_ROOT/build
VPMU_LOG=$VPMU_BUILD/log
VPMU_VERBOSE=${VPMU_VERBOSE:-0}
VPMU_T0=${VPMU_T0:-$EPOCHSECONDS}
export VPMU_ROOT VPMU_CACHE VPMU_BUILD VPMU_LOG VPMU_VERBOSE VPMU_T0
export LC_ALL=C.UTF-8
# Programs are those of the packages that ./vpmu setup installs, whatever else is in front of them.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
# Python's compiled modules are written there, not beside the sources.
export PYTHONPYCACHEPREFIX=$VPMU_BUILD/python
# The user's and the environment's git settings must not change what is built here.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES

# ---- messages ----

info() { printf '%s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }

die()
{
	_vpmu_failed=
	printf 'error: %s\n' "$1" >&2
	[[ -z ${2-} ]] || printf '  next: %s\n' "$2" >&2
	exit 1
}

usage() { sed -n 's/^#: \{0,1\}//p' "$0"; }

usage_error()
{
	local name=$0

	[[ $(readlink -f "$0") != "$VPMU_ROOT/scripts/"* ]] || name="./vpmu ${0##*/}"
	printf 'error: %s\n  next: see %s --help\n' "$1" "$name" >&2
	exit 2
}

elapsed()
{
	local t=$((EPOCHSECONDS - VPMU_T0))

	printf '%2d:%02d' $((t / 60)) $((t % 60))
}

# ---- cleaning up ----

_vpmu_on_exit=()
_vpmu_failed=

# _vpmu_tree PID...: these processes and all that they started
_vpmu_tree()
{
	local pid children

	for pid; do
		children=()
		# One that has just ended is no mistake.
		read -r -a children 2>/dev/null <"/proc/$pid/task/$pid/children" || true
		printf '%s\n' "$pid"
		((!${#children[@]})) || _vpmu_tree "${children[@]}"
	done
}

# end_trees PID...: ends these children of this script and all that they started
end_trees()
{
	local pids signal i fd

	(($#)) || return 0
	mapfile -t pids < <(_vpmu_tree "$@")
	exec {fd}<> <(:)
	for signal in TERM KILL; do
		kill -s "$signal" "${pids[@]}" 2>/dev/null || true
		for ((i = 0; i < 50; i++)); do
			kill -0 "${pids[@]}" 2>/dev/null || break 2
			read -r -t 0.1 -u "$fd" || true
		done
	done
	exec {fd}>&-
	wait "$@" 2>/dev/null || true
}

_vpmu_child=
_vpmu_pulse_pid=

_vpmu_exit()
{
	local rc=$? i

	trap - EXIT INT TERM HUP ERR
	# shellcheck disable=SC2086 # none, one or two
	end_trees $_vpmu_child $_vpmu_pulse_pid
	# A command failed that nobody expected to: never end without a word.
	[[ -z $_vpmu_failed || $rc == 0 ]] || info "error: $_vpmu_failed"
	for ((i = ${#_vpmu_on_exit[@]} - 1; i >= 0; i--)); do
		eval "${_vpmu_on_exit[i]}" || true
	done
	exit "$rc"
}

on_exit()
{
	local quoted

	printf -v quoted '%q ' "$@"
	_vpmu_on_exit+=("$quoted")
}

set -E
trap '_vpmu_failed="${BASH_SOURCE[0]##*/} line $LINENO: exit status $? of: $BASH_COMMAND"' ERR
trap _vpmu_exit EXIT
trap 'info "interrupted"; exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# ---- steps ----

_vpmu_steps=0
_vpmu_step=0
_vpmu_outer=${VPMU_STEP-}
_vpmu_hint=

steps()
{
	_vpmu_steps=$1
	_vpmu_step=0
}

step()
{
	local word=step where

	_vpmu_step=$((_vpmu_step + 1))
	[[ -z $_vpmu_outer ]] || word=part
	where="$word $_vpmu_step of $_vpmu_steps"
	[[ -z $_vpmu_outer ]] || where="$_vpmu_outer, $where"
	export VPMU_STEP=$where
	info "[$(elapsed)] $where: $*"
}

hint() { _vpmu_hint=$*; }

show_cmd()
{
	[[ $VPMU_VERBOSE == 1 ]] || return 0
	printf '+%s\n' "$(printf ' %q' "$@")" >&2
}

cmd()
{
	show_cmd "$@"
	"$@"
}

attended()
{
	local rc=0

	show_cmd "$@"
	"$@" <&0 &
	_vpmu_child=$!
	wait "$_vpmu_child" || rc=$?
	_vpmu_child=
	return "$rc"
}

as_root()
{
	if [[ $EUID == 0 ]]; then
		cmd "$@"
	else
		command -v sudo >/dev/null ||
			die "need root for: $*" "run as root, or install sudo"
		cmd sudo "$@"
	fi
}

# Life signs of a long step, in the background: $1 log file.
_vpmu_pulse()
{
	local log=$1 parent=$$ t0=$EPOCHSECONDS fd line every=30

	trap - EXIT INT TERM HUP
	[[ ! -t 2 ]] || every=1
	# A builtin timer: a `sleep` would outlive this loop and keep our caller's pipe open.
	exec {fd}<> <(:)
	while true; do
		read -r -t "$every" -u "$fd" || true
		kill -0 "$parent" 2>/dev/null || return 0
		line=$(tail -c 400 "$log" 2>/dev/null | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 |
			tr -cd '[:print:]' | cut -c 1-90) || true
		if [[ -t 2 ]]; then
			((EPOCHSECONDS - t0 < 3)) ||
				printf '\r\033[K  %ds  %s' $((EPOCHSECONDS - t0)) "${line:0:70}" >&2
		else
			printf '          %ds  %s\n' $((EPOCHSECONDS - t0)) "$line" >&2
		fi
	done
}

# Runs CMD with a log and life signs; its exit status is the result.
try()
{
	local name=$1 log rc errexit=+e

	shift
	log=$VPMU_LOG/$name.log
	mkdir -p "$(dirname "$log")"
	show_cmd "$@"
	printf '+%s\n' "$(printf ' %q' "$@")" >"$log"
	_vpmu_pulse "$log" &
	_vpmu_pulse_pid=$!
	[[ $- != *e* ]] || errexit=-e
	set +e
	(
		trap - EXIT INT TERM HUP ERR
		set -e
		"$@"
	) >>"$log" 2>&1 </dev/null &
	_vpmu_child=$!
	wait "$_vpmu_child"
	rc=$?
	_vpmu_child=
	kill "$_vpmu_pulse_pid" 2>/dev/null
	wait "$_vpmu_pulse_pid" 2>/dev/null
	_vpmu_pulse_pid=
	set "$errexit"
	[[ ! -t 2 ]] || printf '\r\033[K' >&2
	_vpmu_failed=
	return "$rc"
}

run()
{
	local name=$1 hint=$_vpmu_hint rc=0 errors='(^|[ :])error: |: undefined reference|No space left'

	_vpmu_hint=
	set +e
	try "$@"
	rc=$?
	set -e
	_vpmu_failed=
	if ((rc)); then
		info "[$(elapsed)] failed (exit status $rc): $name"
		# The other compilers go on for a while: what went wrong may stand far above the end.
		if grep -q -E "$errors" "$VPMU_LOG/$name.log"; then
			info "  errors in its log:"
			grep -m 5 -E "$errors" "$VPMU_LOG/$name.log" | sed 's/^/    | /' >&2 || true
		fi
		info "  the last lines:"
		tail -n 20 "$VPMU_LOG/$name.log" | sed 's/^/    | /' >&2
		info "  whole log: $VPMU_LOG/$name.log"
		[[ -z $hint ]] || info "  next: $hint"
		exit 1
	fi
}

# ---- files ----

content_key()
{
	local arg f

	for arg in "$@"; do
		if [[ $arg == @* ]]; then
			arg=${arg#@}
			[[ -e $arg ]] || die "content_key: $arg does not exist"
			# Names relative to the argument: the checkout's place is not part of the key.
			if [[ -d $arg ]]; then
				(cd "$arg" && find . -type f -printf '%m %P\n' | sort &&
					find . -type f -print0 | sort -z | xargs -0 -r sha256sum)
			else
				f=$(sha256sum <"$arg")
				printf '%s %s\n' "$(stat -c %a "$arg")" "$f"
			fi
		else
			printf '%s\n' "${#arg} $arg"
		fi
	done | sha256sum | cut -d ' ' -f 1
}

_publish_lock() { printf 'publish-%s' "$(printf '%s' "$1" | sha256sum | cut -c 1-16)"; }

cached() { touch -c -- "$1" && [[ -e $1 ]]; }

# remove_unlocked DIR WHAT...: removes WHAT unless somebody publishes DIR at this moment
remove_unlocked()
{
	local fd

	exec {fd}>>"$VPMU_CACHE/lock/$(_publish_lock "$1")"
	if flock -n "$fd"; then
		rm -rf -- "${@:2}"
	fi
	exec {fd}>&-
}

publish()
{
	local dir=$1 tmp

	shift
	[[ ! -e $dir ]] || return 0
	_make_dir "$(dirname "$dir")"
	lock "$(_publish_lock "$dir")"
	if [[ ! -e $dir ]]; then
		rm -rf -- "$dir".tmp.*
		for tmp in "$(dirname "$dir")"/*.tmp.*; do
			[[ ! -d $tmp ]] || remove_unlocked "${tmp%.tmp.*}" "$tmp"
		done
		tmp=$(mktemp -d "$dir.tmp.XXXXXX")
		"$@" "$tmp"
		chmod 755 "$tmp"
		mv -T -- "$tmp" "$dir"
	fi
	unlock "$(_publish_lock "$dir")"
}

publish_file()
{
	local file=$1 tmp

	shift
	_make_dir "$(dirname "$file")"
	tmp=$(mktemp "$file.tmp.XXXXXX")
	on_exit rm -f -- "$tmp"
	"$@" "$tmp"
	chmod 644 "$tmp"
	mv -T -- "$tmp" "$file"
}

declare -A _vpmu_locks=()

_make_dir()
{
	mkdir -p "$1" 2>/dev/null || die "cannot make the directory $1" \
		"is the disk full? If that place can't be written to, set VPMU_CACHE to a directory of yours"
}

lock()
{
	local name=$1 fd

	[[ -z ${_vpmu_locks[$name]-} ]] || return 0
	_make_dir "$VPMU_CACHE/lock"
	exec {fd}>>"$VPMU_CACHE/lock/$name"
	if ! flock -n "$fd"; then
		info "[$(elapsed)] waiting for ${2-another run of vpmu} to finish ($name)"
		flock "$fd"
	fi
	_vpmu_locks[$name]=$fd
}

unlock()
{
	local name=$1 fd

	fd=${_vpmu_locks[$name]-}
	[[ -n $fd ]] || return 0
	exec {fd}>&-
	unset "_vpmu_locks[$name]"
}

need()
{
	local p

	for p in "$@"; do
		command -v "$p" >/dev/null || die "$p is not installed" "./vpmu setup"
	done
}

tree_dir()
{
	case $1 in
	linux | bochs) printf '%s\n' "$VPMU_BUILD/$1" ;;
	*) die "tree_dir: linux or bochs, not '$1'" ;;
	esac
}

show_new_files()
{
	grep -q -x '/\*' "$1/.gitignore" 2>/dev/null || return 0
	git -C "$1" update-index --assume-unchanged .gitignore
	sed -i -e '/^\/\*$/d' -e '/^!\/debian\/$/d' "$1/.gitignore"
}

tree_key()
{
	[[ ! -e $(tree_dir "$1")/.git/vpmu-updating ]] || die "$(tree_dir "$1") is half built" "./vpmu tree"
	git -C "$(tree_dir "$1")" rev-parse 'HEAD^{tree}' 2>/dev/null ||
		die "$(tree_dir "$1") is not built" "./vpmu tree$([[ $1 == linux ]] || echo " --$1")"
}
