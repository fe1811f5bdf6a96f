#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Patch by patch: does it apply without offset, what do checkpatch, the compiler
# with W=1, sparse and kernel-doc say?  Of the last three only what the base
# does not say as well; of checkpatch only what lint-tolerated does not list.
# At last, does all of it compile without each option that leaves a part out?
#
#	lint.sh		all of that
#	lint.sh brief	what takes a quarter of the time: nothing is compiled but
#			what the series touches, and that with all patches only
. scripts/lib.sh
check_base
lock_cache
# Debian's python3 first: that is the one with the packages that checkpatch needs
export CCACHE_DIR="$CACHE/ccache" CCACHE_DEPEND=1 PATH="/usr/lib/ccache:/usr/bin:$PATH"
out=$(realpath "$SRC")/build/lint
report=$PWD/$RESULTS/lint
tab=$(printf '\t')
series=refs/series/$(series_id)
commits=$(git -C "$LINUX" rev-list --reverse "base..$series")
last=$(git -C "$LINUX" rev-parse "$series")
touched=$(git -C "$LINUX" diff --name-only base "$series" -- '*.[ch]' ':!tools')
rm -rf "$report"
mkdir -p "$report" "$out"
failed=0
brief=${1:-no}
# Debian's does not know the word, and make leaves out what does not know it.
sparse="sparse -D__typeof_unqual__=__typeof__"

complain() { printf '    %s: %s\n' "$1" "$2"; failed=$((failed + 1)); }

# Of checkpatch's messages on a patch those that lint-tolerated does not have
intolerable() {
	while IFS= read -r message; do
		line=$(echo "$message" | cut -d: -f2)
		type=$(echo "$message" | sed -n 's/.*: [A-Z]*:\([A-Z_]*\): .*/\1/p')
		text=$(sed -n "${line:-1}p" "$1" 2>/dev/null || :)
		while IFS=$tab read -r tolerated regex _; do
			[ "$tolerated" = "$type" ] || continue
			[ "$regex" = . ] || printf '%s\n' "$text" | grep -qE -- "$regex" || continue
			continue 2
		done <scripts/lint-tolerated
		echo "$message"
	done
}

# What the tools say about some files, without the line numbers: messages REPORT FILE...
messages() {
	log=$1
	shift
	(
		cd "$LINUX"
		objects= present=
		for file; do
			[ -f "$file" ] || continue
			present="$present $file"
			[ "$file" = "${file%.c}" ] && continue
			# This is how its Makefile calls it.
			case $file in virt/kvm/*) file=arch/x86/kvm/../../../$file ;; esac
			rm -f "$out/${file%.c}.o"
			objects="$objects ${file%.c}.o"
		done
		# shellcheck disable=SC2086
		[ -z "$objects" ] ||
			make -s O="$out" -j"$JOBS" W=1 C=1 CHECK="$sparse" $objects ||
			echo "the build failed"
		# shellcheck disable=SC2086
		[ -z "$present" ] || scripts/kernel-doc -none -Wall $present || :
	) >"$log.log" 2>&1
	# Debian's sparse cannot evaluate what each MODULE_...() asserts.
	grep -E 'warning|error|Warning|Error|failed' "$log.log" |
		grep -v 'error: bad constant expression$' |
		sed -e "s|$PWD/||g" -e 's/:[0-9][0-9:]*/:/g' | sort -u >"$log" || :
}

# A configuration to compile with: configure DIRECTORY [FRAGMENT]...
configure() {
	dir=$1
	shift
	mkdir -p "$dir"
	make -s -C "$LINUX" O="$dir" tinyconfig
	"$LINUX/scripts/kconfig/merge_config.sh" -m -O "$dir" "$dir/.config" \
		scripts/config/guest scripts/config/lint "$@" >/dev/null
	make -s -C "$LINUX" O="$dir" olddefconfig prepare
}

git -C "$LINUX" checkout -q -f --detach base
configure "$out"
# shellcheck disable=SC2086
messages "$report/base" $touched
! grep -q '^the build failed' "$report/base" || die "the base does not build: see $RESULTS/lint/base.log"
! grep -q 'sparse.*not available' "$report/base.log" || die "make does not take sparse: see $RESULTS/lint/base.log"
# shellcheck disable=SC2046
set -- $(series_patches)
for commit in $commits; do
	name=$(basename "$1")
	echo "$name"
	git -C "$LINUX" apply --check -v "$PWD/$1" 2>&1 |
		grep -E 'offset|fuzz|error' && complain "$name" "does not apply as it is"
	(cd "$LINUX" && perl scripts/checkpatch.pl --strict --terse --show-types \
		--no-summary "$OLDPWD/$1") >"$report/$name.checkpatch" 2>&1 || :
	intolerable "$1" <"$report/$name.checkpatch" >"$report/$name.intolerable"
	if [ -s "$report/$name.intolerable" ]; then
		cat "$report/$name.intolerable"
		complain "$name" "checkpatch"
	fi
	shift
	git -C "$LINUX" checkout -q -f --detach "$commit"
	[ "$brief" != brief ] || [ "$commit" = "$last" ] || continue
	git -C "$LINUX" diff --quiet "$commit~" "$commit" -- '*Kconfig' &&
		[ "$commit" != "$last" ] ||
		make -s -C "$LINUX" O="$out" olddefconfig
	# What a header does to the files that do not change shows at the end.
	files=$(git -C "$LINUX" diff --name-only "$commit~" "$commit" -- '*.[ch]' ':!tools')
	[ "$commit" != "$last" ] || files=$touched
	# shellcheck disable=SC2086
	messages "$report/$name" $files
	comm -13 "$report/base" "$report/$name" >"$report/$name.new"
	if [ -s "$report/$name.new" ]; then
		cat "$report/$name.new"
		complain "$name" "messages that the base does not give"
	fi
done

# Two at once where no file asks about both
[ "$brief" = brief ] || for options in NUMA "CPUSETS NUMA_BALANCING" "HUGETLBFS SHMEM"; do
	echo "without $options"
	name=without-$(echo "$options" | tr ' ' -)
	for option in $options; do
		echo "CONFIG_$option=n"
	done >"$report/$name"
	configure "$out-$name" "$report/$name"
	for option in $options; do
		! grep -q "^CONFIG_$option=" "$out-$name/.config" ||
			complain "CONFIG_$option" "cannot be switched off"
	done
	make -s -C "$LINUX" O="$out-$name" -j"$JOBS" mm/ kernel/cgroup/ \
		kernel/futex/ kernel/fork.o fs/proc/ ipc/ >"$report/$name.log" 2>&1 ||
		complain "without $options" "does not compile"
	if [ -s "$report/$name.log" ]; then
		cat "$report/$name.log"
		complain "without $options" "messages"
	fi
done
[ "$failed" = 0 ] || die "lint: $failed complaints; all that was said is in $RESULTS/lint"
