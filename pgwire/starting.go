package pgwire

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// Starting tells the clients that come to l that the database is starting up (57P03), as PostgreSQL does, so that drivers and
// pg_isready know what to wait for; nobody is authenticated. It goes on until stop is called, which leaves l open for Serve and
// may be called again. Listeners that are not TCP's are left alone. tls is nil where clients are not asked for it.
func Starting(l net.Listener, tls *tls.Config, log *slog.Logger) (stop func(), err error) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return func() {}, nil
	}
	s, err := newServer(Config{TLS: tls, Log: log, TrustAnywhere: true})
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(context.Background(), lentListener{tcp}); err != nil {
			s.log.Warn("cannot answer clients while the node starts", "err", err)
		}
	}()
	return sync.OnceFunc(func() {
		s.Close()
		<-done
		tcp.SetDeadline(time.Time{})
	}), nil
}

// lentListener is closed without closing what it stands for.
type lentListener struct{ *net.TCPListener }

func (l lentListener) Close() error { return l.SetDeadline(time.Unix(1, 0)) }

func errStarting() error {
	return pgerr.New(pgerr.CannotConnectNow, "the database system is starting up").WithSeverity(pgerr.SeverityFatal)
}
