package node_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"malla/httpapi"
	"malla/node"
	"malla/node/ffmpeg"
	"malla/node/nodetest"
)

// footage makes media once for all tests of this package.
var footage = struct {
	once sync.Once
	dir  string
	err  error
}{}

func TestMain(m *testing.M) {
	code := m.Run()
	if footage.dir != "" {
		os.RemoveAll(footage.dir)
	}
	os.Exit(code)
}

// generated returns the bytes of song.mp3, film.mp4 or long.mp4.
func generated(t *testing.T, name string) []byte {
	t.Helper()
	footage.once.Do(func() {
		footage.dir, footage.err = os.MkdirTemp("", "malla-footage-")
		if footage.err != nil {
			return
		}
		var r *ffmpeg.Runner
		if r, footage.err = ffmpeg.New(context.Background(), ffmpeg.Config{}); footage.err != nil {
			return
		}
		for name, of := range map[string]struct {
			kind   ffmpeg.MediaKind
			length time.Duration
		}{
			"song.mp3": {ffmpeg.Audio, 3 * time.Second},
			"film.mp4": {ffmpeg.Video, 2 * time.Second},
			"long.mp4": {ffmpeg.Video, 10 * time.Second},
		} {
			if footage.err = r.Generate(context.Background(), of.kind, of.length, filepath.Join(footage.dir, name)); footage.err != nil {
				return
			}
		}
	})
	if footage.err != nil {
		t.Fatalf("generate footage: %v", footage.err)
	}
	data, err := os.ReadFile(filepath.Join(footage.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func upload(t *testing.T, c *httpapi.Client, name string, data []byte) httpapi.Media {
	t.Helper()
	done, err := c.Upload(t.Context(), name, bytes.NewReader(data), int64(len(data)), nil)
	if err != nil {
		t.Fatalf("upload %s: %v", name, err)
	}
	return done.Item
}

// download reads an item from a node and compares its hash with what the API
// says and with what was uploaded.
func download(c *httpapi.Client, name string, want []byte) error {
	var got bytes.Buffer
	if _, err := c.Download(context.Background(), name, &got, 0, nil); err != nil {
		return fmt.Errorf("download %s: %w", name, err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		return fmt.Errorf("%s came back with other bytes: %d of them instead of %d", name, got.Len(), len(want))
	}
	info, err := c.Info(context.Background(), name)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(want); info.SHA256 != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%s: the API says SHA-256 %s", name, info.SHA256)
	}
	return nil
}

func waitJob(t *testing.T, c *httpapi.Client, id string) httpapi.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	job, err := c.WaitJob(ctx, id, nil)
	if err != nil {
		t.Fatalf("wait for job %s: %v", id, err)
	}
	return job
}

// as moves a signed-in client to another node.
func as(c *httpapi.Client, nd *nodetest.Node) *httpapi.Client {
	return c.At(nd.URL())
}

func TestOneNodeDoesEverything(t *testing.T) {
	m := nodetest.New(t, 1)
	c := m.Node(0).User("ana")
	film := generated(t, "film.mp4")
	item := upload(t, c, "film.mp4", film)
	if item.Kind != "video" || item.Duration < 1.9 || item.Duration > 2.1 {
		t.Errorf("item: %+v", item)
	}
	asked, err := c.Convert(t.Context(), httpapi.ConvertRequest{InputFile: "film.mp4", OutputFormat: "webm"})
	if err != nil {
		t.Fatal(err)
	}
	job := waitJob(t, c, asked.JobID)
	if job.Status != httpapi.Completed || job.OutputFile != "film_converted.webm" || job.Progress != 100 {
		t.Fatalf("job: %+v", job)
	}
	shared, err := c.Share(t.Context(), job.OutputFile, 5)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(shared.URL)
	if err != nil {
		t.Fatal(err)
	}
	if data := nodetest.Read(t, res.Body); res.StatusCode != 200 || len(data) == 0 || res.Header.Get("Content-Type") != "video/webm" {
		t.Errorf("share: status %d, %d bytes of %s", res.StatusCode, len(data), res.Header.Get("Content-Type"))
	}
	nd := m.Node(0)
	nd.Stop()
	nd.Restart()
	if err := download(as(c, nd), "film.mp4", film); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestWhatOneNodeTakesTheOthersGive(t *testing.T) {
	m := nodetest.New(t, 3)
	song, film := generated(t, "song.mp3"), generated(t, "film.mp4")
	c := m.Node(0).User("ana")
	upload(t, c, "song.mp3", song)
	upload(t, c, "film.mp4", film)
	for _, nd := range []*nodetest.Node{m.Node(1), m.Node(2)} {
		other := as(c, nd)
		for name, want := range map[string][]byte{"song.mp3": song, "film.mp4": film} {
			nodetest.Eventually(t, name+" is on the other node", 5*time.Second, func() error { return download(other, name, want) })
		}
	}
	second := as(c, m.Node(1))
	asked, err := second.Convert(t.Context(), httpapi.ConvertRequest{InputFile: "song.mp3", OutputFormat: "flac"})
	if err != nil {
		t.Fatal(err)
	}
	if job := waitJob(t, as(second, m.Node(2)), asked.JobID); job.Status != httpapi.Completed {
		t.Fatalf("job: %+v", job)
	}
	nodes, err := c.Nodes(t.Context())
	if err != nil || len(nodes) != 3 {
		t.Errorf("nodes: %v %v", nodes, err)
	}
	// Who goes on at another node finds there what they did, at once.
	for i := range 15 {
		shared, err := c.Share(t.Context(), "song.mp3", 5)
		if err != nil {
			t.Fatal(err)
		}
		c = as(c, m.Node((i+1)%3))
		list, err := c.Shares(t.Context())
		if err != nil || !slices.ContainsFunc(list, func(s httpapi.Share) bool { return s.ID == shared.ID }) {
			t.Errorf("share %d is not on %s: %v", i, m.Node((i+1)%3).Name(), err)
		}
	}
}

// TestAnyNodeMayDie kills each node in turn: the one that leads, the one that
// works on a job, and the one that took the upload.
func TestAnyNodeMayDie(t *testing.T) {
	if testing.Short() {
		t.Skip("takes most of a minute; the whole suite does it")
	}
	for _, victim := range []string{"leader", "worker", "uploader"} {
		t.Run(victim, func(t *testing.T) {
			m := nodetest.New(t, 3, func(i int, cfg *node.Config) { cfg.Slots = 1 })
			film := generated(t, "long.mp4")
			leader := m.Leader()
			uploader := (leader + 1) % 3
			c := m.Node(uploader).User("ana")
			upload(t, c, "film.mp4", film)
			asked, err := c.Convert(t.Context(), httpapi.ConvertRequest{InputFile: "film.mp4", OutputFormat: "webm"})
			if err != nil {
				t.Fatal(err)
			}
			worker := -1
			nodetest.Eventually(t, "a node works on the job", 20*time.Second, func() error {
				job, err := c.Job(t.Context(), asked.JobID)
				if err != nil || job.Progress <= 0 || job.Progress >= 100 {
					return fmt.Errorf("job: %+v, %v", job, err)
				}
				for i := range 3 {
					if m.Node(i).Name() == job.AssignedWorker {
						worker = i
					}
				}
				return nil
			})
			killed := map[string]int{"leader": leader, "worker": worker, "uploader": uploader}[victim]
			m.Node(killed).Kill()
			writesAgain(t, m.Others(killed), c)
			for _, nd := range m.Others(killed) {
				if err := download(as(c, nd), "film.mp4", film); err != nil {
					t.Error(err)
				}
			}
			survivor := as(c, m.Others(killed)[0])
			job := waitJob(t, survivor, asked.JobID)
			if job.Status != httpapi.Completed {
				t.Fatalf("job: %+v", job)
			}
			if killed == worker && job.Attempt != 2 || killed != worker && job.Attempt != 1 {
				t.Errorf("%d attempts", job.Attempt)
			}
			onlyOneOutput(t, survivor)
			nd := m.Node(killed)
			nd.Restart()
			if err := download(as(c, nd), "film.mp4", film); err != nil {
				t.Errorf("after its restart: %v", err)
			}
		})
	}
}

// writesAgain fails unless each of the nodes takes a write within 5 s.
func writesAgain(t *testing.T, nodes []*nodetest.Node, c *httpapi.Client) {
	t.Helper()
	died := time.Now()
	for _, nd := range nodes {
		other := as(c, nd)
		nodetest.Eventually(t, "the survivors take writes", 5*time.Second-time.Since(died), func() error {
			_, err := other.Share(t.Context(), "film.mp4", 5)
			return err
		})
	}
	t.Logf("writes again after %v", time.Since(died))
}

func onlyOneOutput(t *testing.T, c *httpapi.Client) {
	t.Helper()
	list, err := c.Media(t.Context(), httpapi.MediaQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(list.Objects); got != "[film.mp4 film_converted.webm]" {
		t.Errorf("library: %s", got)
	}
}

func TestCancelStopsTheWork(t *testing.T) {
	m := nodetest.New(t, 1)
	c := m.Node(0).User("ana")
	upload(t, c, "film.mp4", generated(t, "long.mp4"))
	asked, err := c.Convert(t.Context(), httpapi.ConvertRequest{InputFile: "film.mp4", OutputFormat: "webm"})
	if err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, "the job is under way", 20*time.Second, func() error {
		job, err := c.Job(t.Context(), asked.JobID)
		if err == nil && job.Progress == 0 {
			err = errors.New("no progress yet")
		}
		return err
	})
	if err := c.Cancel(t.Context(), asked.JobID); err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, "nothing runs", 2*time.Second, func() error {
		if self := m.Node(0).Busy(); self != 0 {
			return fmt.Errorf("%d tasks run", self)
		}
		return nil
	})
	scratch, err := os.ReadDir(filepath.Join(m.Node(0).Data(), "scratch", "tasks"))
	if err != nil || len(scratch) != 0 {
		t.Errorf("left behind: %v, %v", scratch, err)
	}
	if job, err := c.Job(t.Context(), asked.JobID); err != nil || !job.Canceled || job.Status != httpapi.Failed {
		t.Errorf("job: %+v, %v", job, err)
	}
}
