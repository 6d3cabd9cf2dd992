package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/crypto/argon2"

	"malla/blobs"
	"malla/cluster"
	"malla/cluster/state"
)

// Who has many items.
const (
	stateUser     = "ana"
	statePassword = "a password for a bench"
)

// users is how many share so many items.
func users(items int) int { return max(2, items/100) }

func itemName(n int) string { return fmt.Sprintf("film %07d.mp4", n) }

// populate gives a node that was never started a mesh of its own with so many
// items, and as many jobs that are done. By requests that would take hours.
func populate(data string, items int) error {
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	id, err := cluster.LoadOrCreateID(data)
	if err != nil {
		return err
	}
	if err := writeBytes(data); err != nil {
		return err
	}
	p := &population{state: state.New(), at: time.Now().UTC()}
	p.grow(items)
	if p.err != nil {
		return p.err
	}
	founding, err := cluster.Refound(filepath.Join(data, "raft"), id)
	if err != nil {
		return err
	}
	err = founding.Finish(p.state)
	p.state = nil
	debug.FreeOSMemory() // the node needs as much
	return err
}

// A population is a state that is made by the same commands as any.
type population struct {
	state *state.State
	index uint64
	at    time.Time
	err   error // the first
}

func (p *population) do(cmd state.Command) {
	if p.err != nil {
		return
	}
	p.index++
	entry, err := state.Encode(fmt.Sprint("request-", p.index), cmd)
	if err == nil {
		_, err = p.state.Apply(p.index, entry)
	}
	if err != nil {
		p.err = fmt.Errorf("%T: %w", cmd, err)
	}
}

// long is an id as long as those that nodes draw.
func long(kind string, n int) string { return fmt.Sprintf("%s-%022d", kind, n) }

// owner is whose the n-th item is: the first user has many.
func owner(n, items int) state.UserID {
	if n < min(ownItems, items/2) {
		return state.UserID(long("u", 0))
	}
	return state.UserID(long("u", 1+n%(users(items)-1)))
}

func (p *population) grow(items int) {
	salt := []byte("a salt for bench")
	hash := argon2.IDKey([]byte(statePassword), salt, 2, 19456, 1, 32)
	phc := fmt.Sprintf("$argon2id$v=%d$m=19456,t=2,p=1$%s$%s", argon2.Version, base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(hash))
	for u := range users(items) {
		name := stateUser
		if u > 0 {
			name = fmt.Sprint("user-", u)
		}
		p.do(state.AddUser{ID: state.UserID(long("u", u)), Name: name, Password: phc, At: p.at})
	}
	p.do(state.RegisterNode{ID: "n1", Name: "somebody", Level: state.Level, At: p.at})
	uploads := items - items/2 // the others are made by jobs
	for n := range uploads {
		p.do(state.AddMedia{ID: state.MediaID(long("m", n)), Owner: owner(n, items), Name: itemName(n), Content: content(n), At: p.at})
		if n%50_000 == 0 {
			say("%d of %d items, %d jobs", n, items, 0)
		}
	}
	for n := 0; n < items && p.err == nil; n += 100 {
		var all []state.Assignment
		for j := n; j < min(n+100, items); j++ {
			task := state.TaskID(long("t", j))
			p.do(state.AddJob{
				ID: state.JobID(long("j", j)), Owner: owner(j%uploads, items), Media: state.MediaID(long("m", j%uploads)), Format: "webm", Recipe: fmt.Sprint("webm crf=32 speed=4 ", j),
				Tasks: []state.NewTask{{ID: task, Kind: state.Convert, Cost: 100, Class: "vp9"}}, At: p.at,
			})
			all = append(all, state.Assignment{Task: task, Node: "n1"})
		}
		p.do(state.AssignTasks{Assignments: all, At: p.at})
		for i, a := range all {
			p.do(state.FinishTask{Task: a.Task, Attempt: 1, Output: content((n + i) % uploads), Media: state.MediaID(long("o", n+i)), Usage: state.Usage{CPU: 1e9, Memory: 1 << 28, Units: 1e6}, At: p.at})
		}
		if n%50_000 == 0 {
			say("%d of %d items, %d jobs", uploads+n/2, items, n)
		}
	}
}

// differentBytes is how many different contents the items have: the bytes of a
// million would be a measurement of the disk.
const differentBytes = 64

func itemBytes(n int) []byte { return fmt.Appendf(nil, "the bytes of film %d", n%differentBytes) }

// writeBytes puts the bytes of the items into the store of a node.
func writeBytes(data string) error {
	for n := range differentBytes {
		name := blobs.RefOf(itemBytes(n)).String()
		dir := filepath.Join(data, "blobs", "chunks", name[:2])
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name[2:]), itemBytes(n), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// content is that of a film.
func content(n int) state.Content {
	bytes := itemBytes(n)
	ref := blobs.RefOf(bytes)
	return state.Content{
		Blob: blobs.Blob{Ref: ref, Size: int64(len(bytes)), SHA256: ref}, Type: "video/mp4", Kind: "video", Duration: 5400.5, Container: "mp4", BitRate: 1_500_000,
		Streams: []state.Stream{
			{Type: "video", Codec: "h264", Width: 1920, Height: 1080, FPS: 25, BitRate: 1_300_000, Profile: "High", PixFmt: "yuv420p", SampleAspect: 1, Duration: 5400.5, Default: true, Color: "tv/bt709/bt709/bt709"},
			{Type: "audio", Codec: "aac", Channels: 2, SampleRate: 48000, BitRate: 128_000, Language: "eng", Index: 1, Layout: "stereo", Duration: 5400.5, Default: true},
		},
		Tags: map[string]string{"title": fmt.Sprint("A film of number ", n), "artist": fmt.Sprint("Director ", n%97)},
	}
}
