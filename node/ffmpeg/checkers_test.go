package ffmpeg

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"testing"
)

// A checker is a program that knows a format without FFmpeg, for a second
// opinion on what FFmpeg made.
type checker struct {
	program string
	args    []string                 // before the file
	judge   func([]byte, Info) error // of what it prints; nil: its exit status tells all
}

// checkers is format -> its second opinion.
var checkers = map[string]checker{
	"flac": {program: "flac", args: []string{"--test", "--silent"}},
	"ogg":  {program: "oggz-validate"},
	"mkv":  {"mkvmerge", []string{"-J"}, judgeMatroska},
	"webm": {"mkvmerge", []string{"-J"}, judgeMatroska},
	"mp3":  mediaInfo, "wav": mediaInfo, "aac": mediaInfo, "m4a": mediaInfo,
	"mp4": mediaInfo, "mov": mediaInfo, "avi": mediaInfo,
}

var mediaInfo = checker{"mediainfo", []string{"--Output=JSON"}, judgeMediaInfo}

// availableCheckers are the checkers whose programs are here. make test
// installs them where apt does; elsewhere there may be no packages.
func availableCheckers(t *testing.T) map[string]checker {
	t.Helper()
	_, noApt := exec.LookPath("apt-get")
	have := map[string]checker{}
	for format, c := range checkers {
		_, err := exec.LookPath(c.program)
		switch {
		case err == nil:
			have[format] = c
		case noApt == nil:
			t.Errorf("%s needs %s: run .ci/install checkers", format, c.program)
		default:
			t.Logf("%s is not looked at by %s, which is not here", format, c.program)
		}
	}
	return have
}

// check asks the program about a file that ffprobe has told all about.
func (c checker) check(t *testing.T, path string, made Info) error {
	t.Helper()
	if c.program == "" {
		return nil
	}
	out, err := exec.CommandContext(t.Context(), c.program, append(c.args, path)...).CombinedOutput()
	if err == nil && c.judge != nil {
		err = c.judge(out, made)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", c.program, err, out)
	}
	return nil
}

func judgeMatroska(out []byte, made Info) error {
	var told struct {
		Container struct {
			Recognized, Supported bool
			Properties            struct{ Duration float64 } // nanoseconds
		}
		Errors, Warnings []string
		Tracks           []struct{ Type string }
	}
	if err := json.Unmarshal(out, &told); err != nil {
		return err
	}
	types := map[string]int{}
	for _, track := range told.Tracks {
		types[track.Type]++
	}
	switch {
	case !told.Container.Recognized || !told.Container.Supported || len(told.Errors)+len(told.Warnings) > 0:
		return errors.New("complains")
	case types["video"] != 1 || types["audio"] != sounds(made):
		return fmt.Errorf("sees %v", types)
	case !near(told.Container.Properties.Duration/1e9, made.Duration, 0.1):
		return fmt.Errorf("%.3f s instead of %.3f s", told.Container.Properties.Duration/1e9, made.Duration)
	}
	return nil
}

func judgeMediaInfo(out []byte, made Info) error {
	var told struct {
		Media struct {
			Track []struct {
				Type     string `json:"@type"`
				Duration string // seconds; ADTS tells none
				Extra    struct {
					IsTruncated       string
					ConformanceErrors json.RawMessage
				}
			}
		}
	}
	if err := json.Unmarshal(out, &told); err != nil {
		return err
	}
	types := map[string]int{}
	for _, track := range told.Media.Track {
		types[track.Type]++
		if track.Extra.IsTruncated != "" || len(track.Extra.ConformanceErrors) > 0 {
			return errors.New("complains")
		}
		seconds, err := strconv.ParseFloat(track.Duration, 64)
		if err == nil && track.Type == "General" && !near(seconds, made.Duration, 0.1) {
			return fmt.Errorf("%.3f s instead of %.3f s", seconds, made.Duration)
		}
	}
	if film := map[MediaKind]int{Video: 1}[made.Kind]; types["Video"] != film || types["Audio"] != sounds(made) {
		return fmt.Errorf("sees %v", types)
	}
	return nil
}
