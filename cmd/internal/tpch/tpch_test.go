package tpch

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/server"
)

// testScale is the scale of testdata/answers.txt, which PostgreSQL 15 made:
//
//	make bench ARGS='-tpch -tpch-scale 0.01 -tpch-golden cmd/internal/tpch/testdata/answers.txt'
const testScale = 0.01

// readAnswers splits the golden file by query.
func readAnswers(t *testing.T) map[string]string {
	text, err := os.ReadFile("testdata/answers.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, part := range strings.Split(string(text), "-- ")[1:] {
		name, rows, _ := strings.Cut(part, "\n")
		out[name] = rows
	}
	return out
}

// TestAnswers compares the answers to all 22 queries with PostgreSQL's, without statistics and with them: the
// plans differ, the answers may not.
func TestAnswers(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	d, err := server.StartDemo(ctx, server.DemoConfig{Regions: []string{"here"}, SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	conn, err := pgconn.Connect(ctx, "postgres://postgres@"+d.Servers[0].SQLAddr()+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := Load(ctx, conn, testScale); err != nil {
		t.Fatal(err)
	}
	want := readAnswers(t)
	check := func(t *testing.T) {
		for _, q := range Queries(testScale) {
			got, err := Answer(ctx, conn, q.Text)
			if err != nil {
				t.Errorf("%s: %v", q.Name, err)
			} else if got != want[q.Name] || got == "" {
				t.Errorf("%s:\n%s\nwant:\n%s", q.Name, got, want[q.Name])
			}
		}
	}
	t.Run("fresh", check)
	if err := exec(ctx, conn, "ANALYZE"); err != nil {
		t.Fatal(err)
	}
	t.Run("analyzed", check)
}
