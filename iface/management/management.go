// Package management is the operator's door: a Unix socket on which verbs are called as JSON over HTTP/1.1, by
// callers whom the kernel names (SO_PEERCRED) and whom the configuration gives a role.
//
// There is no password and no default secret: who may open the socket and has a role may call, everybody else is
// refused by mgmt.authentication.admin. What a verb does is plugged in by node; the door knows names, roles and
// limits only. A Client for the verbs of the command line is here too.
//
// Safe for concurrent use.
package management

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"imsafe/secure"
)

// Role is what a caller may do. A higher role includes the lower ones.
type Role uint8

// The roles. The zero value may do nothing.
const (
	Nobody   Role = iota
	Viewer        // read what is no secret
	Operator      // everything
)

// String returns the name used in the configuration.
func (r Role) String() string { return [...]string{"nobody", "viewer", "operator"}[r] }

// Caller is who called, as the kernel says.
type Caller struct {
	UID  uint32
	PID  int32
	Role Role
}

// Verb is one thing the door can do.
type Verb struct {
	Needs Role
	// Do gets the input as JSON and returns what is sent back as JSON. A *Error goes to the caller as it is; of
	// any other error he learns only that there was one.
	Do func(ctx context.Context, input json.RawMessage) (any, error)
}

// Error is a refusal that says what, why and what to do. It crosses the socket.
type Error struct {
	Code    string `json:"code"`           // stable, such as "user.exists"
	Message string `json:"message"`        // what and why
	Hint    string `json:"hint,omitempty"` // what to do next
	// Details is what a program may want: a list of mistakes, for example.
	Details json.RawMessage `json:"details,omitempty"`
}

// Error returns message and hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

// Config is who may call.
type Config struct {
	// Roles by user id. Those who own the node are operators; others need an entry.
	Roles map[uint32]Role
	// Owners are root and the user id the node runs as.
	Owners []uint32
	Gate   *secure.Gate
	Log    *slog.Logger
}

// maxInput is how much a call may carry: an import of some 100,000 users.
const maxInput = 64 << 20

// maxCall is how long one call may last.
const maxCall = 10 * time.Minute

// Server is the door. Make it with New.
type Server struct {
	cfg   Config
	verbs map[string]Verb
}

// New makes a door with these verbs.
func New(cfg Config, verbs map[string]Verb) *Server { return &Server{cfg: cfg, verbs: verbs} }

type callerKey struct{}

// Serve takes calls on ln until ctx ends; then it lets running calls finish for a moment and closes ln.
func (s *Server) Serve(ctx context.Context, ln *net.UnixListener) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, callerKey{}, s.callerOf(c))
		},
	}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	})
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("management: %w", err)
	}
	return nil
}

// callerOf asks the kernel who is at the other end. Who cannot be told has no role.
func (s *Server) callerOf(c net.Conn) Caller {
	uid, pid, err := peerCredentials(c)
	if err != nil {
		return Caller{}
	}
	caller := Caller{UID: uid, PID: pid, Role: s.cfg.Roles[uid]}
	if slices.Contains(s.cfg.Owners, uid) {
		caller.Role = Operator
	}
	return caller
}

// ServeHTTP implements http.Handler: POST /v1/<verb>.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	caller, _ := r.Context().Value(callerKey{}).(Caller)
	name := strings.TrimPrefix(r.URL.Path, "/v1/")
	verb, known := s.verbs[name]
	switch {
	case s.refuses(caller, verb, known):
		answer(w, http.StatusForbidden, &Error{Code: "management.forbidden", Message: "this user may not do that",
			Hint: "call as root, as the user the node runs as, or give the user a role in [management]"})
		return
	case !known || r.Method != http.MethodPost:
		answer(w, http.StatusNotFound, &Error{Code: "management.unknown", Message: "there is no such verb: " + name})
		return
	}
	input, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxInput))
	if err != nil {
		answer(w, http.StatusRequestEntityTooLarge, &Error{Code: "management.too-large", Message: "the input is larger than 64 MiB"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxCall)
	defer cancel()
	output, err := verb.Do(ctx, input)
	s.cfg.Log.Info("management call", "verb", name, "uid", caller.UID, "ok", err == nil)
	var refusal *Error
	switch {
	case errors.As(err, &refusal):
		answer(w, http.StatusUnprocessableEntity, refusal)
	case err != nil:
		s.cfg.Log.Error("management call failed", "verb", name, "error", err)
		answer(w, http.StatusInternalServerError, &Error{Code: "management.failed", Message: "the node could not do that", Hint: "its log says why"})
	default:
		answer(w, http.StatusOK, output)
	}
}

// refuses is the enforcement point of the operator's door. A verb that does not exist is refused to a stranger in
// the same words: he learns nothing.
func (s *Server) refuses(c Caller, v Verb, known bool) bool {
	allowed := c.Role >= Viewer && (!known || c.Role >= v.Needs)
	return !allowed && s.cfg.Gate.Refuse(secure.ManagementAuthenticationAdmin, secure.Event{Reason: "no-role"})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a caller that went away needs no answer
}
