package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Login knows who may see the page. A code lets somebody in once, within ten minutes; what his browser keeps then lasts for twelve hours. Of all of it only
// hashes are kept. Nobody is ever held up: with codes of 136 random bits trying is of no use, and a lock that strangers can close would be theirs to close.
// Safe for concurrent use.
type Login struct {
	random io.Reader
	now    func() time.Time

	mu       sync.Mutex
	codes    []ticket // the newest last
	sessions []ticket
}

// ticket is a secret that lets somebody in.
type ticket struct {
	sum  [sha256.Size]byte
	key  [sha256.Size]byte // of a session: what goes with it
	ends time.Time
}

// The bounds of a login.
const (
	codeOctets     = 17 // 28 characters
	codeLife       = 10 * time.Minute
	sessionLife    = 12 * time.Hour
	maxTickets     = 16
	maxLogin       = 1 << 10 // octets of what is posted
	loginPatience  = 10 * time.Second
	cookiePrefix   = "imsafe-"
	keyHeader      = "Imsafe-Key"
	loginForbidden = "this code is wrong, was used, or is older than ten minutes: imsafe page prints a new one"
)

// NewLogin makes a login that nobody has a code for yet.
func NewLogin(random io.Reader, now func() time.Time) *Login {
	return &Login{random: random, now: now}
}

// Code makes a code that lets somebody in once. It is for the operator's eyes: it goes into no log. The oldest of too many codes ends.
func (l *Login) Code() (string, error) {
	secret := make([]byte, codeOctets)
	if _, err := io.ReadFull(l.random, secret); err != nil {
		return "", fmt.Errorf("web: randomness: %w", err)
	}
	code := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.codes = l.issue(l.codes, ticket{sum: sha256.Sum256([]byte(code)), ends: l.now().Add(codeLife)})
	return code, nil
}

// issue adds a ticket. With the lock.
func (l *Login) issue(all []ticket, t ticket) []ticket {
	if len(all) == maxTickets {
		all = append(all[:0], all[1:]...)
	}
	return append(all, t)
}

// find returns where a secret's ticket is, -1 if it has none or its time is over. It looks at all of them, each in constant time. With the lock.
func (l *Login) find(all []ticket, secret string) int {
	sum, found := sha256.Sum256([]byte(secret)), -1
	for i := range all {
		if subtle.ConstantTimeCompare(all[i].sum[:], sum[:]) == 1 && l.now().Before(all[i].ends) {
			found = i
		}
	}
	return found
}

// session is what a browser keeps: a cookie, which goes with every request to this host, whatever its port (RFC 6265 8.5), and a key, which the page keeps for
// its origin alone and shows with each request for something about subscribers. Who gets hold of the one has nothing.
type session struct{ cookie, key string }

// begin makes a session.
func (l *Login) begin() (s session, err error) {
	for _, secret := range []*string{&s.cookie, &s.key} {
		var b [32]byte
		if _, err := io.ReadFull(l.random, b[:]); err != nil {
			return s, fmt.Errorf("web: randomness: %w", err)
		}
		*secret = base64.RawURLEncoding.EncodeToString(b[:])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions = l.issue(l.sessions, ticket{sha256.Sum256([]byte(s.cookie)), sha256.Sum256([]byte(s.key)), l.now().Add(sessionLife)})
	return s, nil
}

// redeem takes a code, which works once.
func (l *Login) redeem(code string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(l.codes, code)
	if i >= 0 {
		l.codes = append(l.codes[:i], l.codes[i+1:]...)
	}
	return i >= 0
}

// admits reports whether a request comes from a browser that has logged in, and, where it is keyed, from the page there.
func (l *Login) admits(r *http.Request, keyed bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(r, keyed) >= 0
}

// of returns where the session of a request is; -1 for none. With the lock.
func (l *Login) of(r *http.Request, keyed bool) int {
	c, err := r.Cookie(cookieOf(r))
	if err != nil {
		return -1
	}
	i := l.find(l.sessions, c.Value)
	if i < 0 || !keyed {
		return i
	}
	if key := sha256.Sum256([]byte(r.Header.Get(keyHeader))); subtle.ConstantTimeCompare(key[:], l.sessions[i].key[:]) != 1 {
		return -1
	}
	return i
}

// end logs out.
func (l *Login) end(r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.of(r, true); i >= 0 {
		l.sessions = append(l.sessions[:i], l.sessions[i+1:]...)
	}
}

// cookieOf is the name of the cookie: cookies do not tell ports apart (RFC 6265 8.5), and there may be several nodes on one machine.
func cookieOf(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host)
	return cookiePrefix + port
}

// login takes a code and gives a cookie that no script can read and that goes with no request of another site, and the key of the page.
func (p *Page) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Code string `json:"code"`
	}
	_ = http.NewResponseController(w).SetReadDeadline(p.c.Now().Add(loginPatience)) // who cannot be hurried has no connection
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLogin)).Decode(&in); err != nil {
		http.Error(w, "the code is missing", http.StatusBadRequest)
		return
	}
	if !p.Login.redeem(in.Code) && p.refuses("code") {
		http.Error(w, loginForbidden, http.StatusForbidden)
		return
	}
	s, err := p.Login.begin()
	if err != nil {
		http.Error(w, "this node has no randomness", http.StatusInternalServerError)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieOf(r), Value: s.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife.Seconds())})
	answer(w, struct {
		Key string `json:"key"`
	}{s.key})
}

func (p *Page) logout(w http.ResponseWriter, r *http.Request) {
	p.Login.end(r)
	http.SetCookie(w, &http.Cookie{Name: cookieOf(r), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	w.WriteHeader(http.StatusNoContent)
}
