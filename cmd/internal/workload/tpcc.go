package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// TPCC is the load of TPC-C (revision 5.11): its tables, its five transactions in their mix, and its consistency
// conditions. It leaves out think and keying times, and is therefore no TPC-C result. Each client works in the
// warehouse of its number. Items and Customers can be made smaller than the standard's for tests.
type TPCC struct {
	Warehouses int
	Items      int // Default 100,000.
	Customers  int // By district; as many orders are loaded. Default 3,000.
}

const districts = 10

func (t *TPCC) items() int     { return orDefault(t.Items, 100000) }
func (t *TPCC) customers() int { return orDefault(t.Customers, 3000) }

func orDefault(n, def int) int {
	if n > 0 {
		return n
	}
	return def
}

const tpccSchema = `
drop table if exists order_line, new_order, orders, history, stock, customer, district, item, warehouse;
create table warehouse (w_id int primary key, w_name varchar(10) not null, w_street_1 varchar(20) not null, w_street_2 varchar(20) not null,
	w_city varchar(20) not null, w_state char(2) not null, w_zip char(9) not null, w_tax numeric(4,4) not null, w_ytd numeric(12,2) not null);
create table district (d_w_id int references warehouse, d_id int, d_name varchar(10) not null, d_street_1 varchar(20) not null,
	d_street_2 varchar(20) not null, d_city varchar(20) not null, d_state char(2) not null, d_zip char(9) not null, d_tax numeric(4,4) not null,
	d_ytd numeric(12,2) not null, d_next_o_id int not null, primary key (d_w_id, d_id));
create table customer (c_w_id int, c_d_id int, c_id int, c_first varchar(16) not null, c_middle char(2) not null, c_last varchar(16) not null,
	c_street_1 varchar(20) not null, c_street_2 varchar(20) not null, c_city varchar(20) not null, c_state char(2) not null, c_zip char(9) not null,
	c_phone char(16) not null, c_since timestamptz not null, c_credit char(2) not null, c_credit_lim numeric(12,2) not null,
	c_discount numeric(4,4) not null, c_balance numeric(12,2) not null, c_ytd_payment numeric(12,2) not null, c_payment_cnt int not null,
	c_delivery_cnt int not null, c_data varchar(500) not null, primary key (c_w_id, c_d_id, c_id),
	foreign key (c_w_id, c_d_id) references district);
create index customer_name on customer (c_w_id, c_d_id, c_last, c_first);
create table history (h_c_id int not null, h_c_d_id int not null, h_c_w_id int not null, h_d_id int not null, h_w_id int not null,
	h_date timestamptz not null, h_amount numeric(6,2) not null, h_data varchar(24) not null);
create table orders (o_w_id int, o_d_id int, o_id int, o_c_id int not null, o_entry_d timestamptz not null, o_carrier_id int,
	o_ol_cnt int not null, o_all_local int not null, primary key (o_w_id, o_d_id, o_id));
create index orders_customer on orders (o_w_id, o_d_id, o_c_id, o_id);
create table new_order (no_w_id int, no_d_id int, no_o_id int, primary key (no_w_id, no_d_id, no_o_id));
create table item (i_id int primary key, i_im_id int not null, i_name varchar(24) not null, i_price numeric(5,2) not null, i_data varchar(50) not null);
create table stock (s_w_id int, s_i_id int, s_quantity int not null, s_dist char(24) not null, s_ytd int not null, s_order_cnt int not null,
	s_remote_cnt int not null, s_data varchar(50) not null, primary key (s_w_id, s_i_id));
create table order_line (ol_w_id int, ol_d_id int, ol_o_id int, ol_number int, ol_i_id int not null, ol_supply_w_id int not null,
	ol_delivery_d timestamptz, ol_quantity int not null, ol_amount numeric(6,2) not null, ol_dist_info char(24) not null,
	primary key (ol_w_id, ol_d_id, ol_o_id, ol_number));
`

