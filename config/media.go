package config

import (
	"fmt"
	"time"
)

func (c *Config) validateCS(f *findings) {
	s := c.CS
	anchors := len(s.Listen) > 0
	f.refuse(anchors && !c.HasRole("pcscf"), "cs.listen", "let the node that has the P-CSCF listen", "the media anchor belongs to the P-CSCF, and this process has none")
	f.refuse(anchors && (s.Ports < 4 || s.Ports > 65000), "cs.ports", "two for each end of each medium, eight for a voice call between two clients here", "%d is not between 4 and 65000", s.Ports)
	family := map[bool]bool{}
	for _, a := range s.Listen {
		f.refuse(!a.IsValid(), "cs.listen", "", "an address is empty")
		f.refuse(a.IsValid() && a.Port() < 1024, "cs.listen", "write the first port of the range, such as 20000", "%s has no port of its own for media", a)
		f.refuse(a.IsValid() && int(a.Port())+s.Ports > 65536, "cs.ports", "", "%d ports from %s on are more than there are", s.Ports, a)
		f.refuse(a.IsValid() && a.Addr().IsUnspecified(), "cs.listen", "write the address that clients are told", "%s is no address that media could be sent to", a)
		f.refuse(a.IsValid() && family[a.Addr().Is4()], "cs.listen", "", "%s is a second address of its family", a)
		family[a.Addr().Is4()] = true
	}
	f.refuse(s.SessionsPerUser < 0, "cs.sessions_per_user", "0 sets no bound", "%d is less than 0", s.SessionsPerUser)
	f.refuse(s.Audio < 16 || s.Audio > 100_000, "cs.audio", "", "%d kbit/s is not between 16 and 100000", s.Audio)
	f.refuse(s.Video < 16 || s.Video > 1_000_000, "cs.video", "", "%d kbit/s is not between 16 and 1000000", s.Video)
	f.refuse(s.Silence.Std() != 0 && s.Silence.Std() < time.Minute, "cs.silence", "", "%s is less than a minute: people pause", s.Silence)
	oneOf(f, "cs.process", s.Process, "own", "shared")
	f.refuse(s.Outlives.Std() < 0 || s.Outlives.Std() > 24*time.Hour, "cs.outlives", "0 lets calls end with the node", "%s is not between 0 and a day", s.Outlives)
	f.refuse(s.OutlivesSilence.Std() < 5*time.Second, "cs.outlives_silence", "", "%s is less than 5s, between two reports of an end that is silent", s.OutlivesSilence)
	f.refuse(s.LabPlain && !c.Node.Lab, "cs.lab_plain", "remove it, or name subscribers in [[cs.waiver]]", "media in clear for everybody is for a lab only")
	for n := range s.Waivers {
		_, err := s.Waivers[n].Ends()
		f.refuse(err != nil, "cs.waiver", "", "number %d: %v", n+1, err)
	}
}

// Ends is the end of the last day on which the waiver holds. The error says what is missing.
func (w *CSWaiver) Ends() (time.Time, error) {
	day, err := time.Parse(time.DateOnly, w.Until)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("until is %q and not a day such as 2027-03-31", w.Until)
	case w.Owner == "":
		return time.Time{}, fmt.Errorf("nobody answers for it: write owner")
	case len(w.Identities) == 0 && !w.IPsec:
		return time.Time{}, fmt.Errorf("it is for nobody: write identities, or ipsec = true")
	}
	return day.AddDate(0, 0, 1), nil
}

// mediaWeakenings are those of the media anchor.
func (c *Config) mediaWeakenings() (all []Weakening) {
	if len(c.CS.Listen) == 0 {
		return nil
	}
	if c.CS.LabPlain {
		all = append(all, Weakening{"media-lab-plain", "clients whose signalling goes in clear may talk in clear: who reads the bearer hears them"})
	}
	for _, w := range c.CS.Waivers {
		whose := fmt.Sprintf("%d identities", len(w.Identities))
		if w.IPsec {
			whose = "telephones with security associations"
		}
		all = append(all, Weakening{"media-waiver", fmt.Sprintf("%s may talk in clear until %s, for which %s answers", whose, w.Until, w.Owner)})
	}
	return all
}
