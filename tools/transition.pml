// SPDX-License-Identifier: GPL-2.0
/*
 * The transition of a cpuset, and the allocations that meet it: two threads of
 * a process allocate once each, one updater changes the mems and the policies.
 * Three nodes; a set of nodes is a mask of three bits.  What each step stands
 * for in the kernel is in Documentation/model.md.
 *
 * Without -D: the order of the series.  Of the options these are other orders:
 *
 *	OLD		the unpatched kernel
 *
 * and these leave one thing out of the order of the series:
 *
 *	MEMS_FIRST	the mems are changed before the lock is taken
 *	UNLOCK_EARLY	the lock is dropped before the mems are changed
 *	NO_VMA_LOCK	the mmap_lock is taken, but no VMA is locked
 *	SPLIT_SECTION	mems and task policy change in a write section each
 *	NO_REFRESH	nobody asks whether the task policy was replaced
 *	BY_COOKIE	it is looked up again if the count has moved, not by identity
 *	NO_SEQ		nobody asks whether the mems have changed
 *	NO_LOOK_FIRST	no look for an eligible zone when an attempt begins
 *	NO_LOOK_LAST	... before the kill
 *	NO_PIN		no reference on the task policy in the slow path
 *	NO_RCU		no RCU on the fast path
 *	DROP_BLINDLY	the policy of the task is dropped where its nodes are not
 *			allowed, even if it has been replaced
 *
 * What is looked at:
 *
 *	K0, K1		what the two threads allocate under: VMA, TASK, NONE or CALLER
 *	FAST		which threads begin with the fast path if it is TASK: 1 is the
 *			first, 2 the second, 3 both; 1
 *	OCCUPIED	the nodes without free memory; without it, all choices
 *	STATIC		the policies are static, not remapped
 *	UPDATES		how many updates in a row; 2
 *	ANY_PAGE	kills and failures, not where a page lies
 *	KILLS_ONLY	kills
 *	SHORT		memory may be short: old and new sets may have no free node
 */

#define VMA	0	/* page fault in a VMA with MPOL_BIND */
#define TASK	1	/* allocation under MPOL_BIND of the task */
#define NONE	2	/* allocation without a policy */
#define CALLER	3	/* allocation with a nodemask of the caller's */

#ifndef K0
#define K0	VMA
#endif
#ifndef K1
#define K1	TASK
#endif
#ifndef FAST
#define FAST	1
#endif
#ifndef UPDATES
#define UPDATES	2
#endif

#define ANY	7	/* all nodes */
#define SLOTS	4	/* memory for task policies */
#define NOPOL	SLOTS

#define HAS(k)	(K0 == k || K1 == k)
#define KIND(t)	((t) == 0 -> K0 : K1)

byte occupied;		/* nodes without free memory */
byte user;		/* STATIC: the nodes of the user; CALLER: of the caller */

/* task_struct of the two threads */
byte mems[2];		/* mems_allowed */
bit writing[2];		/* mems_allowed_seq is odd */
bit moved[2];		/* ... is not what the attempt under way began with */
#ifdef OLD
byte tnodes[2];		/* mempolicy->nodes, changed in place */
#else
byte pol_of[2];		/* mempolicy, a slot */
#endif

/* mm_struct and vm_area_struct */
byte vnodes;		/* vm_policy->nodes */
bit mmap_write;
bit vma_write;
byte mmap_readers;
byte vma_readers;

#ifndef OLD
/* Memory for task policies.  Free if it has no nodes. */
byte nodes[SLOTS];
byte refs[SLOTS];
byte grace[SLOTS];	/* whose RCU sections keep it from being freed */
byte in_rcu;		/* whose RCU sections there are */
#endif

/*
 * For the assertions: the nodes that an allocation of a kind may use by the
 * cpuset as it is, and as it will be when the write returns that is under way,
 * or 0.
 */
byte now[4];
byte next[4];
bit busy[2];		/* in an attempt */
byte may[2];		/* all that applied at a moment of it */
bit dry[2];		/* at a moment of it no node of these was free */
bit impossible[2];	/* at a moment of it there was none of these */

#define WEIGHT(m)	(((m) & 1) + ((m) >> 1 & 1) + ((m) >> 2 & 1))
#define LOWEST(m)	((m) & (8 - (m)))

/* nodes_remap() of one node, LOWEST(rest), from @old to @to */
#define ORD(old)	WEIGHT((old) & (LOWEST(rest) - 1))
#define SECOND(to)	LOWEST((to) & ~LOWEST(to))
#define NTH(to, n)	((n) == 0 -> LOWEST(to) : ((n) == 1 -> SECOND(to) : 4))

