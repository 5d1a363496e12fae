package workload

import (
	"context"
	"errors"
	"math/big"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// numeric is value times 10^exp, encoded without a detour through text.
type numeric struct {
	value int64
	exp   int32
}

// NumericValue implements pgtype.NumericValuer.
func (n numeric) NumericValue() (pgtype.Numeric, error) {
	return pgtype.Numeric{Int: big.NewInt(n.value), Exp: n.exp, Valid: true}, nil
}

// errRolledBack is the new order that the standard wants rolled back.
var errRolledBack = errors.New("unused item")

// orderedItem is one line of a new order.
type orderedItem struct{ id, supplier, quantity int }

// newOrder is clause 2.4. One in a hundred names an item that does not exist, and is rolled back.
func (t *TPCC) newOrder(ctx context.Context, c *Client, w int) error {
	d, customer := 1+c.Rand.IntN(districts), t.customer(c)
	lines := make([]orderedItem, 5+c.Rand.IntN(11))
	local := 1
	for i := range lines {
		lines[i] = orderedItem{1 + nonUniform(c.Rand, 8191, 0, t.items()-1), w, 1 + c.Rand.IntN(10)}
		if t.Warehouses > 1 && c.Rand.IntN(100) == 0 {
			lines[i].supplier, local = t.other(c, w), 0
		}
	}
	// In one order for all, or stocks would be locked crosswise.
	slices.SortFunc(lines, func(a, b orderedItem) int {
		if a.supplier != b.supplier {
			return a.supplier - b.supplier
		}
		return a.id - b.id
	})
	if c.Rand.IntN(100) == 0 {
		lines[len(lines)-1].id = t.items() + 1
	}
	err := inTxn(ctx, c, pgx.TxOptions{}, func(tx pgx.Tx) error {
		var order int
		var taxes, discount float64
		var batch pgx.Batch
		batch.Queue(`update district set d_next_o_id = d_next_o_id + 1 from warehouse where d_w_id = $1 and d_id = $2 and w_id = d_w_id
			returning d_next_o_id - 1, (d_tax + w_tax)::float8`, w, d).QueryRow(func(row pgx.Row) error { return row.Scan(&order, &taxes) })
		batch.Queue(`select c_discount::float8 from customer where c_w_id = $1 and c_d_id = $2 and c_id = $3`, w, d, customer).
			QueryRow(func(row pgx.Row) error { return row.Scan(&discount) })
		prices := map[int]float64{}
		ids := make([]int32, len(lines))
		for i, l := range lines {
			ids[i] = int32(l.id)
		}
		batch.Queue(`select i_id, i_price::float8 from item where i_id = any($1)`, ids).Query(func(rows pgx.Rows) error {
			var id int
			var price float64
			_, err := pgx.ForEachRow(rows, []any{&id, &price}, func() error { prices[id] = price; return nil })
			return err
		})
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}
		var writes pgx.Batch
		writes.Queue(`insert into orders values ($1, $2, $3, $4, now(), null, $5, $6)`, w, d, order, customer, len(lines), local)
		writes.Queue(`insert into new_order values ($1, $2, $3)`, w, d, order)
		for i, l := range lines {
			price, ok := prices[l.id]
			if !ok {
				return errRolledBack
			}
			remote := 0
			if l.supplier != w {
				remote = 1
			}
			writes.Queue(`update stock set s_quantity = case when s_quantity >= $3 + 10 then s_quantity - $3 else s_quantity - $3 + 91 end,
				s_ytd = s_ytd + $3, s_order_cnt = s_order_cnt + 1, s_remote_cnt = s_remote_cnt + $4 where s_w_id = $1 and s_i_id = $2`, l.supplier, l.id, l.quantity, remote)
			amount := cents(int(float64(l.quantity)*price*(1+taxes)*(1-discount)*100 + .5))
			writes.Queue(`insert into order_line select $1, $2, $3, $4, s_i_id, s_w_id, null, $5, $6, s_dist from stock where s_w_id = $7 and s_i_id = $8`,
				w, d, order, i+1, l.quantity, amount, l.supplier, l.id)
		}
		return tx.SendBatch(ctx, &writes).Close()
	})
	if errors.Is(err, errRolledBack) {
		return nil
	}
	return err
}

func (t *TPCC) customer(c *Client) int { return 1 + nonUniform(c.Rand, 1023, 0, t.customers()-1) }

func (t *TPCC) other(c *Client, w int) int {
	o := 1 + c.Rand.IntN(t.Warehouses-1)
	if o >= w {
		o++
	}
	return o
}

