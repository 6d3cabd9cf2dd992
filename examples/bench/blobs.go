package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"malla/examples/internal/mesh"
	"malla/httpapi"
)

// What is asked of the blobs beside what a disk, a hash and a web server do.
const (
	leastUpload   = 0.8     // of the slower of dd and SHA-256
	leastDownload = 0.9     // of nginx
	mostMemory    = 200e6   // bytes that a node ever has
	rangeSize     = 1000000 // bytes of a random range
)

// blobsPart measures one node with one copy of everything: uploads beside dd
// and SHA-256, downloads beside nginx.
func blobsPart(ctx context.Context, s settings, out *report) (err error) {
	size := int64(s.size) * 1_000_000
	input := filepath.Join(s.dir, "large.wav")
	if err := writeWave(input, size); err != nil {
		return err
	}
	var all uploaded
	for run := range s.runs {
		if err := all.round(ctx, s, input, size, run); err != nil {
			return errors.Join(err, all.close())
		}
	}
	defer func() { err = errors.Join(err, all.close()) }()
	all.report(s, size, out)
	if err := downloads(ctx, s, all.rig, all.item, input, size, out); err != nil {
		return err
	}
	if err := cold(ctx, s, &all, size, out); err != nil {
		return err
	}
	peak := float64(all.peak)
	out.title("Memory of the node, whatever it did")
	out.table([][]string{{"most at once", "limit", "verdict"}, {megabytes(peak), megabytes(mostMemory), out.atMost(peak, mostMemory)}})
	return nil
}

// writeWave writes a WAV file of noise, of which no two chunks are the same.
func writeWave(path string, size int64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	w.WriteString("RIFF")
	binary.Write(w, binary.LittleEndian, uint32(min(size-8, 1<<32-1)))
	w.WriteString("WAVEfmt ")
	for _, v := range []any{uint32(16), uint16(1), uint16(2), uint32(192_000), uint32(768_000), uint16(4), uint16(16)} {
		binary.Write(w, binary.LittleEndian, v)
	}
	w.WriteString("data")
	binary.Write(w, binary.LittleEndian, uint32(min(size-waveHead, 1<<32-1)))
	var word [8]byte
	for state, left := uint64(1), size-waveHead; left > 0; left -= 8 { // xorshift (Marsaglia 2003)
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		binary.LittleEndian.PutUint64(word[:], state)
		w.Write(word[:min(8, left)])
	}
	return w.Flush() // and what any of the writes said
}

const waveHead = 44

// uploaded is what uploads took, a figure a run, and where the last one is.
type uploaded struct {
	dd, sum, tus, form, cpu []float64 // seconds
	peak                    int64     // bytes of memory that any node had

	rig  *rig
	item httpapi.Media
}

// round measures each once. It begins with an empty node, so that the disk does
// not have to hold all rounds.
func (u *uploaded) round(ctx context.Context, s settings, input string, size int64, run int) error {
	t, err := timeOf(func() error { return copyDurably(ctx, input, filepath.Join(s.dir, "copy")) })
	if err != nil {
		return err
	}
	u.dd = append(u.dd, t)
	if t, err = timeOf(func() error { return hashFile(input) }); err != nil {
		return err
	}
	u.sum = append(u.sum, t)
	if err := u.close(); err != nil {
		return err
	}
	if u.rig, err = startRig(ctx, s, mesh.Config{Nodes: 1, Flags: []string{"--copies", "1"}}); err != nil {
		return err
	}
	for i := range 2 {
		tus := (run+i)%2 == 0 // each begins as often
		before, err := cpuOf(u.rig.PID(0))
		if err != nil {
			return err
		}
		if u.item, t, err = upload(ctx, u.rig.user, input, size, i+1, tus); err != nil {
			return err
		}
		after, err := cpuOf(u.rig.PID(0))
		if err != nil {
			return err
		}
		if tus {
			u.tus = append(u.tus, t)
		} else {
			u.form = append(u.form, t)
		}
		u.cpu = append(u.cpu, after-before)
	}
	say("  run %d: dd %.2f s, SHA-256 %.2f s, tus %.2f s, form %.2f s", run+1, u.dd[run], u.sum[run], u.tus[run], u.form[run])
	return nil
}

