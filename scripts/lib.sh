# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2012
# What the other scripts share.  They run with the top of the repository as
# working directory and take their settings from the environment, which the
# Makefile fills.

set -eu

: "${BASE:=7.3}" "${JOBS:=$(nproc)}" "${V:=0}" "${DRYRUN:=0}" "${ACCEL:=auto}"
: "${CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/cpuset-mempolicy}"
export BASE JOBS V DRYRUN ACCEL CACHE

# Nothing of the user's configuration may change what git writes.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export LC_ALL=C TZ=UTC

PATCHES=patches/$BASE
RESULTS=results
LOGS=$RESULTS/log
SRC=$CACHE/$BASE		# a link to the imported version, see fetch.sh
LINUX=$SRC/linux

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# A line of the head of the series file: "# Name: value"
series_head() { sed -n "s/^# $1: //p" "$PATCHES/series"; }

# The patches of the series, in order
series_patches() { sed -e '/^#/d' -e '/^$/d' -e "s|^|$PATCHES/|" "$PATCHES/series"; }

check_base() {
	# "make refresh" was interrupted between its last two steps.
	[ -d "$PATCHES" ] || [ ! -d "$PATCHES.old" ] || mv "$PATCHES.old" "$PATCHES"
	[ -f "$PATCHES/series" ] ||
		die "BASE=$BASE: there is no patches/$BASE; there is: $(ls patches | tr '\n' ' ')"
}

# What determines the patched tree: the base and every patch
series_id() {
	# shellcheck disable=SC2046
	{ git -C "$LINUX" rev-parse refs/heads/base; cat $(series_patches); } |
		sha256sum | cut -c1-16
}

# One stage of work: a name for its log, what it does, and the command.  Says
# how long it took; a failure ends the script with what to do next.
stage() {
	try_stage "$@"
	[ "$stage_status" = 0 ] || stage_failed
}

# The same, but leaves the outcome in $stage_status.  Not "command || ...", as
# that would switch off "set -e" within a command that is a function.
try_stage() {
	stage_log=$LOGS/$1.log stage_text=$2
	shift 2
	mkdir -p "$LOGS" 2>/dev/null || die "cannot create $LOGS: is the disk full?"
	printf '==> %s\n' "$stage_text"
	[ "$V" = 0 ] || printf '    %s\n' "$*"
	stage_start=$(date +%s)
	stage_progress 9>&- & stage_ticker=$!
	trap 'kill $stage_ticker 2>/dev/null || :' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	set +e
	(set -e; "$@") >"$stage_log" 2>&1
	stage_status=$?
	set -e
	kill $stage_ticker 2>/dev/null || :
	wait $stage_ticker 2>/dev/null || :
	[ $stage_status != 0 ] ||
		printf '    done in %s s\n' $(($(date +%s) - stage_start))
}

stage_failed() {
	tail -n 12 "$stage_log" | sed 's/^/    | /' >&2
	if grep -qi 'no space left on device' "$stage_log" || ! echo >>"$stage_log"; then
		die "$stage_text: the disk is full; free some space or set CACHE= to a place with 12 GB (log: $stage_log), then repeat the command"
	fi
	die "$stage_text: failed; the log is $stage_log; repeat the command to go on from here"
}

# Twice a minute, so that nobody thinks that it hangs: the log, or the file that
# $stage_watch names
stage_progress() {
	trap 'kill $! 2>/dev/null; exit' TERM
	while sleep 30 & wait $!; do
		watch=${stage_watch:-$stage_log}
		printf '    %4s s, %s lines: %s\n' $(($(date +%s) - stage_start)) \
			"$(wc -l <"$watch")" "$(tail -n 1 "$watch" | cut -c1-60)"
	done
}

# Work on the cache is for one process at a time.  The lock is left to those
# that the holder starts.
lock_cache() {
	mkdir -p "$CACHE" 2>/dev/null || die "cannot create CACHE=$CACHE"
	[ -z "${CACHE_LOCKED:-}" ] || return 0
	exec 9>"$CACHE/lock"
	if ! flock -n 9; then
		say "waiting for another process that uses $CACHE"
		flock 9
	fi
	export CACHE_LOCKED=1
}
