package main

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/proto/shard"
	"imsafe/store/seal"
)

type quickstartCmd struct {
	Volte   bool         `help:"Serve telephones with a SIM card: IPsec on port 5060 ([ci.ipsec]). It needs CAP_NET_RAW to run."`
	TLS     bool         `name:"tls" help:"Serve clients over TLS on port 5061, with a certificate of an authority that is made for it. Without --volte that is what is done."`
	MCC     string       `name:"mcc" required:"" help:"Mobile country code, three digits; 001 is for tests." placeholder:"DIGITS"`
	MNC     string       `name:"mnc" required:"" help:"Mobile network code, two or three digits, as the cards have it." placeholder:"DIGITS"`
	Listen  []netip.Addr `required:"" help:"Address of this machine that clients reach, without a NAT in between; repeat it for IPv4 and IPv6." placeholder:"ADDRESS"`
	Handset bool         `help:"Let telephones agree on HMAC-SHA-1 with AES-CBC (profile handset). Many can nothing better; it is a weakening, which is logged and shown. Without it AES-GCM alone: try that first, imsafe explain registration says if it is not enough."`
	Dir     string       `help:"Directory for configuration and keys; what is there is never written over." type:"path" default:"/etc/imsafe"`
	DataDir string       `help:"Directory of the store. Without it: /var/lib/imsafe, or data in --dir if that is given." type:"path" placeholder:"DIR"`
	Systemd bool         `help:"Let the keys come from systemd's credentials: the node then runs as a user of its own that cannot read their files."`
}

// defaultDir is where a configuration is looked for.
const defaultDir = "/etc/imsafe"

// certificateLife is how long the certificate is valid; no authority remains that could renew it.
const certificateLife = 397 * 24 * time.Hour

// Run writes the files and says what the rest of the network needs.
func (v *quickstartCmd) Run(a *app) error {
	v.TLS = v.TLS || !v.Volte
	if v.Handset && !v.Volte {
		return usage{errors.New("--handset is about telephones with a SIM card: give --volte too")}
	}
	for _, at := range v.Listen {
		if at.IsUnspecified() || at.IsMulticast() || at.Zone() != "" {
			return usage{fmt.Errorf("--listen: %s is no address of one machine that clients of another network reach: give the one that the packet gateway routes to", at)}
		}
	}
	c := v.configuration()
	if problems := c.Validate(); len(problems) > 0 {
		return usage{problems}
	}
	files, err := v.files(c)
	if err != nil {
		return err
	}
	if err := v.write(c, files); err != nil {
		return err
	}
	g := guide(v, c)
	if a.json {
		a.print(g)
		return nil
	}
	a.say("wrote %s", v.path(sealingKey))
	for _, f := range files {
		a.say("wrote %s", f.path)
	}
	g.say(a)
	return nil
}

func (v *quickstartCmd) path(name string) string { return filepath.Join(v.Dir, name) }

// configuration makes it: the default, and what the operator decided.
func (v *quickstartCmd) configuration() *config.Config {
	c := config.Default()
	c.IMS.MCC, c.IMS.MNC = v.MCC, v.MNC
	switch {
	case v.DataDir != "":
		c.Node.DataDir = v.DataDir
	case v.Dir != defaultDir:
		c.Node.DataDir = v.path("data")
	}
	secret := func(name string) config.SecretFile {
		if v.Systemd {
			return config.SecretFile("credential:" + name)
		}
		return config.SecretFile(v.path(name))
	}
	c.HSS.SealingKeyFile = secret(sealingKey)
	for _, at := range v.Listen {
		if v.Volte {
			c.CI.IPsec.Listen = append(c.CI.IPsec.Listen, config.Address{AddrPort: netip.AddrPortFrom(at, 5060)})
			c.CI.IPsec.ESP = "on" // a node that cannot hear telephones should say so when it starts
		}
		if v.TLS {
			c.CI.TLS.Listen = append(c.CI.TLS.Listen, config.Address{AddrPort: netip.AddrPortFrom(at, 5061)})
			c.CI.TLS.CertificateFile, c.CI.TLS.KeyFile = v.path(certificate), secret(certificateKey)
		}
	}
	if v.Handset {
		c.CI.IPsec.Profile = "handset"
	}
	v.protectMedia(&c)
	return &c
}

