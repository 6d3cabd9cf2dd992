package ffmpeg

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// This machine's ffmpeg lists hardware that is not there.
func TestHardwareThatDoesNotWorkIsDropped(t *testing.T) {
	r := newRunner(t, Limits{})
	if !r.tools.Has("h264_vaapi") {
		t.Skip("this ffmpeg lists no hardware")
	}
	if _, err := os.Stat("/dev/dri"); err == nil {
		t.Skip("this machine may have such hardware")
	}
	if names := r.ProbeHardware(t.Context()); slices.Contains(names, "h264_vaapi") || slices.Contains(r.Encoders(), "h264_vaapi") {
		t.Errorf("works: %v", names)
	}
	if err := r.CanConvert("mp4", Options{Encoder: hardware}); !errors.Is(err, ErrNoEncoder) {
		t.Errorf("got %v", err)
	}
	p := Params{Input: film(t), Output: filepath.Join(t.TempDir(), "out"), Info: filmInfo, Format: "mp4", Options: Options{Encoder: hardware}}
	if _, err := r.Convert(t.Context(), p, nil); !errors.Is(err, ErrNoEncoder) {
		t.Errorf("got %v", err)
	}
	if err := r.CanConvert("mp4", Options{}); err != nil {
		t.Error(err)
	}
	if args, err := RestArgs(Params{Input: "/in", Output: "/out", Info: filmInfo, Format: "mp4", Options: Options{Encoder: hardware}}); err != nil {
		t.Errorf("sound needs hardware: %v %v", args, err)
	}
}

// chipScript is an ffmpeg whose h264_nvenc works: libx264 stands in for the
// chip, and its hevc_nvenc does not.
const chipScript = `#!/bin/bash
args=()
while [ $# -gt 0 ]; do
	case "$1" in
	h264_nvenc) args+=(libx264) ;;
	-rc|-b:v) shift ;;
	-cq) args+=(-crf) ;;
	*) args+=("$1") ;;
	esac
	shift
done
exec ffmpeg "${args[@]}"
`

func TestHardwareThatWorksIsUsed(t *testing.T) {
	script := writeFile(t, "ffmpeg", []byte(chipScript))
	if err := os.Chmod(script, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := New(context.Background(), Config{FFmpeg: script, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if names := r.ProbeHardware(t.Context()); !slices.Equal(names, []string{"h264_nvenc"}) {
		t.Fatalf("works: %v", names)
	}
	for format, o := range map[string]Options{"mp4": {Encoder: hardware}, "mkv": {Encoder: hardware}} {
		out := convert(t, r, Params{Input: film(t), Format: format, Options: o, Threads: 1})
		if s, _ := out.Video(); s.Codec != "h264" {
			t.Errorf("%s: %+v", format, s)
		}
	}
	if err := r.CanConvert("mp4", Options{VideoCodec: "libx265", Encoder: hardware}); !errors.Is(err, ErrNoEncoder) {
		t.Errorf("got %v", err)
	}
	need, err := NeedBits("mp4", Options{Encoder: hardware})
	if have := EncoderBits(r.Encoders()); err != nil || need == 0 || need&have != need {
		t.Errorf("need %x, have %x, %v", need, have, err)
	}
}

// A chip may be busy, or refuse a size that it has not seen before.
func TestHardwareThatFailsGivesWayToSoftware(t *testing.T) {
	script := writeFile(t, "ffmpeg", []byte(strings.Replace(chipScript, "args=()", `args=()
case "$*" in *testsrc2*) ;; *h264_nvenc*) echo "no free session" >&2; exit 1 ;; esac`, 1)))
	if err := os.Chmod(script, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := New(context.Background(), Config{FFmpeg: script, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if names := r.ProbeHardware(t.Context()); len(names) != 1 {
		t.Fatalf("works: %v", names)
	}
	p := Params{Input: film(t), Output: filepath.Join(t.TempDir(), "out"), Format: "mp4", Options: Options{Encoder: hardware, Preset: "ultrafast"}, Threads: 1}
	p.Info = probe(t, r, p.Input)
	report, err := r.Convert(t.Context(), p, nil)
	if err != nil || !strings.Contains(strings.Join(report.Notes, " "), "encoded in software") {
		t.Errorf("%v: %q", err, report.Notes)
	}
}

// Every option that hardware is given is one that ffmpeg knows for it.
func TestHardwareKnowsItsOptions(t *testing.T) {
	r := newRunner(t, Limits{})
	for _, h := range hardwareEncoders {
		if !r.tools.Has(h.name) {
			continue
		}
		help, err := exec.CommandContext(t.Context(), r.tools.FFmpeg, "-hide_banner", "-h", "encoder="+h.name).Output()
		if err != nil {
			t.Fatal(err)
		}
		if h.pixFmt != "" && !regexp.MustCompile(`Supported pixel formats:.* `+h.pixFmt+`\b`).Match(help) {
			t.Errorf("%s takes no %s", h.name, h.pixFmt)
		}
		for _, arg := range slices.Concat(h.quality("23"), h.rate) {
			if name, ok := strings.CutPrefix(arg, "-"); ok && name != "b:v" && name != "global_quality" && !regexp.MustCompile(`\s-`+name+`\s`).Match(help) {
				t.Errorf("%s has no option %s", h.name, name)
			}
		}
	}
}

func TestEncoderBits(t *testing.T) {
	if len(encoderTable) > 64 {
		t.Fatal("no bits are left")
	}
	// Nodes of other versions count on these places.
	for name, want := range map[string]uint64{"libx264": 1, "pcm_s16le": 1 << 10, "ffv1": 1 << 11, "h264_hardware": 1 << 12, "h264_nvenc": 1 << 15, "hevc_videotoolbox": 1 << 26} {
		if got := EncoderBits([]string{name, "unheard_of"}); got != want {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
	if names := EncoderNames(1<<63 | 1<<6 | 1); !slices.Equal(names, []string{"libx264", "aac"}) {
		t.Errorf("%v", names)
	}
	for _, h := range hardwareEncoders {
		if !slices.Contains(encoderTable, h.name) || !slices.Contains(encoderTable, anyHardware(h.codec)) {
			t.Errorf("%s has no bit", h.name)
		}
	}
	for _, f := range Formats() {
		for _, c := range append(f.VideoCodecs, VideoCodec{}) {
			needs, err := Needs(f.Name, Options{VideoCodec: c.Name})
			bits, bitsErr := NeedBits(f.Name, Options{VideoCodec: c.Name})
			if err == nil && (bitsErr != nil || len(EncoderNames(bits)) != len(needs)) {
				t.Errorf("%s %s needs %v, bits %x", f.Name, c.Name, needs, bits)
			}
		}
	}
}
