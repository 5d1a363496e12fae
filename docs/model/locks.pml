/*
 * What a transaction has read in a range where it takes part in a commit over several: it is locked in the memory of the
 * range's leader only, and must not be overwritten before the transaction commits, whoever leads the range by then.
 *
 * A leader serves as long as its lease. It is followed by another when the lease has run out, who knows no locks, or by
 * one to whom it hands over the locks, whose own lease may end sooner than this one would have: who comes after that one
 * waits for the end of both. The decision is made in
 * another range, at any later time.
 *
 *   I4  leases do not overlap: built in here, see range/votes_model_test.go
 *   I9  whose lock is lost commits nothing
 *   and what was read is what is there at the commit timestamp.
 *
 * docs/model/check.sh checks it, and that an assertion fails with each mechanism taken away.
 */

#define MAXT 4 /* how far time goes */
#define WINDOW 2 /* how far ahead a lease may last */

byte now = 1;
byte until = 1 + WINDOW; /* the lease of who leads now: it serves while now < until */
byte bound;              /* when the last lease that was handed over would have ended */
bool locked;             /* the leader's table holds the transaction's lock */
byte token = 1, held;    /* that of the table, and the one that the transaction was given */
byte floor;              /* the leader commits nothing at or below */
byte promised;           /* until when the lock was said to be certain; 0: nothing was */
byte wrote;              /* when somebody else overwrote what had been read; 0: nobody has */
bool reading;            /* the transaction has read, and has not ended */

#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define serving (now < until)

proctype Transaction() {
	byte s;
	atomic { serving -> locked = true; held = token; reading = true }
	/* PREPARE, by whoever leads now. */
	atomic {
		serving;
		if
#ifdef NO_TOKEN
		:: true
#else
		:: locked && held == token
#endif
#ifdef NO_PROMISE
			-> promised = MAXT + 1
#else
			-> promised = until
#endif
		:: else -> goto end
		fi
	}
	if /* The promise may be renewed, where the lock is still held. */
	:: atomic { serving && locked && held == token -> promised = MAX(promised, until) }
	:: true
	fi;
	/* DECIDE */
	atomic {
		s = now;
		if
		:: s < promised ->
			assert(wrote == 0 || wrote > s);
			floor = MAX(floor, s)
		:: else
		fi
	}
end:
	atomic {
		reading = false;
		promised = 0;
		if
		:: held == token -> locked = false
		:: else
		fi
	}
}

/* Others write what the transaction has read, as soon as no lock is in the way. */
proctype Writer() {
	do
	:: atomic {
		serving && !locked && now > floor ->
		floor = now;
		if
		:: reading && wrote == 0 -> wrote = now
		:: else
		fi
	}
	:: now == MAXT -> break
	od
}

/* The votes come in, or do not. */
proctype Votes() {
	byte w;
	do
	:: atomic { serving -> select(w : 1 .. WINDOW); until = MAX(until, now + w) }
	:: now == MAXT -> break
	od
}

/* A lease runs out and another node gets one; or it is handed over, with the locks. */
proctype Leaders() {
	byte w;
	do
	:: atomic {
#ifdef FORGET_PAST
		!serving ->
#else
		!serving && now >= bound -> /* votes are free of all leaders before */
#endif
		select(w : 1 .. WINDOW);
		until = now + w;
		token++;
		locked = false
	}
	:: atomic {
		serving ->
		bound = MAX(bound, until);
		select(w : 1 .. WINDOW);
		until = now + w
	}
	:: now == MAXT -> break
	od
}

proctype Time() {
	do
	:: now < MAXT -> now++
	:: else -> break
	od
}

init {
	atomic {
		run Transaction();
		run Writer();
		run Votes();
		run Leaders();
		run Time()
	}
}
