package machine

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// image is the root of the guest: an archive of cpio's newc form, which the kernel unpacks at start.
type image struct {
	buf   bytes.Buffer
	inode int
	dirs  map[string]bool
}

// add writes one entry; the folders on the way to it are made.
func (m *image) add(name string, mode uint32, data []byte) {
	if m.dirs == nil {
		m.dirs = map[string]bool{".": true}
	}
	if dir := filepath.Dir(name); !m.dirs[dir] {
		m.dirs[dir] = true
		m.add(dir, 0o040755, nil)
	}
	m.inode++
	fmt.Fprintf(&m.buf, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", m.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	m.buf.WriteString(name)
	m.align()
	m.buf.Write(data)
	for m.buf.Len()%4 != 0 {
		m.buf.WriteByte(0)
	}
}

// align ends a name with NUL and fills up to four octets.
func (m *image) align() {
	m.buf.WriteByte(0)
	for m.buf.Len()%4 != 0 {
		m.buf.WriteByte(0)
	}
}

func (m *image) file(name string, mode uint32, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	m.add(name, 0o100000|mode, data)
	return nil
}

// program adds a program of the host with its shared libraries, at the places where they are here.
func (m *image) program(name, from string) error {
	if err := m.file(name, 0o755, from); err != nil {
		return err
	}
	out, err := exec.Command("ldd", from).Output()
	if err != nil {
		return nil // static
	}
	for _, field := range strings.Fields(string(out)) {
		if to := strings.TrimPrefix(field, "/"); to != field && !m.dirs["file "+to] {
			m.dirs["file "+to] = true
			if err := m.file(to, 0o755, field); err != nil {
				return err
			}
		}
	}
	return nil
}

// modules adds the kernel's modules for cryptography and networks.
func (m *image) modules(root, version string) error {
	lists, err := filepath.Glob(filepath.Join(root, version, "modules.*"))
	if err != nil || len(lists) == 0 {
		return fmt.Errorf("no modules in %s: %v", root, err)
	}
	for _, f := range lists {
		if err := m.file(filepath.Join("lib/modules", version, filepath.Base(f)), 0o644, f); err != nil {
			return err
		}
	}
	for _, part := range []string{"kernel/crypto", "kernel/arch", "kernel/lib", "kernel/net/xfrm", "kernel/net/ipv4", "kernel/net/ipv6", "kernel/net/key", "kernel/net/core",
		"kernel/drivers/virtio", "kernel/drivers/net/virtio_net.ko", "kernel/drivers/net/net_failover.ko"} {
		err := filepath.WalkDir(filepath.Join(root, version, part), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.Contains(p, ".ko") || unneeded(p) {
				return nil // a part that this build has not
			}
			rel, _ := filepath.Rel(root, p)
			return m.file(filepath.Join("lib/modules", rel), 0o644, p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// unneeded are modules that are large, or many, and that no case wants.
func unneeded(p string) bool {
	return strings.Contains(p, "/kvm/") || strings.Contains(p, "/netfilter/")
}

// initScript is the guest's first process. A connection to port 2323 is a shell, one to port 2424 a telephone: only the namespace that holds the other
// end of the wire can reach them. /sbin/ip is called by its path, for this shell would prefer an applet of its own.
const initScript = `#!/bin/sh
export PATH=/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
[ -e /lib/modules/$(uname -r)/modules.dep ] || depmod
for m in virtio_pci virtio_net crc32c_generic ipv6 xfrm_user esp4 esp6 authenc echainiv seqiv cbc ctr hmac md5 sha1_generic gcm ghash_generic des_generic; do modprobe $m; done 2>/dev/null
i=0; while [ ! -e /sys/class/net/DEVICE ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done
/sbin/ip link set lo up
/sbin/ip link set DEVICE up
/sbin/ip addr add 10.77.0.2/24 dev DEVICE
/sbin/ip addr add fd77::2/64 dev DEVICE nodad
[ -x /opt/guest ] && /opt/guest :2424 &
echo GUEST-READY $(uname -r)
while :; do nc -ll -p 2323 -e /bin/sh; sleep 0.2; done
`

// content is what goes into the root of a guest.
type content struct {
	busybox, ip string
	programs    map[string]string // by their names in /opt; static
	modules     string            // folder with one folder of the kernel's version
	device      string            // that the guest's kernel calls the wire
}

// writeImage makes the guest's root.
func (c *content) writeImage(to string) error {
	versions, err := os.ReadDir(c.modules)
	if err != nil || len(versions) == 0 {
		return fmt.Errorf("the kernel's modules: %w", err)
	}
	var m image
	m.add("dev", 0o040755, nil)
	for _, d := range []string{"proc", "sys", "tmp", "run"} {
		m.add(d, 0o040755, nil)
	}
	m.dirs["dev"] = true
	if err := m.program("bin/busybox", c.busybox); err != nil {
		return err
	}
	for _, applet := range []string{"bin/sh", "bin/mount", "bin/nc", "bin/sleep", "bin/uname", "bin/cat", "sbin/modprobe", "sbin/depmod"} { // the crypto API calls modprobe there
		m.add(applet, 0o120777, []byte("/bin/busybox"))
	}
	if err := m.program("sbin/ip", c.ip); err != nil {
		return err
	}
	m.add("etc/protocols", 0o100644, []byte("ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nesp 50 ESP\nipv6-icmp 58 ICMPv6\n")) // iproute2 reads it
	for name, from := range c.programs {
		if err := m.file("opt/"+name, 0o755, from); err != nil {
			return err
		}
	}
	if err := m.modules(c.modules, versions[len(versions)-1].Name()); err != nil {
		return err
	}
	m.add("init", 0o100755, []byte(strings.ReplaceAll(initScript, "DEVICE", c.device)))
	m.add("TRAILER!!!", 0, nil)
	return os.WriteFile(to, m.buf.Bytes(), 0o600)
}
