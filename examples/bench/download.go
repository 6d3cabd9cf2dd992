package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"malla/httpapi"
)

// A source is a server of the file.
type source struct {
	name string
	url  string
	pids func() []int
}

// downloads measures the node beside nginx, which serves the same file from the
// same disk, in turns.
func downloads(ctx context.Context, s settings, r *rig, item httpapi.Media, input string, size int64, out *report) (err error) {
	node, err := nodeSource(ctx, r, item)
	if err != nil {
		return err
	}
	sources := []source{node}
	server, err := startNginx(ctx, s.dir, filepath.Dir(input))
	switch {
	case err == nil:
		defer func() { err = errors.Join(err, server.stop()) }()
		sources = append(sources, source{"nginx", server.url + "/" + filepath.Base(input), server.pids})
	case errors.Is(err, errNoNginx):
		say("  %v", err)
	default:
		return err
	}
	rows := [][]string{{"connections", "server", "speed", "of nginx", "CPU a GB", "of nginx", "verdict"}}
	for _, connections := range []int{1, 32} {
		more, err := measureDownloads(ctx, s, sources, connections, size, out)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	out.title("Download of %s, medians of %d", megabytes(float64(size)), s.runs)
	out.table(rows)
	rows = [][]string{{"server", "p50", "p99"}}
	for _, from := range sources {
		took, err := readRanges(ctx, from.url, s.ranges, size)
		if err != nil {
			return err
		}
		rows = append(rows, []string{from.name, milliseconds(median(took)), milliseconds(quantile(took, 0.99))})
	}
	if len(sources) == 1 {
		rows = append(rows, []string{"nginx", "not here", ""})
	}
	out.title("%d random ranges of 1 MB, one after another", s.ranges)
	out.table(rows)
	return nil
}

func milliseconds(s float64) string { return fmt.Sprintf("%.2f ms", 1000*s) }

// nodeSource is the item on the node, by a link that needs no credentials.
func nodeSource(ctx context.Context, r *rig, item httpapi.Media) (source, error) {
	signed, err := r.user.SignURL(ctx, item.ID, 240)
	if err != nil {
		return source{}, err
	}
	return source{"malla", r.URL(0) + signed.URL, func() []int { return []int{r.PID(0)} }}, nil
}

// measureDownloads returns a row for each source.
func measureDownloads(ctx context.Context, s settings, sources []source, connections int, size int64, out *report) ([][]string, error) {
	speeds, cpus := make([][]float64, len(sources)), make([][]float64, len(sources))
	moved := float64(size) / 1e9 // GB
	if connections > 1 {
		moved *= spread
	}
	for run := range s.runs {
		for k := range sources {
			i := (k + run) % len(sources) // each begins as often
			pids := sources[i].pids()
			before, err := cpuOf(pids...)
			if err != nil {
				return nil, err
			}
			took, err := timeOf(func() error { return readBy(ctx, sources[i].url, connections, size) })
			if err != nil {
				return nil, fmt.Errorf("download from %s: %w", sources[i].name, err)
			}
			after, err := cpuOf(pids...)
			if err != nil {
				return nil, err
			}
			speeds[i] = append(speeds[i], moved/took)
			cpus[i] = append(cpus[i], (after-before)/moved)
		}
	}
	var rows [][]string
	for i, from := range sources {
		speed, cpu := median(speeds[i]), median(cpus[i])
		row := []string{fmt.Sprint(connections), from.name, fmt.Sprintf("%.0f MB/s", 1000*speed), "", seconds(cpu), "", ""}
		if len(sources) > 1 && i == 0 {
			of := speed / median(speeds[1])
			row[3], row[5], row[6] = ratio(of), ratio(cpu/median(cpus[1])), out.atLeast(of, leastDownload)
		}
		rows = append(rows, row)
	}
	if len(sources) == 1 {
		rows = append(rows, []string{fmt.Sprint(connections), "nginx", "not here", "", "", "", "skipped"})
	}
	return rows, nil
}

// spread is how many times the file is read by many connections together.
const spread = 2

// readBy reads the whole file by one connection, or parts of it by many.
func readBy(ctx context.Context, url string, connections int, size int64) error {
	if connections == 1 {
		return read(ctx, newReading(), url, 0, size)
	}
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			c := newReading()
			part := size / int64(connections)
			for round := range spread {
				// Each round at another place, so that no two read the same at once.
				from := int64((i+round*connections/spread)%connections) * part
				errs[i] = errors.Join(errs[i], read(ctx, c, url, from, part))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// readRanges reads n ranges at random places and returns the seconds that each
// took. The places are the same each time.
func readRanges(ctx context.Context, url string, n int, size int64) ([]float64, error) {
	c, places := newReading(), rand.New(rand.NewPCG(1, 2))
	took := make([]float64, n)
	for i := range took {
		from := places.Int64N(size - rangeSize)
		began := time.Now()
		if err := read(ctx, c, url, from, rangeSize); err != nil {
			return nil, err
		}
		took[i] = time.Since(began).Seconds()
	}
	return took, nil
}

// A reading is a client with one connection and one buffer.
type reading struct {
	http.Client
	buf []byte
}

func newReading() *reading {
	return &reading{http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}}, make([]byte, 256<<10)}
}

// read reads so many bytes of the file, and is content only with all of them.
func read(ctx context.Context, c *reading, url string, from, n int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+n-1))
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("status %s", res.Status)
	}
	for got := int64(0); ; {
		k, err := res.Body.Read(c.buf)
		got += int64(k)
		if err == io.EOF && got == n {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%d of %d bytes: %w", got, n, err)
		}
	}
}

// cold measures the first reads after a restart: each chunk is hashed again
// before its first byte is sent.
func cold(ctx context.Context, s settings, u *uploaded, size int64, out *report) error {
	r := u.rig
	rows := [][]string{{"what", "time"}}
	for _, what := range []string{"whole file", "p50 of the ranges", "p99 of the ranges"} {
		rows = append(rows, []string{what, ""})
	}
	for i := range 2 {
		if err := u.look(); err != nil { // of the run that ends here
			return err
		}
		if err := r.Kill(0); err != nil {
			return err
		}
		if err := r.Restart(0); err != nil {
			return err
		}
		if err := r.Ready(ctx, 0); err != nil {
			return err
		}
		from, err := nodeSource(ctx, r, u.item)
		if err != nil {
			return err
		}
		if i == 0 {
			took, err := timeOf(func() error { return readBy(ctx, from.url, 1, size) })
			if err != nil {
				return err
			}
			rows[1][1] = fmt.Sprintf("%s, %.0f MB/s", seconds(took), float64(size)/1e6/took)
			continue
		}
		took, err := readRanges(ctx, from.url, s.ranges, size)
		if err != nil {
			return err
		}
		rows[2][1], rows[3][1] = milliseconds(median(took)), milliseconds(quantile(took, 0.99))
	}
	out.title("The same from malla after a restart, when each chunk is hashed before it is sent")
	out.table(rows)
	return u.look()
}
