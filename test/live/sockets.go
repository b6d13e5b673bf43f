package live

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"

	"imsafe/node"
	"imsafe/proto/siptransport"
)

// listen opens every socket of a node on a free port of loopback. The configuration cannot ask for that: there a port
// is a promise to clients.
func listen(dir string, shards int) (_ *node.Sockets, err error) {
	s := &node.Sockets{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	tls, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.TLS = append(s.TLS, tls)
	if s.Metrics, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	if err := listenLab(s, shards); err != nil {
		return nil, err
	}
	s.Management, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "management"), Net: "unix"})
	return s, err
}

// listenLab finds a port that is free for UDP and for TCP.
func listenLab(s *node.Sockets, shards int) error {
	var failed error
	for range 20 {
		conns, err := siptransport.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), shards)
		if err != nil {
			return err
		}
		ln, err := net.Listen("tcp", conns[0].LocalAddr().String())
		if err == nil {
			s.LabUDP, s.LabTCP = append(s.LabUDP, conns), append(s.LabTCP, ln)
			return nil
		}
		failed = err
		for _, c := range conns {
			failed = errors.Join(failed, c.Close())
		}
	}
	return failed
}
