package rtpport

import (
	"fmt"

	"github.com/pion/srtp/v3"

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