/* mpol_rebound_nodes() */
inline rebound(ret, p, old, to) {
#ifdef STATIC
	ret = user & to;
	if
	:: ret == 0 -> ret = to
	:: else
	fi
#else
	rest = p;
	ret = 0;
	do
	:: rest != 0 ->
		ret = ret | NTH(to, ORD(old) % WEIGHT(to));
		rest = rest & ~LOWEST(rest)
	:: else -> break
	od
#endif
}

inline choose(m) {
	if
	:: m = 1
	:: m = 2
	:: m = 3
	:: m = 4
	:: m = 5
	:: m = 6
	:: m = 7
	fi
}

/* There is memory for every thread if these are the sets that apply. */
#ifdef SHORT
#define ENOUGH(set)	true
#else
#define ENOUGH(set)	((set[K0] & ~occupied) != 0 && (set[K1] & ~occupied) != 0)
#endif

/* From now on @set applies to thread @t as well. */
inline applies(t, set) {
	may[t] = may[t] | set;
	if
	:: set == 0 -> impossible[t] = 1
	:: set != 0 && (set & ~occupied) == 0 -> dry[t] = 1
	:: else
	fi
}

#ifndef OLD
/* mpol_put() */
inline put(o) {
	refs[o] = refs[o] - 1;
	if
	:: refs[o] == 0 ->
		grace[o] = in_rcu;
		if
		:: grace[o] == 0 -> nodes[o] = 0
		:: else
		fi
	:: else
	fi
}

inline rcu_lock() {
#ifndef NO_RCU
	in_rcu = in_rcu | (1 << me)
#else
	skip
#endif
}

/* The grace periods end that waited for this section alone. */
inline rcu_unlock() {
#ifndef NO_RCU
	in_rcu = in_rcu & ~(1 << me);
	o = 0;
	do
	:: o < SLOTS ->
		if
		:: grace[o] != 0 ->
			grace[o] = grace[o] & ~(1 << me);
			if
			:: grace[o] == 0 -> nodes[o] = 0
			:: else
			fi
		:: else
		fi;
		o++
	:: else -> break
	od;
	o = 0
#else
	skip
#endif
}
#endif

/* -------------------------------------------------------------- the update */

/* mpol_rebind_mm_begin() up to the locks: nobody allocates under the policy */
inline lock_mm() {
	atomic { mmap_readers == 0 -> mmap_write = 1 };
#ifndef NO_VMA_LOCK
	vma_write = 1;
	vma_readers == 0
#endif
}

inline unlock_mm() {
	d_step { vma_write = 0; mmap_write = 0 }
}

/* write_seqcount_begin(), and mems_allowed |= new */
inline write_begin(t) {
	d_step {
		writing[t] = 1;
		moved[t] = busy[t];
		mems[t] = mems[t] | next[NONE]
	}
}

/* mems_allowed = new, and write_seqcount_end() */
inline write_end(t) {
	d_step { mems[t] = next[NONE]; writing[t] = 0 }
}

/* mpol_rebind_task() */
inline change_policy(t) {
#ifdef OLD
	if
	:: KIND(t) == TASK -> tnodes[t] = next[TASK]
	:: else
	fi
#else
	if
	:: d_step { KIND(t) == TASK && made != NOPOL ->
		refs[made] = refs[made] + 1;
		was = pol_of[t];
		pol_of[t] = made;
		put(was);
		was = 0 }
	:: else
	fi
#endif
}

/* cpuset_try_change_task(); cpuset_change_task_nodemask() of the unpatched kernel */
inline change_task(t) {
	write_begin(t);
#ifdef SPLIT_SECTION
	write_end(t);
	write_begin(t);
#endif
	change_policy(t);
	write_end(t)
}

/* mpol_rebind_mm() of the unpatched kernel */
inline rebind_mm() {
	if
	:: HAS(VMA) && vnodes != next[VMA] ->
		lock_mm();
		vnodes = next[VMA];
		unlock_mm()
	:: else
	fi
}

