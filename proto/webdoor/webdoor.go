// Package webdoor serves HTTP to strangers: what they say is small, and each step of it has a deadline, so nobody holds a connection by saying nothing or by
// reading nothing (RFC 9110 15.5.9, RFC 9112 9.5).
//
// It offers one function, [Serve]. It does not bound how many connect, which is proto/fairlisten's business, does no TLS, which the listener does, and answers
// nothing by itself: pages, bodies and refusals are its handler's. Imported by the doors that speak HTTPS and by the pages of services. Safe for concurrent use.
package webdoor

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Patience bounds a request from its first octet to its answer's last, and an idle connection. A header has half of it.
const Patience = 10 * time.Second

// Serve takes requests on ln until ctx ends, closes ln and returns nil then; any other end is an error of ln. A header has at most maxHeader octets, but for
// the little more that net/http allows itself. What a stranger's connection ends with goes to log at the level of debugging.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, maxHeader int, log *slog.Logger) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: Patience / 2, ReadTimeout: Patience, WriteTimeout: Patience, IdleTimeout: Patience, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