// Init implements Workload.
func (t *TPCC) Init(ctx context.Context, conn *pgx.Conn, progress io.Writer) error {
	if _, err := conn.Exec(ctx, tpccSchema); err != nil {
		return fmt.Errorf("make the tables: %w", err)
	}
	rng := rand.New(rand.NewPCG(42, 0))
	if err := t.loadShared(ctx, conn, rng); err != nil {
		return err
	}
	for w := 1; w <= t.Warehouses; w++ {
		began := time.Now()
		if err := t.loadWarehouse(ctx, conn, rng, w); err != nil {
			return fmt.Errorf("warehouse %d: %w", w, err)
		}
		fmt.Fprintf(progress, "warehouse %d of %d loaded in %.1f s\n", w, t.Warehouses, time.Since(began).Seconds())
	}
	_, err := conn.Exec(ctx, `analyze`)
	return err
}

func (t *TPCC) loadShared(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
	if err := copyRows(ctx, conn, "item", []string{"i_id", "i_im_id", "i_name", "i_price", "i_data"}, t.items(), func(i int) []any {
		return []any{int32(i + 1), int32(1 + rng.IntN(10000)), text(rng, 14, 24), cents(100 + rng.IntN(9901)), text(rng, 26, 50)}
	}); err != nil {
		return err
	}
	return copyRows(ctx, conn, "warehouse", []string{"w_id", "w_name", "w_street_1", "w_street_2", "w_city", "w_state", "w_zip", "w_tax", "w_ytd"}, t.Warehouses,
		func(i int) []any {
			return []any{int32(i + 1), text(rng, 6, 10), text(rng, 10, 20), text(rng, 10, 20), text(rng, 10, 20), "ST", zip(rng), rate(rng, 2000),
				cents(districts * t.customers() * 1000)}
		})
}

func (t *TPCC) loadWarehouse(ctx context.Context, conn *pgx.Conn, rng *rand.Rand, w int) error {
	n, now, wid := t.customers(), time.Now().UTC().Truncate(time.Microsecond), int32(w)
	if err := copyRows(ctx, conn, "stock", []string{"s_w_id", "s_i_id", "s_quantity", "s_dist", "s_ytd", "s_order_cnt", "s_remote_cnt", "s_data"}, t.items(),
		func(i int) []any {
			return []any{wid, int32(i + 1), int32(10 + rng.IntN(91)), text(rng, 24, 24), int32(0), int32(0), int32(0), text(rng, 26, 50)}
		}); err != nil {
		return err
	}
	if err := copyRows(ctx, conn, "district", []string{"d_w_id", "d_id", "d_name", "d_street_1", "d_street_2", "d_city", "d_state", "d_zip", "d_tax", "d_ytd", "d_next_o_id"},
		districts, func(i int) []any {
			return []any{wid, int32(i + 1), text(rng, 6, 10), text(rng, 10, 20), text(rng, 10, 20), text(rng, 10, 20), "ST", zip(rng), rate(rng, 2000), cents(n * 1000), int32(n + 1)}
		}); err != nil {
		return err
	}
	if err := copyRows(ctx, conn, "customer", []string{"c_w_id", "c_d_id", "c_id", "c_first", "c_middle", "c_last", "c_street_1", "c_street_2", "c_city", "c_state",
		"c_zip", "c_phone", "c_since", "c_credit", "c_credit_lim", "c_discount", "c_balance", "c_ytd_payment", "c_payment_cnt", "c_delivery_cnt", "c_data"}, districts*n,
		func(i int) []any {
			c := i%n + 1
			last := lastName(c - 1)
			if c > 1000 {
				last = lastName(nonUniform(rng, 255, 0, 999))
			}
			credit := "GC"
			if rng.IntN(10) == 0 {
				credit = "BC"
			}
			return []any{wid, int32(i/n + 1), int32(c), text(rng, 8, 16), "OE", last, text(rng, 10, 20), text(rng, 10, 20), text(rng, 10, 20), "ST", zip(rng),
				"0123456789012345", now, credit, cents(5000000), rate(rng, 5000), cents(-1000), cents(1000), int32(1), int32(0), text(rng, 300, 500)}
		}); err != nil {
		return err
	}
	if err := copyRows(ctx, conn, "history", []string{"h_c_id", "h_c_d_id", "h_c_w_id", "h_d_id", "h_w_id", "h_date", "h_amount", "h_data"}, districts*n, func(i int) []any {
		d := int32(i/n + 1)
		return []any{int32(i%n + 1), d, wid, d, wid, now, cents(1000), text(rng, 12, 24)}
	}); err != nil {
		return err
	}
	return t.loadOrders(ctx, conn, rng, w, now)
}