proctype updater()
{
	byte done, to, rest;
#ifndef OLD
	byte o, was, replaces;
	byte made = NOPOL;
#endif

	do
	:: done < UPDATES ->
		/* The write begins. */
		atomic {
			choose(to);
			d_step {
				next[NONE] = to;
				next[CALLER] = user & to;
				rebound(next[VMA], now[VMA], now[NONE], to);
				rebound(next[TASK], now[TASK], now[NONE], to);
				rest = 0
			};
			if
			:: to != now[NONE] && ENOUGH(next) ->
				d_step {
					if
					:: busy[0] -> applies(0, next[K0])
					:: else
					fi;
					if
					:: busy[1] -> applies(1, next[K1])
					:: else
					fi;
					to = 0
				}
			:: else ->
				d_step {
					next[VMA] = 0; next[TASK] = 0;
					next[NONE] = 0; next[CALLER] = 0;
					to = 0;
					done = UPDATES
				};
				goto out
			fi
		};

#ifdef OLD
		change_task(0);
		rebind_mm();
		change_task(1);
#else
		/* mpol_rebind_task_ready(), which finds what it made for both */
		d_step {
			if
			:: HAS(TASK) && next[TASK] != now[TASK] ->
				do
				:: nodes[o] != 0 -> o++
				:: else -> break
				od;
				made = o;
				o = 0;
				nodes[made] = next[TASK];
				refs[made] = 1;
				replaces = pol_of[(K0 == TASK -> 0 : 1)];
				refs[replaces] = refs[replaces] + 1
			:: else
			fi
		};
#ifdef MEMS_FIRST
		change_task(0);
		change_task(1);
		rebind_mm();
#else
		if
		:: HAS(VMA) && vnodes != next[VMA] ->
			lock_mm();
			vnodes = next[VMA];
#ifdef UNLOCK_EARLY
			unlock_mm();
#endif
		:: else
		fi;
		change_task(0);
		change_task(1);
#ifndef UNLOCK_EARLY
		if
		:: mmap_write -> unlock_mm()
		:: else
		fi;
#endif
#endif
		/* Its turn in the walk: nothing but the count changes. */
		moved[1] = busy[1];

		/* mpol_rebind_end() */
		d_step {
			if
			:: made != NOPOL ->
				put(replaces);
				put(made);
				replaces = 0;
				made = NOPOL
			:: else
			fi
		};
#endif
		/* The write returns. */
		d_step {
			now[VMA] = next[VMA]; now[TASK] = next[TASK];
			now[NONE] = next[NONE]; now[CALLER] = next[CALLER];
			next[VMA] = 0; next[TASK] = 0;
			next[NONE] = 0; next[CALLER] = 0;
			done++
		}
	:: else -> break
	od;
out:
	skip
}

/* ----------------------------------------------------------- the allocation */

#define ALLOWED(m)	((m) & mems[me])

/*
 * One node after the other, from the lowest of @rest on: each look at the mems is
 * one of another moment.
 */
#define walk(nodemask, cpuset, lacking, hit, miss)				\
	do									\
	:: atomic {								\
		d_step {							\
			assert(INTACT);						\
			if							\
			:: (LOWEST(rest) & (nodemask)) &&			\
			   !(LOWEST(rest) & (lacking)) &&			\
			   (!(cpuset) || ALLOWED(LOWEST(rest))) ->		\
				found = LOWEST(rest);				\
				rest = 0					\
			:: else ->						\
				rest = rest & ~LOWEST(rest)			\
			fi							\
		};								\
		if								\
		:: found != 0 -> goto hit					\
		:: found == 0 && rest == 0 -> goto miss				\
		:: else								\
		fi								\
	   }									\
	od

/* The allocation begins; a page fault gets the lock of the VMA, or of the mm. */
inline enter() {
	atomic {
		if
		:: kind == VMA && !vma_write -> vma_readers++; by_vma = 1
		:: kind == VMA && !mmap_write -> mmap_readers++
		:: kind != VMA
		fi;
		d_step {
			busy[me] = 1;
			applies(me, now[kind]);
			if
			:: next[NONE] != 0 -> applies(me, next[kind])
			:: else
			fi
		}
	}
}

inline leave() {
	if
	:: kind == VMA && by_vma -> vma_readers--
	:: kind == VMA && !by_vma -> mmap_readers--
	:: else
	fi;
	by_vma = 0;
	busy[me] = 0; moved[me] = 0;
	may[me] = 0; dry[me] = 0; impossible[me] = 0
}

#ifdef OLD

#define INTACT		true
/* ac->nodemask: the nodes as they are at the moment, or NULL */
#define LIVE		(kind == VMA -> vnodes : tnodes[me])
#define NODEMASK	(dropped -> ANY : LIVE)

/* check_retry_cpuset() */
inline check_retry() {
	atomic {
		if
		:: !dropped && !ALLOWED(LIVE) -> dropped = 1; goto restart
		:: else
		fi
	};
	atomic {
		if
		:: moved[me] -> goto restart
		:: else
		fi
	}
}

