package attack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"imsafe/secure"
)

// parserCorpus: messages that are almost SIP.
func parserCorpus() Attack {
	return Attack{
		ID: "ci.parser.corpus", Number: "CI-25", Title: "thousands of messages that are almost SIP",
		Text:     "one that ends the process ends every call",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesControl,
		Source: "RFC 4475", Access: both(),
		Bounds: Bounds{Packets: 24_000, Bytes: 40_000_000, Conns: 700, Time: 4 * time.Second},
		Aimed:  Bounds{Packets: 4000, Bytes: 20_000_000, Conns: 700, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "crash", Position: OffPath, Run: mutate, Controls: []secure.ControlID{secure.CIAvailabilityParser},
				NoAblation: "memory safety is the language's: no setting takes it away"},
			{Name: "bomb", Position: OffPath, Run: explode, Controls: []secure.ControlID{secure.CIAvailabilityParser},
				NoAblation: "a message has at most 65,535 octets and 256 fields by the form of its index, whatever the limits say"},
		},
	}
}

// mutationSeed makes the corpus the same each time.
const mutationSeed = 4475

// mutate sends mutations of a REGISTER, as many as there is time for. On a stream each begins on a new line of its own making; a connection that the target ends is
// opened again. Over UDP a sound one after each few, which is answered, keeps it from sending more than the target reads.
func mutate(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(mutationSeed, 0))
	const few = 100
	most, until := 20_000, f.Clock.Now()+2*time.Second
	if f.Foreign {
		most = 2000
	}
	sent, conns := 0, 1
	for ; sent < most && conns < 300 && f.Clock.Now() < until; sent++ {
		seed := stranger.Registers(Registering{IMPI: f.Alice.IMPI, IMPU: f.Alice.IMPU, Expires: 600}, stranger.NoResponse(f.Alice.IMPI))
		if stranger.proto == "UDP" && sent%few == few-1 {
			if _, err := stranger.answered(ctx, seed); err != nil {
				return err
			}
		}
		err := stranger.Write(mutated(random, seed))
		if err != nil || stranger.ended() {
			stranger.Close()
			if stranger, err = f.Stranger(ctx); err != nil {
				return err
			}
			conns++
		}
	}
	if err := f.Bob.Reaches(ctx, f.Alice, f.token()); err != nil {
		o.Users = 2
		o.Peer(true, "after %d mutations %v", sent, err)
		return nil
	}
	o.Arrived("%d mutations over %d sockets", sent, conns)
	o.Peer(false, "after %d mutations over %d sockets bob reaches alice", sent, conns)
	return nil
}

// bombs are messages whose work or memory grows out of proportion in a parser without limits: depth, length, number, and a body that never comes.
func bombs(h *Hand, f *Field) []string {
	nobody := f.nobody(0)
	with := func(line string) string {
		r := nobody
		r.Lines = []string{line}
		return h.Registers(r, h.NoResponse(r.IMPI))
	}
	const large = 60_000
	return []string{
		with("Server: " + strings.Repeat("(", large)),
		with("Subject: " + strings.Repeat("x", large)),
		with("Accept: " + strings.Repeat("a/b,", large/4) + "a/b"),
		with("Contact: \"" + strings.Repeat(`\\`, large/2)),
		with(strings.TrimSuffix(strings.Repeat("X-Y: 1\r\n", large/8), "\r\n")),
		with("Reason: SIP" + strings.Repeat(";a=\"", large/4)),
		strings.Replace(with("X-Y: 1"), "Content-Length: 0", "Content-Length: 2147483647", 1),
	}
}

// explode sends them one after the other. Beside them an honest message must not take longer than it may.
func explode(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	all := bombs(stranger, f)
	const rounds = 30
	sent, conns := 0, 1
	begun := f.Clock.Now()
	for ; sent < rounds*len(all); sent++ {
		err := stranger.Write(all[sent%len(all)])
		if err != nil || stranger.proto != "UDP" { // on a stream each may be the last that is understood
			stranger.Close()
			if stranger, err = f.Stranger(ctx); err != nil {
				return err
			}
			conns++
		}
	}
	took := f.Clock.Now() - begun
	if err := f.Bob.Reaches(ctx, f.Alice, f.token()); err != nil {
		o.Users = 2
		o.Peer(true, "after %d bombs %v", sent, err)
		return nil
	}
	o.Arrived("%d bombs over %d sockets in %v", sent, conns, took.Round(time.Millisecond))
	o.Peer(false, "beside %d bombs over %d sockets bob reaches alice", sent, conns)
	return nil
}

// ended reports whether the target has ended the connection.
func (h *Hand) ended() bool {
	select {
	case <-h.gone:
		return true
	default:
		return false
	}
}

// mutated changes a message in one to eight places: octets, pieces that are missing, twice or elsewhere, numbers and marks that grow.
func mutated(random *rand.Rand, message string) string {
	b := []byte(message)
	for range 1 + random.IntN(8) {
		i, n := random.IntN(len(b)), 1+random.IntN(40)
		j := min(i+n, len(b))
		piece := append([]byte(nil), b[i:j]...)
		switch random.IntN(6) {
		case 0:
			b[i] = byte(random.IntN(256))
		case 1:
			if len(b) > 2*n {
				b = append(b[:i], b[j:]...)
			}
		case 2:
			b = append(b[:j], append(piece, b[j:]...)...)
		case 3:
			k := random.IntN(len(b))
			b = append(b[:k], append(piece, b[k:]...)...)
		case 4:
			b = append(b[:i], append([]byte(marks[random.IntN(len(marks))]), b[i:]...)...)
		case 5:
			b = append(b[:i], append([]byte(fmt.Sprint(random.Uint64())), b[i:]...)...)
		}
	}
	return string(b)
}

// marks are what parsers stumble over (RFC 4475 3).
var marks = []string{"\r\n", "\n", "\r", "\x00", "\r\n ", "\r\n\r\n", ";", ";;", ",", ",,,,", "<", ">", "\"", "\\", "%", "%00",
	"(", ")", "((((((((((", ":", "@", "?", "sip:", "tel:", ";lr;", "=\"", "Content-Length: 4294967296\r\n", "Via: ", "\xff\xfe", "\xc0\x80", "SIP/2.0 "}
