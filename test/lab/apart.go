package lab

import (
	"context"

	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// With Options.Apart the HSS of a node is a process of its own: a Core with nothing else in it, on the same disk. What Cx means
// between processes is here, without the octets of it (refpoint/cx/cxwire has those): an S-CSCF and an HSS commit each for
// itself, and what the HSS pushes runs in the S-CSCF's process.

// HSS returns the node's HSS.
func (n *Node) HSS() *hss.HSS {
	if n.home != nil {
		return n.home.HSS
	}
	return n.Core.HSS
}

// startHome starts the process of the HSS, if it is one of its own, and makes w one that asks it.
func (n *Node) startHome(w *node.World) (err error) {
	if !n.w.options.Apart {
		return nil
	}
	home := *w
	home.Roles, home.Push = node.Roles(0).With(node.RoleHSS), n.push
	n.assembleHome = func() (err error) {
		n.home, err = node.Assemble(home)
		return err
	}
	w.Cx = &distant{n}
	return n.assembleHome()
}

// KillHSS ends the process of the HSS, as kill -9 does, and starts it again. The other processes of the node go on.
func (n *Node) KillHSS() error {
	n.stopHome()
	return n.assembleHome()
}

// Deliver lets the HSS tell the S-CSCF what it still owes it, as node.Node does in the background, and returns how much is left.
func (n *Node) Deliver() (left int, err error) {
	err = n.Provision(func(ctx context.Context) (err error) {
		left, err = n.HSS().Deliver(ctx)
		return err
	})
	return left, err
}

func (n *Node) stopHome() {
	if n.home != nil {
		n.home.Close()
		n.home = nil
	}
}

// shards are those of all processes of the node that write to its disk.
func (n *Node) shards() []*shard.Shard {
	if n.home != nil {
		return append(append([]*shard.Shard(nil), n.home.Shards...), n.Core.Shards...)
	}
	return n.Core.Shards
}

// distant is the HSS in another process.
type distant struct{ n *Node }

// UserAuthorization implements cx.Server.
func (d *distant) UserAuthorization(t *shard.Task, r *cx.UserAuthorizationRequest) (*cx.UserAuthorizationAnswer, error) {
	return d.n.home.HSS.UserAuthorization(t, r)
}

// LocationInfo implements cx.Server.
func (d *distant) LocationInfo(t *shard.Task, r *cx.LocationInfoRequest) (*cx.LocationInfoAnswer, error) {
	return d.n.home.HSS.LocationInfo(t, r)
}

// MultimediaAuth implements cx.Server.
func (d *distant) MultimediaAuth(t *shard.Task, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	return d.n.home.HSS.MultimediaAuth(t, r)
}

// ServerAssignment leaves the batch here, as node does on a wire.
func (d *distant) ServerAssignment(t *shard.Task, r *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	alone := *r
	alone.Batch = nil
	return d.n.home.HSS.ServerAssignment(t, &alone)
}

// push returns the S-CSCF in its process.
func (n *Node) push(serverName string) cx.Client {
	if s := n.Core.SCSCF; s != nil && s.ServerName() == serverName && !n.Severed {
		return &pushed{n}
	}
	return nil
}

type pushed struct{ n *Node }

// RegistrationTermination implements cx.Client.
func (p *pushed) RegistrationTermination(t *shard.Task, r *cx.RegistrationTerminationRequest) (a *cx.RegistrationTerminationAnswer, err error) {
	p.there(t, func(there *shard.Task) { a, err = p.n.Core.SCSCF.RegistrationTermination(there, r) })
	return a, err
}

// PushProfile implements cx.Client.
func (p *pushed) PushProfile(t *shard.Task, r *cx.PushProfileRequest) (a *cx.PushProfileAnswer, err error) {
	p.there(t, func(there *shard.Task) { a, err = p.n.Core.SCSCF.PushProfile(there, r) })
	return a, err
}

// there runs fn on a shard of the CSCFs' process while t waits.
func (p *pushed) there(t *shard.Task, fn func(*shard.Task)) {
	t.Await(func(done shard.Waker) {
		p.n.Core.Shards[0].Exec(shard.EventFunc(func(sh *shard.Shard) {
			sh.Start(func(there *shard.Task) {
				fn(there)
				done.Wake()
				t.Shard().Exec(shard.EventFunc(func(*shard.Shard) {})) // else the wake waits for a Step, which Provision does not do
			})
		}))
	})
}