// Where media and the pages of the door C-S are. The range lies below the ports that systems give to those who ask for none.
const (
	firstMediaPort = 20000
	httpsPort      = 8443 // no capability is needed for it
)

// waiverLife is how long telephones may have RTP in clear before somebody has to think about it again.
const waiverLife = 365 * 24 * time.Hour

// protectMedia lets calls pass the anchor, at one address of each family, and clients fetch what vouches for the media keys. Telephones with a SIM
// card know RTP in clear alone, most of them: they get a waiver that somebody answers for.
func (v *quickstartCmd) protectMedia(c *config.Config) {
	family := map[bool]bool{}
	for _, at := range v.Listen {
		if !family[at.Is4()] {
			family[at.Is4()] = true
			c.CS.Listen = append(c.CS.Listen, config.Address{AddrPort: netip.AddrPortFrom(at, firstMediaPort)})
		}
	}
	if len(v.Listen) > 0 {
		c.HTTPS.Listen = config.Address{AddrPort: netip.AddrPortFrom(v.Listen[0], httpsPort)}
	}
	if v.Volte {
		until := shard.RealClock().Wall().Add(waiverLife).Format(time.DateOnly)
		c.CS.Waivers = []config.CSWaiver{{IPsec: true, Owner: "who ran imsafe quickstart --volte", Until: until}}
	}
}

// The names of the files.
const (
	configName     = "imsafe.toml"
	sealingKey     = "sealing.key"
	certificate    = "pcscf.crt"
	certificateKey = "pcscf.key"
	authority      = "ca.crt"
)

// newFile is a file that is to be made.
type newFile struct {
	path string
	data []byte
	mode fs.FileMode
}

// files makes the contents of all files.
func (v *quickstartCmd) files(c *config.Config) ([]newFile, error) {
	var text bytes.Buffer
	if err := c.Write(&text); err != nil {
		return nil, err
	}
	files := []newFile{{v.path(configName), text.Bytes(), 0o644}}
	if !v.TLS {
		return files, nil
	}
	root, err := ca.New(rand.Reader, shard.RealClock().Wall, c.HomeDomain(), certificateLife)
	if err != nil {
		return nil, err
	}
	var loopback []net.IP // the authority may sign no other addresses
	for _, at := range v.Listen {
		if at.IsLoopback() {
			loopback = append(loopback, at.AsSlice())
		}
	}
	cert, err := root.Server(certificateLife, []string{"pcscf." + c.HomeDomain(), c.HomeDomain()}, loopback)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, err
	}
	return append(files, newFile{v.path(authority), root.PEM(), 0o644},
		newFile{v.path(certificate), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o644},
		newFile{v.path(certificateKey), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600}), nil
}

// write makes the directories and files. After an error nothing of it is left.
func (v *quickstartCmd) write(c *config.Config, files []newFile) (err error) {
	if err := os.MkdirAll(v.Dir, 0o755); err != nil {
		return err
	}
	var made []string
	defer func() {
		if err != nil {
			for _, path := range made {
				err = errors.Join(err, os.Remove(path))
			}
		}
	}()
	keyring, err := seal.Generate(rand.Reader)
	if err != nil {
		return err
	}
	key := v.path(sealingKey)
	if err := keyring.Save(key); errors.Is(err, fs.ErrExist) {
		return there(key)
	} else if err != nil {
		return err
	}
	made = append(made, key)
	for _, f := range files {
		if err := f.make(); err != nil {
			return err
		}
		made = append(made, f.path)
	}
	return os.MkdirAll(c.Node.DataDir, 0o700)
}

// make writes a file that was not there before.
func (f *newFile) make() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.mode)
	if errors.Is(err, fs.ErrExist) {
		return there(f.path)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(f.data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		err = errors.Join(err, os.Remove(f.path))
	}
	return err
}

func there(path string) error {
	return fmt.Errorf("%s is there already and is not overwritten, and nothing else was made: name another --dir, or move it away", path)
}
