package simulation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"
)

// history is what happened: all of it in a hash, the end of it as text.
type history struct {
	clock func() time.Duration
	sum   hash.Hash
	lines []string
	keep  int // lines
}

func newHistory(keep int) *history {
	return &history{sum: sha256.New(), keep: keep, clock: func() time.Duration { return 0 }}
}

func (h *history) note(at time.Duration, format string, args ...any) {
	line := fmt.Sprintf("%12.6fs  ", at.Seconds()) + fmt.Sprintf(format, args...)
	h.sum.Write([]byte(line))
	h.remember(line)
}

func (h *history) remember(line string) {
	if h.lines = append(h.lines, line); len(h.lines) > 2*h.keep {
		h.lines = append(h.lines[:0], h.lines[h.keep:]...)
	}
}

// datagram notes what was sent. For people its first line and its transaction are enough.
func (h *history) datagram(from, to string, data []byte) {
	at := h.clock()
	fmt.Fprintf(h.sum, "%d %s %s %d\n", at, from, to, len(data))
	h.sum.Write(data)
	first, _, _ := bytes.Cut(data, []byte("\r\n"))
	h.remember(fmt.Sprintf("%12.6fs  %-6s > %-6s  %s  [%s, %s]", at.Seconds(), from, to, first, field(data, "CSeq: "), field(data, "Call-ID: ")))
}

// field finds a header in octets.
func field(data []byte, name string) []byte {
	_, rest, _ := bytes.Cut(data, []byte("\r\n"+name))
	value, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return value
}

func (h *history) hash() string { return hex.EncodeToString(h.sum.Sum(nil)[:12]) }

// String is the last events, oldest first.
func (h *history) String() string {
	return strings.Join(h.lines[max(0, len(h.lines)-h.keep):], "\n") + "\n"
}

// logger is a log that becomes part of the text; the nodes' words are not part of the hash.
func (h *history) logger() *slog.Logger { return slog.New(&logHandler{history: h}) }

type logHandler struct {
	history *history
	attrs   []slog.Attr
}

// Enabled implements slog.Handler.
func (*logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements slog.Handler.
func (l *logHandler) Handle(_ context.Context, record slog.Record) error {
	var b strings.Builder
	write := func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %v", a)
		return true
	}
	for _, a := range l.attrs {
		write(a)
	}
	record.Attrs(write)
	l.history.remember(fmt.Sprintf("%12.6fs  log %s: %s%s", l.history.clock().Seconds(), record.Level, record.Message, b.String()))
	return nil
}

// WithAttrs implements slog.Handler.
func (l *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{history: l.history, attrs: append(l.attrs[:len(l.attrs):len(l.attrs)], attrs...)}
}

// WithGroup implements slog.Handler.
func (l *logHandler) WithGroup(string) slog.Handler { return l }

func stack() string { return string(debug.Stack()) }
