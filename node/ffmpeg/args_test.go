package ffmpeg

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write testdata/args.golden")

var filmInfo = Info{Container: MOV, Kind: Video, Duration: 10, Streams: []Stream{
	{Index: 0, Type: "video", Codec: "h264", Width: 161, Height: 121, FPS: 25},
	{Index: 1, Type: "audio", Codec: "ac3", Channels: 6, SampleRate: 44100},
}}

var songInfo = Info{Container: MP3, Kind: Audio, Duration: 10, Tags: map[string]string{"title": "EVIL; -i /etc/passwd"}, Streams: []Stream{
	{Index: 0, Type: "audio", Codec: "mp3", Channels: 2, SampleRate: 44100, Language: "EVIL", Layout: "EVIL", Profile: "EVIL"},
	{Index: 1, Type: "video", Codec: "mjpeg", Width: 64, Height: 64, Cover: true, PixFmt: "EVIL"},
}}

var richInfo = Info{Container: Matroska, Kind: Video, Duration: 10, Chapters: 2, Streams: []Stream{
	{Index: 0, Type: "video", Codec: "hevc", PixFmt: "yuv420p10le", Width: 160, Height: 120, FPS: 25, Color: Color{Transfer: "smpte2084", Primaries: "EVIL"}},
	{Index: 1, Type: "audio", Codec: "aac", Channels: 2, SampleRate: 48000, Language: "eng"},
	{Index: 2, Type: "audio", Codec: "ac3", Channels: 6, SampleRate: 48000, Language: "spa", Default: true},
	{Index: 3, Type: "audio", Codec: "EVIL", Channels: 6, SampleRate: 48000, Language: "EVIL"},
	{Index: 4, Type: "subtitle", Codec: "subrip", Language: "fre"},
	{Index: 5, Type: "subtitle", Codec: "ass", Default: true},
	{Index: 6, Type: "subtitle", Codec: "dvd_subtitle", Language: "ger"},
	{Index: 7, Type: "subtitle", Codec: "dvd_subtitle", Language: "EVIL; rm"},
	{Index: 8, Type: "video", Codec: "mjpeg", Width: 64, Height: 64, Cover: true},
	{Index: 9, Type: "attachment", Codec: "ttf"},
	{Index: 10, Type: "attachment", Codec: "EVIL"},
	{Index: 11, Type: "data", Codec: "EVIL"},
}}

var oggInfo = Info{Container: Ogg, Kind: Audio, Duration: 10, Streams: []Stream{{Index: 3, Type: "audio", Codec: "opus", Channels: 1, SampleRate: 4000}}}

var tsInfo = Info{Container: MPEGTS, Kind: Video, Duration: 10, Streams: filmInfo.Streams}

