package pcscf

import (
	"time"

	"imsafe/proto/shard"
)

// even waits until the answer to a stranger's REGISTER may leave; begun is when that was taken up. The delay must not tell whether there is such a user (attack CI-26): names
// that somebody has lie in memory, those of nobody are looked for on the disk, and an HSS elsewhere is asked once or twice. So the answer leaves at a time that is counted from
// when the request came and not from when it was ready: after Config.Even, or where that was not enough after a multiple of it. A client inside its proven path does
// not wait.
func (p *PCSCF) even(t *shard.Task, begun time.Duration) {
	if p.cfg.Even <= 0 {
		return
	}
	took := t.Now() - begun
	t.AwaitFor(p.cfg.Even-took%p.cfg.Even, func(shard.Waker) {})
}
