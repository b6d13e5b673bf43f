package kamailio

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"golang.org/x/sys/unix"
)

// Configurations has those of Kamailio as every function of an IMS, and as a plain registrar and proxy, as templates that a [Setting] fills.
//
//go:embed testdata
var configurations embed.FS

// Setting is what the templates in testdata are filled with.
type Setting struct {
	Domain    string
	Modules   string   // directory of Kamailio's modules, with its slash
	Dir       string   // of its configuration and its tables, as it sees it
	Name      string   // function: pcscf, icscf, scscf, registrar, plain
	Address   string   // where it listens, without port
	HSS       string   // address and identity of the HSS
	HSSName   string   //
	Core      []string // addresses whose requests come from the core, for a P-CSCF
	Workers   int      // processes that receive
	Debug     int      // how much it says: 2 much, 0 warnings
	Passwords []Password
	Algorithm string // of the challenges of a plain SIP server: MD5, SHA-256
	TCP       bool   // too
	Proxy     string // of an application server: who speaks to the core for it
	ISC       string // and where the core's door for service platforms is
	TLS       bool   // too, by a plain SIP server, which writes down what it sends then
	// Certificate, with its key. That of an application server is one that nobody vouches for: the TLS of Kamailio does not start without.
	Certificate string
	Authority   string // whose certificates a plain SIP server wants of its clients; "": it asks for none
}

// Password is a user of the plain registrar.
type Password struct{ User, Password string }

// Program is one Kamailio.
type Program struct {
	Name string
	Log  string // file
	cmd  *exec.Cmd
}

// Modules finds the directory of Kamailio's modules.
func Modules() (string, error) {
	found, err := filepath.Glob("/usr/lib/*/kamailio/modules/ims_registrar_pcscf.so")
	if err == nil && len(found) == 0 {
		err = errors.New("no IMS modules of Kamailio (Debian: kamailio-ims-modules)")
	}
	if err != nil {
		return "", err
	}
	return filepath.Dir(found[0]) + "/", nil
}

// Start starts a Kamailio whose files lie in dir, which it sees as its /tmp: what it writes there is named by process numbers, which other
// namespaces have too. Arguments are added to those of every Kamailio. Whoever calls must be where it may do no harm: see [Enter].
func Start(program, dir string, s Setting, arguments ...string) (*Program, error) {
	files, err := configurations.ReadDir("testdata")
	if err != nil {
		return nil, err
	}
	written := 0
	for _, file := range files {
		name := file.Name()
		if own := strings.HasPrefix(name, s.Name+"."); own {
			written++
		} else if name != "common.cfg" && name != "cdp.xml" && name != "version" {
			continue
		}
		if err := s.fill(name, dir); err != nil {
			return nil, err
		}
	}
	if written == 0 {
		return nil, fmt.Errorf("no configuration of %s", s.Name)
	}
	p := &Program{Name: s.Name, Log: filepath.Join(dir, "log")}
	log, err := os.Create(p.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	all := append([]string{"-c", `mount --bind "$1" /tmp && shift && exec "$@"`, "sh", dir, program, "-f", "/tmp/" + s.Name + ".cfg", "-DD", "-E", "-w", "/tmp", "-Y", "/tmp"}, arguments...)
	p.cmd = exec.Command("/bin/sh", all...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	return p, p.cmd.Start()
}

// fill writes a file of testdata into dir, with its gaps filled. pcscf.pua becomes the table pua.
func (s Setting) fill(file, dir string) error {
	text, err := template.ParseFS(configurations, path.Join("testdata", file))
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := text.Execute(&b, s); err != nil {
		return err
	}
	if table, of := strings.CutPrefix(file, s.Name+"."); of && table != "cfg" {
		file = table
	}
	return os.WriteFile(filepath.Join(dir, file), b.Bytes(), 0o600)
}

// PID is the process from which all others of the program come.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Stop ends the program, and waits until it has ended.
func (p *Program) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	return p.cmd.Wait()
}
