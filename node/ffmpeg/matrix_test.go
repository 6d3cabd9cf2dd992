package ffmpeg

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var updateMatrix = flag.Bool("update-matrix", false, "write testdata/matrix.golden")

// A matrix is what became of every kind of input in every format.
type matrix struct {
	runner   *Runner
	checkers map[string]checker
	table    string // as it should be

	mu   sync.Mutex
	rows map[string]string // guarded by mu: input -> its lines of the table
}

// The matrix of the issue: each kind of input goes to each format the way a
// node takes it, in pieces where it can be cut, copied where it fits. Each
// output is looked at by ffprobe, decoded as a whole and judged by a program
// that is not FFmpeg. testdata/matrix.golden says which way each one goes.
func TestEveryInputBecomesEveryFormatOrIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("some hundred conversions")
	}
	golden := filepath.Join("testdata", "matrix.golden")
	m := &matrix{runner: newRunner(t, Limits{}), checkers: availableCheckers(t), table: string(readFile(t, golden)), rows: map[string]string{}}
	inputs := matrixInputs(t)
	t.Run("from", func(t *testing.T) {
		for _, in := range inputs {
			t.Run(strings.ReplaceAll(in.name, " ", "_"), func(t *testing.T) {
				t.Parallel()
				m.row(t, in)
			})
		}
	})
	table := matrixHead()
	for _, in := range inputs {
		table += m.rows[in.name]
	}
	t.Log("\n" + table)
	if *updateMatrix && !t.Failed() {
		if err := os.WriteFile(golden, []byte(table), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// matrixInputs are the awkward inputs, each once.
func matrixInputs(t *testing.T) []awkward {
	var inputs []awkward
	for _, in := range awkwards(t) {
		same := func(a awkward) bool {
			return a.file == in.file && slices.Equal(a.make, in.make) && (a.spoil == nil) == (in.spoil == nil)
		}
		if !slices.ContainsFunc(inputs, same) {
			inputs = append(inputs, in)
		}
	}
	return inputs
}

func matrixHead() string {
	line := fmt.Sprintf("%-40s", "")
	for _, f := range Formats() {
		line += fmt.Sprintf(" %-10s", f.Name)
	}
	return strings.TrimRight(line, " ") + "\n"
}

// row converts one input to every format.
func (m *matrix) row(t *testing.T, row awkward) {
	in := makeMedia(t, row.file, row.make...)
	if row.spoil != nil {
		if err := os.WriteFile(in, row.spoil(readFile(t, in)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	from := &source{path: in, info: probe(t, m.runner, in), damaged: strings.Contains(row.name, "damaged")}
	if _, ok := from.info.Video(); ok {
		from.index = index(t, m.runner, in, from.info)
	}
	lines, reasons := fmt.Sprintf("%-40s", row.name), ""
	for _, f := range Formats() {
		ways, why := m.cell(t, from, f)
		lines += fmt.Sprintf(" %-10s", ways)
		if why != "" && !strings.Contains(reasons, why) {
			reasons += "    " + f.Name + ": " + why + "\n"
		}
	}
	m.decode(t, from.made)
	lines = strings.TrimSpace(lines) + "\n" + reasons
	m.mu.Lock()
	m.rows[row.name] = lines
	m.mu.Unlock()
	if !*updateMatrix && !strings.Contains(m.table, "\n"+lines) {
		t.Errorf("goes other ways than before: look whether that is right, then run go test ./node/ffmpeg -run EveryInput -update-matrix\n%s", lines)
	}
}

// A source is an input, what is known of it and what was made of it.
type source struct {
	path    string
	info    Info
	index   Index // of a film
	damaged bool
	made    []string // outputs to decode
}

// cell converts a source to a format, encoded and, where that can be, copied.
// It returns which ways that went, and why a film did not go in pieces.
func (m *matrix) cell(t *testing.T, in *source, f Format) (ways, why string) {
	o := Options{Copy: copyNever}
	if _, ok := option(f.Options, optPreset); ok {
		o.Preset = "superfast"
	}
	p := Params{Input: in.path, Info: in.info, Format: f.Name, Options: o, Threads: 1}
	plan, err := Split(in.info, in.index, f.Name, o, rate(in, f))
	if err != nil {
		m.refused(t, p, err)
		return "refused", ""
	}
	ways = "cut"
	if plan.Whole != "" {
		ways = "whole"
		m.convert(t, in, p)
	} else if p.Output, err = encodeInPieces(t, m.runner, p, in.index, plan.Segments); err != nil {
		t.Errorf("%s in pieces: %v", f.Name, err)
	} else {
		m.look(t, in, p)
	}
	p.Options.Copy = ""
	if c, err := Carry(in.info, f.Name, p.Options); err == nil && c.Copied != (Copying{}) {
		ways += "+copy"
		m.convert(t, in, p)
	}
	if f.Kind == Audio {
		return ways, ""
	}
	return ways, plan.Whole
}

// rate is a cost of a pixel so high that even a tiny film is worth cutting, but
// only into few pieces.
func rate(in *source, f Format) float64 {
	film, ok := in.info.Video()
	if !ok || f.Kind == Audio {
		return 0
	}
	pictures, total := max(1, len(in.index.Pictures)), cheapest+1
	if f.VideoCodecs[0].Name == mpeg4.Name {
		total *= 6
	}
	return total * 1e9 / float64(pictures*film.Width*film.Height)
}

// refused sees to it that what is not planned is not done either, for a reason
// that the user can read.
func (m *matrix) refused(t *testing.T, p Params, planned error) {
	p.Output = filepath.Join(t.TempDir(), "out")
	_, err := m.runner.Convert(t.Context(), p, nil)
	if !errors.Is(planned, ErrUnfit) || !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), "cannot become "+p.Format) {
		t.Errorf("%s: planned %v, converted %v", p.Format, planned, err)
	}
	mustBeGone(t, p.Output)
}

func (m *matrix) convert(t *testing.T, in *source, p Params) {
	p.Output = filepath.Join(t.TempDir(), "whole."+p.Format)
	if _, err := m.runner.Convert(t.Context(), p, nil); err != nil {
		t.Errorf("%s: %v%s", p.Format, err, details(err))
		return
	}
	m.look(t, in, p)
}

// look judges an output without decoding it.
func (m *matrix) look(t *testing.T, in *source, p Params) {
	in.made = append(in.made, p.Output)
	made := probe(t, m.runner, p.Output)
	err := CheckOutput(in.info, made, p.Format, p.Options)
	if err != nil && !(in.damaged && errors.Is(err, ErrShort)) {
		t.Errorf("%s: %v", p.Format, err)
	}
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		t.Fatal(err)
	}
	want := expected(in.info, s)
	if atLeast := want / 2; !near(made.Duration, want, 0.15) && !(in.damaged && made.Duration > atLeast) {
		t.Errorf("%s: %.3f s, want %.3f s", p.Format, made.Duration, want)
	}
	if err := m.checkers[p.Format].check(t, p.Output, made); err != nil {
		t.Errorf("%s: %v", p.Format, err)
	}
}

// decode decodes all that can be seen and heard, several files at once, since
// starting takes ffmpeg longer than these. Pictures are timed finely, for in
// ticks of a mean rate two of a variable rate would share one.
func (m *matrix) decode(t *testing.T, files []string) {
	args, outputs := []string{"-nostdin", "-v", "error"}, []string{}
	for i, file := range files {
		args = append(args, "-threads", "1", "-i", file)
		outputs = append(outputs, "-map", fmt.Sprintf("%d:v?", i), "-map", fmt.Sprintf("%d:a?", i), "-enc_time_base:v", "1:1000000", "-f", "null", "-")
	}
	if len(files) == 0 {
		return
	}
	cmd := exec.CommandContext(t.Context(), m.runner.tools.FFmpeg, append(args, outputs...)...)
	cmd.Env = append(os.Environ(), m.runner.tools.env...)
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && len(out) == 0:
	case len(files) == 1:
		t.Errorf("%s decoded: %v\n%s", filepath.Base(files[0]), err, out)
	default:
		for _, file := range files {
			m.decode(t, []string{file})
		}
		t.Errorf("decoded: %v\n%s", err, out)
	}
}
