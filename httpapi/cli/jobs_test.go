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
		`{"from":"0:30","resolution":"720p","size_mb":"25"}`: {From: "0:30", Resolution: "720p", SizeMB: "25"},
		`{"a=b":"c","crf":0}`:                                {CRF: &crf, Option: map[string]string{"a=b": "c"}},
	} {
		if got, err := c.options(); err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}

func TestOptionsAreNotGivenTwice(t *testing.T) {
	if _, err := (ConvertCmd{Bitrate: "192k", Option: map[string]string{"bitrate": "64k"}}).options(); err == nil {
		t.Error("a bitrate beside a bitrate is taken")
	}
}

func TestFilesAndFormats(t *testing.T) {
	for _, row := range []struct {
		name   string
		cmd    ConvertCmd
		files  []string
		format string
	}{
		{"one", ConvertCmd{Words: []string{"a.wav", "MP3"}}, []string{"a.wav"}, "MP3"},
		{"several", ConvertCmd{Words: []string{"a.wav", "b.wav", "mp3"}}, []string{"a.wav", "b.wav"}, "mp3"},
		{"a strange format is the server's to refuse", ConvertCmd{Words: []string{"a.wav", "xyz"}}, []string{"a.wav"}, "xyz"},
		{"a purpose", ConvertCmd{Words: []string{"a.mov"}, Purpose: "phone"}, []string{"a.mov"}, ""},
		{"a purpose for several", ConvertCmd{Words: []string{"a.mov", "b.mov"}, Purpose: "phone"}, []string{"a.mov", "b.mov"}, ""},
		{"a purpose and a format", ConvertCmd{Words: []string{"a.mov", "webm"}, Purpose: "phone"}, []string{"a.mov"}, "webm"},
		{"a file named as a format", ConvertCmd{Words: []string{"mp3"}, Purpose: "podcast"}, []string{"mp3"}, ""},
		{"the format by its flag", ConvertCmd{Words: []string{"a.wav", "mp3"}, Format: "flac"}, []string{"a.wav", "mp3"}, "flac"},
	} {
		files, format, err := row.cmd.split()
		if err != nil || !slices.Equal(files, row.files) || format != row.format {
			t.Errorf("%s: %q, %q, %v", row.name, files, format, err)
		}
	}
	if _, _, err := (ConvertCmd{Words: []string{"a.wav"}}).split(); err == nil {
		t.Error("a file alone is converted to nothing")
	}
}
