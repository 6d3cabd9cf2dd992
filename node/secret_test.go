package node_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"malla/httpapi"
	"malla/node"
	"malla/node/nodetest"
)

// TestUsersNoticeNoRotation: while the secret is replaced, everything that users
// do goes on: reading, uploading, converting, events, links, shares.
func TestUsersNoticeNoRotation(t *testing.T) {
	if testing.Short() {
		t.Skip("replaces the secret of a mesh of three nodes")
	}
	m := nodetest.New(t, 3)
	admin := m.Node(0).Client()
	link, _ := m.Node(0).SetupURL()
	_, token, _ := strings.Cut(link, "#setup=")
	if _, err := admin.Setup(t.Context(), token, "root", "correct horse"); err != nil {
		t.Fatal(err)
	}
	ana := m.Node(0).User("ana")
	song := generated(t, "song.mp3")
	upload(t, ana, "song.mp3", song)
	upload(t, ana, "film.mp4", generated(t, "film.mp4"))
	signed, err := ana.SignURL(t.Context(), "song.mp3", 60)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := ana.Share(t.Context(), "song.mp3", 60)
	if err != nil {
		t.Fatal(err)
	}
	share := shared.URL[strings.Index(shared.URL, "/s/"):]

	for i := range m.Len() {
		nodetest.Eventually(t, "all nodes know the share", 30*time.Second, func() error {
			return readAll(t.Context(), m.Node(i).URL()+share, "", song)
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	for i := range m.Len() {
		base := m.Node(i).URL()
		read := func(path, token string) {
			if err := readAll(ctx, base+path, token, song); err != nil && ctx.Err() == nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		load.Go(func() {
			for pace(ctx) {
				read("/media/song.mp3", ana.Token)
				read(signed.URL, "")
				read(share, "")
			}
		})
	}
	load.Go(func() {
		for i := 0; pace(ctx); i++ {
			name := fmt.Sprintf("song%d.mp3", i)
			c := as(ana, m.Node(i%m.Len()))
			if _, err := c.Upload(ctx, name, bytes.NewReader(song), int64(len(song)), nil); err != nil && ctx.Err() == nil {
				t.Errorf("upload: %v", err)
			}
		}
	})
	heard := hears(t, m.Node(1).URL(), ana.Token)
	job, err := ana.Convert(t.Context(), httpapi.ConvertRequest{InputFile: "film.mp4", OutputFormat: "webm"})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := admin.RotateSecret(t.Context(), httpapi.RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	status, err := admin.WaitRotated(t.Context(), nil)
	if err != nil || status.Ended.IsZero() || status.Sessions.IsZero() {
		t.Fatalf("%+v, %v", status, err)
	}
	t.Logf("replaced in %v", time.Since(began).Round(time.Millisecond))
	stop()
	load.Wait()
	if done := waitJob(t, ana, job.JobID); done.Status != "completed" {
		t.Errorf("the conversion %s: %s", done.Status, done.Error)
	}
	upload(t, ana, "after.mp3", song)
	if err := <-heard; err != nil {
		t.Errorf("the stream of events: %v", err)
	}

	t.Run("a node that comes later knows the sessions and links", func(t *testing.T) {
		late := m.Add(func(_ int, cfg *node.Config) {
			cfg.Secret, cfg.SecretFile = "", m.Node(1).Data()+"/secret"
		})
		nodetest.Eventually(t, "it reads what was signed before", 30*time.Second, func() error {
			if err := readAll(t.Context(), late.URL()+"/media/song.mp3", ana.Token, song); err != nil {
				return err
			}
			return readAll(t.Context(), late.URL()+signed.URL, "", song)
		})
	})
	t.Run("a restarted node with the old secret on its command line", func(t *testing.T) {
		m.Node(0).Stop()
		m.Node(0).Restart()
		if err := readAll(t.Context(), m.Node(0).URL()+"/media/song.mp3", ana.Token, song); err != nil {
			t.Error(err)
		}
	})
	t.Run("sessions can be ended", func(t *testing.T) {
		admin := as(admin, m.Node(1))
		if _, err := admin.RotateSecret(t.Context(), httpapi.RotateRequest{Sessions: httpapi.EndSessions}); err != nil {
			t.Fatal(err)
		}
		nodetest.Eventually(t, "the old token is refused", 60*time.Second, func() error {
			for i := range m.Len() {
				if err := readAll(t.Context(), m.Node(i).URL()+"/media/song.mp3", ana.Token, song); err == nil || !strings.Contains(err.Error(), "status 401") {
					return fmt.Errorf("node %d: %v", i, err)
				}
			}
			return nil
		})
		fresh := m.Node(2).User("ana")
		if err := download(fresh, "song.mp3", song); err != nil {
			t.Error(err)
		}
		if err := readAll(t.Context(), m.Node(2).URL()+share, "", song); err != nil {
			t.Errorf("a share ended with the sessions: %v", err)
		}
	})
}

// pace waits a moment, which leaves processors to the conversion, and tells
// whether to go on.
func pace(ctx context.Context) bool {
	select {
	case <-time.After(50 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

// readAll reads bytes once, without trying again, and compares them.
func readAll(ctx context.Context, url, token string, want []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d: %s", res.StatusCode, got)
	case !bytes.Equal(got, want):
		return fmt.Errorf("other bytes: %d instead of %d", len(got), len(want))
	}
	return nil
}

// hears reads one stream of events until it tells of after.mp3. A stream that
// ends before is an error.
func hears(t *testing.T, base, token string) <-chan error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan error, 1)
	go func() {
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "after.mp3") {
				heard <- nil
				return
			}
		}
		heard <- fmt.Errorf("it ended: %v", lines.Err())
	}()
	return heard
}
