/*
 * The commit protocol of a transaction that writes to two ranges, with readers at timestamps.
 *
 * Range 0 coordinates, range 1 takes part. Each has a leader, whose locks and promises are volatile, and a replicated
 * log, which is not. The transaction's gateway, and the leaders, may crash between any two steps. Time is
 * discrete; a clock may be wrong by one unit in either direction and says so (I1). Leases do not occur here: a new leader
 * begins above everything that the old one may have promised, which is what I4 gives (range/votes_model_test.go).
 *
 *   I5  nothing is written at or below a timestamp at which a read has been answered
 *   I6  the commit timestamp lies between the arrival of the request and its answer, in true time
 *   I7  nothing the transaction wrote is seen through its locks before its timestamp has passed
 *   I8  a decision is final, and the same in both ranges
 *   and a reader at one timestamp sees all of the transaction or nothing of it.
 *
 * `make model` checks it, and checks that with each mechanism taken away (-D, see check.sh) an assertion fails.
 */

#define MAXT 6 /* how far time goes */
#define E 1    /* how far a clock may be off */

byte now = 2;

/* Durable, by range. */
byte prepared[2]; /* prepare timestamp, 0: none */
byte applied[2];  /* commit timestamp of the write that is there, 0: none */
bool aborted[2];  /* what it prepared was dropped */
byte decision;    /* at range 0: 0 none, 1 aborted, else the commit timestamp + 1 */

/* Volatile, by range. */
bool locked[2];
byte term[2];  /* grows when the leader changes */
byte floor[2]; /* the leader has promised to write nothing at or below */

/* History, for the assertions. */
byte served[2]; /* largest timestamp at which a read was answered */
byte arrived;   /* true time when the commit request arrived */
byte answered;  /* true time when its answer was sent */
bool gateway = true; /* it lives */

byte i, at; /* scratch of d_steps */

#define LATEST (now + E)
#define passed(t) (now > (t)) /* by the earliest time of the best of clocks; others say so later */
#define MAX(a, b) ((a) > (b) -> (a) : (b))

inline drop(r) {
	assert(applied[r] == 0); /* I8 */
	prepared[r] = 0;
	aborted[r] = true;
	locked[r] = false
}

inline apply(r, s) {
	assert(!aborted[r]);    /* I8 */
	assert(s > served[r]);  /* I5 */
	applied[r] = s;
	prepared[r] = 0;
	floor[r] = MAX(floor[r], s)
}

inline release(r, s) {
	assert(now > s); /* I7: whoever takes the lock next reads what was written */
	locked[r] = false
}

proctype Gateway() {
	byte t0 = 0, t1 = 0, p = 0;
	/* Locks: the writes are buffered here. A lock is held as long as the leader that gave it leads. */
	atomic { locked[0] = true; t0 = term[0] }
	atomic { locked[1] = true; t1 = term[1] }
	/* PREPARE */
	atomic {
		if
		:: term[1] == t1 && locked[1] && !aborted[1] ->
#ifdef PREPARE_BELOW_FLOOR
			p = now;
#else
			p = MAX(floor[1] + 1, LATEST);
#endif
			prepared[1] = p
		:: else -> goto end
		fi
	}
	/* DECIDE */
	atomic {
		arrived = now;
		if
		:: decision == 0 && term[0] == t0 && locked[0] ->
#ifdef DECIDE_BELOW_PREPARE
			at = MAX(floor[0] + 1, now);
#else
			at = MAX(MAX(p, LATEST), floor[0] + 1);
#endif
			decision = at + 1;
			assert(at >= arrived); /* I6 */
			apply(0, at)
		:: else -> goto end
		fi
	}
end:	gateway = false
}

/* The gateway is given up at any moment. It may have stopped, or go on and come too late. */
proctype Crash() {
	gateway = false
}

/* Range 0's leader: waits the commit out, answers, tells range 1; or decides to abort what nobody decides. */
proctype Coordinator() {
	byte s;
	do
	:: decision > 1 && locked[0] ->
		s = decision - 1;
#ifndef NO_COMMIT_WAIT
		passed(s);
#endif
		atomic {
			answered = now;
			assert(now > s); /* I6 */
			release(0, s)
		}
	:: decision > 1 && !locked[0] && prepared[1] != 0 ->
		atomic { /* RESOLVE, repeated until it is acknowledged */
			if
			:: prepared[1] != 0 && passed(decision - 1) -> apply(1, decision - 1); release(1, decision - 1)
			:: else
			fi
		}
	:: atomic { !gateway && decision == 0 -> decision = 1; locked[0] = false }
	:: atomic { decision == 1 && prepared[1] != 0 -> drop(1) }
	:: now == MAXT && (decision > 1 -> applied[1] != 0 : true) -> break
	:: timeout -> break
	od
}

/* Range 1's leader: asks the coordinator about what it has prepared when the gateway is silent. */
proctype Participant() {
	do
	:: atomic {
		prepared[1] != 0 && !gateway ->
#ifdef ABORT_UNASKED
			drop(1)
#else
			/* QUERY: an undecided transaction is aborted before the answer. */
			if
			:: decision == 0 -> decision = 1; locked[0] = false; drop(1)
			:: decision == 1 -> drop(1)
			:: decision > 1 && passed(decision - 1) -> apply(1, decision - 1); release(1, decision - 1)
			:: decision > 1 && !passed(decision - 1) -> skip
			fi
#endif
	}
	:: now == MAXT -> break
	:: timeout -> break
	od
}

/* Another node takes over a range: locks are gone but those of prepared transactions; the floor is above all promises. */
proctype Takeover(byte r) {
	atomic {
		term[r]++;
#ifdef FORGET_PREPARED
		prepared[r] = 0;
#endif
		/* Of a commit that is still waited out the lock is kept: the log says that it has not passed. */
		if
		:: r == 1 -> locked[1] = (prepared[1] != 0)
		:: r == 0 -> locked[0] = (decision > 1 && !passed(decision - 1) -> locked[0] : false)
		fi;
		floor[r] = MAX(floor[r], served[r])
	}
}

/* A range answers a read at ts: it has closed ts, and nothing that is prepared at or below is undecided. */
inline read(r, ts, seen) {
	atomic {
#ifndef IGNORE_PREPARED
		!(prepared[r] != 0 && prepared[r] <= ts); /* t_safe = min(closed, prepared - 1) */
#endif
#ifndef NO_FLOOR
		floor[r] = MAX(floor[r], ts);
#endif
		served[r] = MAX(served[r], ts);
		seen = (applied[r] != 0 && applied[r] <= ts -> applied[r] : 0)
	}
}

/* A read-only transaction at one timestamp, on any replicas that are fresh enough. */
proctype Reader() {
	byte ts, s0, s1;
	bool before; /* the transaction had been answered when this one began */
	atomic {
		before = answered != 0;
		if
		:: ts = now     /* whatever its clock says is its latest */
		:: ts = LATEST
		:: ts = LATEST + E
		fi
	}
	if
	:: read(0, ts, s0); read(1, ts, s1)
	:: read(1, ts, s1); read(0, ts, s0)
	fi;
	assert(s0 == s1);           /* all or nothing */
	assert(!(before && s0 == 0)) /* external consistency */
}

proctype Time() {
	do
	:: now < MAXT -> now++
	:: else -> break
	od
}

init {
	atomic {
		run Gateway();
		run Crash();
		run Coordinator();
		run Participant();
		run Takeover(0);
		run Takeover(1);
		run Reader();
		run Time()
	}
}