// loadOrders loads as many orders as there are customers, each customer's once, the last three tenths not delivered.
func (t *TPCC) loadOrders(ctx context.Context, conn *pgx.Conn, rng *rand.Rand, w int, now time.Time) error {
	n, wid := t.customers(), int32(w)
	open := n * 7 / 10 // orders above it are new
	lines := make([]int, districts*n)
	var total int
	for i := range lines {
		lines[i] = 5 + rng.IntN(11)
		total += lines[i]
	}
	var who []int
	if err := copyRows(ctx, conn, "orders", []string{"o_w_id", "o_d_id", "o_id", "o_c_id", "o_entry_d", "o_carrier_id", "o_ol_cnt", "o_all_local"}, districts*n, func(i int) []any {
		if i%n == 0 {
			who = rng.Perm(n)
		}
		var carrier any
		if i%n < open {
			carrier = int32(1 + rng.IntN(10))
		}
		return []any{wid, int32(i/n + 1), int32(i%n + 1), int32(who[i%n] + 1), now, carrier, int32(lines[i]), int32(1)}
	}); err != nil {
		return err
	}
	if err := copyRows(ctx, conn, "new_order", []string{"no_w_id", "no_d_id", "no_o_id"}, districts*(n-open), func(i int) []any {
		return []any{wid, int32(i/(n-open) + 1), int32(open + i%(n-open) + 1)}
	}); err != nil {
		return err
	}
	order, line := 0, 0
	return copyRows(ctx, conn, "order_line", []string{"ol_w_id", "ol_d_id", "ol_o_id", "ol_number", "ol_i_id", "ol_supply_w_id", "ol_delivery_d", "ol_quantity", "ol_amount", "ol_dist_info"},
		total, func(int) []any {
			if line == lines[order] {
				order, line = order+1, 0
			}
			line++
			var delivered any
			amount := cents(1 + rng.IntN(999999))
			if order%n < open {
				delivered, amount = now, cents(0)
			}
			return []any{wid, int32(order/n + 1), int32(order%n + 1), int32(line), int32(1 + rng.IntN(t.items())), wid, delivered, int32(5), amount, text(rng, 24, 24)}
		})
}

// cents is an amount of money as COPY and parameters take it.
func cents(n int) numeric { return numeric{int64(n), -2} }

// rate is a random share below of/10,000.
func rate(rng *rand.Rand, of int) numeric { return numeric{int64(rng.IntN(of + 1)), -4} }

func zip(rng *rand.Rand) string { return fmt.Sprintf("%04d11111", rng.IntN(10000)) }

var syllables = [...]string{"BAR", "OUGHT", "ABLE", "PRI", "PRES", "ESE", "ANTI", "CALLY", "ATION", "EING"}

// lastName is clause 4.3.2.3's.
func lastName(n int) string {
	return syllables[n/100%10] + syllables[n/10%10] + syllables[n%10]
}

// nonUniform is clause 2.1.6's NURand with a constant of 123.
func nonUniform(rng *rand.Rand, a, lo, hi int) int {
	return ((rng.IntN(a+1)|(lo+rng.IntN(hi-lo+1)))+123)%(hi-lo+1) + lo
}

// Check implements Workload: the consistency conditions of clause 3.3.2.
func (t *TPCC) Check(ctx context.Context, conn *pgx.Conn) error {
	var errs []error
	for _, c := range tpccConditions {
		errs = append(errs, expect(ctx, conn, c.what, c.query))
	}
	return errors.Join(errs...)
}

