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

// Login knows who may see the page. A code lets somebody in once, within ten minutes; what his browser keeps then lasts for twelve hours. Of both only
// hashes are kept. Safe for concurrent use.
type Login struct {
	random io.Reader
	now    func() time.Time

	mu       sync.Mutex
	codes    []ticket // the newest last
	sessions []ticket
	wrong    int       // tries since
	since    time.Time // then
}

// ticket is a secret that lets somebody in.
type ticket struct {
	sum  [sha256.Size]byte
	ends time.Time
}

// The bounds of a login. With codes of 130 random bits nobody finds one by trying; who tries is held up all the same.
const (
	codeOctets     = 17 // 28 characters
	codeLife       = 10 * time.Minute
	sessionLife    = 12 * time.Hour
	maxTickets     = 16
	maxWrong       = 10
	wrongPer       = time.Minute
	maxLogin       = 1 << 10 // octets of what is posted
	cookiePrefix   = "imsafe-"
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
	l.codes = l.issue(l.codes, code, codeLife)
	return code, nil
}

// issue adds the ticket of a secret. With the lock.
func (l *Login) issue(all []ticket, secret string, life time.Duration) []ticket {
	if len(all) == maxTickets {
		all = append(all[:0], all[1:]...)
	}
	return append(all, ticket{sha256.Sum256([]byte(secret)), l.now().Add(life)})
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

// redeem takes a code and returns what a browser keeps for it; a status of HTTP where it does not.
func (l *Login) redeem(code string) (session string, status int) {
	secret := make([]byte, 32)
	if _, err := io.ReadFull(l.random, secret); err != nil {
		return "", http.StatusInternalServerError
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Sub(l.since) >= wrongPer {
		l.wrong, l.since = 0, now
	}
	if l.wrong >= maxWrong {
		return "", http.StatusTooManyRequests
	}
	i := l.find(l.codes, code)
	if i < 0 {
		l.wrong++
		return "", http.StatusForbidden
	}
	l.codes = append(l.codes[:i], l.codes[i+1:]...)
	session = base64.RawURLEncoding.EncodeToString(secret)
	l.sessions = l.issue(l.sessions, session, sessionLife)
	return session, http.StatusOK
}

// admits reports whether a request comes from a browser that has logged in.
func (l *Login) admits(r *http.Request) bool {
	c, err := r.Cookie(cookieOf(r))
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.find(l.sessions, c.Value) >= 0
}

// end logs out.
func (l *Login) end(r *http.Request) {
	c, err := r.Cookie(cookieOf(r))
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.find(l.sessions, c.Value); i >= 0 {
		l.sessions = append(l.sessions[:i], l.sessions[i+1:]...)
	}
}

// cookieOf is the name of the cookie: cookies do not tell ports apart (RFC 6265 8.5), and there may be several nodes on one machine.
func cookieOf(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host)
	return cookiePrefix + port
}

// login takes a code and gives a cookie that no script can read and that goes with no request of another site.
func (p *Page) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Code string `json:"code"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLogin)).Decode(&in); err != nil {
		http.Error(w, "the code is missing", http.StatusBadRequest)
		return
	}
	session, status := p.Login.redeem(in.Code)
	switch status {
	case http.StatusOK:
		http.SetCookie(w, &http.Cookie{Name: cookieOf(r), Value: session, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife.Seconds())})
		w.WriteHeader(http.StatusNoContent)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "60")
		http.Error(w, "too many wrong codes: wait a minute", status)
	default:
		http.Error(w, loginForbidden, status)
	}
}

func (p *Page) logout(w http.ResponseWriter, r *http.Request) {
	p.Login.end(r)
	http.SetCookie(w, &http.Cookie{Name: cookieOf(r), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	w.WriteHeader(http.StatusNoContent)
}
