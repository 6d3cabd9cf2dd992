package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

const (
	fairLimit   = 5.0 // seconds that the song may take longer than alone
	fairSong    = 300 // seconds of the song
	fairFilm    = 30  // seconds of each film
	fairWarming = 3 * time.Second
)

// fairness has one user ask for many films and another one, a little later, for
// a song.
func fairness(ctx context.Context, s settings, out *report) (err error) {
	film := filepath.Join(s.cache, fmt.Sprintf("film-480p-%ds.mp4", fairFilm))
	scene := footage.Scene{Width: 854, Height: 480, Seconds: fairFilm, Grain: 4, Seed: 2}
	if err := footage.Cached(ctx, film, scene.Write); err != nil {
		return err
	}
	songs := []string{filepath.Join(s.cache, "song-alone.wav"), filepath.Join(s.cache, "song-behind.wav")}
	for i, path := range songs {
		err := footage.Cached(ctx, path, func(ctx context.Context, path string) error { return footage.Band(ctx, path, fairSong, 10+i) })
		if err != nil {
			return err
		}
	}
	node, err := startRig(ctx, s, mesh.Config{Nodes: 1, Flags: []string{"--slots", "2"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	other, err := signUp(ctx, node.URL(0), "bob")
	if err != nil {
		return err
	}
	for _, path := range songs {
		if err := other.putFile(ctx, path); err != nil {
			return err
		}
	}
	song := func(path string) (time.Duration, error) {
		_, took, err := other.convert(ctx, httpapi.ConvertRequest{InputFile: filepath.Base(path), OutputFormat: "mp3"})
		return took, err
	}
	alone, err := song(songs[0])
	if err != nil {
		return err
	}
	if err := node.user.crowd(ctx, film, s.films); err != nil {
		return err
	}
	behind, err := song(songs[1])
	if err != nil {
		return err
	}
	q, err := node.user.QueueStats(ctx)
	if err != nil {
		return err
	}
	later := (behind - alone).Seconds()
	out.title("A song of %d s behind %d films of another user, one node with 2 slots", fairSong, s.films)
	out.table([][]string{
		{"alone", "behind the films", "longer by", "limit", "verdict", "films still to do"},
		{seconds(alone.Seconds()), seconds(behind.Seconds()), seconds(later), seconds(fairLimit), out.atMost(later, fairLimit), fmt.Sprint(q.QueueLength)},
	})
	return nil
}

// crowd asks for so many films, and returns when the node is busy with them.
func (u *user) crowd(ctx context.Context, path string, films int) error {
	film, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var names []string
	for i := range films {
		names = append(names, fmt.Sprintf("film-%02d.mp4", i))
		if err := u.put(ctx, names[i], footage.Padded(film, i)); err != nil {
			return err
		}
	}
	asked, err := u.ConvertAll(ctx, names, httpapi.ConvertRequest{OutputFormat: "webm"})
	if err != nil {
		return err
	}
	for _, q := range asked {
		if q.Error != "" {
			return fmt.Errorf("%s: %s", q.InputFile, q.Error)
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(fairWarming):
		return nil
	}
}
