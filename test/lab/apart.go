package lab

import (
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
	if n.home, err = node.Assemble(home); err != nil {
		return err
	}
	w.Cx = &distant{n.home.HSS}
	return nil
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

// distant is an HSS in another process.
type distant struct{ *hss.HSS }

// ServerAssignment leaves the batch here, as node does on a wire.
func (d *distant) ServerAssignment(t *shard.Task, r *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	alone := *r
	alone.Batch = nil
	return d.HSS.ServerAssignment(t, &alone)
}

// push returns the S-CSCF in its process.
func (n *Node) push(serverName string) cx.Client {
	if s := n.Core.SCSCF; s != nil && s.ServerName() == serverName {
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