// asks are requests with options that change arguments, the heard loudness
// among them.
var asks = []struct {
	name, format, raw string
	info              Info
	heard             loudness
}{
	{"film to mp4, smaller and slower", "mp4", `{"resolution": "240p", "fps": 23.976, "profile": "main", "channels": 2, "audio_bitrate": "96k"}`, filmInfo, loudness{}},
	{"tall film to mkv", "mkv", `{"resolution": "240p", "fps": 12.5}`, Info{Container: MOV, Kind: Video, Duration: 10, Streams: []Stream{{Index: 0, Type: "video", Codec: "h264", Width: 640, Height: 360, Rotation: 90}}}, loudness{}},
	{"film to mp4, part", "mp4", `{"from": "0:01.5", "to": 4}`, filmInfo, loudness{}},
	{"transport stream to mp4, part", "mp4", `{"from": 1.5, "to": 4}`, tsInfo, loudness{}},
	{"transport stream to mp3, end, louder", "mp3", `{"from": 1.5, "loudness": -16}`, tsInfo, loudness{integrated: -30.1, truePeak: -20}},
	{"film to mp4 by bitrate", "mp4", `{"video_bitrate": "2M"}`, filmInfo, loudness{}},
	{"film to mp4 by bitrate, hevc", "mp4", `{"video_bitrate": "2M", "video_codec": "libx265"}`, filmInfo, loudness{}},
	{"film to webm by size, softer", "webm", `{"size_mb": 3, "loudness": -23}`, filmInfo, loudness{integrated: -20, truePeak: -3}},
	{"film to avi by size", "avi", `{"size_mb": 5}`, filmInfo, loudness{}},
	{"film to mkv by size, vp8", "mkv", `{"size_mb": 5, "video_codec": "libvpx", "channels": 1}`, filmInfo, loudness{}},
	{"song to mp3 louder", "mp3", `{"loudness": -16, "channels": 1}`, songInfo, loudness{integrated: -30.1, truePeak: -11}},
	{"song to flac, silent", "flac", `{"loudness": -16}`, songInfo, loudness{}},
	{"song to m4a by size", "m4a", `{"size_mb": 0.2}`, songInfo, loudness{}},
	{"rich film to mkv, part, louder", "mkv", `{"from": 1.5, "to": 4, "loudness": -16}`, richInfo, loudness{integrated: -20, truePeak: -3}},
	{"rich film to mp4 by size", "mp4", `{"size_mb": 5}`, richInfo, loudness{}},
	{"film to mkv in other words", "mkv", `{"resolution": "240p", "from": 1, "loudness": -16, "video_codec": "ffv1"}`, richInfo, loudness{}},
	{"film to mkv, sound copied", "mkv", `{"resolution": "240p"}`, Info{Container: MOV, Kind: Video, Duration: 10, Streams: []Stream{filmInfo.Streams[0], {Index: 1, Type: "audio", Codec: "aac", Profile: "LC", Channels: 2, SampleRate: 44100}}}, loudness{}},
	{"low song to ogg by size", "ogg", `{"size_mb": 0.1}`, oggInfo, loudness{}},
}

// askedCalls are the argument lists that the asks make.
func askedCalls(t *testing.T, calls map[string][]string) {
	t.Helper()
	for _, ask := range asks {
		o, err := ParseOptions(ask.format, json.RawMessage(ask.raw))
		if err != nil {
			t.Fatal(err)
		}
		p, s, err := prepare(Params{Input: "/job/in", Output: "/job/out", Info: ask.info, Format: ask.format, Options: o, Threads: 2})
		if err != nil {
			t.Fatalf("%s: %v", ask.name, err)
		}
		c := p.carriage(s)
		if look := analysisArgs(p, s, c); look != nil {
			calls[ask.name+": 1"] = look
			if s.twoPass(c) {
				s.pass = 2
			}
		}
		if ask.heard != (loudness{}) {
			s.heard = map[int]loudness{}
			for _, sound := range c.Sounds {
				s.heard[sound.Index] = ask.heard
			}
		}
		calls[ask.name+": 2"] = outputArgs(p, s, c)
	}
}

