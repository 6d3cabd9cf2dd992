package httpapi

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"malla/blobs"
	"malla/blobs/upload"
	"malla/cluster/state"
)

// slowLibrary lets the first import wait.
type slowLibrary struct {
	*plainLibrary
	imports        atomic.Int32
	begun, release chan struct{}
}

func (l *slowLibrary) Import(ctx context.Context, owner state.UserID, name string, blob blobs.Blob, replace bool) (state.Media, uint64, error) {
	if l.imports.Add(1) == 1 {
		close(l.begun)
		<-l.release
	}
	return l.plainLibrary.Import(ctx, owner, name, blob, replace)
}

// complete sends a whole upload while the mesh cannot agree on its name.
func (r *rig) complete() (at string) {
	r.t.Helper()
	at = r.tus("ana", "POST", "/files/", nil, "Upload-Length", "4", "Upload-Metadata", meta("a.mp3")).want(201).header.Get("Location")
	r.log.lead(false)
	r.tus("ana", "PATCH", at, "tune", "Content-Type", offsetType, "Upload-Offset", "0").want(503)
	r.log.lead(true)
	return at
}

func (r *rig) items() int {
	r.t.Helper()
	return len(read[MediaList](r.do(req{method: "GET", path: "/media", as: "ana"})).Objects)
}

func TestAnUploadIsImportedOnce(t *testing.T) {
	r := newRig(t)
	at := r.complete()
	slow := &slowLibrary{plainLibrary: r.library, begun: make(chan struct{}), release: make(chan struct{})}
	r.api.cfg.Library = slow
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.api.importComplete(t.Context(), 0)
	}()
	<-slow.begun
	// Whoever asks meanwhile is not told that all is well.
	busy := r.tus("ana", "PATCH", at, nil, "Content-Type", offsetType, "Upload-Offset", "4").want(423)
	if busy.header.Get("Retry-After") == "" {
		t.Error("423 without Retry-After")
	}
	r.api.importComplete(t.Context(), 0)
	close(slow.release)
	<-done
	if id := r.tus("ana", "PATCH", at, nil, "Content-Type", offsetType, "Upload-Offset", "4").want(204).header.Get("Malla-Media-Id"); id == "" {
		t.Error("the answer does not tell what the upload became")
	}
	if n := slow.imports.Load(); n != 1 || r.items() != 1 {
		t.Errorf("imported %d times, %d items", n, r.items())
	}
}

// restarted is a rig whose store of uploads was opened again after a complete
// one was not named.
func restarted(t *testing.T, change ...func(*Config)) (*rig, string) {
	t.Helper()
	dir := t.TempDir()
	open := func(dest upload.Dest) *upload.Store {
		s, err := upload.Open(upload.Config{Dir: dir, Dest: dest, Self: "n1", Peers: alone{}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	r := newRig(t, append(change, func(c *Config) { c.Uploads = open(c.Blobs.(*folder)) })...)
	at := r.complete()
	r.api.cfg.Uploads.Close()
	r.api.cfg.Uploads = open(r.disk)
	var err error
	if r.api.tus, err = r.api.newTus(); err != nil {
		t.Fatal(err)
	}
	return r, at
}

func TestACompleteUploadIsNamedAfterARestart(t *testing.T) {
	r, at := restarted(t)
	r.api.importComplete(t.Context(), time.Hour)
	if n := r.items(); n != 0 {
		t.Errorf("%d items before the upload rested long enough", n)
	}
	r.api.importComplete(t.Context(), 0)
	if n := r.items(); n != 1 {
		t.Errorf("the library has %d items, want 1", n)
	}
	if id := r.tus("ana", "HEAD", at, nil).want(200).header.Get("Malla-Media-Id"); id == "" {
		t.Error("HEAD does not tell what the upload became")
	}
}

func TestANodeWithoutFFmpegTakesNoUpload(t *testing.T) {
	var without atomic.Bool
	r, at := restarted(t, func(c *Config) {
		c.Imports = func() error {
			if without.Load() {
				return errors.New("no FFmpeg here")
			}
			return nil
		}
	})
	without.Store(true)
	r.api.importComplete(t.Context(), 0)
	for _, method := range []string{"HEAD", "PATCH"} {
		got := r.tus("ana", method, at, nil, "Content-Type", offsetType, "Upload-Offset", "4").want(503)
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s: 503 without Retry-After", method)
		}
	}
	without.Store(false)
	if id := r.tus("ana", "PATCH", at, nil, "Content-Type", offsetType, "Upload-Offset", "4").want(204).header.Get("Malla-Media-Id"); id == "" {
		t.Error("the upload was not imported")
	}
}
