#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Build what a guest boots.
#
#	kernel.sh unpatched|patched CONFIG...	a kernel for each; "guest", or a
#						fragment of scripts/config on top of it
#	kernel.sh FAULT CONFIG...		the patched kernel with one of scripts/faults
#	kernel.sh programs			the initramfs with init and the tests
#
# The results are $SRC/build/KERNEL-CONFIG/bzImage and $SRC/build/initramfs.gz.
# All kernels are built from one work tree, so that ccache finds the objects
# of the one when the other is built.  Those with a fault are made one after the
# other from what is left of the patched kernel: a few files and the link.
. scripts/lib.sh
check_base
lock_cache

build=$(realpath "$SRC")/build
# What a file depends on is what the compiler says: to preprocess each before it is
# compiled, to look for its text, takes a quarter more time, and finds next to nothing.
export CCACHE_DIR="$CACHE/ccache" CCACHE_MAXSIZE=5G CCACHE_DEPEND=1 PATH="/usr/lib/ccache:$PATH"
export KBUILD_BUILD_USER=cpuset-mempolicy KBUILD_BUILD_HOST=guest
export KBUILD_BUILD_TIMESTAMP='1970-01-01'

# The commit of a kernel
commit_of() {
	case $1 in
	unpatched) echo base ;;
	patched) echo "refs/series/$(series_id)" ;;
	*) fault_commit "$1" ;;
	esac
}

# A commit on top of the patched kernel, by way of an index of its own.
fault_commit() {
	GIT_INDEX_FILE=$(realpath "$CACHE")/fault-index
	export GIT_INDEX_FILE
	git -C "$LINUX" read-tree "$(commit_of patched)"
	git -C "$LINUX" apply --cached "$PWD/scripts/faults/$1.patch" >&2 ||
		die "scripts/faults/$1.patch does not apply to patches/$BASE"
	git -C "$LINUX" -c user.name=fault -c user.email=fault@cpuset-mempolicy.invalid \
		commit-tree -m "$1" "$(git -C "$LINUX" write-tree)" </dev/null
	unset GIT_INDEX_FILE
}

# guest, or guest and what goes on top of it
fragments_of() {
	[ -f "scripts/config/$1" ] || die "there is no scripts/config/$1; there is: $(ls scripts/config | tr '\n' ' ')"
	echo scripts/config/guest
	[ "$1" = guest ] || echo "scripts/config/$1"
}

checkout() { git -C "$LINUX" checkout -q -f --detach "$1"; }

# What was asked for must have come out; a later fragment has the last word.
check_config() {
	cat "$@" | grep -v '^#' | awk -F= 'NF { last[$1] = $2 } END { for (c in last) print c "=" last[c] }' |
		while IFS='=' read -r option value; do
			case $value in
			n) ! grep -q "^$option=" "$out/.config" ;;
			*) grep -qxF "$option=$value" "$out/.config" ;;
			esac || echo "$option is not $value as was asked for"
		done >"$out/config-mismatch"
	cat "$out/config-mismatch"
	[ ! -s "$out/config-mismatch" ]
}

build_kernel() {
	checkout "$1"
	shift
	mkdir -p "$out"
	rm -f "$out/built"
	make -s -C "$LINUX" O="$out" tinyconfig
	"$LINUX/scripts/kconfig/merge_config.sh" -m -O "$out" "$out/.config" "$@"
	make -s -C "$LINUX" O="$out" olddefconfig
	check_config "$@"
	# What comes in by .incbin is no dependency to ccache: it may be that of before.
	CCACHE_DISABLE=1 make -C "$LINUX" O="$out" -j"$JOBS" arch/x86/realmode/
	make -C "$LINUX" O="$out" -j"$JOBS" vmlinux
	CCACHE_DISABLE=1 make -C "$LINUX" O="$out" -j"$JOBS" bzImage
	ln -f "$out/arch/x86/boot/bzImage" "$out/bzImage"
	echo "$key" >"$out/built"
}