// everyCall is each argument list that the package can build, by name.
func everyCall(t *testing.T) map[string][]string {
	t.Helper()
	calls := map[string][]string{}
	askedCalls(t, calls)
	for input, info := range map[string]Info{"film": filmInfo, "song": songInfo, "ogg": oggInfo, "rich film": richInfo} {
		calls["probe "+input] = probeArgs("/job/in", info.Container)
		calls["measure "+input] = measureArgs("/job/in", info)
		pieceCalls(t, calls, input, info)
		for _, f := range Formats() {
			if CheckFit(info, f.Name) != nil {
				continue
			}
			codecs := []VideoCodec{{}}
			if f.Kind == Video {
				codecs = f.VideoCodecs
			}
			for _, c := range codecs {
				args, err := ConvertArgs(Params{Input: "/job/in", Output: "/job/out", Info: info, Format: f.Name, Options: Options{VideoCodec: c.Name}, Threads: 2})
				if err != nil {
					t.Fatal(err)
				}
				calls[strings.TrimSpace(input+" to "+f.Name+" "+c.Name)] = args
			}
			args, err := RestArgs(Params{Input: "/job/in", Output: "/job/out", Info: info, Format: f.Name, Threads: 2})
			if f.Kind == Video && err == nil {
				calls["rest of "+input+" to "+f.Name] = args
			}
		}
	}
	for _, h := range hardwareEncoders {
		format, codec := "mp4", map[string]string{"h264": x264.Name, "hevc": x265.Name}[h.codec]
		if codec == "" {
			format, codec = "webm", vp9.Name
		}
		args, err := ConvertArgs(Params{Input: "/job/in", Output: "/job/out", Info: filmInfo, Format: format,
			Options: Options{VideoCodec: codec, Encoder: hardware}, Hardware: h.name, Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		calls["film to "+format+" by "+h.name] = args
		o := Options{VideoCodec: codec, Encoder: hardware, VideoBitrate: 2_000_000, Resolution: "240p", FPS: 10, From: 1}
		if codec == x264.Name {
			o.Profile = "baseline"
		}
		if args, err = ConvertArgs(Params{Input: "/job/in", Output: "/job/out", Info: filmInfo, Format: format, Options: o, Hardware: h.name, Threads: 2}); err != nil {
			t.Fatal(err)
		}
		calls["film to "+format+" by "+h.name+", as asked"] = args
	}
	return calls
}

func TestArgumentsAreTheGoldenOnes(t *testing.T) {
	var b strings.Builder
	calls := everyCall(t)
	lists := strings.NewReplacer(demuxerList, "DEMUXERS", probeList, "PROBEDECODERS", subtitledList, "DECODERS+TEXT", convertList, "DECODERS", probeEntries, "ENTRIES")
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range calls {
			if !yield(name) {
				return
			}
		}
	}) {
		b.WriteString(name + "\n    " + lists.Replace(strings.Join(calls[name], " ")) + "\n")
	}
	path := filepath.Join("testdata", "args.golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("arguments have changed: look at them, and at recipeVersion, then run go test ./node/ffmpeg -run Golden -update\n%s", b.String())
	}
}

func TestEveryCallIsHardened(t *testing.T) {
	for name, args := range everyCall(t) {
		input := slices.Index(args, "-i")
		has := func(list []string, words ...string) {
			t.Helper()
			for i := range list {
				if len(list)-i >= len(words) && slices.Equal(list[i:i+len(words)], words) {
					return
				}
			}
			t.Errorf("%s: no %v in its place", name, words)
		}
		before, after := args[:input], args[input+2:]
		if !slices.Contains(after, "null") { // what only looks may talk
			has(before, "-hide_banner", "-v", "error")
		}
		has(before, "-max_alloc", "268435456")
		has(before, "-protocol_whitelist", "file")
		has(before, "-format_whitelist", demuxerList)
		has(before, "-max_pixels", "36000000")
		has(before, "-max_streams", "64")
		has(before, "-probesize", "10M")
		has(before, "-analyzeduration", "10M")
		if i := slices.Index(before, "-codec_whitelist"); i < 0 || !strings.Contains(before[i+1], "h264,") {
			t.Errorf("%s: no list of decoders", name)
		}
		if i := slices.Index(before, "-f"); i != len(before)-2 {
			t.Errorf("%s: the demuxer is not forced", name)
		}
		if !slices.Contains(before, "-threads") {
			t.Errorf("%s: threads of the decoder are not bounded", name)
		}
		if args[input+1] != "file:/job/in" {
			t.Errorf("%s: input %s", name, args[input+1])
		}
		if !strings.HasPrefix(name, "probe") {
			has(before, "-nostdin")
			has(after, "-dn")
			if !slices.Contains(after, "-sn") && !slices.Contains(after, "-c:s:0") {
				t.Errorf("%s: subtitles are left to chance", name)
			}
			has(after, "-map")
		}
		if strings.HasSuffix(name, ": 1") {
			has(after, "-f", "null", "-")
		}
		if strings.Contains(name, " to ") {
			if !strings.Contains(name, "part") {
				has(after, "-t", "21600")
			} else if !slices.Contains(after, "-t") {
				t.Errorf("%s: no end", name)
			}
			has(after, "-threads", "2")
		}
		if strings.Contains(name, " to ") && !strings.HasSuffix(name, ": 1") {
			has(after, "-fs", "68719476736")
			if n := len(after); after[n-1] != "file:/job/out" || after[n-3] != "-f" {
				t.Errorf("%s: output %v", name, after[n-3:])
			}
		}
		for _, arg := range args {
			if strings.Contains(arg, "EVIL") {
				t.Errorf("%s: text from the file in %s", name, arg)
			}
			for _, never := range []string{"tee", "subtitles", "movie=", "-safe", "-enable_drefs", "-use_absolute_path", "-dump_attachment", "concat"} {
				if strings.Contains(arg, never) {
					t.Errorf("%s: %s", name, arg)
				}
			}
		}
	}
}

