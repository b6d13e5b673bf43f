package trace

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// bare writes a record as a program does that gives no thought to who reads it: name and value as they are, one after the other. In a laboratory without
// mgmt.integrity.log-line it stands where that control would be, so that an attack shows what the control is worth; slog's own writers quote much of it.
type bare struct {
	w     io.Writer
	level slog.Leveler
	with  string // of WithAttrs
	in    string // of WithGroup
}

// Enabled implements slog.Handler.
func (b *bare) Enabled(_ context.Context, l slog.Level) bool { return l >= b.level.Level() }

// Handle implements slog.Handler.
func (b *bare) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	fmt.Fprintf(&line, "time=%s level=%v msg=%s%s", r.Time.Format("2006-01-02T15:04:05.000Z07:00"), r.Level, r.Message, b.with)
	r.Attrs(func(a slog.Attr) bool {
		line.WriteString(b.pair(a))
		return true
	})
	line.WriteByte('\n')
	_, err := io.WriteString(b.w, line.String())
	return err
}

func (b *bare) pair(a slog.Attr) string { return " " + b.in + a.Key + "=" + a.Value.String() }

// WithAttrs implements slog.Handler.
func (b *bare) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *b
	for _, a := range attrs {
		with.with += b.pair(a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (b *bare) WithGroup(name string) slog.Handler {
	with := *b
	with.in += name + "."
	return &with
}
