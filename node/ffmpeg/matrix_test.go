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
	return strings.TrimSpace(line) + "\n"
}

// row converts one input to every format.
func (m *matrix) row(t *testing.T, row awkward) {
	in := makeMedia(t, row.file, row.make...)
	if row.spoil != nil {
		if err := os.WriteFile(in, row.spoil(readFile(t, in)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	film := source{path: in, info: probe(t, m.runner, in), damaged: strings.Contains(row.name, "damaged")}
	if _, ok := film.info.Video(); ok {
		film.index = index(t, m.runner, in, film.info)
	}
	lines, reasons := fmt.Sprintf("%-40s", row.name), ""
	for _, f := range Formats() {
		ways, why := m.cell(t, film, f)
		lines += fmt.Sprintf(" %-10s", ways)
		if f.Kind == Video && why != "" && !strings.Contains(reasons, why) {
			reasons += "    " + f.Name + ": " + why + "\n"
		}
	}
	lines = strings.TrimSpace(lines) + "\n" + reasons
	m.mu.Lock()
	m.rows[row.name] = lines
	m.mu.Unlock()
	if !*updateMatrix && !strings.Contains(m.table, "\n"+lines) {
		t.Errorf("goes other ways than before: look whether that is right, then run go test ./node/ffmpeg -run EveryInput -update-matrix\n%s", lines)
	}
}

// A source is an input and what is known of it.
type source struct {
	path    string
	info    Info
	index   Index // of a film
	damaged bool
}

// cell converts a source to a format, encoded and, where that can be, copied.
// It returns which ways that went, and why not in pieces.
func (m *matrix) cell(t *testing.T, in source, f Format) (ways, why string) {
	o := Options{Copy: copyNever}
	if _, ok := option(f.Options, optPreset); ok {
		o.Preset = "superfast"
	}
	p := Params{Input: in.path, Info: in.info, Format: f.Name, Options: o, Threads: 1}
	const costly = 1e6 // so that even tiny films are worth cutting
	plan, err := Split(in.info, in.index, f.Name, o, costly)
	if err != nil {
		return "refused", m.refused(t, p, err)
	}
	ways = "cut"
	if plan.Whole != "" {
		ways = "whole"
		p.Output = m.convert(t, p)
	} else if p.Output, err = encodeInPieces(t, m.runner, p, in.index, plan.Segments); err != nil {
		t.Errorf("%s in pieces: %v", f.Name, err)
		return ways, plan.Whole
	}
	m.look(t, in, p)
	p.Options.Copy = ""
	if c, err := Carry(in.info, f.Name, p.Options); err == nil && c.Copied != (Copying{}) {
		ways += "+copy"
		p.Output = m.convert(t, p)
		m.look(t, in, p)
	}
	return ways, plan.Whole
}

// refused sees to it that a conversion that cannot be is refused by all, and
// tells why.
func (m *matrix) refused(t *testing.T, p Params, planned error) string {
	p.Output = filepath.Join(t.TempDir(), "out")
	_, err := m.runner.Convert(t.Context(), p, nil)
	if !errors.Is(planned, ErrUnfit) || !errors.Is(err, ErrUnfit) {
		t.Errorf("%s: planned %v, converted %v", p.Format, planned, err)
	}
	mustBeGone(t, p.Output)
	return planned.Error()
}

func (m *matrix) convert(t *testing.T, p Params) string {
	p.Output = filepath.Join(t.TempDir(), "whole."+p.Format)
	if _, err := m.runner.Convert(t.Context(), p, nil); err != nil {
		t.Errorf("to %s: %v%s", p.Format, err, details(err))
		return ""
	}
	return p.Output
}

// look judges an output.
func (m *matrix) look(t *testing.T, in source, p Params) {
	if p.Output == "" {
		return // has failed already
	}
	made := probe(t, m.runner, p.Output)
	err := CheckOutput(in.info, made, p.Format, p.Options)
	if errors.Is(err, ErrShort) && in.damaged {
		err = nil
	}
	if err != nil {
		t.Errorf("%s: %v", p.Format, err)
	}
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		t.Fatal(err)
	}
	if want := expected(in.info, s); !near(made.Duration, want, 0.15) && !(in.damaged && made.Duration > want/2) {
		t.Errorf("%s: %.3f s, want %.3f s", p.Format, made.Duration, want)
	}
	if out, err := decodeAll(t, p.Output); err != nil || out != "" {
		t.Errorf("%s decoded: %v\n%s", p.Format, err, out)
	}
	if err := m.checkers[p.Format].check(t, p.Output, made); err != nil {
		t.Errorf("%s: %v", p.Format, err)
	}
}

// decodeAll decodes all that can be seen and heard and returns the complaints.
func decodeAll(t *testing.T, path string) (string, error) {
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-threads", "1", "-i", path,
		"-map", "0:v?", "-map", "0:a?", "-f", "null", "-").CombinedOutput()
	return string(out), err
}
