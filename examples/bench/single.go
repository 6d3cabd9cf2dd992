package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

// rival is a conversion as somebody types it, with malla's parameters.
type rival struct {
	format string
	film   bool // else a song
	args   []string
	limit  float64 // of malla's time beside it
}

var rivals = []rival{
	{"webm", true, []string{"-c:v", "libvpx-vp9", "-crf", "23", "-b:v", "0", "-c:a", "libopus"}, 0.88},
	{"mp4", true, []string{"-c:v", "libx264", "-crf", "23", "-preset", "medium", "-c:a", "aac", "-b:a", "128k"}, 0.98},
	{"mov", true, []string{"-c:v", "libx264", "-crf", "23", "-preset", "medium", "-c:a", "aac"}, 0.98},
	{"avi", true, []string{"-c:v", "mpeg4", "-q:v", "5", "-c:a", "libmp3lame", "-b:a", "128k"}, 1.1},
	{"mp3", false, []string{"-c:a", "libmp3lame", "-b:a", "192k"}, 1.1},
	{"flac", false, []string{"-c:a", "flac"}, 1.1},
	{"ogg", false, []string{"-c:a", "libvorbis", "-q:a", "5"}, 1.1},
	{"m4a", false, []string{"-c:a", "aac", "-b:a", "192k"}, 1.1},
}

func everyFormat() []string {
	var names []string
	for _, r := range rivals {
		names = append(names, r.format)
	}
	return names
}

// single compares one job on one node with default settings, from the request
// until its output is on disk, with ffmpeg on the same file.
func single(ctx context.Context, s settings, out *report) error {
	film := filepath.Join(s.cache, fmt.Sprintf("film-720p-%gs.mp4", s.seconds))
	song := filepath.Join(s.cache, fmt.Sprintf("song-%gs.wav", 5*s.seconds))
	scene := footage.Scene{Width: 1280, Height: 720, Seconds: s.seconds, Grain: 4, Seed: 1}
	if err := footage.Cached(ctx, film, scene.Write); err != nil {
		return err
	}
	err := footage.Cached(ctx, song, func(ctx context.Context, path string) error {
		return footage.Band(ctx, path, 5*s.seconds, 1)
	})
	if err != nil {
		return err
	}
	rows := [][]string{{"format", "ffmpeg", "malla", "ratio", "limit", "verdict", "upload to playable", "its ratio", "CPU of ffmpeg", "CPU of malla's tasks"}}
	where := [][]string{{"format", "segments", "CPU a segment", "until the first starts", "slots busy till the last ends", "longest gap", "assembly", "after it"}}
	for _, r := range rivals {
		if !slices.Contains(s.formats, r.format) {
			continue
		}
		input := song
		if r.film {
			input = film
		}
		d, err := r.duel(ctx, s, input)
		if err != nil {
			return fmt.Errorf("%s: %w", r.format, err)
		}
		rows = append(rows, d.row(r, out))
		if r.film && d.last.Whole != "" {
			say("  %s was not cut: %s", r.format, d.last.Whole)
		}
		if cells := d.where(r.format); cells != nil {
			where = append(where, cells)
		}
	}
	out.title("One job on one node: %g s of 720p, %g s of music, medians of %d", s.seconds, 5*s.seconds, s.runs)
	out.table(rows)
	if len(where) > 1 {
		out.title("Where the time of the last job in segments goes")
		out.table(where)
	}
	return nil
}

// duel is what both took, a figure a run.
type duel struct {
	ffmpeg, malla, playable, cpu []float64 // seconds
	last                         httpapi.Job
	asked                        time.Time // when the last was
}

// duel runs both in turn, the other one first each time.
func (r rival) duel(ctx context.Context, s settings, input string) (*duel, error) {
	d := &duel{}
	for i := range s.runs {
		turns := []func(context.Context, settings, string, *duel) error{r.typed, r.asked}
		if i%2 == 1 {
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			if err := turn(ctx, s, input, d); err != nil {
				return nil, err
			}
		}
		say("  %s, run %d: ffmpeg %.2f s, malla %.2f s", r.format, i+1, d.ffmpeg[i], d.malla[i])
	}
	return d, nil
}

// typed runs the command.
func (r rival) typed(ctx context.Context, s settings, input string, d *duel) error {
	output := filepath.Join(s.dir, "typed."+r.format)
	defer os.Remove(output)
	args := append(append([]string{"-nostdin", "-v", "error", "-y", "-i", input}, r.args...), output)
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	began := time.Now()
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, said)
	}
	d.ffmpeg = append(d.ffmpeg, time.Since(began).Seconds())
	d.cpu = append(d.cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	return nil
}

// asked asks a new node, which has converted nothing yet.
func (r rival) asked(ctx context.Context, s settings, input string, d *duel) (err error) {
	node, err := startRig(ctx, s, mesh.Config{Nodes: 1})
	if err != nil {
		return err
	}
	defer func() {
		if e := node.Close(); err == nil {
			err = e
		}
	}()
	began := time.Now()
	if err := node.user.putFile(ctx, input); err != nil {
		return err
	}
	uploaded := time.Since(began)
	d.asked = time.Now()
	job, took, err := node.user.convert(ctx, httpapi.ConvertRequest{InputFile: filepath.Base(input), OutputFormat: r.format, Options: afresh(r.film)})
	if err != nil {
		return err
	}
	opened := time.Now()
	if err := node.user.firstBytes(ctx, job.OutputID); err != nil {
		return err
	}
	d.last = job
	d.malla = append(d.malla, took.Seconds())
	d.playable = append(d.playable, (uploaded + took + time.Since(opened)).Seconds())
	return nil
}

func (d *duel) row(r rival, out *report) []string {
	ffmpeg, malla, playable := median(d.ffmpeg), median(d.malla), median(d.playable)
	return []string{
		r.format, seconds(ffmpeg), seconds(malla), ratio(malla / ffmpeg), ratio(r.limit), out.atMost(malla/ffmpeg, r.limit),
		seconds(playable), ratio(playable / ffmpeg), seconds(median(d.cpu)), seconds(spent(d.last)),
	}
}