var tpccConditions = []struct{ what, query string }{
	{"1: a warehouse's takings are its districts'", `select w_id, w_ytd, sum(d_ytd) from warehouse join district on d_w_id = w_id group by w_id, w_ytd having w_ytd <> sum(d_ytd)`},
	{"2: the next order follows the last", `select d_w_id, d_id, d_next_o_id, m from district join (select o_w_id, o_d_id, max(o_id) m from orders group by o_w_id, o_d_id) o
		on o_w_id = d_w_id and o_d_id = d_id where d_next_o_id - 1 <> m`},
	{"2: no new order is above the last", `select d_w_id, d_id, d_next_o_id, m from district join (select no_w_id, no_d_id, max(no_o_id) m from new_order group by no_w_id, no_d_id) o
		on no_w_id = d_w_id and no_d_id = d_id where d_next_o_id - 1 < m`},
	{"3: new orders have no gap", `select no_w_id, no_d_id from new_order group by no_w_id, no_d_id having max(no_o_id) - min(no_o_id) + 1 <> count(*)`},
	{"4: orders count their lines", `select o_w_id, o_d_id, o, l from (select o_w_id, o_d_id, sum(o_ol_cnt) o from orders group by o_w_id, o_d_id) a
		join (select ol_w_id, ol_d_id, count(*) l from order_line group by ol_w_id, ol_d_id) b on ol_w_id = o_w_id and ol_d_id = o_d_id where o <> l`},
	{"5: an order without carrier is new", `select o_w_id, o_d_id, o_id from orders left join new_order on no_w_id = o_w_id and no_d_id = o_d_id and no_o_id = o_id
		where (o_carrier_id is null) <> (no_o_id is not null)`},
	{"6: each order counts its lines", `select o_w_id, o_d_id, o_id from orders left join (select ol_w_id, ol_d_id, ol_o_id, count(*) n from order_line group by ol_w_id, ol_d_id, ol_o_id) l
		on ol_w_id = o_w_id and ol_d_id = o_d_id and ol_o_id = o_id where o_ol_cnt is distinct from n`},
	{"7: lines of orders with a carrier are delivered", `select ol_w_id, ol_d_id, ol_o_id, ol_number from order_line join orders on o_w_id = ol_w_id and o_d_id = ol_d_id and o_id = ol_o_id
		where (ol_delivery_d is null) <> (o_carrier_id is null)`},
	{"8: a warehouse's takings are its payments", `select w_id, w_ytd, h from warehouse join (select h_w_id, sum(h_amount) h from history group by h_w_id) p on h_w_id = w_id where w_ytd <> h`},
	{"9: a district's takings are its payments", `select d_w_id, d_id, d_ytd, h from district join (select h_w_id, h_d_id, sum(h_amount) h from history group by h_w_id, h_d_id) p
		on h_w_id = d_w_id and h_d_id = d_id where d_ytd <> h`},
	{"10 and 12: a customer owes what was delivered and not paid", `select c_w_id, c_d_id, c_id, c_balance, c_ytd_payment, l from customer left join
		(select o_w_id, o_d_id, o_c_id, sum(ol_amount) l from orders join order_line on ol_w_id = o_w_id and ol_d_id = o_d_id and ol_o_id = o_id
			where ol_delivery_d is not null group by o_w_id, o_d_id, o_c_id) d on o_w_id = c_w_id and o_d_id = c_d_id and o_c_id = c_id
		where c_balance + c_ytd_payment <> coalesce(l, 0)`},
}

// tpccMix is the share of each transaction in percent (clause 5.2.3).
var tpccMix = []struct {
	kind    string
	percent int
	run     func(t *TPCC, ctx context.Context, c *Client, w int) error
}{
	{"new-order", 45, (*TPCC).newOrder},
	{"payment", 43, (*TPCC).payment},
	{"order-status", 4, (*TPCC).orderStatus},
	{"delivery", 4, (*TPCC).delivery},
	{"stock-level", 4, (*TPCC).stockLevel},
}

// Next implements Workload.
func (t *TPCC) Next(ctx context.Context, c *Client) (string, error) {
	p := c.Rand.IntN(100)
	for _, m := range tpccMix {
		if p -= m.percent; p < 0 {
			return m.kind, m.run(t, ctx, c, c.ID%t.Warehouses+1)
		}
	}
	panic("workload: the mix does not add up to 100 percent")
}
