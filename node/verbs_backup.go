package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"imsafe/iface/management"
	"imsafe/store/sqlite"
)

// BackupTo is the input of backup: an absolute path, on the host of the node, where nothing is yet.
type BackupTo struct {
	Path string `json:"path"`
}

// BackedUp is its answer.
type BackedUp struct {
	Path     string    `json:"path"`
	Octets   int64     `json:"octets"`
	Sequence uint64    `json:"sequence"` // of the last change in it
	Taken    time.Time `json:"taken"`
}

func (o *Operations) backup(ctx context.Context, in BackupTo) (out BackedUp, err error) {
	if !filepath.IsAbs(in.Path) {
		return out, &management.Error{Code: "backup.path", Message: "the path of a backup is absolute", Hint: "begin it with /"}
	}
	err = o.Store.Backup(ctx, in.Path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return out, &management.Error{Code: "backup.exists", Message: in.Path + " is there already", Hint: "name a new file: a backup is never overwritten"}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, errors.ErrUnsupported):
		return out, &management.Error{Code: "backup.place", Message: "no backup: " + err.Error(),
			Hint: "name a directory that the user of the node may write to"}
	case err != nil:
		return out, err
	}
	taken, err := sqlite.Manifest(in.Path)
	if err != nil {
		return out, err
	}
	info, err := os.Stat(in.Path)
	if err != nil {
		return out, err
	}
	return BackedUp{Path: in.Path, Octets: info.Size(), Sequence: taken.Meta.Sequence, Taken: taken.At}, nil
}
