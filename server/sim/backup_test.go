package sim

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/sql/backup"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/participant"
)

// slowDB takes its time before it reads tables in the past, as a large backup would.
type slowDB struct{ kv.DB }

func (d slowDB) Begin(ctx context.Context, o kv.TxnOptions) (kv.Txn, error) {
	if o.Name == "backup" {
		time.Sleep(30 * time.Second)
	}
	return d.DB.Begin(ctx, o)
}

// A backup outlives the retention time, and what the next one needs does too when it is held: garbage collection waits
// for them. Without the protection both fail.
func TestSimBackupProtected(t *testing.T) {
	for _, unprotected := range []bool{false, true} {
		t.Run(fmt.Sprintf("unprotected=%t", unprotected), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				c, err := New(ctx, Config{Seed: 3, Nodes: 1, Tune: func(cc *server.CoreConfig) {
					cc.TuneParticipant = func(p *participant.Config) { p.GCTTL, p.GCInterval = 25*time.Second, time.Second }
					cc.TuneBackup = func(b *backup.Config) { b.DB, b.TestNoProtection = slowDB{b.DB}, unprotected }
				}})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				core := c.Nodes()[0].Core()
				if err := core.StartSQL(ctx); err != nil {
					t.Fatal(err)
				}
				defer core.StopSQL(context.Background())
				exec := func(text string) error { return core.SQL.Exec(ctx, "postgres", text, nil) }
				if err := exec("create table t (id int primary key, v int); insert into t values (1, 0)"); err != nil {
					t.Fatal(err)
				}
				load, stop := context.WithCancel(ctx)
				done := make(chan struct{})
				go func() { // writes, so that there is garbage
					defer close(done)
					for load.Err() == nil {
						if err := exec("update t set v = v + 1"); err != nil && load.Err() == nil {
							t.Error(err)
						}
						time.Sleep(500 * time.Millisecond)
					}
				}()
				dir := "file://" + t.TempDir()
				full := exec("select meridian.backup('" + dir + `/full', '{"hold": "10m"}')`)
				time.Sleep(time.Minute)
				next := exec("select meridian.backup('" + dir + "/next', '" + `{"incremental_from": "` + dir + `/full"}')`)
				stop()
				<-done
				for what, err := range map[string]error{"full": full, "incremental": next} {
					switch {
					case !unprotected && err != nil:
						t.Errorf("%s backup: %v", what, err)
					case unprotected && (err == nil || what == "full" && !strings.Contains(err.Error(), "not all kept")):
						t.Errorf("%s backup without protection: %v", what, err)
					}
				}
			})
		})
	}
}
