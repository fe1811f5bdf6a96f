#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# How the series of $BASE fits other kernels: what to run when a new one comes out.
# For each version, and each patch: whether git am takes it, with offsets, or where it
# conflicts; with BUILD=1 also whether what it touches builds after it.  Before the
# series come those of patches/$BASE/older/ that were taken from a later version.
#
#	TO="PACKAGE [SUITE]"	of whose versions apt offers; default: those of the base
. scripts/lib.sh
check_base
lock_cache
: "${BUILD:=0}"

# shellcheck disable=SC2046,SC2086
set -- ${TO:-$(series_head Base | cut -d' ' -f1) $(series_head Suite)}
package=$1 suite=${2:-}
failed=0
export CCACHE_DIR="$CACHE/ccache" PATH="/usr/lib/ccache:$PATH"

git_tree() {
	git -C "$tree" -c user.name=series -c user.email=series@cpuset-mempolicy.invalid "$@"
}

# Whether the patch applies, and how, in $result
apply_patch() {
	if ! messages=$(git_tree apply --check -v "$PWD/$1" 2>&1); then
		result="conflicts at $(echo "$messages" |
			sed -n -e 's/^error: patch failed: //p' -e 's/^error: \(.*\): No such file.*/\1/p' |
			paste -sd' ')"
		return 1
	fi
	git_tree am -q "$PWD/$1" >>"$LOGS/compat.log" 2>&1 || {
		git_tree am --abort || :
		result="git am refuses it, see $LOGS/compat.log"
		return 1
	}
	case $messages in
	*offset*) result="applies, with offsets" ;;
	*) result="applies" ;;
	esac
}

# What the series needs first on a version; the patches say since when that is there.
lacking() {
	for patch in "$PATCHES"/older/*.patch; do
		since=$(sed -n '/^---$/q; s/^Taken from \([0-9.]*[0-9]\).*/\1/p' "$patch" 2>/dev/null)
		[ -z "$since" ] || dpkg --compare-versions "$1" ge "$since" || echo "$patch"
	done
}

build() {
	make -C "$tree" O="$out" -j"$JOBS" "$@" >>"$LOGS/compat.log" 2>&1
}

configure() {
	rm -rf "$out"
	mkdir -p "$out"
	build tinyconfig && "$tree/scripts/kconfig/merge_config.sh" -m -O "$out" \
		"$out/.config" scripts/config/guest >>"$LOGS/compat.log" 2>&1 && build olddefconfig
}

mkdir -p "$LOGS"
: >"$LOGS/compat.log"
versions=$(scripts/fetch.sh list "$package" "$suite")
[ -n "$versions" ] || die "${suite:-the Debian of this machine} has no $package"

for version in $versions; do
	dir=$CACHE/${package}_$version tree=$dir/linux out=$dir/build/compat
	[ -d "$dir" ] && keep=yes || keep=
	scripts/fetch.sh import "$package" "$suite" "$version"
	git_tree am --abort 2>/dev/null || :
	git_tree checkout -q -f --detach base
	git_tree clean -fdq
	[ "$BUILD" = 0 ] || configure || die "$version cannot be configured; see $LOGS/compat.log"
	good=0 all=0 start=$(date +%s)
	say "patches/$BASE to $package $version:"
	# shellcheck disable=SC2046
	for patch in $(lacking "$version") $(series_patches); do
		all=$((all + 1))
		if apply_patch "$patch"; then
			good=$((good + 1))
			if [ "$BUILD" != 0 ]; then
				if build mm/ kernel/cgroup/ kernel/fork.o ipc/ fs/proc/; then
					result="$result, builds"
				else
					result="$result, DOES NOT BUILD: see $LOGS/compat.log"
					failed=$((failed + 1))
				fi
			fi
		else
			failed=$((failed + 1))
		fi
		name=${patch#"$PATCHES/"}
		name=${name#../*/}
		say "    $(echo "${name%.patch}" | cut -c1-48): $result"
	done
	say "    $good of $all apply to $version ($(($(date +%s) - start)) s)"
	git_tree checkout -q -f --detach base
	[ "$keep" ] || rm -rf "$dir"
done
[ "$failed" = 0 ]
