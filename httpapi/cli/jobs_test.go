package cli

import (
	"slices"
	"testing"

	"malla/httpapi"
)

func TestWatchedJobsAreShownOnceAndAfterEachChange(t *testing.T) {
	shown := map[string]string{}
	ids := func(jobs []httpapi.Job) []string {
		t.Helper()
		changed, err := news(jobs, shown)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, j := range changed {
			ids = append(ids, j.ID)
		}
		return ids
	}
	first := httpapi.Job{ID: "first", Status: httpapi.Processing}
	second := httpapi.Job{ID: "second", Status: httpapi.Pending}
	if got := ids([]httpapi.Job{second, first}); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("at first: %q, want the oldest first", got)
	}
	if got := ids([]httpapi.Job{second, first}); got != nil {
		t.Errorf("unchanged: %q", got)
	}
	first.Progress = 50
	if got := ids([]httpapi.Job{second, first}); !slices.Equal(got, []string{"first"}) {
		t.Errorf("after progress of one: %q", got)
	}
}

func TestOnlyGivenOptionsAreSent(t *testing.T) {
	crf := 0
	for want, c := range map[string]ConvertCmd{
		`{}`:                             {},
		`{"crf":0,"video_codec":"copy"}`: {CRF: &crf, VideoCodec: "copy"},
		`{"bitrate":"192k"}`:             {Bitrate: "192k"},
	} {
		if got, err := c.options(); err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}
