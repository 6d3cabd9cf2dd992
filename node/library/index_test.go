package library

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// slowProber makes indexes that are ready when the test says so.
type slowProber struct {
	Prober
	busy  atomic.Int32
	ready chan struct{}
}

func (p *slowProber) Index(ctx context.Context, _ string, _ ffmpeg.Info) (ffmpeg.Index, error) {
	p.busy.Add(1)
	defer p.busy.Add(-1)
	select {
	case <-p.ready:
	case <-ctx.Done():
	}
	return ffmpeg.Index{Unfit: "It is not real."}, ctx.Err()
}

// nowhere is an intake that keeps nothing.
type nowhere struct{}

func (nowhere) Write(_ context.Context, _ string, r io.Reader, _ int64) (blobs.Blob, error) {
	n, err := io.Copy(io.Discard, r)
	return blobs.Blob{Size: n}, err
}

func (nowhere) Forget(string) error { return nil }

func TestFewIndexesAreMadeAtOnce(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "film"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	synctest.Test(t, func(t *testing.T) {
		prober := &slowProber{ready: make(chan struct{})}
		l, err := New(Config{FFmpeg: prober, Intake: nowhere{}, Scratch: filepath.Join(t.TempDir(), "scratch"), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		gone, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 3 * indexers {
			all.Go(func() {
				if _, _, err := l.index(gone, &specimen{File: f}, ffmpeg.Info{}); err != context.Canceled {
					t.Errorf("an index that nobody waits for: %v", err)
				}
			})
		}
		synctest.Wait()
		if n := prober.busy.Load(); n != indexers {
			t.Errorf("%d indexes are made at once", n)
		}
		leave()
		all.Wait()
		close(prober.ready)
		if _, id, err := l.index(t.Context(), &specimen{File: f}, ffmpeg.Info{}); err != nil || id == "" {
			t.Errorf("a place is not given back: %v", err)
		}
	})
}

func TestHardwareThatNobodyHasIsRefused(t *testing.T) {
	software, refused := ffmpeg.EncoderBits([]string{"libx264", "aac"}), state.ErrInvalid
	chip := software | ffmpeg.EncoderBits([]string{"h264_hardware"})
	item := state.Media{ID: "m1", Owner: "u1", Content: Describe(blobs.Blob{}, ffmpeg.Info{Container: ffmpeg.MOV, Kind: ffmpeg.Video, Duration: 60, Streams: []ffmpeg.Stream{
		{Type: "video", Codec: "mpeg4", PixFmt: "yuv420p", Width: 160, Height: 120, FPS: 25, Duration: 60},
	}})}
	for _, row := range []struct {
		nodes   []uint64
		options string
		want    error
	}{
		{[]uint64{software, software}, `{"encoder": "hardware"}`, refused},
		{[]uint64{software, chip}, `{"encoder": "hardware"}`, errAsked},
		{[]uint64{software, 0}, `{"encoder": "hardware"}`, errAsked}, // of another version: it may
		{nil, `{"encoder": "hardware"}`, refused},
		{nil, `{}`, errAsked}, // a node with FFmpeg may come
	} {
		l, err := New(Config{State: state.New(), Proposer: asking{}, Encoders: func() []uint64 { return row.nodes }, Scratch: filepath.Join(t.TempDir(), "scratch"), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := l.Convert(t.Context(), item, state.Conversion{Format: "mp4", Options: []byte(row.options)}); !errors.Is(err, row.want) {
			t.Errorf("%x %s: %v", row.nodes, row.options, err)
		}
	}
}

// asking is a mesh that answers every proposal with errAsked.
type asking struct{}

var errAsked = errors.New("asked")

func (asking) Propose(context.Context, state.Command) (state.Result, error) {
	return state.Result{}, errAsked
}

// maxEntry is what the log takes as one entry (cluster.Propose), in bytes.
const maxEntry = 256 << 10

func TestTheLargestJobFitsIntoTheLog(t *testing.T) {
	const hours, rate, every = 6, 60, 30 // the longest film that is taken; a key each half second
	n := hours * 3600 * rate
	x := ffmpeg.Index{TimeBase: ffmpeg.Rational{Num: 1, Den: rate}, Rate: ffmpeg.Rational{Num: rate, Den: 1}, Size: 1 << 40, Pictures: make([]int64, n)}
	for i := range x.Pictures {
		x.Pictures[i] = int64(i)
		if i%every == 0 {
			x.Keys = append(x.Keys, ffmpeg.Key{Picture: i, Pos: int64(i) * 1000, Gap: every})
		}
	}
	info := ffmpeg.Info{Container: ffmpeg.Matroska, Kind: ffmpeg.Video, Duration: hours * 3600, Size: x.Size, Streams: []ffmpeg.Stream{
		{Type: "video", Codec: "h264", PixFmt: "yuv420p", Width: 3840, Height: 2160, FPS: rate, Duration: hours * 3600, Default: true},
	}}
	languages := "abcdefghijklmnopqrstuvwxyz"
	for i := 1; i < 64; i++ { // each is left out by a sentence of its own, as far as that goes
		info.Streams = append(info.Streams, ffmpeg.Stream{Index: i, Type: "subtitle", Codec: "hdmv_pgs_subtitle", Language: "x" + languages[i%26:i%26+1] + languages[i/26:i/26+1]})
	}
	item := state.Media{Content: Describe(blobs.Blob{Size: x.Size}, info)}
	c, err := newConversion(item, state.Conversion{Format: "webm", Options: []byte(`{"preset": "veryslow", "audio_bitrate": "128k"}`)})
	if err != nil {
		t.Fatal(err)
	}
	class := ffmpeg.CostClass(c.format, c.options)
	if (&Library{}).cut(c, x, class, 0); len(c.tasks) < 390 {
		t.Fatalf("%d tasks: %s", len(c.tasks), c.whole)
	}
	for i := range c.tasks {
		c.tasks[i].Needs = 1<<64 - 1
	}
	entry, err := state.Encode("abcdefghijklmnopqrstuvwxyz", state.AddJob{ID: state.JobID(c.tasks[0].ID), Owner: "abcdefghijklmnopqrstuvwxyz", Media: "abcdefghijklmnopqrstuvwxyz",
		Format: c.format, Recipe: c.recipe, Notes: c.notes, Tasks: c.tasks, Output: "abcdefghijklmnopqrstuvwxyz"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tasks are %d bytes", len(c.tasks), len(entry))
	if len(entry) > maxEntry/2 {
		t.Errorf("%d tasks are %d bytes, which is near the %d that an entry may have", len(c.tasks), len(entry), maxEntry)
	}
}
