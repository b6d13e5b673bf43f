package xfrm

import (
	"errors"
	"fmt"
	"syscall"

	"imsafe/proto/esp"
)

// Errors.
var (
	ErrNoXFRM    = errors.New("xfrm: the kernel has no XFRM (CONFIG_XFRM_USER)")
	ErrTaken     = errors.New("xfrm: somebody else has a policy for a protected port")
	ErrNoSocket  = errors.New("xfrm: no socket is bound to this protected port")
	errMalformed = errors.New("xfrm: the kernel's answer is malformed")
)

// Lack is something that the kernel cannot do, or that it will not do for us.
type Lack struct {
	IPv6      bool
	Transform esp.Transform
	Err       error // what it said
}

// Error says what is missing and what helps.
func (l Lack) Error() string {
	module, version := "esp4", "IPv4"
	if l.IPv6 {
		module, version = "esp6", "IPv6"
	}
	what := fmt.Sprintf("%v over %s: %v", l.Transform, version, l.Err)
	switch {
	case errors.Is(l.Err, syscall.EPERM):
		what += ": this process needs CAP_NET_ADMIN (setcap cap_net_admin+ep, or AmbientCapabilities of systemd)"
	case errors.Is(l.Err, syscall.EPROTONOSUPPORT):
		what += ": the kernel has no ESP for " + version + " (load the module " + module + ")"
	case errors.Is(l.Err, syscall.ENOSYS):
		what += ": the kernel does not know the algorithms (load their modules, such as gcm, seqiv, cbc, authenc)"
	}
	return what
}

// Unwrap gives what the kernel said.
func (l Lack) Unwrap() error { return l.Err }
