package trace

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// LevelWire is the level of whole messages, below Debug. Who writes them masks credentials first.
const LevelWire = slog.LevelDebug - 4

// How many octets of one text are written, in all and for Long ones; of the rest only the length. A
// stranger's header may be 64 kB, and a log is read by people.
const (
	maxText = 512
	maxLong = 16 << 10
)

// What stands in place of a value that is not written.
const (
	redacted = "[redacted]"
	unlisted = "[unlisted]"
)

// handler cleans records on their way to next. It has no state.
type handler struct {
	next slog.Handler
	key  []byte // of the pseudonyms; empty: identities are redacted
}

// NewHandler returns a handler that passes cleaned records to next. key makes the pseudonyms of
// identities; a random one per process keeps them from being compared with anything outside, and nil
// redacts identities altogether. NewHandler keeps key. Safe for concurrent use if next is.
func NewHandler(next slog.Handler, key []byte) slog.Handler { return &handler{next, key} }

// NewLogger returns a logger that writes clean lines to w, as JSON or as slog's text. level may be
// changed while it runs if it is a *slog.LevelVar. For key see [NewHandler].
func NewLogger(w io.Writer, level slog.Leveler, asJSON bool, key []byte) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: nameLevel}
	if asJSON {
		return slog.New(NewHandler(slog.NewJSONHandler(w, o), key))
	}
	return slog.New(NewHandler(slog.NewTextHandler(w, o), key))
}

// nameLevel gives LevelWire its name.
func nameLevel(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.LevelKey && a.Value.Any() == LevelWire {
		a.Value = slog.StringValue("WIRE")
	}
	return a
}

// Enabled asks the next handler.
func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle passes on a clean copy of the record.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, encode(r.Message, maxText), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.clean(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

// WithAttrs cleans the attributes once, for all records that follow.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.clean(a)
	}
	return &handler{h.next.WithAttrs(clean), h.key}
}

// WithGroup opens a group. Its name is written by a programmer, but encoded all the same.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.next.WithGroup(encode(name, maxText)), h.key}
}

// clean decides by the name what becomes of the value. LogValue of a type is asked before, so a key
// redacts itself even under a plain name.
func (h *handler) clean(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		members := make([]slog.Attr, 0, len(v.Group()))
		for _, m := range v.Group() {
			members = append(members, h.clean(m))
		}
		return slog.Attr{Key: encode(a.Key, maxText), Value: slog.GroupValue(members...)}
	}
	switch attributes[a.Key] {
	case Plain:
		return slog.Attr{Key: a.Key, Value: plain(v, maxText)}
	case Long:
		return slog.Attr{Key: a.Key, Value: plain(v, maxLong)}
	case Identity:
		return slog.String(a.Key, h.pseudonym(v))
	case Secret:
		return slog.String(a.Key, redacted)
	}
	return slog.String(encode(a.Key, maxText), unlisted)
}

// plain writes numbers, times and text as they are. Of other types only those are written that
// have a text of their own; a struct printed by its fields is how keys get into logs.
func plain(v slog.Value, limit int) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(encode(v.String(), limit))
	case slog.KindAny:
		return slog.StringValue(encode(textOf(v.Any()), limit))
	}
	return v
}

// textOf survives a String or Error method that panics, as on a nil pointer: a log line ends nobody.
func textOf(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("[%T that cannot be printed]", v)
		}
	}()
	switch v := v.(type) {
	case nil:
		return "nil"
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	case []netip.AddrPort:
		return listOf(v)
	case []netip.Addr:
		return listOf(v)
	case []byte:
		return "[" + strconv.Itoa(len(v)) + " octets]"
	}
	return fmt.Sprintf("[%T]", v)
}

// listOf writes what has a text of its own, one after the other.
func listOf[T fmt.Stringer](all []T) string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = v.String()
	}
	return strings.Join(texts, " ")
}

// pseudonym is the first 48 bits of an HMAC of the value, enough to tell users of one log apart.
func (h *handler) pseudonym(v slog.Value) string {
	text := v.String()
	if text == "" {
		return ""
	}
	if len(h.key) == 0 {
		return redacted
	}
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte(text))
	return "~" + hex.EncodeToString(mac.Sum(nil)[:6])
}

// encode writes out what could forge a line, drive a terminal or hide: control characters of both
// ranges, direction marks, other invisible characters and octets that are not UTF-8, each as an escape,
// and the backslash itself, so that the escape is unambiguous. Text over the limit is cut and its length given.
func encode(s string, limit int) string {
	if len(s) <= limit && harmless(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		if b.Len() >= limit {
			fmt.Fprintf(&b, "... [%d octets]", len(s))
			break
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

// harmless reports whether s is printable ASCII without a backslash, as nearly all text is.
func harmless(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '\\' {
			return false
		}
	}
	return true
}