// look notes the most memory that the running node had.
func (u *uploaded) look() error {
	peak, err := peakMemory(u.rig.PID(0))
	u.peak = max(u.peak, peak)
	return err
}

// close ends the node, if there is one, and removes what it has.
func (u *uploaded) close() error {
	if u.rig == nil {
		return nil
	}
	err := u.look()
	return errors.Join(err, u.rig.Close())
}

func (u *uploaded) report(s settings, size int64, out *report) {
	limit := max(median(u.dd), median(u.sum))
	row := func(what string, t float64, verdict string) []string {
		return []string{what, seconds(t), fmt.Sprintf("%.0f MB/s", float64(size)/1e6/t), ratio(limit / t), verdict}
	}
	verdict := func(t float64) string { return out.atLeast(limit/t, leastUpload) }
	out.title("Upload of %s to one node that keeps one copy, medians of %d", megabytes(float64(size)), s.runs)
	out.table([][]string{
		{"what", "time", "speed", "of the slower limit", "verdict"},
		row("dd conv=fsync", median(u.dd), ""),
		row("one pass of SHA-256", median(u.sum), ""),
		row("upload by tus", median(u.tus), verdict(median(u.tus))),
		row("upload by form", median(u.form), verdict(median(u.form))),
	})
	fmt.Fprintf(out.to, "\nThe node used %.2f s of CPU a GB.\n", median(u.cpu)/float64(size)*1e9)
}

// timeOf runs f when nothing that was written before is on its way to the disk.
func timeOf(f func() error) (float64, error) {
	if err := exec.Command("sync").Run(); err != nil {
		return 0, err
	}
	began := time.Now()
	err := f()
	return time.Since(began).Seconds(), err
}

// copyDurably is dd until the copy is on the disk. It is removed again.
func copyDurably(ctx context.Context, from, to string) error {
	text, err := exec.CommandContext(ctx, "dd", "if="+from, "of="+to, "bs=1M", "conv=fsync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("dd: %w: %s", err, bytes.TrimSpace(text))
	}
	return os.Remove(to)
}

func hashFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyBuffer(sha256.New(), struct{ io.Reader }{f}, make([]byte, 1<<20))
	return err
}

// upload sends the file, changed a little so that no chunk is known, until it
// is in the library.
func upload(ctx context.Context, u *user, path string, size int64, seed int, tus bool) (m httpapi.Media, took float64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return m, 0, err
	}
	defer f.Close()
	body := &changed{ReadSeeker: f, seed: byte(seed)}
	name := fmt.Sprintf("large%d.wav", seed)
	took, err = timeOf(func() error {
		if tus {
			m, err = u.UploadFile(ctx, httpapi.File{Name: name, Body: body, Size: size})
			return err
		}
		done, err := u.Upload(ctx, name, body, size, nil)
		m = done.Item
		return err
	})
	if err != nil {
		return m, 0, fmt.Errorf("upload: %w", err)
	}
	return m, took, nil
}

// chunkSize is what malla cuts files into.
const chunkSize = 8 << 20

// changed is a file of which one byte of each chunk is another.
type changed struct {
	io.ReadSeeker
	seed byte
	pos  int64
}

func (c *changed) Seek(off int64, whence int) (n int64, err error) {
	c.pos, err = c.ReadSeeker.Seek(off, whence)
	return c.pos, err
}

func (c *changed) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	const place = 1000 // in each; behind the header
	for at := place - c.pos%chunkSize; at < int64(n); at += chunkSize {
		if at >= 0 {
			p[at] = c.seed
		}
	}
	c.pos += int64(n)
	return n, err
}