proctype allocation(byte me; byte kind)
{
	byte rest, found, first;
	bit dropped, by_vma;

	enter();
	/* policy_nodemask() */
	dropped = (kind == NONE || !ALLOWED(LIVE));
restart:
	skip;
	/* read_mems_allowed_begin() */
	d_step { !writing[me] -> moved[me] = 0 };
	/* ac->preferred_zoneref = first_zones_zonelist() */
	d_step { first = NODEMASK; first = LOWEST(first); rest = ANY & ~(first - 1) };
	walk(NODEMASK, 1, occupied, got_page, no_page_yet);
no_page_yet:
	/* __GFP_NORETRY */
	if
	:: goto nopage
	:: skip
	fi;
	check_retry();
	/* __alloc_pages_may_oom() */
	rest = ANY & ~(first - 1);
	walk(NODEMASK, 1, occupied, got_page, kill);
nopage:
	check_retry();
	goto fail;

got_page:
#if defined(KILLS_ONLY) || defined(ANY_PAGE)
	skip;
#else
	assert(found & may[me]);
#endif
	goto out;
kill:
	/* I3: a process is killed, but at every moment a node was free. */
	assert(dry[me]);
	goto out;
fail:
	/* I3: the same of a page that is not got. */
#ifdef KILLS_ONLY
	skip;
#else
	assert(dry[me] || impossible[me]);
#endif
out:
	skip;
	d_step { first = 0; dropped = 0; found = 0; rest = 0; leave() }
}

#else /* !OLD */

/* Nobody writes to the nodes of a policy while they are used. */
#define INTACT		(pol == NOPOL || nodes[pol] == nm)

/* alloc_policy_replaced() */
#if defined(NO_REFRESH) || defined(BY_COOKIE)
#define REPLACED	false
#else
#define REPLACED	(pol != NOPOL && pol_of[me] != pol)
#endif
/* read_mems_allowed_retry() */
#ifdef NO_SEQ
#define MOVED		false
#else
#define MOVED		moved[me]
#endif

/* alloc_attempt_stale(); if not, look at the nodes of @nm from the first on */
inline check_stale() {
	atomic {
		if
		:: REPLACED || MOVED -> goto start_over
		:: else -> rest = nm
		fi
	}
}

/* zonelist_eligible() */
#define look_eligible(hit, miss)	walk(nm, 1, 0, hit, miss)
/* get_page_from_freelist() */
#define get_page(cpuset, miss)		walk(nm, cpuset, occupied, got_page, miss)

inline unpin() {
#ifndef NO_PIN
	if
	:: pol != NOPOL -> put(pol)
	:: else
	fi;
#endif
	pol = NOPOL
}

