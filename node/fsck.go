package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"malla/blobs"
	"malla/blobs/disk"
	"malla/blobs/upload"
	"malla/cluster"
)

// Fsck says what to check of a data directory.
type Fsck struct {
	Data     string
	Repair   bool                              // moves damaged chunks to quarantine and removes half-made files; nothing else is changed
	Progress func(done, of int64, bytes int64) // is called with the chunks done of all; nil is nobody
}

// An FsckReport is what was found in a data directory.
type FsckReport struct {
	Data      string          `json:"data"`
	Chunks    int64           `json:"chunks"`    // that are whole
	Bytes     int64           `json:"bytes"`     // of those
	Manifests int64           `json:"manifests"` // among them
	Complete  int64           `json:"complete"`  // blobs all of whose chunks are here
	Uploads   int64           `json:"uploads"`   // whose record can be read
	Damaged   int64           `json:"damaged"`   // findings of that kind
	Findings  []blobs.Finding `json:"findings"`  // files are relative to the data directory
}

// Run checks the directory, which no node may be using. Its error tells that it
// could not look at everything; what is damaged is in the report.
func (f Fsck) Run(ctx context.Context) (*FsckReport, error) {
	report := &FsckReport{Data: f.Data, Findings: []blobs.Finding{}}
	if _, err := os.Stat(filepath.Join(f.Data, "blobs")); err != nil {
		return nil, fmt.Errorf("--data %s: not the data directory of a node: %w", f.Data, err)
	}
	unlock, err := lockData(f.Data)
	if err != nil {
		return nil, err
	}
	defer unlock()
	chunks, err := disk.Check(ctx, disk.CheckConfig{Dir: filepath.Join(f.Data, "blobs"), Repair: f.Repair, Progress: f.Progress})
	if err != nil {
		return nil, err
	}
	report.Chunks, report.Bytes, report.Manifests, report.Complete = chunks.Chunks, chunks.Bytes, chunks.Manifests, chunks.Complete
	report.add("blobs", chunks.Findings)
	uploads, err := upload.Check(filepath.Join(f.Data, "uploads"), f.Repair)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a node that was never ready
	case err != nil:
		return nil, err
	default:
		report.Uploads = uploads.Uploads
		report.add("uploads", uploads.Findings)
	}
	return report, nil
}

func (r *FsckReport) add(dir string, findings []blobs.Finding) {
	for _, f := range findings {
		f.File = filepath.Join(dir, f.File)
		r.Findings = append(r.Findings, f)
		if f.Kind == blobs.FoundDamaged {
			r.Damaged++
		}
	}
}

// lockData takes the lock by which a node keeps a second one out of its data
// directory: that on the file of its log. A directory without one has no node.
func lockData(dir string) (unlock func() error, err error) {
	log, err := os.Open(cluster.LogFile(clusterDir(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--data %s: %w", dir, err)
	}
	if err := unix.Flock(int(log.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		err = errors.Join(err, log.Close())
		return nil, fmt.Errorf("--data %s: a node is using it: stop that node first: %w", dir, err)
	}
	return log.Close, nil
}
