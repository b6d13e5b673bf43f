package xfrm

import (
	"context"
	"errors"
	"net/netip"
	"syscall"

	"imsafe/proto/esp"
)

// Watch hears from the kernel which associations have ended or are half used up, until ctx ends. It owns k.
func (e *Engine) Watch(ctx context.Context, k *Kernel) error {
	if err := k.listen(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, k.cease)
	defer stop()
	for k.hear() {
		err := k.receive(func(kind uint16, _ uint32, body []byte) bool {
			if kind == msgExpire && len(body) >= sizeExpire {
				e.ended(body, body[sizeSA] != 0)
			}
			return true
		})
		if err != nil && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.ENOBUFS) { // the book ends what was not heard of
			return err
		}
	}
	return nil
}

// ended takes word of one association: hard, it has ended; else half of its sequence numbers are used.
func (e *Engine) ended(sa []byte, hard bool) {
	dst, ok := addressIn(sa[offsetSAID:], native.Uint16(sa[offsetSAFamily:]))
	if !ok {
		return
	}
	c := e.named(dst, spiIn(sa[offsetSAID+16:]))
	switch {
	case c == nil:
	case hard:
		e.n.Expired.Add(1)
		e.Engine.Remove(c.ref)
		e.Notice(c.ref, c.owner, esp.NoticeExpired)
	default:
		e.Notice(c.ref, c.owner, esp.NoticeRenew)
	}
}

// named is the agreement that has an association.
func (e *Engine) named(dst netip.Addr, spi uint32) *carried {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.sets[e.spis[endpoint{dst, spi}]]
}
