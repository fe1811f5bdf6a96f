# SPDX-License-Identifier: GPL-2.0
# "make help" lists what there is.

ifeq ($(origin BASE),undefined)
NO_BASE := yes
endif
export BASE ?= 7.3
export JOBS ?= $(shell nproc)
export CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cpuset-mempolicy
export ACCEL ?= auto
export V ?= 0
export DRYRUN ?= 0
export TIMEOUT ?= 900
export HOURS ?= 2
export SEED BRIEF TIMES TO BUILD

KERNEL ?= patched
TOPOLOGY ?= small-middle
UPDATES ?= 300

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#: \?//p' Makefile

#: For everybody:
#:   make demo       show the bug on an unpatched kernel and its end on a patched one
#:   make check      everything that must hold: "N passed, N failed, N skipped"; for 7.3,
#:                   and the races and policies for 6.12 too
#:   make soak       the same and more, at random, in kernels that look for mistakes,
#:                   for HOURS=2; goes on where it was
#:
#: To work on the series:
#:   make tree       linux-$BASE/: the base with the series, one commit per patch
#:   make refresh    write patches/$BASE/ from linux-$BASE/
#:   make lint       checkpatch, W=1, sparse and kernel-doc, patch by patch
#:   make kernel     build the unpatched and the patched guest kernel
#:   make test       one test by name: make test TEST=v1_mbind_update UPDATES=2000
#:   make boot       boot a guest and check its nodes only
#:   make compat     how the series fits other kernels: all of the base that apt offers,
#:                   or TO="linux-source-7.2 unstable"; with BUILD=1 compiled as well
#:   make model      spin on the model of the transition
#:   make mutants    which of the mistakes in scripts/faults/ the tests do not notice
#:   make bench      what policies cost, unpatched beside patched, in instructions
#:   make shell      a shell in the guest; "poweroff -f" or Ctrl-A X ends it
#:
#:   make fetch      fetch, verify and import the base kernel
#:   make clean      remove results/
#:   make distclean  ... and the cache; linux-$BASE/ stays, it may hold your work
#:
#: Settings:
#:   BASE=7.3             the base kernel, one of patches/; without it 7.3, or 6.12 once
#:                        7.3 cannot be fetched any more
#:   BRIEF=1              for check: only what a second base is checked by
#:   TIMES=1              for check and soak (7): how many times as long the races are
#:   KERNEL=patched       or unpatched, for test, boot and shell
#:   TOPOLOGY=small-middle  one of scripts/topology/, for test, boot and shell
#:   TEST=                variants of the race test, separated by blanks; all without
#:   HOURS=2 SEED=        how long "make soak" goes on, and its order
#:   UPDATES=300          how often a test changes the mems
#:   CACHE=~/.cache/cpuset-mempolicy   packages, trees, builds, ccache: 12 GB
#:   JOBS=                parallel compilers
#:   ACCEL=auto           kvm, or tcg,thread=multi; auto tries whether kvm works
#:   TIMEOUT=900          seconds until a guest is taken for hung
#:   V=1                  show the commands
#:   DRYRUN=1             print the command line of QEMU instead of running it

install:
	@scripts/install.sh

fetch: install
	@scripts/fetch.sh

tree refresh: fetch
	@scripts/series.sh $@

series: fetch
	@scripts/series.sh apply

kernel: series
	@scripts/kernel.sh unpatched guest
	@scripts/kernel.sh patched guest
	@scripts/kernel.sh programs

ifdef NO_BASE
# The newest base that is still to be had; checked are both.
demo: install
	@base=$$(scripts/base.sh) && $(MAKE) demo BASE=$$base

check: install
	@base=$$(scripts/base.sh) || exit; failed=; \
	$(MAKE) check BASE=$$base || failed=yes; \
	[ $$base = 6.12 ] || $(MAKE) check BASE=6.12 BRIEF=1 || failed=yes; \
	[ -z "$$failed" ]
else
demo: kernel
	@scripts/demo.sh

check: series
	@scripts/check.sh
endif

compat: install
	@scripts/compat.sh

soak: series
	@scripts/soak.sh

lint: series
	@scripts/lint.sh

model: install
	@scripts/model.sh

mutants: series
	@scripts/faults.sh mutants

# What the one guest of a verb needs
guest-%: series
	@scripts/kernel.sh $(KERNEL) $(or $(shell sed -n 's/^config //p' scripts/topology/$(TOPOLOGY)),guest)
	@scripts/kernel.sh programs

test: guest-test
	@scripts/guest.sh $(KERNEL) $(TOPOLOGY) test UPDATES=$(UPDATES) -- \
		/test_cpuset_mempolicy $(addprefix -v ,$(TEST))
	@[ $(DRYRUN) != 0 ] || cat results/test/ktap
	@[ $(DRYRUN) != 0 ] || python3 scripts/verdict.py results/test

boot: guest-boot
	@scripts/guest.sh $(KERNEL) $(TOPOLOGY) boot
	@[ $(DRYRUN) != 0 ] || python3 scripts/verdict.py results/boot

bench: series
	@scripts/kernel.sh unpatched bench
	@scripts/kernel.sh patched bench
	@scripts/kernel.sh programs
	@scripts/bench.sh

shell: guest-shell
	@scripts/guest.sh $(KERNEL) $(TOPOLOGY) shell

clean:
	rm -rf results

distclean: clean
	rm -rf "$(CACHE)"

.PHONY: help install fetch tree refresh series kernel demo check compat soak lint model mutants test boot bench shell clean distclean