func TestAllowListsNameNothingDangerous(t *testing.T) {
	for _, never := range []string{"hls", "dash", "concat", "sdp", "rtsp", "image2", "tty", "svg_pipe", "lavfi", "vobsub", "imf"} {
		if slices.Contains(strings.Split(demuxerList, ","), never) {
			t.Errorf("demuxer %s is allowed", never)
		}
	}
	for _, never := range []string{"magicyuv", "cscd", "flashsv", "flashsv2", "tak", "cdxl", "mvc2", "ansi", "svg", "librsvg", "tiff", "exr"} {
		if slices.Contains(strings.Split(probeList, ","), never) {
			t.Errorf("decoder %s is allowed", never)
		}
	}
}

func TestConvertArgsRefuseOddPaths(t *testing.T) {
	for _, path := range []string{"", "in", "-i", "./in", "/a/../in", "/a/in%03d", "/a\nb", "/a\x00b", "concat:/a|/b", "pipe:0", "http://x/", "/a//b", "/a/"} {
		if _, err := ConvertArgs(Params{Input: path, Output: "/out", Info: filmInfo, Format: "mp4"}); err == nil {
			t.Errorf("input %q is accepted", path)
		}
		if _, err := ConvertArgs(Params{Input: "/in", Output: path, Info: filmInfo, Format: "mp4"}); err == nil {
			t.Errorf("output %q is accepted", path)
		}
		if _, err := generateArgs(Video, 1, path+".mp4"); err == nil && path != "" && !strings.HasSuffix(path, "/") {
			t.Errorf("example %q is accepted", path)
		}
	}
}

func TestLogTextHasNoPathsAndIsBounded(t *testing.T) {
	stderr := strings.Repeat("line\n", 10_000) + "[mov @ 0x55d37c541a40] file:/data/job/in: bad\r\n\x1b[31m/data/job/in and /data/job/out\xff\n"
	log := logText(stderr, "/data/job/in", "/data/job/out")
	if strings.Contains(log, "/data") || strings.Contains(log, "0x55") || !utf8.ValidString(log) || strings.ContainsAny(log, "\x1b\r") || strings.Count(log, "\n") >= logLines {
		t.Errorf("%q", log)
	}
	if !strings.Contains(log, "[mov] the file: bad") {
		t.Errorf("%q", log)
	}
	if got := logText(strings.Repeat("é", 100_000)); len(got) > logBytes {
		t.Errorf("%d bytes", len(got))
	}
}

// Only this package may run programs, and only in one place.
func TestOneFileRunsPrograms(t *testing.T) {
	runs := regexp.MustCompile(`exec\.Command|os\.StartProcess|syscall\.(ForkExec|Exec)`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if name != "process.go" && !strings.HasSuffix(name, "_test.go") && runs.Match(readFile(t, name)) {
			t.Errorf("%s runs programs", name)
		}
	}
}
