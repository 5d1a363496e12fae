package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func connectTo(t *testing.T, ctx context.Context, s *Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+s.SQLAddr()+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, ctx context.Context, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// failing returns the SQLSTATE that sql ends with, "" for none or a lost connection.
func failing(ctx context.Context, conn *pgx.Conn, sql string) <-chan string {
	code := make(chan string, 1)
	go func() {
		_, err := conn.Exec(ctx, sql)
		var pg *pgconn.PgError
		errors.As(err, &pg)
		if pg == nil {
			code <- fmt.Sprint(err)
			return
		}
		code <- pg.Code
	}()
	return code
}

// awaitRow asks until the query has a row, and scans it.
func awaitRow(t *testing.T, ctx context.Context, conn *pgx.Conn, sql string, into ...any) {
	t.Helper()
	for {
		err := conn.QueryRow(ctx, sql).Scan(into...)
		if err == nil {
			return
		}
		if !errors.Is(err, pgx.ErrNoRows) || ctx.Err() != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// TestSessionsOfOtherNodes: what PostgreSQL lets a session see of others and do to them works whatever node they are on.
func TestSessionsOfOtherNodes(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d := startDemo(t, t.TempDir())
	defer d.Stop()
	one, two, three := connectTo(t, ctx, d.Servers[0]), connectTo(t, ctx, d.Servers[1]), connectTo(t, ctx, d.Servers[2])
	execute(t, ctx, one, `create table t (id int primary key, v int); insert into t values (1, 0), (2, 0)`)

	t.Run("activity", func(t *testing.T) {
		var n int
		if err := three.QueryRow(ctx, `select count(*) from pg_stat_activity where pid in ($1, $2)`,
			int32(one.PgConn().PID()), int32(two.PgConn().PID())).Scan(&n); err != nil || n != 2 {
			t.Errorf("node 3 sees %d of 2 sessions, %v", n, err)
		}
	})

	t.Run("counters", func(t *testing.T) {
		execute(t, ctx, two, `create table counted (id int primary key, v int, filler text)`)
		execute(t, ctx, two, `create index counted_v on counted (v)`)
		execute(t, ctx, one, `insert into counted select g, g, repeat('x', 100) from generate_series(1, 1000) g`)
		execute(t, ctx, two, `update counted set v = 0 where id <= 10`)
		execute(t, ctx, three, `delete from counted where id = 1`)
		counts := func(conn *pgx.Conn) (got [6]int64) {
			if err := conn.QueryRow(ctx, `select n_tup_ins, n_tup_upd, n_tup_del, n_live_tup, idx_scan, seq_scan from pg_stat_user_tables where relname = 'counted'`).
				Scan(&got[0], &got[1], &got[2], &got[3], &got[4], &got[5]); err != nil {
				t.Fatal(err)
			}
			if got[3] < 900 || got[3] > 1000 { // a refresh of statistics meanwhile makes it less than exact
				t.Errorf("%d live rows", got[3])
			}
			got[3] = 0
			return got
		}
		if got := counts(three); got != [6]int64{1000, 10, 1, 0, 2, 0} {
			t.Errorf("counted are %v", got)
		}
		// The last node to answer may not have learnt yet that it leads the ranges of the table.
		var rows, index, all int64
		awaitRow(t, ctx, three, `select pg_table_size('counted'), pg_relation_size('counted_v'), pg_total_relation_size('counted') where pg_table_size('counted') > 0`, &rows, &index, &all)
		if rows < 100*1000 || index < 4*1000 || rows+index != all {
			t.Errorf("the table takes %d bytes, its index %d, both %d", rows, index, all)
		}
		var database int64
		if err := one.QueryRow(ctx, `select pg_database_size(current_database())`).Scan(&database); err != nil || database < all {
			t.Errorf("the database takes %d bytes, one table %d, %v", database, all, err)
		}
		execute(t, ctx, one, `select pg_stat_reset()`)
		if got := counts(two); got != [6]int64{} {
			t.Errorf("after a reset, counted are %v", got)
		}
	})

	t.Run("exclusion constraints", func(t *testing.T) {
		awaitRow(t, ctx, one, fmt.Sprintf(`select 1 from meridian.nodes where cluster_version >= %d`, versionExclusions), new(int))
		execute(t, ctx, one, `create extension btree_gist`)
		execute(t, ctx, one, `create table booked (room int, during int4range, exclude using gist (room with =, during with &&))`)
		execute(t, ctx, one, `create table once (a int unique deferrable)`)
		for _, level := range []string{"serializable", "repeatable read", "read committed"} {
			execute(t, ctx, one, `delete from booked`)
			execute(t, ctx, one, `delete from once`)
			var wg sync.WaitGroup
			var done atomic.Int32
			for w := range 6 {
				conn := connectTo(t, ctx, d.Servers[w%3])
				wg.Go(func() {
					for i := range 12 {
						// The snapshot of the transaction, if it has one, is older than what others write meanwhile.
						for _, q := range []string{`begin isolation level ` + level, `select count(*) from booked`,
							fmt.Sprintf(`insert into booked values (%d, int4range(%d, %d))`, i%2, (w+i)%5*2, (w+i)%5*2+3),
							fmt.Sprintf(`insert into once values (%d)`, 100*(i%2)+(w+i)%5), `commit`} {
							if _, err := conn.Exec(ctx, q); err != nil {
								var pg *pgconn.PgError
								if !errors.As(err, &pg) || pg.Code != "23P01" && pg.Code != "23505" && pg.Code != "40001" {
									t.Errorf("%s: %v", q, err)
								}
								conn.Exec(ctx, `rollback`)
								break
							}
							if q == `commit` {
								done.Add(1)
							}
						}
					}
				})
			}
			wg.Wait()
			var rows, overlaps, twice int
			if err := one.QueryRow(ctx, `select count(*), (select count(*) from booked a, booked b where a.room = b.room and a.during && b.during) from booked`).
				Scan(&rows, &overlaps); err != nil {
				t.Fatal(err)
			}
			if err := one.QueryRow(ctx, `select count(*) - count(distinct a) from once`).Scan(&twice); err != nil || twice != 0 {
				t.Errorf("%s: %d rows are there twice, %v", level, twice, err)
			}
			// Each row overlaps itself.
			if rows == 0 || rows != overlaps || rows != int(done.Load()) {
				t.Errorf("%s: %d rows of %d commits, %d pairs that overlap", level, rows, done.Load(), overlaps)
			}
		}
	})

	t.Run("cancel and terminate", func(t *testing.T) {
		victim := connectTo(t, ctx, d.Servers[1])
		pid := victim.PgConn().PID()
		code := failing(ctx, victim, `select pg_sleep(1000)`)
		awaitRow(t, ctx, three, fmt.Sprintf(`select 1 from pg_stat_activity where pid = %d and state = 'active' and query like '%%sleep%%'`, pid), new(int))
		var ok bool
		if err := three.QueryRow(ctx, `select pg_cancel_backend($1)`, int32(pid)).Scan(&ok); err != nil || !ok {
			t.Errorf("pg_cancel_backend: %t, %v", ok, err)
		}
		if got := <-code; got != "57014" {
			t.Errorf("the statement ended with %s", got)
		}
		if err := one.QueryRow(ctx, `select pg_terminate_backend($1)`, int32(pid)).Scan(&ok); err != nil || !ok {
			t.Errorf("pg_terminate_backend: %t, %v", ok, err)
		}
		if got := <-failing(ctx, victim, `select 1`); got != "57P01" {
			t.Errorf("the next statement ended with %s", got)
		}
		// A client hears of the end before the session is gone.
		awaitRow(t, ctx, one, fmt.Sprintf(`select 1 where not exists (select 1 from pg_stat_activity where pid = %d)`, pid), new(int))
		for _, pid := range []int32{int32(pid), 3<<20 + 99999, 77<<20 + 1, -5, 0} {
			if err := one.QueryRow(ctx, `select pg_terminate_backend($1)`, pid).Scan(&ok); err != nil || ok {
				t.Errorf("pg_terminate_backend of nobody (%d): %t, %v", pid, ok, err)
			}
		}
	})

	t.Run("cancel request at another node", func(t *testing.T) {
		cancelAt := func(s *Server, pid uint32, key []byte) {
			conn, err := net.Dial("tcp", s.SQLAddr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			b := binary.BigEndian.AppendUint32(nil, uint32(12+len(key)))
			b = binary.BigEndian.AppendUint32(b, 1234<<16|5678)
			b = append(binary.BigEndian.AppendUint32(b, pid), key...)
			conn.Write(b)
			conn.Read(make([]byte, 1)) // until the node closes it
		}
		pid, key := two.PgConn().PID(), two.PgConn().SecretKey()
		code := failing(ctx, two, `select pg_sleep(1000)`)
		awaitRow(t, ctx, three, fmt.Sprintf(`select 1 from pg_stat_activity where pid = %d and state = 'active' and query like '%%sleep%%'`, pid), new(int))
		wrong := slices.Clone(key)
		wrong[0] ^= 1
		cancelAt(d.Servers[0], pid, wrong)
		cancelAt(d.Servers[0], 77<<20, key)
		select {
		case got := <-code:
			t.Fatalf("a wrong key ended the statement with %s", got)
		default:
		}
		cancelAt(d.Servers[0], pid, key)
		if got := <-code; got != "57014" {
			t.Errorf("the statement ended with %s", got)
		}
	})

	t.Run("transactions", func(t *testing.T) {
		execute(t, ctx, one, `begin`)
		execute(t, ctx, one, `update t set v = 1 where id = 1`)
		execute(t, ctx, two, `begin`)
		blocked := make(chan error, 1)
		go func() {
			_, err := two.Exec(ctx, `update t set v = 2 where id = 1`)
			blocked <- err
		}()
		var node int64
		var pid int32
		var ranges int
		var statement string
		awaitRow(t, ctx, three, `select node, session_pid, ranges, statement from meridian.transactions where state = 'waiting'`, &node, &pid, &ranges, &statement)
		if node != 2 || uint32(pid) != two.PgConn().PID() || ranges != 1 || statement != `update t set v = $1 where id = $2` {
			t.Errorf("the waiting transaction: node %d, session %d, %d ranges, %q", node, pid, ranges, statement)
		}
		awaitRow(t, ctx, three, `select session_pid, statement from meridian.transactions where state = 'active' and node = 1`, &pid, &statement)
		if uint32(pid) != one.PgConn().PID() || statement != `update t set v = $1 where id = $2` {
			t.Errorf("the holder: session %d, %q", pid, statement)
		}
		var began time.Time
		if err := three.QueryRow(ctx, `select xact_start from pg_stat_activity where pid = $1`, pid).Scan(&began); err != nil || time.Since(began) > time.Hour {
			t.Errorf("xact_start: %v, %v", began, err)
		}
		execute(t, ctx, one, `rollback`)
		if err := <-blocked; err != nil {
			t.Error(err)
		}
		execute(t, ctx, two, `rollback`)
		var left int
		if err := three.QueryRow(ctx, `select count(*) from meridian.transactions where session_pid in ($1, $2)`,
			int32(one.PgConn().PID()), int32(two.PgConn().PID())).Scan(&left); err != nil || left != 0 {
			t.Errorf("%d transactions are left, %v", left, err)
		}
	})

	t.Run("advisory locks", func(t *testing.T) {
		execute(t, ctx, one, `select pg_advisory_lock(7)`)
		var got bool
		if err := two.QueryRow(ctx, `select pg_try_advisory_lock(7)`).Scan(&got); err != nil || got {
			t.Errorf("node 2 got a lock that node 1 holds: %t, %v", got, err)
		}
		execute(t, ctx, one, `select pg_advisory_unlock(7)`)
		if err := two.QueryRow(ctx, `select pg_try_advisory_lock(7)`).Scan(&got); err != nil || !got {
			t.Errorf("node 2 did not get a free lock: %v", err)
		}
	})

	t.Run("notifications", func(t *testing.T) {
		execute(t, ctx, three, `listen news`)
		execute(t, ctx, one, `listen news`)
		// Each is sent after the one before was answered, through another node: all hear them in that order.
		for i := range 10 {
			conn := []*pgx.Conn{one, two, three}[i%3]
			execute(t, ctx, conn, `begin`)
			if i%2 == 0 {
				execute(t, ctx, conn, `update t set v = v + 1 where id = 2`)
			}
			execute(t, ctx, conn, `select pg_notify('news', $1)`, fmt.Sprint(i))
			execute(t, ctx, conn, `commit`)
		}
		execute(t, ctx, two, `begin; notify news, 'never'; rollback`)
		execute(t, ctx, two, `notify other, 'elsewhere'`)
		execute(t, ctx, two, `notify news, 'last'`)
		for who, conn := range map[string]*pgx.Conn{"node 1": one, "node 3": three} {
			var got []string
			for len(got) == 0 || got[len(got)-1] != "last" {
				n, err := conn.WaitForNotification(ctx)
				if err != nil {
					t.Fatalf("%s: %v after %v", who, err, got)
				}
				got = append(got, n.Payload)
			}
			if want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "last"}; !slices.Equal(got, want) {
				t.Errorf("%s heard %v", who, got)
			}
		}
	})
}
