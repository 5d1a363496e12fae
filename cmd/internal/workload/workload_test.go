package workload

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/server"
)

func demo(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, err := server.StartDemo(ctx, server.DemoConfig{SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Stop() })
	var urls []string
	for _, s := range d.Servers {
		urls = append(urls, "postgres://postgres@"+s.SQLAddr()+"/postgres?sslmode=disable")
	}
	return urls
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// TestWorkloads loads each workload small, runs it with clients at every node, and checks what must hold; then
// it breaks that and expects the check to say so.
func TestWorkloads(t *testing.T) {
	urls := demo(t)
	ctx := t.Context()
	tpcc := &TPCC{Warehouses: 2, Items: 200, Customers: 30}
	for _, c := range []struct {
		name  string
		w     Workload
		ops   int
		kinds []string
		spoil map[string]string // statement -> what the check says
	}{
		{"bank", &Bank{Accounts: 20}, 60, []string{"audit", "transfer"}, map[string]string{"update bank set balance = balance + 1 where id = 3": "the total holds"}},
		{"kv", &YCSB{Mix: 'K', Rows: 50, Read: .5}, 40, []string{"read", "update"}, map[string]string{"delete from usertable where id = 7": "no row is lost"}},
		{"ycsb-d", &YCSB{Mix: 'D', Rows: 50}, 60, []string{"read"}, nil},
		{"ycsb-e", &YCSB{Mix: 'E', Rows: 50}, 40, []string{"scan"}, nil},
		{"ycsb-f", &YCSB{Mix: 'F', Rows: 50}, 40, []string{"read", "read-modify-write"}, nil},
		{"tpcc", tpcc, 150, []string{"delivery", "new-order", "order-status", "payment", "stock-level"}, map[string]string{
			"update warehouse set w_ytd = w_ytd + 1 where w_id = 2":                                                                                            "8: ",
			"update district set d_next_o_id = d_next_o_id + 1 where d_w_id = 1 and d_id = 3":                                                                  "2: ",
			"delete from order_line where ol_w_id = 1 and ol_d_id = 2 and ol_o_id = 5 and ol_number = 1":                                                       "4: ",
			"update customer set c_balance = c_balance + 1 where c_w_id = 1 and c_d_id = 1 and c_id = 1":                                                       "10 and 12: ",
			"delete from new_order where no_w_id = 1 and no_d_id = 9 and no_o_id = (select max(no_o_id) - 2 from new_order where no_w_id = 1 and no_d_id = 9)": "3: ",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			admin := connect(t, urls[0])
			if err := c.w.Init(ctx, admin, io.Discard); err != nil {
				t.Fatal(err)
			}
			if err := c.w.Check(ctx, admin); err != nil {
				t.Fatalf("freshly loaded: %v", err)
			}
			var mu sync.Mutex
			seen := map[string]int{}
			var wg sync.WaitGroup
			for i, url := range urls {
				client := &Client{ID: i, Conn: connect(t, url)}
				wg.Go(func() {
					for op := range c.ops {
						for {
							client.Rand = rand.New(rand.NewPCG(uint64(i), uint64(op)))
							kind, err := c.w.Next(ctx, client)
							if Retryable(err) {
								continue
							}
							if err != nil {
								t.Errorf("%s: %v", kind, err)
							}
							mu.Lock()
							seen[kind]++
							mu.Unlock()
							break
						}
					}
				})
			}
			wg.Wait()
			for _, k := range c.kinds {
				if seen[k] == 0 {
					t.Errorf("no %s in %v", k, seen)
				}
			}
			if err := c.w.Check(ctx, admin); err != nil {
				t.Error(err)
			}
			for statement, want := range c.spoil {
				if tag, err := admin.Exec(ctx, statement); err != nil || tag.RowsAffected() != 1 {
					t.Errorf("%s: %v, %v", statement, tag, err)
				}
				if err := c.w.Check(ctx, admin); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("after %q the check says %v, want %q", statement, err, want)
				}
			}
		})
	}
}

// stub answers as it is told.
type stub struct{ fail func(n int) error }

func (*stub) Init(context.Context, *pgx.Conn, io.Writer) error { return nil }
func (*stub) Check(context.Context, *pgx.Conn) error           { return nil }
func (s *stub) Next(_ context.Context, c *Client) (string, error) {
	return "op", s.fail(c.Rand.IntN(1 << 30))
}

// TestExecute: rates, the final table, and a failure that is not hidden by what went well.
func TestExecute(t *testing.T) {
	urls := demo(t)
	var out strings.Builder
	if err := Execute(t.Context(), &stub{func(int) error { return nil }}, Options{URLs: urls, Clients: 2, Time: 300 * time.Millisecond, Every: 100 * time.Millisecond, Rate: 50, Out: &out}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "ops/s") || !strings.Contains(out.String(), "| op | ") {
		t.Error(out.String())
	}
	err := Execute(t.Context(), &stub{func(n int) error { return fmt.Errorf("broken %d", n) }}, Options{URLs: urls, Time: 50 * time.Millisecond, Rate: 100, Out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "op: broken") {
		t.Errorf("a run that failed ended with %v", err)
	}
	if err := Execute(t.Context(), &stub{}, Options{}); err == nil {
		t.Error("ran without an URL")
	}
}
