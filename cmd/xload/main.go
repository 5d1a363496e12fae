package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/meridian-db/meridian/cmd/internal/proc"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	ctx := context.Background()
	dir := os.Args[2]
	scale := os.Args[3]
	os.RemoveAll(dir + "/data")
	must(os.MkdirAll(dir+"/data", 0o755))
	c, err := proc.Start(ctx, proc.Config{Binary: os.Args[1], Dir: dir + "/data", Nodes: 3})
	must(err)
	defer os.RemoveAll(dir + "/data")
	defer c.Close()
	cpus := func() (out []time.Duration) {
		for _, n := range c.Nodes {
			d, err := n.CPU()
			must(err)
			out = append(out, d)
		}
		return
	}
	show := func(what string, began time.Time, a, b []time.Duration) {
		fmt.Printf("%-22s %6.1f s wall, cpu", what, time.Since(began).Seconds())
		var sum time.Duration
		for i := range a {
			fmt.Printf(" %6.2f", (b[i] - a[i]).Seconds())
			sum += b[i] - a[i]
		}
		fmt.Printf(" = %6.2f s\n", sum.Seconds())
	}
	run := func(what string, prof int, fn func()) {
		var wg sync.WaitGroup
		if prof > 0 {
			for i := range c.Nodes {
				wg.Add(1)
				go func() {
					defer wg.Done()
					page, err := c.Nodes[i].HTTP(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", prof))
					if err != nil {
						fmt.Println(err)
						return
					}
					os.WriteFile(fmt.Sprintf("%s/%s-%d.pprof", dir, what, i+1), []byte(page), 0o644)
				}()
			}
		}
		a, began := cpus(), time.Now()
		fn()
		b := cpus()
		show(what, began, a, b)
		wg.Wait()
		for quiet := 0; quiet < 2; {
			x := cpus()
			time.Sleep(time.Second)
			y := cpus()
			if quiet++; y[0]+y[1]+y[2]-x[0]-x[1]-x[2] > 100*time.Millisecond {
				quiet = 0
			}
			if time.Since(began) > 120*time.Second {
				break
			}
		}
		show(what+" settled", began, a, cpus())
	}
	prof, _ := strconv.Atoi(os.Args[5])
	for _, steps := range os.Args[4:5] {
		switch steps {
		case "copy":
			conn, err := pgx.Connect(ctx, c.Nodes[0].URL())
			must(err)
			n, _ := strconv.Atoi(scale)
			n *= 100000
			_, err = conn.Exec(ctx, "create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84))")
			must(err)
			i := 0
			run("copy", prof, func() {
				_, err := conn.CopyFrom(ctx, pgx.Identifier{"pgbench_accounts"}, []string{"aid", "bid", "abalance", "filler"}, pgx.CopyFromFunc(func() ([]any, error) {
					if i++; i > n {
						return nil, nil
					}
					return []any{int32(i), int32(i/100000 + 1), int32(0), ""}, nil
				}))
				must(err)
			})
			began := time.Now()
			var count int
			must(conn.QueryRow(ctx, "select count(*) from pgbench_accounts").Scan(&count))
			fmt.Println("count", count, time.Since(began))
		default:
			run(steps, prof, func() {
				out, err := exec.Command("pgbench", "-i", "-q", "-s", scale, "-I", steps, c.Nodes[0].URL()).CombinedOutput()
				if err != nil {
					fmt.Println(string(out))
				}
				must(err)
				s := string(out)
				fmt.Println(s[max(0, len(s)-160):])
			})
		}
	}
}
