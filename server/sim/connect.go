package sim

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/pgwire"
	"github.com/meridian-db/meridian/server"
)

var errDown = errors.New("sim: the node is down")

// startSQL brings SQL up on a core, trying until the core is replaced.
func (n *Node) startSQL(core *server.Core) {
	for n.Core() == core {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := core.StartSQL(ctx)
		cancel()
		if err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	wire, err := pgwire.New(pgwire.Config{SQL: core.SQL, Log: slog.New(slog.DiscardHandler), Auth: pgwire.AuthTrust})
	if err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.core == core {
		n.wire = wire
	} else {
		wire.Close()
	}
}

// Connect opens a session on a node as a client does: the driver's bytes reach the wire front end.
func (n *Node) Connect(ctx context.Context) (*pgx.Conn, error) {
	n.mu.Lock()
	wire := n.wire
	n.mu.Unlock()
	if wire == nil {
		return nil, errDown
	}
	cfg, err := pgx.ParseConfig("host=127.0.0.1 user=postgres dbname=postgres sslmode=disable connect_timeout=10")
	if err != nil {
		return nil, err
	}
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		client, srv := net.Pipe()
		go wire.ServeConn(context.Background(), loopback{srv})
		return loopback{client}, nil
	}
	return pgx.ConnectConfig(ctx, cfg)
}

// loopback is a pipe that says it is a connection from this host.
type loopback struct{ net.Conn }

func (loopback) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (loopback) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
