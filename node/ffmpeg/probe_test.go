package ffmpeg

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// with returns a copy of args with more behind it.
func with(args []string, more ...string) []string { return append(slices.Clone(args), more...) }

// coverFile is a small JPEG or PNG.
func coverFile(t testing.TB, name string) string {
	return makeMedia(t, name, "-f", "lavfi", "-i", "color=red:size=64x48:duration=0.04", "-frames:v", "1")
}

// songWithCover has tags and a cover.
func songWithCover(t testing.TB, name, cover string) string {
	return makeMedia(t, name, with(toneArgs, "-i", coverFile(t, cover), "-map", "0", "-map", "1", "-c:v", "copy",
		"-disposition:v", "attached_pic", "-metadata", "title=Ça va", "-metadata", "artist=Someone", "-metadata", "track=3")...)
}

func TestProbeTellsWhatAFileIs(t *testing.T) {
	r := newRunner(t, Limits{})
	rows := []struct {
		file  string
		args  []string
		typ   string
		kind  MediaKind
		codec string // of the film, else of the sound
	}{
		{"a.mp4", filmArgs, "video/mp4", Video, "h264"},
		{"a.mov", filmArgs, "video/quicktime", Video, "h264"},
		{"a.m4a", toneArgs, "audio/mp4", Audio, "aac"},
		{"sound only.mp4", toneArgs, "audio/mp4", Audio, "aac"},
		{"a.mkv", filmArgs, "video/x-matroska", Video, "h264"},
		{"a.mka", toneArgs, "audio/x-matroska", Audio, "vorbis"},
		{"a.webm", with(filmArgs, "-c:v", "libvpx", "-c:a", "libopus", "-cpu-used", "8"), "video/webm", Video, "vp8"},
		{"sound.webm", with(toneArgs, "-c:a", "libopus"), "audio/webm", Audio, "opus"},
		{"live.webm", with(filmArgs, "-c:v", "libvpx", "-c:a", "libopus", "-cpu-used", "8", "-live", "1"), "video/webm", Video, "vp8"},
		{"a.avi", filmArgs, "video/x-msvideo", Video, "mpeg4"},
		{"a.flv", with(filmArgs, "-ar", "44100"), "video/x-flv", Video, "flv1"},
		{"a.ts", filmArgs, "video/mp2t", Video, "mpeg2video"},
		{"a.mpg", filmArgs, "video/mpeg", Video, "mpeg1video"},
		{"a.wmv", filmArgs, "video/x-ms-wmv", Video, "msmpeg4v3"},
		{"a.wma", toneArgs, "audio/x-ms-wma", Audio, "wmav2"},
		{"a.ogg", with(toneArgs, "-c:a", "libvorbis"), "audio/ogg", Audio, "vorbis"},
		{"a.ogv", with(filmArgs, "-c:v", "libtheora", "-c:a", "libvorbis"), "video/ogg", Video, "theora"},
		{"a.mp3", toneArgs, "audio/mpeg", Audio, "mp3"},
		{"vbr without header.mp3", with(toneArgs, "-q:a", "2", "-write_xing", "0"), "audio/mpeg", Audio, "mp3"},
		{"a.wav", toneArgs, "audio/wav", Audio, "pcm_s16le"},
		{"24.wav", with(toneArgs, "-c:a", "pcm_s24le"), "audio/wav", Audio, "pcm_s24le"},
		{"a.flac", toneArgs, "audio/flac", Audio, "flac"},
		{"a.aac", toneArgs, "audio/aac", Audio, "aac"},
		{"a.aiff", toneArgs, "audio/aiff", Audio, "pcm_s16be"},
	}
	for _, row := range rows {
		t.Run(row.file, func(t *testing.T) {
			t.Parallel()
			info := probe(t, r, makeMedia(t, row.file, row.args...))
			s, ok := info.Video()
			if !ok {
				s, ok = info.Audio()
			}
			if !ok || s.Codec != row.codec || info.Type != row.typ || info.Kind != row.kind {
				t.Errorf("got %s %s %s, want %s %s %s", info.Type, info.Kind, s.Codec, row.typ, row.kind, row.codec)
			}
			if !near(info.Duration, 2, 0.12) || info.BitRate <= 0 || info.Size <= 0 {
				t.Errorf("duration %v, bit rate %d, size %d", info.Duration, info.BitRate, info.Size)
			}
			if info.Kind == Video && !near(s.FPS, 25, 0.6) {
				t.Errorf("%v pictures a second", s.FPS)
			}
		})
	}
}

