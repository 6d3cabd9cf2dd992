package footage

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestSceneHasItsPictures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scene.mp4")
	scene := Scene{Width: 64, Height: 36, Seconds: 3, Grain: 3, Seed: 1}
	if err := scene.Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	f, err := Probe(t.Context(), path)
	if err != nil || f.Check("mp4", 3) != nil {
		t.Errorf("%+v, %v", f, errors.Join(err, f.Check("mp4", 3)))
	}
	pictures, err := Pictures(t.Context(), path)
	if err != nil || len(pictures) != 3*SceneFPS {
		t.Fatalf("%d pictures, %v", len(pictures), err)
	}
	film, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "padded.mp4")
	if err := os.WriteFile(other, Padded(film, 7), 0o600); err != nil {
		t.Fatal(err)
	}
	same, err := Pictures(t.Context(), other)
	if err := errors.Join(err, SameTimes(same, pictures)); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(other, film[:len(film)*2/3], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Pictures(t.Context(), other); err == nil {
		t.Error("a cut file was decoded without complaint")
	}
}

func TestSameTimesNamesWhatDiffers(t *testing.T) {
	want := []float64{0.04, 0.08, 0.12}
	for what, got := range map[string][]float64{"one is missing": {0, 0.04}, "one is late": {0, 0.042, 0.08}} {
		if SameTimes(got, want) == nil {
			t.Error(what, "and is not told")
		}
	}
	if err := SameTimes([]float64{0, 0.04, 0.08}, want); err != nil {
		t.Error("another beginning:", err)
	}
}

func TestBandAndJingles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "song.wav")
	if err := Band(t.Context(), path, 2, 3); err != nil {
		t.Fatal(err)
	}
	if f, err := Probe(t.Context(), path); err != nil || f.Check("wav", 2) != nil {
		t.Errorf("%+v, %v", f, err)
	}
	a, b := Jingle(1, 1), Jingle(2, 1)
	if bytes.Equal(a, b) || len(a) != 44+NoiseRate {
		t.Errorf("%d bytes, the same: %v", len(a), bytes.Equal(a, b))
	}
	if err := os.WriteFile(path, a, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := Probe(t.Context(), path); err != nil || f.Check("wav", 1) != nil {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestCachedWritesOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.txt")
	written := 0
	write := func(_ context.Context, path string) error {
		written++
		if written == 1 {
			return errors.New("no")
		}
		return os.WriteFile(path, nil, 0o600)
	}
	if Cached(t.Context(), path, write) == nil {
		t.Error("a failure was not told")
	}
	if err := errors.Join(Cached(t.Context(), path, write), Cached(t.Context(), path, write)); err != nil || written != 2 {
		t.Errorf("written %d times, %v", written, err)
	}
}