proctype allocation(byte me; byte kind)
{
	byte nm, rest, found, o;
	byte pol = NOPOL;
	bit within, by_vma;

	enter();
	atomic {
		if
		:: kind == VMA -> nm = vnodes; goto policy_nodemask
		:: kind == NONE -> nm = ANY; goto restart
		:: kind == CALLER -> nm = user; goto restart
		:: kind == TASK && !(FAST >> me & 1) -> goto again
		/* alloc_pages_task_policy_fast(), which some do without */
		:: kind == TASK && (FAST >> me & 1) ->
			d_step { rcu_lock(); pol = pol_of[me]; nm = nodes[pol] }
		fi
	};
	/* policy_nodemask() */
	if
	:: ALLOWED(nm)
	:: atomic { else ->
#ifdef DROP_BLINDLY
		pol = NOPOL; nm = ANY
#endif
	   }
#ifndef DROP_BLINDLY
		if
		:: REPLACED
		:: atomic { else -> pol = NOPOL; nm = ANY }
		fi
#endif
	fi;
	/* nodemask_within_mems() */
	d_step { within = (pol != NOPOL && pol_of[me] == pol); rest = nm };
	get_page(!within, fast_failed);
fast_failed:
	skip;
	d_step { within = 0; pol = NOPOL; nm = 0; rcu_unlock() };

again:
	skip;
	/* get_task_policy() */
	d_step { rcu_lock(); pol = pol_of[me] };
	do
	:: d_step { refs[pol] != 0 ->
#ifndef NO_PIN
		refs[pol] = refs[pol] + 1;
#endif
		nm = nodes[pol];
		rcu_unlock() };
		break
	:: else ->
		pol = pol_of[me]
	od;

policy_nodemask:
	if
	:: ALLOWED(nm) -> goto restart
	:: else
	fi;
#ifndef DROP_BLINDLY
	if
	:: REPLACED -> goto restart
	:: else
	fi;
#endif
	d_step { unpin(); nm = ANY };

	/* __alloc_pages_slowpath() */
restart:
	if
	:: atomic { REPLACED ->
refresh:
		/* mpol_replaced(), alloc_pages_task_policy_again() */
		skip;
		d_step { unpin(); nm = 0 };
		goto again }
	:: else
	fi;
	/* read_mems_allowed_begin() */
	d_step { !writing[me] -> moved[me] = 0; rest = nm };
#ifdef NO_LOOK_FIRST
	goto eligible;
#endif
	look_eligible(eligible, not_eligible);
not_eligible:
	check_stale();
	/* alloc_make_eligible() */
	d_step {
		if
		:: kind != CALLER -> unpin(); nm = ANY
		:: else
		fi;
		rest = nm
	};
	look_eligible(eligible, hopeless);
hopeless:
	check_stale();
	goto fail;

eligible:
	skip;
	d_step { found = 0; rest = nm };
	get_page(1, no_page_yet);
no_page_yet:
	/* __GFP_NORETRY */
	if
	:: goto nopage
	:: skip
	fi;
	/* __alloc_pages_may_oom() */
	check_stale();
#ifdef NO_LOOK_LAST
	goto kill;
#else
	look_eligible(kill, nopage);
#endif
nopage:
	check_stale();
	look_eligible(fail, start_over);
start_over:
	skip;
	d_step { rest = 0; found = 0 };
#ifdef BY_COOKIE
	if
	:: pol != NOPOL -> goto refresh
	:: else
	fi;
#endif
	goto restart;

got_page:
	/*
	 * I4: after the write has returned, new sets only.  I3: a page outside
	 * all of them has a policy that was dropped.
	 */
#if defined(KILLS_ONLY) || defined(ANY_PAGE)
	skip;
#else
	assert(found & may[me]);
#endif
	goto out;
kill:
	/* I3: a process is killed, but at every moment a node was free. */
	assert(dry[me]);
	goto out;
fail:
	/* I3: the same of a page that is not got.  A caller may ask too much. */
#ifdef KILLS_ONLY
	skip;
#else
	assert(dry[me] || impossible[me]);
#endif
out:
	skip;
	d_step {
		if
		:: in_rcu & (1 << me) -> pol = NOPOL; rcu_unlock()
		:: else
		fi;
		unpin();
		within = 0; nm = 0; rest = 0; found = 0; o = 0;
		leave()
	}
}

#endif /* !OLD */

init
{
	byte m, v, t, rest;

	atomic {
		choose(m);
		choose(v);
		choose(t);
#ifdef STATIC
		user = v;
#else
		if
		:: HAS(CALLER) -> choose(user)
		:: else
		fi;
#endif
#ifdef OCCUPIED
		occupied = OCCUPIED;
#else
		if
		:: occupied = 0
		:: choose(occupied)
		fi;
#endif
		d_step {
			now[NONE] = m;
			now[CALLER] = user & m;
			now[VMA] = v & m;
			now[TASK] = t & m;
#ifdef STATIC
			rebound(now[VMA], v, m, m);
			now[TASK] = now[VMA];
#endif
			rest = 0
		};
		/* What nothing is allocated under need not be varied. */
		if
#ifdef STATIC
		:: ENOUGH(now) && t == ANY
#else
		:: ENOUGH(now) && (v & ~m) == 0 && (t & ~m) == 0 &&
		   (HAS(VMA) || v == m) && (HAS(TASK) || t == m) &&
		   (!HAS(VMA) || !HAS(TASK) || v == t)
#endif
		:: else -> goto out
		fi;
		mems[0] = m; mems[1] = m;
		if
		:: HAS(VMA) -> vnodes = now[VMA]
		:: else
		fi;
#ifdef OLD
		if
		:: K0 == TASK -> tnodes[0] = now[TASK]
		:: else
		fi;
		if
		:: K1 == TASK -> tnodes[1] = now[TASK]
		:: else
		fi;
#else
		pol_of[0] = NOPOL; pol_of[1] = NOPOL;
		if
		:: K0 == TASK -> pol_of[0] = 0; refs[0]++
		:: else
		fi;
		if
		:: K1 == TASK -> pol_of[1] = 0; refs[0]++
		:: else
		fi;
		if
		:: HAS(TASK) -> nodes[0] = now[TASK]
		:: else
		fi;
#endif
		m = 0; v = 0; t = 0;
		run updater();
		run allocation(0, K0);
		run allocation(1, K1)
	};
out:
	skip
}
