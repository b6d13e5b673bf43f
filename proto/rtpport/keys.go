package rtpport

import (
	"fmt"

	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/replaydetector"

	"imsafe/proto/sdp"
)

// exchanged are the keys of SDES: each end seals with its own (RFC 4568 6.1).
type exchanged struct{ local, remote sdp.Crypto }

// exchange puts the keys of the descriptions to use and opens the leg.
func (l *Leg) exchange() error {
	k := l.keys
	l.keys = nil
	localKey, localSalt := k.local.Key()
	remoteKey, remoteSalt := k.remote.Key()
	if err := l.use(profileOf(k.local.Suite), localKey, localSalt, remoteKey, remoteSalt); err != nil {
		return fmt.Errorf("%w: %w", ErrKeying, err)
	}
	*k = exchanged{}
	l.begin()
	return nil
}

func profileOf(s sdp.Suite) Profile {
	switch s {
	case sdp.AEADAES256GCM:
		return AEADAES256GCM
	case sdp.AEADAES128GCM:
		return AEADAES128GCM
	}
	return AES128CMSHA1
}

// use makes the contexts of both directions from their master keys.
func (l *Leg) use(profile Profile, localKey, localSalt, remoteKey, remoteSalt []byte) error {
	// The module's default is no replay protection at all.
	in, err := srtp.CreateContext(remoteKey, remoteSalt, profile.srtp(),
		srtp.SRTPReplayDetectorFactory(l.replays(maxIndex)), srtp.SRTCPReplayDetectorFactory(l.replays(maxControlIndex)))
	if err != nil {
		return err
	}
	out, err := srtp.CreateContext(localKey, localSalt, profile.srtp())
	if err != nil {
		return err
	}
	l.rx.srtp, l.rx.tag = in, int32(profile.tag())
	l.tx.secure(out)
	l.profile.Store(uint32(profile))
	if l.cfg.Secured != nil {
		l.cfg.Secured(profile)
	}
	return nil
}

// tag is how many octets authenticate a packet.
func (p Profile) tag() int {
	if p == AES128CMSHA1 {
		return 10
	}
	return 16
}

// The highest indices (RFC 3711 3.3.1, 3.4).
const (
	maxIndex        = 1<<48 - 1
	maxControlIndex = 1<<31 - 1
)

// replays makes the replay lists of one key, one for each source (RFC 3711 3.3.2).
func (l *Leg) replays(highest uint64) func() replaydetector.ReplayDetector {
	return func() replaydetector.ReplayDetector {
		list := replaydetector.New(window, highest)
		accepter, ok := list.(replaydetector.CheckAccepter)
		if l.cfg.Refuse == nil || !ok {
			return list
		}
		return &replays{list, accepter, l}
	}
}

// replays asks the owner of the leg about replays. What it says matters in a laboratory only: see Config.Refuse.
type replays struct {
	replaydetector.ReplayDetector
	list replaydetector.CheckAccepter
	l    *Leg
}

// CheckSeq implements replaydetector.CheckAccepter. The leg counts the drop, when it hears of it.
func (r *replays) CheckSeq(index uint64) replaydetector.Token {
	t := r.list.CheckSeq(index)
	if !t.Passed() && !r.l.cfg.Refuse(DropReplay) {
		return replaydetector.Passed(index)
	}
	return t
}

// Accept implements replaydetector.CheckAccepter.
func (r *replays) Accept(t replaydetector.Token) bool { return r.list.Accept(t) }
