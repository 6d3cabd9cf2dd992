package ffmpeg

import (
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

var oggInfo = Info{Container: Ogg, Kind: Audio, Duration: 10, Streams: []Stream{{Index: 3, Type: "audio", Codec: "opus", Channels: 1, SampleRate: 4000}}}

// everyCall is each argument list that the package can build, by name.
func everyCall(t *testing.T) map[string][]string {
	t.Helper()
	calls := map[string][]string{}
	for input, info := range map[string]Info{"film": filmInfo, "song": songInfo, "ogg": oggInfo} {
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
		}
	}
	return calls
}

func TestArgumentsAreTheGoldenOnes(t *testing.T) {
	var b strings.Builder
	calls := everyCall(t)
	lists := strings.NewReplacer(demuxerList, "DEMUXERS", probeList, "PROBEDECODERS", convertList, "DECODERS", probeEntries, "ENTRIES")
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
		has(before, "-hide_banner", "-v", "error")
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
			has(after, "-sn", "-dn")
			has(after, "-map")
		}
		if strings.Contains(name, " to ") {
			has(after, "-t", "21600")
			has(after, "-fs", "68719476736")
			has(after, "-threads", "2")
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
