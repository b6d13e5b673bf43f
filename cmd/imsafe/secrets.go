package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"imsafe/config"
)

// keyText is a key in hexadecimal on its way to a file or to the HSS. However it is printed, it says [redacted]; encoding it as JSON
// is the one way out, which newSubscriber and cardFile are for.
type keyText string

func (keyText) String() string               { return "[redacted]" }
func (k keyText) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }
func (k keyText) LogValue() slog.Value       { return slog.StringValue(k.String()) }

// openSecret opens a file that only its owner may read; - is standard input. The rights are those of the open file.
func (a *app) openSecret(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.stdin), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		if err = config.CheckSecret(info); err != nil {
			err = fmt.Errorf("%w; `chmod 600 %s`", err, path)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readSecret reads a whole file of at most limit octets.
func (a *app) readSecret(path string, limit int64) ([]byte, error) {
	f, err := a.openSecret(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d octets", path, limit)
	}
	return data, errors.Join(err, f.Close())
}

// readKey reads a file with one key in hexadecimal. Whether it is one is for the HSS to say, and to word.
func (a *app) readKey(path string) (keyText, error) {
	if path == "" {
		return "", nil
	}
	data, err := a.readSecret(path, 4096)
	return keyText(bytes.TrimSpace(data)), err
}

// newSecretFile writes a file that is for its owner alone and was not there before, durable when it returns.
func newSecretFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already and is not overwritten: name a new file", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// ask reads a line from the terminal without showing it.
func (a *app) ask(what string) (_ keyText, err error) {
	noTerminal := usage{errors.New("--prompt needs a terminal; give a file or - for standard input")}
	f, ok := a.stdin.(*os.File)
	if !ok {
		return "", noTerminal
	}
	fd := int(f.Fd())
	shown, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", noTerminal
	}
	hidden := *shown
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(fd, unix.TCSETS, shown)) }()
	fmt.Fprintf(a.stderr, "%s (not shown): ", what)
	line, err := a.readLine(fd)
	fmt.Fprintln(a.stderr)
	return keyText(strings.TrimSpace(line)), err
}

// readLine reads octet by octet, so that nothing of the next line is taken, and gives up at Ctrl-C, so that the terminal shows again
// what is typed.
func (a *app) readLine(fd int) (string, error) {
	const look = 100 // milliseconds between two looks at whether to stop
	var line []byte
	var b [1]byte
	for len(line) < 4096 {
		if err := a.ctx.Err(); err != nil {
			return "", err
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, look)
		if n == 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return "", err
		}
		if n, err = unix.Read(fd, b[:]); n == 0 || err != nil || b[0] == '\n' {
			return string(line), err
		}
		line = append(line, b[0])
	}
	return string(line), nil
}