func TestProbeKeepsTagsAndTellsCoversFromFilms(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	for _, name := range []string{"a.mp3", "a.flac", "a.m4a"} {
		for _, cover := range []string{"c.jpg", "c.png"} {
			info := probe(t, r, songWithCover(t, name, cover))
			if info.Kind != Audio {
				t.Errorf("%s with %s is %s", name, cover, info.Kind)
			}
			if s, ok := info.Cover(); !ok || s.Width != 64 || s.Height != 48 {
				t.Errorf("%s with %s: cover %+v", name, cover, s)
			}
			if info.Tags["title"] != "Ça va" || info.Tags["artist"] != "Someone" || info.Tags["track"] != "3" {
				t.Errorf("%s: tags %v", name, info.Tags)
			}
		}
	}
	for _, name := range []string{"a.ogg", "a.mka", "a.wma", "a.wav"} {
		info := probe(t, r, makeMedia(t, name, with(toneArgs, "-metadata", "title=Ça va", "-metadata", "artist=Someone")...))
		if info.Tags["title"] != "Ça va" || info.Tags["artist"] != "Someone" {
			t.Errorf("%s: tags %v", name, info.Tags)
		}
	}
	bmp := songWithCover(t, "a.flac", "c.bmp")
	if info := probe(t, r, bmp); info.Kind != Audio {
		t.Errorf("a cover of a kind that is not copied makes it %s", info.Kind)
	}
}

func TestProbeTellsRotationChaptersLanguageAndSubtitles(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	rotated := makeMedia(t, "r.mp4", "-i", film(t), "-c", "copy", "-metadata:s:v", "rotate=90")
	info := probe(t, r, rotated)
	s, _ := info.Video()
	if w, h := s.Size(); s.Rotation != 270 || w != 240 || h != 320 {
		t.Errorf("rotation %d, seen as %d×%d", s.Rotation, w, h)
	}
	srt := writeFile(t, "s.srt", []byte("1\n00:00:00,000 --> 00:00:01,000\nHello\n"))
	meta := writeFile(t, "m.txt", []byte(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2000\n"))
	rich := makeMedia(t, "rich.mkv", with(filmArgs[:8], "-i", srt, "-i", meta, "-map", "0", "-map", "1", "-map", "2", "-map_chapters", "3",
		"-metadata:s:a:0", "language=spa", "-attach", song(t), "-metadata:s:t", "mimetype=application/octet-stream")...)
	info = probe(t, r, rich)
	a, _ := info.Audio()
	if info.Chapters != 2 || a.Language != "spa" || info.Kind != Video || len(info.Streams) != 4 {
		t.Errorf("chapters %d, language %q, streams %+v", info.Chapters, a.Language, info.Streams)
	}
}

// Some muxers count a Matroska file's duration from zero, some from its first
// picture: both are as long as they last.
func TestMatroskaThatBeginsLateIsMeasured(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	late := makeMedia(t, "late.mkv", "-i", film(t), "-c", "copy", "-output_ts_offset", "5.1")
	info := probe(t, r, late)
	if !near(info.Duration, 2, 0.1) || !info.Measured || info.Estimated {
		t.Errorf("%v s, measured %v", info.Duration, info.Measured)
	}
	if out := convert(t, r, Params{Input: late, Info: info, Format: "mp4", Options: Options{Preset: "ultrafast"}, Threads: 1}); !near(out.Duration, 2, 0.1) {
		t.Errorf("the output is %v s", out.Duration)
	}
}

func TestProbeRefusesWhatIsNotMedia(t *testing.T) {
	r := newRunner(t, Limits{})
	secret := film(t)
	dir := filepath.Dir(secret)
	bad := notMedia(t)
	for name, data := range map[string]string{
		"playlist naming a sibling": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfilm.mp4\n#EXT-X-ENDLIST\n",
		"playlist naming itself":    "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nx.mp4\n#EXT-X-ENDLIST\n",
		"concat of a sibling":       "ffconcat version 1.0\nfile film.mp4\n",
		"an MP3 header and noise":   "ID3\x04\x00\x00\x00\x00\x00\x01\x00" + strings.Repeat("nothing here ", 1000),
		"an Ogg page and noise":     "OggS\x00" + strings.Repeat("nothing here ", 1000),
		"a RIFF header alone":       "RIFF\x00\x00\x00\x00WAVE",
		"an MP4 header alone":       "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41",
		"a Matroska header alone":   "\x1a\x45\xdf\xa3\x8b\x42\x82\x88matroska",
		"a FLAC header alone":       "fLaC\x00\x00\x00\x22" + strings.Repeat("\x00", 34),
		"an endless box":            "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41\x00\x00\x00\x01moov\x7f\xff\xff\xff\xff\xff\xff\xff",
	} {
		bad[name] = []byte(data)
	}
	for name, data := range bad {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "x.mp4")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			info, err := r.Probe(t.Context(), path)
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, ErrNotMedia) || !e.Permanent() {
				t.Fatalf("got %+v, %v", info, err)
			}
			if strings.Contains(e.Msg+e.Log, dir) || e.Msg == "" {
				t.Errorf("texts %q and %q", e.Msg, e.Log)
			}
		})
	}
}

