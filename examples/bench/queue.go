package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

const (
	queueSlots = 2
	queueLimit = 0.9 // of the loop's rate
	batch      = 500 // files of one request
)

// queue has one node convert many songs of a second that were all asked for at
// once, and a shell loop of ffmpeg with as many at a time.
func queue(ctx context.Context, s settings, out *report) (err error) {
	songs := filepath.Join(s.dir, "songs")
	if err := os.Mkdir(songs, 0o755); err != nil {
		return err
	}
	var names []string
	for i := range s.count {
		name := fmt.Sprintf("jingle-%04d.wav", i)
		if err := os.WriteFile(filepath.Join(songs, name), footage.Jingle(i, 1), 0o644); err != nil {
			return err
		}
		names = append(names, name)
	}
	// Half of the loop runs before, half behind: a machine has its moods.
	half := len(names) / 2
	before, err := shellLoop(ctx, songs, names[:half])
	if err != nil {
		return err
	}
	took, err := s.drain(ctx, songs, names)
	if err != nil {
		return err
	}
	behind, err := shellLoop(ctx, songs, names[half:])
	if err != nil {
		return err
	}
	loop := float64(len(names)) / (before + behind).Seconds()
	malla := float64(len(names)) / took.Seconds()
	out.title("%d songs of one second to mp3, all asked for at once, one node with %d slots", len(names), queueSlots)
	out.table([][]string{
		{"", "time", "songs a second", "ratio", "limit", "verdict"},
		{fmt.Sprintf("xargs -P%d ffmpeg", queueSlots), seconds((before + behind).Seconds()), fmt.Sprintf("%.1f", loop), "", "", ""},
		{"malla", seconds(took.Seconds()), fmt.Sprintf("%.1f", malla), ratio(malla / loop), ratio(queueLimit), out.atLeast(malla/loop, queueLimit)},
	})
	return nil
}

// shellLoop is what somebody types who has the songs in a folder.
func shellLoop(ctx context.Context, dir string, names []string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "xargs", fmt.Sprintf("-P%d", queueSlots), "-I{}",
		"ffmpeg", "-nostdin", "-v", "error", "-y", "-i", "{}", "-c:a", "libmp3lame", "-b:a", "192k", "{}.mp3")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(strings.Join(names, "\n"))
	began := time.Now()
	if said, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("xargs ffmpeg: %w: %s", err, said)
	}
	return time.Since(began), nil
}

// drain uploads the songs, asks for all of them, and returns how long it takes
// from then on until the last is done.
func (s settings) drain(ctx context.Context, dir string, names []string) (took time.Duration, err error) {
	node, err := startRig(ctx, s, mesh.Config{Nodes: 1, Flags: []string{"--slots", fmt.Sprint(queueSlots)}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	began := time.Now()
	if err := node.user.putAll(ctx, dir, names); err != nil {
		return 0, err
	}
	say("  uploaded in %.1f s", time.Since(began).Seconds())
	began = time.Now()
	for from := 0; from < len(names); from += batch {
		taken, err := node.user.ConvertAll(ctx, names[from:min(from+batch, len(names))], httpapi.ConvertRequest{OutputFormat: "mp3"})
		if err != nil {
			return 0, err
		}
		for _, q := range taken {
			if q.Error != "" {
				return 0, fmt.Errorf("%s: %s", q.InputFile, q.Error)
			}
		}
	}
	say("  asked for in %.2f s", time.Since(began).Seconds())
	for {
		q, err := node.user.QueueStats(ctx)
		switch {
		case err != nil:
			return 0, err
		case q.Stats.Failed > 0:
			return 0, fmt.Errorf("%d of the conversions failed", q.Stats.Failed)
		case q.Stats.Completed == len(names):
			return time.Since(began), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// putAll uploads files of a folder, a few at a time.
func (u *user) putAll(ctx context.Context, dir string, names []string) error {
	const atOnce = 8
	var all sync.WaitGroup
	errs := make([]error, atOnce)
	for w := range atOnce {
		all.Go(func() {
			for i := w; i < len(names) && errs[w] == nil; i += atOnce {
				errs[w] = u.putFile(ctx, filepath.Join(dir, names[i]))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
