#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The series between its two forms, patch files and git commits.
#
#	series.sh apply		the cached tree gets refs/series/ID for the patch files
#	series.sh tree		linux-$BASE/ here: one commit per patch, to work on
#	series.sh refresh	patch files from linux-$BASE/
#	series.sh verify	what refresh would write from "apply" is what is there
. scripts/lib.sh
check_base
tree=linux-$BASE

apply() {
	id=$(series_id)
	git -C "$LINUX" rev-parse -q --verify "refs/series/$id" >/dev/null && return
	# A run that was interrupted may have left anything.
	git_linux am --abort 2>/dev/null || :
	git -C "$LINUX" checkout -q -f --detach base
	git -C "$LINUX" clean -fdq
	try_stage apply "applying $(series_patches | wc -l) patches to $(cat "$SRC/version")" am_series
	[ "$stage_status" = 0 ] || die "$(tail -n 1 "$stage_log") (log: $stage_log)"
	git -C "$LINUX" update-ref "refs/series/$id" HEAD
}

# git with a committer, who is not part of the patches
git_linux() {
	git -C "$LINUX" -c user.name=series -c user.email=series@cpuset-mempolicy.invalid "$@"
}

am_series() {
	for patch in $(series_patches); do
		git_linux am -q --committer-date-is-author-date "$PWD/$patch" && continue
		git_linux am --abort || :
		where=$(git_linux apply --check "$PWD/$patch" 2>&1 |
			sed -n 's/^error: patch failed: //p' | paste -sd' ')
		echo "$patch does not apply to $(cat "$SRC/version"), at ${where:-no place that git names}"
		return 1
	done
}

# Nothing of git's version, configuration or the time of day in the patches
write_patches() {
	rm -rf "$3"
	mkdir -p "$3"
	git -C "$1" -c core.abbrev=40 -c diff.algorithm=myers -c format.pretty=email \
		format-patch -q --zero-commit --no-signature --full-index --no-renames \
		--numbered --stat=75 -o "$(realpath "$3")" "$2"
	{
		sed -n '/^#/p' "$PATCHES/series"
		(cd "$3" && ls ./*.patch | sed 's|^./||')
	} >"$3/series"
	# The cover letter, and what older versions need first, are written by hand.
	cp -r "$PATCHES"/0000-cover-letter.patch "$PATCHES"/older "$3/" 2>/dev/null || :
}

lock_cache
case $1 in
apply)
	apply
	;;
tree)
	apply
	if [ -e "$tree" ]; then
		head=$(git -C "$tree" rev-parse HEAD)
		[ "$head" = "$(git -C "$LINUX" rev-parse "refs/series/$(series_id)")" ] ||
			die "$tree has commits of its own: 'make refresh' writes them to $PATCHES, 'rm -r $tree' drops them"
		say "$tree is at the series already"
		exit 0
	fi
	make_tree() {
		rm -rf "$tree.part"
		# A clone of its own, so that it outlives the cache
		git clone -q --no-checkout --branch base "$LINUX" "$tree.part"
		git -C "$tree.part" fetch -q origin "refs/series/$(series_id)"
		git -C "$tree.part" checkout -q -b series FETCH_HEAD
		git -C "$tree.part" remote remove origin
		mv "$tree.part" "$tree"
	}
	stage tree "making $tree, branch \"series\", one commit per patch on \"base\"" make_tree
	;;
refresh)
	[ -d "$tree" ] || die "there is no $tree; 'make tree' makes it"
	[ -z "$(git -C "$tree" status --porcelain --untracked-files=no)" ] ||
		die "$tree has changes that are not committed"
	[ "$(git -C "$tree" symbolic-ref --short -q HEAD)" = series ] ||
		die "$tree is not at its branch \"series\": is a rebase under way there?"
	write_patches "$tree" base "$PATCHES.part"
	rm -rf "$PATCHES.old"
	mv "$PATCHES" "$PATCHES.old"
	mv "$PATCHES.part" "$PATCHES"
	rm -rf "$PATCHES.old"
	say "$(series_patches | wc -l) patches written to $PATCHES"
	;;
verify)
	apply
	write_patches "$LINUX" "base..refs/series/$(series_id)" "$RESULTS/refresh"
	diff -r "$PATCHES" "$RESULTS/refresh"
	;;
esac
