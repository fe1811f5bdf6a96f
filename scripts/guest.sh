#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Boot a guest and keep everything about it.
#
#	guest.sh KERNEL TOPOLOGY RUN [NAME=value]... -- PROGRAM [ARGUMENT]...
#	guest.sh KERNEL TOPOLOGY shell
#
# KERNEL is "unpatched" or "patched", with "-CONFIG" if it is not that of the
# topology.  What is left is in results/RUN: cmdline, config, version, console,
# ktap, exit.  The verdict on it is verdict.py's.  TIMEOUT= ends a guest that
# hangs, after that many seconds; with DRYRUN=1 the command is only printed.
. scripts/lib.sh
check_base

kernel=$1 topology=scripts/topology/$2 run=$3
shift 3
[ -f "$topology" ] ||
	die "there is no topology \"${topology##*/}\"; there is: $(ls scripts/topology | tr '\n' ' ')"
dir=$RESULTS/$run
build=$(realpath "$SRC")/build

# The words behind a keyword of the topology
topology_get() { sed -n "s/^$1 //p" "$topology"; }

# QEMU's arguments for the nodes, and how much memory they have
machine() {
	awk '
	function mb(size) { return size == "none" ? 0 : size + 0 }
	/^node / {
		args = "-numa node,nodeid=" n + 0
		if (mb($2)) {
			printf "-object memory-backend-ram,id=m%d,size=%dM ", n, mb($2)
			args = args ",memdev=m" n + 0
			memory += mb($2)
		}
		for (i = 3; i <= NF; i++) {
			args = args "," $i
			split($i, list, /[=-]/)
			last = list[3] == "" ? list[2] : list[3]
			if (last >= cpus)
				cpus = last + 1
		}
		numa = numa args " "
		n++
	}
	/^dimm / {
		dimm = dimm sprintf("-object memory-backend-ram,id=d%d,size=%dM -device pc-dimm,memdev=d%d,%s ", d, mb($2), d, $3)
		dimms += mb($2)
		d++
	}
	END {
		printf "-smp %d,sockets=%d -m %dM%s %s%s", cpus, cpus, memory,
			d ? sprintf(",slots=%d,maxmem=%dM", d, memory + dimms) : "", numa, dimm
	}' "$topology"
}

# On many machines /dev/kvm exists and opens, and a guest hangs in it for ever.
accelerator() {
	[ -z "$icount" ] || { echo tcg; return; }
	[ "$ACCEL" = auto ] || { echo "$ACCEL"; return; }
	[ -f "$image" ] || { echo tcg,thread=multi; return; }
	boot=$(cat /proc/sys/kernel/random/boot_id)
	if [ "$(sed -n 1p "$CACHE/accel" 2>/dev/null)" != "$boot" ]; then
		found=tcg,thread=multi
		if [ -w /dev/kvm ]; then
			probe=$(mktemp -d)
			# shellcheck disable=SC2086
			timeout -s KILL 10 qemu-system-x86_64 -accel kvm $common \
				-m 256M -kernel "$image" -initrd "$build/initramfs.gz" \
				-serial null -serial "file:$probe/ktap" \
				-append "quiet panic=-1" >/dev/null 2>&1 || :
			grep -q '^KTAP' "$probe/ktap" 2>/dev/null && found=kvm
			rm -r "$probe"
		fi
		printf '%s\n%s\n' "$boot" "$found" >"$CACHE/accel"
	fi
	sed -n 2p "$CACHE/accel"
}

config=$(topology_get config)
case $kernel in
*-*) config=${kernel#*-} ;;
*) kernel=$kernel-${config:=guest} ;;
esac
image=$build/$kernel/bzImage
icount=$(topology_get icount) cpu=$(topology_get cpu) disk=$(topology_get disk)
common="-nodefaults -display none -no-reboot -no-user-config"
cmdline="console=ttyS0 no_timer_check panic=-1 rcupdate.rcu_expedited=1"
cmdline="$cmdline $(topology_get cmdline) NODES=$(topology_get expect)"

devices=
[ -z "$disk" ] || devices="-drive if=none,id=disk,format=raw,file=$dir/disk -device virtio-blk-pci,drive=disk"
serial="-serial file:$dir/console -serial file:$dir/ktap"
if [ "$run" = shell ]; then
	serial="-serial mon:stdio -serial null"
	cmdline="$cmdline quiet -- /bin/sh"
else
	cmdline="$cmdline $*"
fi

# shellcheck disable=SC2046,SC2086
set -- qemu-system-x86_64 -accel "$(accelerator)" ${icount:+-icount $icount} ${cpu:+-cpu $cpu} \
	$common $(machine) $devices -kernel "$image" -initrd "$build/initramfs.gz" $serial -append "$cmdline"

if [ "$DRYRUN" != 0 ]; then
	for word; do
		case $word in
		*[!a-zA-Z0-9_/.,:=-]*) printf "'%s' " "$word" ;;
		*) printf '%s ' "$word" ;;
		esac
	done
	echo
	exit 0
fi
[ -f "$image" ] || die "there is no $kernel kernel; 'make kernel' builds it"
rm -rf "$dir"
mkdir -p "$dir" || die "cannot create $dir: is the disk full?"
[ -z "$disk" ] || truncate -s "$disk" "$dir/disk"
[ "$run" != shell ] || exec "$@"
printf '%s\n' "$*" >"$dir/cmdline"
cp "$build/$kernel/.config" "$dir/config"
{
	echo "base: $(cat "$SRC/version")"
	echo "kernel: $kernel"
	echo "series: $(series_id)"
	echo "topology: ${topology##*/}"
	echo "repository: $(git describe --always --dirty 2>/dev/null || echo unknown)"
	echo "qemu: $(qemu-system-x86_64 --version | head -n 1)"
	echo "gcc: $(gcc --version | head -n 1)"
} >"$dir/version"

stage_watch=$dir/ktap
try_stage "guest-$(echo "$run" | tr / -)" "guest: $run" timeout --foreground -s KILL "${TIMEOUT:-900}" "$@" </dev/null
mv "$stage_log" "$dir/qemu.log"
rm -f "$dir/disk"
echo "$stage_status" >"$dir/exit"