func TestProbeOfCutAndBrokenFiles(t *testing.T) {
	r := newRunner(t, Limits{})
	plain := readFile(t, makeMedia(t, "a.mp4", filmArgs...)) // its index stands at the end
	fast := readFile(t, film(t))
	mkv := readFile(t, makeMedia(t, "a.mkv", filmArgs...))
	avi := readFile(t, makeMedia(t, "a.avi", filmArgs...))
	mp3 := readFile(t, song(t))
	flip := func(data []byte) []byte {
		data = slices.Clone(data)
		for i := len(data) / 3; i < len(data); i += 997 {
			data[i] ^= 0x55
		}
		return data
	}
	rows := []struct {
		name string
		data []byte
		want string // words of the error; empty: accepted
	}{
		{"an MP4 without its end", plain[:len(plain)/2], "cut short"},
		{"an MP4 with its index in front", fast[:len(fast)/2], ""},
		{"half a Matroska file", mkv[:len(mkv)/2], ""},
		{"half an AVI file", avi[:len(avi)/2], ""},
		{"half an MP3", mp3[:len(mp3)/2], ""},
		{"an MP3 with flipped bits", flip(mp3), ""},
		{"a Matroska file with flipped bits", flip(mkv), ""},
		{"a hundred bytes of an MP4", fast[:100], "damaged or cut short"},
	}
	for _, row := range rows {
		info, err := r.Probe(t.Context(), writeFile(t, "x", row.data))
		switch {
		case row.want == "" && err != nil:
			t.Errorf("%s: %v%s", row.name, err, details(err))
		case row.want == "" && info.Duration <= 0:
			t.Errorf("%s: no duration", row.name)
		case row.want != "" && (!errors.Is(err, ErrNotMedia) && !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

func TestProbeRefusesByPolicy(t *testing.T) {
	r := newRunner(t, Limits{})
	slowWAV := readFile(t, makeMedia(t, "a.wav", with(toneArgs, "-c:a", "pcm_u8", "-ar", "8000")...))
	slowWAV[24], slowWAV[25] = 1, 0 // one sample a second
	slowWAV[28], slowWAV[29] = 1, 0
	rows := []struct {
		path string
		want string
	}{
		{makeMedia(t, "magic.avi", with(filmArgs, "-c:v", "magicyuv", "-an")...), "codec magicyuv"},
		{makeMedia(t, "wide.mkv", "-f", "lavfi", "-i", "color=size=2000x20:rate=5:duration=1", "-c:v", "ffv1"), "20 times"},
		{makeMedia(t, "fast.avi", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=500:duration=0.2"), "pictures a second"},
		{makeMedia(t, "sar.mp4", "-f", "lavfi", "-i", "color=size=64x64:rate=5:duration=1,setsar=200/1"), "stretch"},
		{writeFile(t, "slow.wav", slowWAV), ""},
		{makeMedia(t, "gap.mkv", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=1:duration=2,setpts=PTS*100000"), "hours"},
	}
	for _, row := range rows {
		_, err := r.Probe(t.Context(), row.path)
		if !errors.Is(err, ErrRefused) && row.want != "" || err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q%s", filepath.Base(row.path), err, row.want, details(err))
		}
	}
}

func TestProbeOfWhatIsNoFile(t *testing.T) {
	r := newRunner(t, Limits{})
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "nothing"), "relative.mp4", dir + "/../x", dir + "/a%03d.png", dir + "/a\x00b", "concat:/etc/passwd"} {
		var e *Error
		if _, err := r.Probe(t.Context(), path); err == nil || errors.As(err, &e) {
			t.Errorf("%q: got %v, want an error of the system", path, err)
		}
	}
}

func TestMissingToolsAreTold(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Locate(context.Background()); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
	for _, cfg := range []Config{{}, {FFmpeg: "/nowhere/ffmpeg", FFprobe: "/nowhere/ffprobe"}, {FFmpeg: "/bin/false", FFprobe: "/bin/false"}} {
		if _, err := New(context.Background(), cfg); !errors.Is(err, ErrMissing) {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
}

func TestToolsOfThisMachine(t *testing.T) {
	tools, err := Locate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(tools.FFmpeg) || !filepath.IsAbs(tools.FFprobe) || tools.Version == "unknown" {
		t.Errorf("%+v", tools)
	}
	for _, name := range []string{"libx264", "aac", "libmp3lame", "flac", "pcm_s16le", "libvorbis", "libopus", "libvpx-vp9", "mpeg4"} {
		if !tools.Has(name) {
			t.Errorf("no encoder %s", name)
		}
	}
	if tools.Has("=") || tools.Has("libnothing") {
		t.Error("an encoder that is none")
	}
}

func TestVersions(t *testing.T) {
	for version, old := range map[string]bool{"5.1.9-0+deb12u1": false, "4.4": false, "4.3.8": true, "3.4.13-0ubuntu": true,
		"n7.0": false, "n4.2": true, "N-118000-gabcdef": false, "git-2024": false, "unknown": false, "8.0": false, "4.4.2-0ubuntu": false} {
		if tooOld(version) != old {
			t.Errorf("%s: too old is %v", version, !old)
		}
	}
}

func TestASlowProbeIsStopped(t *testing.T) {
	r, err := New(t.Context(), Config{Logger: slog.New(slog.DiscardHandler), Limits: Limits{Probe: time.Nanosecond}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Probe(t.Context(), song(t)); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "too long") {
		t.Errorf("got %v", err)
	}
}

func TestOldProgramsAreAskedInTheirWords(t *testing.T) {
	for version, want := range map[string]string{"4.4.2-0ubuntu0.22.04.1": "-vsync", "5.0": "-vsync", "5.1.9-0+deb12u1": pacing, "n9.0": pacing, "N-125875-g5d4d3bdc61": pacing} {
		args := []string{"-map", "0:0", pacing, "vfr"}
		if got := (Tools{Version: version}).adapted(args); got[2] != want || got[3] != "vfr" || args[2] != pacing {
			t.Errorf("%s: %v", version, got)
		}
	}
}
