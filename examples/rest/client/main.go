// Command client walks through the whole life of a file with malla's Go client,
// as lifecycle.sh beside it does with curl:
//
//	go run ./examples/rest/client [-server http://localhost:8000] [FILE]
//
// It makes an account of its own, uploads the file (or a second of noise), reads
// a part of it, converts it, shares it, opens the share without an account, and
// deletes everything again. It prints each step and ends with 0 only if every
// check held.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"malla/examples/internal/footage"
	"malla/httpapi"
)

func main() {
	server := flag.String("server", "http://localhost:8000", "any node of the mesh")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *server, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		stop()
		os.Exit(1)
	}
}

// life is one walk through it.
type life struct {
	*httpapi.Client
	out  io.Writer
	name string // of the file
	data []byte
	user string
}

func run(ctx context.Context, out io.Writer, server, path string) error {
	l := &life{Client: &httpapi.Client{Base: server}, out: out, name: "noise.wav", data: footage.Noise(uint64(os.Getpid()), footage.NoiseRate)}
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		l.name, l.data = filepath.Base(path), data
	}
	for _, step := range []func(context.Context) error{l.signUp, l.upload, l.list, l.readPart, l.convert, l.share, l.remove} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "\nall checks held")
	return nil
}

func (l *life) step(format string, args ...any) {
	fmt.Fprintf(l.out, "== "+format+"\n", args...)
}

func (l *life) signUp(ctx context.Context) error {
	l.user = "rest-" + strings.ToLower(rand.Text()[:8])
	l.step("sign up as %s", l.user)
	password := rand.Text()
	if _, err := l.Signup(ctx, l.user, password); err != nil {
		return err
	}
	l.step("log in, as one would the next time")
	if _, err := l.Login(ctx, l.user, password); err != nil {
		return err
	}
	me, err := l.Me(ctx)
	if err == nil && me.Username != l.user {
		err = fmt.Errorf("logged in as %q", me.Username)
	}
	return err
}

// upload sends the file resumably: where the network breaks it goes on by itself.
func (l *life) upload(ctx context.Context) error {
	l.step("upload %s, %d bytes", l.name, len(l.data))
	m, err := l.UploadFile(ctx, httpapi.File{Name: l.name, Body: bytes.NewReader(l.data), Size: int64(len(l.data))})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(l.data)
	if m.SHA256 != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("stored with the SHA-256 %s, sent was %x", m.SHA256, sum)
	}
	fmt.Fprintf(l.out, "stored as %s: %s, %.2f s, SHA-256 %.12s…\n", m.Name, m.Kind, m.Duration, m.SHA256)
	return nil
}

func (l *life) list(ctx context.Context) error {
	l.step("list the library")
	list, err := l.Media(ctx, httpapi.MediaQuery{})
	if err != nil {
		return err
	}
	if len(list.Items) != 1 || list.Items[0].Name != l.name {
		return fmt.Errorf("the library of the new account has %q", list.Objects)
	}
	return nil
}

func (l *life) readPart(ctx context.Context) error {
	from := int64(len(l.data) / 2)
	l.step("read it from byte %d on", from)
	var got bytes.Buffer
	if _, err := l.Download(ctx, l.name, &got, from, nil); err != nil {
		return err
	}
	if !bytes.Equal(got.Bytes(), l.data[from:]) {
		return errors.New("other bytes than uploaded")
	}
	return nil
}

// output is how a conversion of the file to mp3 is called.
func (l *life) output() string {
	return strings.TrimSuffix(l.name, filepath.Ext(l.name)) + "_converted.mp3"
}

func (l *life) convert(ctx context.Context) error {
	l.step("convert it to mp3")
	asked, err := l.Convert(ctx, httpapi.ConvertRequest{InputFile: l.name, OutputFormat: "mp3", Options: []byte(`{"bitrate": "128k"}`)})
	if err != nil {
		return err
	}
	job, err := l.WaitJob(ctx, asked.JobID, func(j httpapi.Job) {
		fmt.Fprintf(l.out, "%s %.0f %%\n", j.Status, j.Progress)
	})
	switch {
	case err != nil:
		return err
	case job.Status != httpapi.Completed:
		return fmt.Errorf("the job ended as %s: %s", job.Status, job.Error)
	case job.OutputFile != l.output():
		return fmt.Errorf("the output is called %q", job.OutputFile)
	}
	l.step("download the result")
	var got bytes.Buffer
	if _, err := l.Download(ctx, job.OutputFile, &got, 0, nil); err != nil {
		return err
	}
	if int64(got.Len()) != job.OutputSize {
		return fmt.Errorf("%d bytes came, the job says %d", got.Len(), job.OutputSize)
	}
	fmt.Fprintf(l.out, "%s, %d bytes\n", job.OutputFile, got.Len())
	return nil
}

func (l *life) share(ctx context.Context) error {
	l.step("share it for ten minutes")
	shared, err := l.Share(ctx, l.output(), 10)
	if err != nil {
		return err
	}
	fmt.Fprintln(l.out, shared.URL)
	l.step("open the share without an account")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, shared.URL, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil {
		return err
	}
	m, err := l.Info(ctx, l.output())
	if err == nil && (res.StatusCode != http.StatusOK || n != m.Size) {
		err = fmt.Errorf("%s and %d bytes, want %d", res.Status, n, m.Size)
	}
	return err
}

func (l *life) remove(ctx context.Context) error {
	for _, name := range []string{l.name, l.output()} {
		l.step("delete %s", name)
		if _, err := l.Delete(ctx, name); err != nil {
			return err
		}
		_, err := l.Info(ctx, name)
		var p *httpapi.Problem
		if !errors.As(err, &p) || p.Status != http.StatusNotFound {
			return fmt.Errorf("%s is still there (%v)", name, err)
		}
	}
	return nil
}