// byName finds the customer in the middle of those with a last name (clause 2.5.2.2).
func (t *TPCC) byName(ctx context.Context, tx pgx.Tx, c *Client, w, d int) (int, error) {
	name := lastName(nonUniform(c.Rand, 255, 0, min(999, t.customers()-1)))
	rows, err := tx.Query(ctx, `select c_id from customer where c_w_id = $1 and c_d_id = $2 and c_last = $3 order by c_first`, w, d, name)
	if err != nil {
		return 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil || len(ids) == 0 {
		return t.customer(c), err
	}
	return ids[(len(ids)+1)/2-1], nil
}

// payment is clause 2.5.
func (t *TPCC) payment(ctx context.Context, c *Client, w int) error {
	d := 1 + c.Rand.IntN(districts)
	cw, cd := w, d
	if t.Warehouses > 1 && c.Rand.IntN(100) < 15 {
		cw, cd = t.other(c, w), 1+c.Rand.IntN(districts)
	}
	named := c.Rand.IntN(100) < 60
	customer, amount := t.customer(c), cents(100+c.Rand.IntN(499901))
	return inTxn(ctx, c, pgx.TxOptions{}, func(tx pgx.Tx) (err error) {
		if named {
			if customer, err = t.byName(ctx, tx, c, cw, cd); err != nil {
				return err
			}
		}
		var batch pgx.Batch
		batch.Queue(`update customer set c_balance = c_balance - $4, c_ytd_payment = c_ytd_payment + $4, c_payment_cnt = c_payment_cnt + 1,
			c_data = case c_credit when 'BC' then left(concat_ws(' ', $3::int, $2::int, $1::int, $5::int, $6::int, $4::numeric) || '|' || c_data, 500) else c_data end
			where c_w_id = $1 and c_d_id = $2 and c_id = $3`, cw, cd, customer, amount, d, w)
		batch.Queue(`insert into history values ($1, $2, $3, $4, $5, now(), $6, 'payment')`, customer, cd, cw, d, w, amount)
		// The hottest rows last: they are locked until the commit.
		batch.Queue(`update district set d_ytd = d_ytd + $3 where d_w_id = $1 and d_id = $2`, w, d, amount)
		batch.Queue(`update warehouse set w_ytd = w_ytd + $2 where w_id = $1`, w, amount)
		return tx.SendBatch(ctx, &batch).Close()
	})
}

// orderStatus is clause 2.6, read only.
func (t *TPCC) orderStatus(ctx context.Context, c *Client, w int) error {
	d, named := 1+c.Rand.IntN(districts), c.Rand.IntN(100) < 60
	customer := t.customer(c)
	return inTxn(ctx, c, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		if named {
			if customer, err = t.byName(ctx, tx, c, w, d); err != nil {
				return err
			}
		}
		var balance float64
		if err := tx.QueryRow(ctx, `select c_balance::float8 from customer where c_w_id = $1 and c_d_id = $2 and c_id = $3`, w, d, customer).Scan(&balance); err != nil {
			return err
		}
		var order, count int
		err = tx.QueryRow(ctx, `select o_id, o_ol_cnt from orders where o_w_id = $1 and o_d_id = $2 and o_c_id = $3 order by o_id desc limit 1`, w, d, customer).Scan(&order, &count)
		if err != nil {
			return ignoreNone(err)
		}
		rows, err := tx.Query(ctx, `select ol_i_id, ol_supply_w_id, ol_quantity, ol_amount::float8, ol_delivery_d from order_line
			where ol_w_id = $1 and ol_d_id = $2 and ol_o_id = $3`, w, d, order)
		if err != nil {
			return err
		}
		n := 0
		for rows.Next() {
			n++
		}
		if rows.Err() == nil && n != count {
			return errors.New("an order does not have the lines it counts")
		}
		return rows.Err()
	})
}

// delivery is clause 2.7: the oldest new order of each district, all in one transaction.
func (t *TPCC) delivery(ctx context.Context, c *Client, w int) error {
	carrier := 1 + c.Rand.IntN(10)
	return inTxn(ctx, c, pgx.TxOptions{}, func(tx pgx.Tx) error {
		for d := 1; d <= districts; d++ {
			var order, customer int
			err := tx.QueryRow(ctx, `select no_o_id from new_order where no_w_id = $1 and no_d_id = $2 order by no_o_id limit 1 for update`, w, d).Scan(&order)
			if errors.Is(err, pgx.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			var amount pgtype.Numeric
			var batch pgx.Batch
			batch.Queue(`delete from new_order where no_w_id = $1 and no_d_id = $2 and no_o_id = $3`, w, d, order)
			batch.Queue(`update orders set o_carrier_id = $4 where o_w_id = $1 and o_d_id = $2 and o_id = $3 returning o_c_id`, w, d, order, carrier).
				QueryRow(func(row pgx.Row) error { return row.Scan(&customer) })
			batch.Queue(`update order_line set ol_delivery_d = now() where ol_w_id = $1 and ol_d_id = $2 and ol_o_id = $3`, w, d, order)
			batch.Queue(`select sum(ol_amount) from order_line where ol_w_id = $1 and ol_d_id = $2 and ol_o_id = $3`, w, d, order).
				QueryRow(func(row pgx.Row) error { return row.Scan(&amount) })
			if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `update customer set c_balance = c_balance + $4, c_delivery_cnt = c_delivery_cnt + 1
				where c_w_id = $1 and c_d_id = $2 and c_id = $3`, w, d, customer, amount); err != nil {
				return err
			}
		}
		return nil
	})
}

// stockLevel is clause 2.8, read only.
func (t *TPCC) stockLevel(ctx context.Context, c *Client, w int) error {
	d, threshold := 1+c.Rand.IntN(districts), 10+c.Rand.IntN(11)
	return inTxn(ctx, c, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var low int
		return tx.QueryRow(ctx, `select count(distinct s_i_id) from district join order_line on ol_w_id = d_w_id and ol_d_id = d_id
			and ol_o_id >= d_next_o_id - 20 and ol_o_id < d_next_o_id join stock on s_w_id = d_w_id and s_i_id = ol_i_id
			where d_w_id = $1 and d_id = $2 and s_quantity < $3`, w, d, threshold).Scan(&low)
	})
}
