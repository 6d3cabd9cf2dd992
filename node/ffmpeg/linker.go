package ffmpeg

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
)

// early are libraries that make ffmpeg start sooner when they come first. Of
// the 60 ms of processor time in which Debian's ffmpeg starts, two thirds go
// into looking for 43,000 symbols in 214 libraries one after another; most
// are in these, which stand at the end. With them in front it takes 49 ms,
// and of 42,000 bindings all but nine are the same (lapack's and libstdc++'s
// own copies of what others have, too).
var early = []string{"libepoxy.so.0", "libcrypto.so.3", "librsvg-2.so.2", "liblapack.so.3", "libstdc++.so.6"}

// startEnv is what is added to the environment of programs so that they start
// sooner: nothing, or the early libraries that all of them load anyway.
func startEnv(ctx context.Context, programs ...string) []string {
	var paths []string
	for i, program := range programs {
		// With this variable the dynamic linker lists what it would load and
		// runs nothing. Where it does not know it, the version is printed.
		out, err := askWith(ctx, program, "-version", "LD_TRACE_LOADED_OBJECTS=1")
		if err != nil {
			return nil
		}
		loaded := earlyPaths(out)
		if i == 0 {
			paths = loaded
		}
		paths = slices.DeleteFunc(paths, func(p string) bool { return !slices.Contains(loaded, p) })
	}
	if len(paths) == 0 {
		return nil
	}
	return []string{"LD_PRELOAD=" + strings.Join(paths, ":")}
}

// earlyPaths picks the early libraries out of lines such as
// "libz.so.1 => /lib/libz.so.1 (0x00007f…)", in our order.
func earlyPaths(list string) []string {
	where := map[string]string{}
	for line := range strings.Lines(list) {
		words := strings.Fields(line)
		if len(words) == 4 && words[1] == "=>" && filepath.IsAbs(words[2]) && !strings.ContainsAny(words[2], ":$") {
			where[words[0]] = words[2]
		}
	}
	var paths []string
	for _, name := range early {
		if path := where[name]; path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}
