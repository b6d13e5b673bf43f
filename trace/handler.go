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

	"imsafe/secure"
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
	bare slog.Handler // where a record goes that a laboratory lets through as it is
	key  []byte       // of the pseudonyms; empty: identities are redacted
	gate *secure.Gate // hears what is held back; nil: of a program without one, where all of it is
}

// NewHandler returns a handler that passes cleaned records to next. key makes the pseudonyms of
// identities; a random one per process keeps them from being compared with anything outside, and nil
// redacts identities altogether. NewHandler keeps key. Safe for concurrent use if next is.
func NewHandler(next slog.Handler, key []byte) slog.Handler {
	return &handler{next: next, bare: next, key: key}
}

// NewLogger returns a logger that writes clean lines to w, as JSON or as slog's text. level may be
// changed while it runs if it is a *slog.LevelVar. For key see [NewHandler].
func NewLogger(w io.Writer, level slog.Leveler, asJSON bool, key []byte) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: nameLevel}
	h := &handler{next: slog.NewTextHandler(w, o), bare: &bare{w: w, level: level}, key: key}
	if asJSON {
		h.next = slog.NewJSONHandler(w, o)
	}
	return slog.New(h)
}

// Under returns log under the policy of a node: gate hears of each value that is not written as it is, and a laboratory may have switched that off. What
// log is not of this package comes back as it is.
func Under(log *slog.Logger, gate *secure.Gate) *slog.Logger {
	if log == nil {
		return nil
	}
	h, ours := log.Handler().(*handler)
	if !ours {
		return log
	}
	under := *h
	under.gate = gate
	return slog.New(&under)
}

// redacts is the enforcement point of what a log tells of people and keys.
func (h *handler) redacts(what string) bool {
	return h.gate == nil || h.gate.Refuse(secure.ManagementConfidentialityRedact, secure.Event{Reason: what})
}

// encodes is that of what a text does to the log and to whoever reads it.
func (h *handler) encodes(what string) bool {
	return h.gate == nil || h.gate.Refuse(secure.ManagementIntegrityLogLine, secure.Event{Reason: what})
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
	message, whole := h.text(r.Message, maxText)
	clean := slog.NewRecord(r.Time, r.Level, message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		cleaned, all := h.clean(a)
		clean.AddAttrs(cleaned)
		whole = whole && all
		return true
	})
	if !whole {
		return h.bare.Handle(ctx, clean)
	}
	return h.next.Handle(ctx, clean)
}

// WithAttrs cleans the attributes once, for all records that follow.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i], _ = h.clean(a)
	}
	with := *h
	with.next, with.bare = h.next.WithAttrs(clean), h.bare.WithAttrs(clean)
	return &with
}

// WithGroup opens a group. Its name is written by a programmer, but encoded all the same.
func (h *handler) WithGroup(name string) slog.Handler {
	name = encode(name, maxText)
	with := *h
	with.next, with.bare = h.next.WithGroup(name), h.bare.WithGroup(name)
	return &with
}

// clean decides by the name what becomes of the value. LogValue of a type is asked before, so a key
// redacts itself even under a plain name. It is whole unless something was let through that ends or drives a line.
func (h *handler) clean(a slog.Attr) (cleaned slog.Attr, whole bool) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		return h.group(a.Key, v.Group())
	}
	limit := maxText
	switch attributes[a.Key] {
	case Plain:
	case Long:
		limit = maxLong
	case Identity:
		if v.String() == "" || h.redacts("identity") {
			return slog.String(a.Key, h.pseudonym(v)), true
		}
	case Secret:
		if h.redacts("secret") {
			return slog.String(a.Key, redacted), true
		}
	default:
		if h.redacts("unlisted") {
			return slog.String(encode(a.Key, maxText), unlisted), true
		}
	}
	v, whole = h.plain(v, limit)
	return slog.Attr{Key: encode(a.Key, maxText), Value: v}, whole
}

func (h *handler) group(name string, attrs []slog.Attr) (cleaned slog.Attr, whole bool) {
	members := make([]slog.Attr, len(attrs))
	whole = true
	for i, m := range attrs {
		var all bool
		members[i], all = h.clean(m)
		whole = whole && all
	}
	return slog.Attr{Key: encode(name, maxText), Value: slog.GroupValue(members...)}, whole
}

// plain writes numbers, times and text as they are. Of other types only those are written that
// have a text of their own; a struct printed by its fields is how keys get into logs.
func (h *handler) plain(v slog.Value, limit int) (value slog.Value, whole bool) {
	text := ""
	switch v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		text = textOf(v.Any())
	default:
		return v, true
	}
	text, whole = h.text(text, limit)
	return slog.StringValue(text), whole
}

// text writes out what could forge a line or drive a terminal. It is whole unless a laboratory lets that through.
func (h *handler) text(s string, limit int) (encoded string, whole bool) {
	if drives(s) && !h.encodes("control-character") {
		return s, false
	}
	return encode(s, limit), true
}

// drives reports whether s has something in it that encode writes out because of what it does, as opposed to a backslash.
func drives(s string) bool {
	if harmless(s) {
		return false
	}
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") || !unicode.IsPrint(r) {
			return true
		}
	}
	return false
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
