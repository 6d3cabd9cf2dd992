package ffmpeg

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestEarlyLibrariesAreThoseThatAreLoadedAnyway(t *testing.T) {
	list := "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibstdc++.so.6 => /lib/libstdc++.so.6 (0x00007f)\n\tlibcrypto.so.3 => /lib/libcrypto.so.3 (0x00007f)\n" +
		"\tlibepoxy.so.0 => not found\n\tliblapack.so.3 => /l$ORIGIN/a (0x1)\n\tlibz.so.1 => /lib/libz.so.1 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n"
	if got := earlyPaths(list); !slices.Equal(got, []string{"/lib/libcrypto.so.3", "/lib/libstdc++.so.6"}) {
		t.Errorf("%v", got)
	}
	if got := earlyPaths("ffmpeg version 5.1.9 Copyright (c) => x"); got != nil {
		t.Errorf("%v", got)
	}
	r := newRunner(t, Limits{})
	for _, env := range r.tools.env {
		for path := range strings.SplitSeq(strings.TrimPrefix(env, "LD_PRELOAD="), ":") {
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
	}
	out, err := askWith(t.Context(), r.tools.FFmpeg, "-version", r.tools.env...)
	if err != nil || parseVersion(out) != r.tools.Version {
		t.Errorf("%v: %q", err, out)
	}
}

// BenchmarkStart is what one conversion of a second of sound costs beside a
// plain call.
func BenchmarkStart(b *testing.B) {
	r := newRunner(b, Limits{})
	in := makeMedia(b, "in.wav", "-f", "lavfi", "-i", "sine=duration=1")
	ours, err := ConvertArgs(Params{Input: in, Output: b.TempDir() + "/out", Info: probe(b, r, in), Format: "mp3", Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string]child{
		"ours":  {path: r.tools.FFmpeg, args: ours, env: r.tools.env},
		"plain": {path: r.tools.FFmpeg, args: []string{"-y", "-i", in, b.TempDir() + "/out.mp3"}},
	} {
		b.Run(name, func(b *testing.B) {
			c.limits = childLimits{wall: r.limits.Probe}
			var cpu float64
			for b.Loop() {
				res, err := runChild(b.Context(), c)
				if err != nil || !res.ok {
					b.Fatal(err, res.stderr)
				}
				cpu += res.cpu.Seconds() * 1000
			}
			b.ReportMetric(cpu/float64(b.N), "cpu-ms/op")
		})
	}
}
