package main

import (
	"errors"
	"os"
	"path/filepath"
)

// folders holds a folder per volume.
type folders struct{ root string }

// make makes a volume's folder, open to whichever user id the pod has: only that pod gets it mounted.
func (f folders) make(name string) error {
	path := filepath.Join(f.root, name)
	if err := os.Mkdir(path, 0o777); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil
		}
		return err
	}
	return os.Chmod(path, 0o777) // whatever the umask took away
}

// wipe removes a volume's folder with all that is in it.
func (f folders) wipe(name string) error {
	return os.RemoveAll(filepath.Join(f.root, name))
}