build_fault() {
	out=$build/faults-$2
	rm -rf "$result"
	[ -d "$out" ] || {
		rm -rf "$out.part"
		cp -a "$build/patched-$2" "$out.part"
		mv "$out.part" "$out"
	}
	# shellcheck disable=SC2086
	build_kernel "$commit" $fragments
	mkdir "$result"
	cp "$out/bzImage" "$out/.config" "$out/built" "$result/"
}

# What a kernel is made of: neither the selftests nor the documentation
kernel_sources() {
	git -C "$LINUX" ls-tree "$1" | grep -v -e '	tools$' -e '	Documentation$'
	git -C "$LINUX" ls-tree "$1" tools/ | grep -v '	tools/testing$'
}

kernel() {
	case $1 in
	*patched) ;;
	*)
		[ -f "scripts/faults/$1.patch" ] ||
			die "\"$1\" is neither unpatched nor patched, nor one of scripts/faults"
		kernel patched "$2"
		;;
	esac
	commit=$(commit_of "$1")
	fragments=$(fragments_of "$2")
	out=$build/$1-$2
	# shellcheck disable=SC2086
	key=$({ kernel_sources "$commit"; cat $fragments; gcc --version; } | sha256sum)
	[ "$(cat "$out/built" 2>/dev/null)" != "$key" ] || return 0
	case $1 in
	*patched)
		# shellcheck disable=SC2086
		stage "kernel-$1-$2" "building the $1 kernel, configuration $2" \
			build_kernel "$commit" $fragments
		;;
	*)
		result=$out
		stage "kernel-$1-$2" "building the patched kernel with the fault $1, configuration $2" \
			build_fault "$1" "$2"
		;;
	esac
}

# The selftests with their own Makefile, and every program of tools/, which take
# kselftest.h from there.  All static: the guest has no libraries.
build_programs() {
	rm -rf "$out"
	mkdir -p "$out/root/bin" "$out/root/dev" "$out/selftests"
	checkout "$(commit_of patched)"
	make -s -C "$LINUX" O="$out/headers" headers_install INSTALL_HDR_PATH="$out/usr"
	for test in cgroup/test_cpuset_mempolicy cgroup/test_alloc_nodemask mm/mempolicy; do
		dir=${test%/*} test=${test#*/}
		# A minimal series brings fewer.
		[ -f "$LINUX/tools/testing/selftests/$dir/$test.c" ] || continue
		make -C "$LINUX/tools/testing/selftests/$dir" OUTPUT="$out/selftests" \
			KHDR_INCLUDES="-isystem $out/usr/include" LDFLAGS=-static \
			"$out/selftests/$test"
		cp "$out/selftests/$test" "$out/root/"
	done
	for source in tools/*.c; do
		name=$(basename "$source" .c)
		[ "$name" != fuzz ] ||
			[ -f "$LINUX/tools/testing/selftests/mm/mempolicy_model.h" ] || continue
		gcc -O2 -Wall -Wextra -Werror -static -pthread \
			-isystem "$LINUX/tools/testing/selftests" \
			-isystem "$out/usr/include" -o "$out/root/$name" "$source"
	done
	for applet in $(/bin/busybox --list); do
		ln -s busybox "$out/root/bin/$applet"
	done
	# It lists itself.
	cp --remove-destination /bin/busybox "$out/root/bin/"
	(cd "$out/root" && find . | sort | cpio -o -H newc --quiet --reproducible) |
		gzip -n >"$out/initramfs.gz"
	ln -f "$out/initramfs.gz" "$build/initramfs.gz"
	echo "$key" >"$out/built"
}

programs() {
	out=$build/programs
	key=$({ git -C "$LINUX" rev-parse "$(commit_of patched)^{tree}"
		cat tools/*.[ch] scripts/kernel.sh; gcc --version
		sha256sum /bin/busybox; } | sha256sum)
	[ "$(cat "$out/built" 2>/dev/null)" != "$key" ] || return 0
	stage programs "building the guest's programs" build_programs
}

if [ "$1" = programs ]; then
	programs
else
	which=$1
	shift
	for config; do
		kernel "$which" "$config"
	done
fi
