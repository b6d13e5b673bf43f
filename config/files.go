package config

import (
	"errors"
	"fmt"
	"io/fs"
)

// sealingKey is the key that names the file under whose keys K and OPc are sealed.
const sealingKey = "hss.sealing_key_file"

// CheckFiles looks, through stat, whether the files that the configuration names are there, and whether
// nobody but the owner can read those that hold secrets. credentials is the directory of the system's
// credentials, "" without one. The error is of type Problems. The reader checks once more on the file it
// has open: between here and there the file can change.
func (c *Config) CheckFiles(stat func(name string) (fs.FileInfo, error), credentials string) error {
	f := &findings{}
	check := func(key, name string, secret bool) {
		if name == "" {
			return
		}
		info, err := stat(name)
		if err != nil {
			hint := ""
			if errors.Is(err, fs.ErrNotExist) && key == sealingKey {
				hint = "`imsafe key new " + name + "` makes one for a new store; for one that is there already put the copy of its key back"
			}
			f.refuse(true, key, hint, "%v", err)
			return
		}
		f.refuse(!info.Mode().IsRegular(), key, "", "%s is no file", name)
		if secret {
			err := CheckSecret(info)
			f.refuse(err != nil, key, "chmod 600 "+name, "%v", err)
		}
	}
	if len(c.CI.TLS.Listen) > 0 {
		check("ci.tls.certificate_file", c.CI.TLS.CertificateFile, false)
		c.checkSecretFile(f, check, "ci.tls.key_file", c.CI.TLS.KeyFile, credentials)
	}
	c.checkSecretFile(f, check, "store.password_file", c.Store.PasswordFile, credentials)
	c.checkSecretFile(f, check, sealingKey, c.HSS.SealingKeyFile, credentials)
	if len(f.problems) > 0 {
		return f.problems
	}
	return nil
}

func (c *Config) checkSecretFile(f *findings, check func(string, string, bool), key string, file SecretFile, credentials string) {
	path, err := file.Path(credentials)
	if err != nil {
		f.refuse(true, key, "", "%v", err)
		return
	}
	check(key, path, true)
}

// CheckSecret refuses a file that somebody besides its owner can read or write. A reader calls it on the
// file it has opened.
func CheckSecret(info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("config: %s has the rights %#o: a secret is for its owner alone", info.Name(), mode)
	}
	return nil
}
