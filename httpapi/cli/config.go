package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// A config is what the commands remember between calls: which server was used
// last, and who one is at each. It is kept in config.json, readable by its
// owner alone, since a token is as good as a password while it is valid.
type config struct {
	Server string             `json:"server,omitempty"` // of the last login
	Logins map[string]account `json:"logins,omitempty"` // server -> who one is there

	dir string
}

// An account is who one is at a server.
type account struct {
	User   string   `json:"user"`
	Token  string   `json:"token"`
	Others []string `json:"others,omitempty"` // further nodes of the same mesh, asked when the server does not answer
}

// loadConfig reads config.json of the directory. One that is missing is empty;
// one that others may read is refused, because its token may have been copied.
func loadConfig(dir string) (*config, error) {
	c := &config{dir: dir, Logins: map[string]account{}}
	file := filepath.Join(dir, "config.json")
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s holds your token and can be read by others: run chmod 600 %s, and log out and in again if others use this machine", file, file)
	}
	if err := readJSON(file, c); err != nil {
		return nil, fmt.Errorf("%w; remove it and log in again", err)
	}
	return c, nil
}

func (c *config) save() error { return writeJSON(filepath.Join(c.dir, "config.json"), c) }

// uploads remembers where large files that were cut off can be gone on with, in
// uploads.json beside the config. Its methods may be called by many at once.
type uploads struct {
	mu   sync.Mutex // guards the file
	file string
}

// An unfinished upload is forgotten by the nodes after some time, and then by us.
type unfinished struct {
	Location string    `json:"location"`
	Began    time.Time `json:"began"`
}

// forgetAfter is longer than nodes know of an upload that rests (24 hours), since
// a long one may be on its way for days.
const forgetAfter = 7 * 24 * time.Hour

// location is where the file's upload goes on; "" where there is nothing to go
// on with.
func (u *uploads) location(key string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.read()[key].Location
}

// remember notes where a file's upload can be gone on with; "" forgets it. What
// cannot be written down only costs sending bytes again.
func (u *uploads) remember(key, location string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.read()
	if _, known := all[key]; location == "" && !known {
		return nil
	}
	for k, old := range all {
		if time.Since(old.Began) > forgetAfter {
			delete(all, k)
		}
	}
	delete(all, key)
	if location != "" {
		all[key] = unfinished{location, time.Now().UTC()}
	}
	return writeJSON(u.file, all)
}

// read returns what is written down; u.mu is held.
func (u *uploads) read() map[string]unfinished {
	all := map[string]unfinished{}
	if readJSON(u.file, &all) != nil {
		clear(all)
	}
	return all
}

func readJSON(file string, v any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// writeJSON writes the file whole and readable by its owner alone, so that a
// crash leaves the old one or the new.
func writeJSON(file string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".new-*") // is made with 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // is gone already once renamed
	if _, err := tmp.Write(append(data, '\n')); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
