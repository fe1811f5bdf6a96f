#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Fetch the base kernel as a Debian package, verify it, unpack it and import it
# into git.
#
#	fetch.sh			what the series is for
#	fetch.sh list PACKAGE SUITE	the versions that apt offers; "" for the machine's own
#	fetch.sh import PACKAGE SUITE VERSION	one of these
#
# $CACHE/$BASE then is a link to the version in use:
#
#	linux-source-7.3_7.3.4-1~bpo13+1/linux	work tree; branch "base"
#	linux-source-7.3_7.3.4-1~bpo13+1/version	of the package
#
# The pin is the head of the series file.  Point releases vanish from mirrors:
# when the pin is gone, the newest of the same package is taken.  Status 3: there is
# none of them any more.
. scripts/lib.sh
check_base
lock_cache

pin=$(series_head Base)
package=${pin% *} pinned=${pin#* }
sha256=$(series_head SHA256)
suite=$(series_head Suite)
if [ $# != 0 ]; then
	package=$2 pinned='' suite=$3
fi
apt_dir=$CACHE/apt

use() {
	ln -sfn "${package}_$1" "$SRC"
	[ "$1" = "$pinned" ] ||
		warn "$package $pinned is not to be had any more; using $1, for which the series was not made"
}

imported() { [ -f "$CACHE/${package}_$1/version" ]; }

# apt with lists and archives of its own: the suite need not be one of the
# machine's, whose lists stay as they are.
private_apt() {
	apt_command=$1
	shift
	APT_CONFIG=$apt_dir/apt.conf "$apt_command" "$@"
}

update_lists() {
	mkdir -p "$apt_dir/lists/partial" "$apt_dir/archives/partial"
	: >"$apt_dir/none"
	cat >"$apt_dir/apt.conf" <<-EOF
	#clear APT::Update::Post-Invoke;
	#clear APT::Update::Post-Invoke-Success;
	#clear DPkg::Post-Invoke;
	APT::Sandbox::User "$(id -un)";
	Dir::Etc::sourcelist "$apt_dir/sources.list";
	Dir::Etc::sourceparts "$apt_dir/none.d";
	Dir::State::lists "$apt_dir/lists";
	Dir::Cache "$apt_dir";
	Dir::Cache::archives "$apt_dir/archives";
	EOF

	# The mirror and the key are those of the machine's own main suite; without a
	# suite in the series file it is that, with its updates.
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(SIGNED_BY)' \
		'Created-By: Packages' |
		awk -v release="$codename" -v suite="$suite" '
			$3 == "main" && ($2 == release || !suite && index($2, release "-") == 1) {
				key = $4 ~ /^\// ? "[signed-by=" $4 "] " : ""
				print "deb " key $1 " " (suite ? suite : $2) " main"
				if (suite)
					exit
			}' >"$apt_dir/sources.list"
	[ -s "$apt_dir/sources.list" ] || {
		echo "no Debian main suite among the machine's apt sources"
		return 1
	}
	private_apt apt-get update --error-on=any
}

available() {
	private_apt apt-cache madison "$package" | awk -F'|' '{ gsub(/ /, "", $2); print $2 }'
}

download() {
	(cd "$CACHE/packages" && private_apt apt-get download "$package=$1")
}

# apt writes a colon of the version as %3a and nothing else differently.
deb_of() { echo "$CACHE/packages/${package}_${1}_all.deb"; }

verified() {
	[ -f "$(deb_of "$1")" ] || return 1
	[ "$1" = "$pinned" ] || return 0	# apt has verified it
	echo "$sha256  $(deb_of "$1")" | sha256sum -c --status && return 0
	warn "$(deb_of "$1") is damaged (its SHA256 is not that of $PATCHES/series); removing it"
	rm -f "$(deb_of "$1")"
	return 1
}

import() {
	dir=$CACHE/${package}_$1
	rm -rf "$dir" "$dir.part"
	mkdir -p "$dir.part/linux"
	dpkg-deb --fsys-tarfile "$(deb_of "$1")" |
		tar -xO --wildcards './usr/src/*.tar.xz' |
		tar -xJ --strip-components=1 -C "$dir.part/linux"
	cd "$dir.part/linux"
	# Debian's packaging ignores every new file: not for who adds some.
	sed -i '/^# Debian packaging: ignore everything/,$d' .gitignore
	git init -q -b base .
	git config gc.auto 0
	git add -A -f .
	GIT_AUTHOR_NAME=linux-source GIT_AUTHOR_EMAIL=linux-source@debian.invalid \
	GIT_AUTHOR_DATE='1970-01-01T00:00:00Z' \
	GIT_COMMITTER_NAME=linux-source GIT_COMMITTER_EMAIL=linux-source@debian.invalid \
	GIT_COMMITTER_DATE='1970-01-01T00:00:00Z' \
		git commit -q -m "$package $1"
	cd - >/dev/null
	echo "$1" >"$dir.part/version"
	mv "$dir.part" "$dir"
}

case ${1:-} in
list)
	stage apt-update "fetching the package lists of ${suite:-the Debian of this machine}" update_lists >&2
	available
	exit 0
	;;
import)
	imported "$4" && exit 0
	mkdir -p "$CACHE/packages"
	verified "$4" || stage download "downloading $package $4 (160 MB)" download "$4"
	stage import "unpacking $package $4 and importing it into git (1 to 2 minutes)" import "$4"
	exit 0
	;;
esac

if imported "$pinned"; then
	use "$pinned"
	exit 0
fi

mkdir -p "$CACHE/packages"
version=$pinned
if ! verified "$pinned"; then
	try_stage apt-update "fetching the package lists of ${suite:-the Debian of this machine}" update_lists
	if [ "$stage_status" != 0 ]; then
		# Without a network an older import is better than nothing.
		for dir in "$CACHE/${package}"_*/; do
			[ -f "$dir/version" ] || continue
			use "$(cat "$dir/version")"
			exit 0
		done
		die "$package $pinned cannot be fetched (log: $stage_log); without a network, put $(basename "$(deb_of "$pinned")") into $CACHE/packages"
	fi
	if ! available | grep -qxF "$pinned"; then
		version=$(available | head -n 1)
		[ -n "$version" ] || {
			warn "${suite:-the Debian of this machine} has no $package any more: Linux $BASE cannot be fetched; BASE=6.12 is there for longer"
			exit 3
		}
	fi
	if imported "$version"; then
		use "$version"
		exit 0
	fi
	verified "$version" || stage download "downloading $package $version (160 MB)" download "$version"
	verified "$version" || die "what was downloaded is not $package $pinned; repeat the command, and if it stays so, check the SHA256 in $PATCHES/series"
fi
stage import "unpacking $package $version and importing it into git (1 to 2 minutes)" import "$version"
use "$version"
