package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
)

// Bank moves money between accounts. The sum of all balances holds.
type Bank struct{ Accounts int }

const initialBalance = 1000

// Init implements Workload.
func (b *Bank) Init(ctx context.Context, conn *pgx.Conn, _ io.Writer) error {
	if _, err := conn.Exec(ctx, `drop table if exists bank; create table bank (id int primary key, balance bigint not null)`); err != nil {
		return err
	}
	return copyRows(ctx, conn, "bank", []string{"id", "balance"}, b.Accounts, func(i int) []any { return []any{int32(i), int64(initialBalance)} })
}

// Next implements Workload: three transfers for each audit.
func (b *Bank) Next(ctx context.Context, c *Client) (string, error) {
	if c.Rand.IntN(4) == 0 {
		var total, n int64
		err := c.Conn.QueryRow(ctx, `select sum(balance)::bigint, count(*) from bank`).Scan(&total, &n)
		if err == nil && total != n*initialBalance {
			err = fmt.Errorf("%d accounts hold %d", n, total)
		}
		return "audit", err
	}
	from := c.Rand.IntN(b.Accounts)
	to := (from + 1 + c.Rand.IntN(b.Accounts-1)) % b.Accounts
	amount := 1 + c.Rand.IntN(10)
	return "transfer", inTxn(ctx, c, pgx.TxOptions{}, func(tx pgx.Tx) error {
		var balance int64
		if err := tx.QueryRow(ctx, `select balance from bank where id = $1 for update`, from).Scan(&balance); err != nil {
			return err
		}
		if balance < int64(amount) {
			return nil
		}
		var batch pgx.Batch
		batch.Queue(`update bank set balance = balance - $2 where id = $1`, from, amount)
		batch.Queue(`update bank set balance = balance + $2 where id = $1`, to, amount)
		return tx.SendBatch(ctx, &batch).Close()
	})
}

// Check implements Workload.
func (b *Bank) Check(ctx context.Context, conn *pgx.Conn) error {
	return errors.Join(
		expect(ctx, conn, "the total holds", fmt.Sprintf(`select sum(balance), count(*) from bank having sum(balance) <> count(*) * %d`, initialBalance)),
		expect(ctx, conn, "no balance is negative", `select id, balance from bank where balance < 0`))
}

// YCSB is one of the Yahoo! Cloud Serving Benchmark's mixes, A to F, over one table of a key and a value. Reads and
// updates prefer some keys (Zipf's law), as the paper has it (Cooper et al., SoCC 2010); D prefers the newest.
type YCSB struct {
	Mix  byte // 'A' to 'F'; 'K' reads and writes keys evenly
	Rows int
	Read float64 // share of reads of mix K
}

// Init implements Workload.
func (y *YCSB) Init(ctx context.Context, conn *pgx.Conn, _ io.Writer) error {
	if _, err := conn.Exec(ctx, `drop table if exists usertable; create table usertable (id bigint primary key, value text not null)`); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	return copyRows(ctx, conn, "usertable", []string{"id", "value"}, y.Rows, func(i int) []any { return []any{int64(i), text(rng, 100, 100)} })
}

// hot returns a row number, small ones more often by Zipf's law, scattered over the table.
func (y *YCSB) hot(rng *rand.Rand) int64 {
	n := rand.NewZipf(rng, 1.1, 1, uint64(y.Rows-1)).Uint64()
	return int64((n * 0x9E3779B97F4A7C15) % uint64(y.Rows))
}

// Next implements Workload.
func (y *YCSB) Next(ctx context.Context, c *Client) (string, error) {
	share := map[byte][4]float64{ // read, update, insert, scan; the rest reads, then updates
		'A': {.5, .5, 0, 0}, 'B': {.95, .05, 0, 0}, 'C': {1, 0, 0, 0}, 'D': {.95, 0, .05, 0}, 'E': {0, 0, .05, .95}, 'F': {.5, 0, 0, 0},
		'K': {y.Read, 1 - y.Read, 0, 0},
	}[y.Mix]
	p := c.Rand.Float64()
	key := y.hot(c.Rand)
	switch {
	case y.Mix == 'K':
		key = c.Rand.Int64N(int64(y.Rows))
	case y.Mix == 'D':
		key = int64(float64(y.Rows) * (1 - math.Pow(c.Rand.Float64(), 4)/10))
	}
	var value string
	switch {
	case p < share[0]:
		return "read", ignoreNone(c.Conn.QueryRow(ctx, `select value from usertable where id = $1`, key).Scan(&value))
	case p < share[0]+share[1]:
		_, err := c.Conn.Exec(ctx, `update usertable set value = $2 where id = $1`, key, text(c.Rand, 100, 100))
		return "update", err
	case p < share[0]+share[1]+share[2]:
		// Never twice: above the loaded ones, by client.
		id := int64(y.Rows) + c.Rand.Int64N(math.MaxInt32)<<16 + int64(c.ID)
		_, err := c.Conn.Exec(ctx, `insert into usertable values ($1, $2) on conflict do nothing`, id, text(c.Rand, 100, 100))
		return "insert", err
	case share[3] > 0:
		rows, err := c.Conn.Query(ctx, `select id, value from usertable where id >= $1 order by id limit $2`, key, 1+c.Rand.IntN(100))
		if err != nil {
			return "scan", err
		}
		rows.Close()
		return "scan", rows.Err()
	}
	return "read-modify-write", inTxn(ctx, c, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `select value from usertable where id = $1 for update`, key).Scan(&value); err != nil {
			return ignoreNone(err)
		}
		_, err := tx.Exec(ctx, `update usertable set value = $2 where id = $1`, key, text(c.Rand, 100, 100))
		return err
	})
}

func ignoreNone(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// Check implements Workload: nothing but the rows themselves must hold.
func (y *YCSB) Check(ctx context.Context, conn *pgx.Conn) error {
	return expect(ctx, conn, "no row is lost", fmt.Sprintf(`select count(*) from usertable having count(*) < %d`, y.Rows))
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// text is a random string of lo to hi letters.
func text(rng *rand.Rand, lo, hi int) string {
	b := make([]byte, lo+rng.IntN(hi-lo+1))
	for i := range b {
		b[i] = letters[rng.IntN(len(letters))]
	}
	return string(b)
}
