package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"malla/cluster/state"
	"malla/cluster/transport"
)

// builds makes testdata/member as it is, and with a next version of the package
// state: one more command, one more table, and one more field in a command and a
// record that are there already.
func builds(t *testing.T) (today, next string) {
	dir := t.TempDir()
	replaced := map[string]string{}
	change := func(file, old, new string) {
		path, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		from := path
		if replaced[path] != "" {
			from = replaced[path]
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(old).FindAllString(string(text), -1); len(found) != 1 {
			t.Fatalf("%s has %q %d times, want once", file, old, len(found))
		}
		replaced[path] = filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(replaced[path], regexp.MustCompile(old).ReplaceAll(text, []byte(new)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	level := strconv.Itoa(state.Level + 1)
	change("state/level.go", `const Level = \d+`, "const Level = "+level)
	change("state/command.go", `(var decoders = .*\{\n)`, "${1}\t\"AddNote\": decodeAs[AddNote],\n")
	change("state/snapshot.go", `(var tables = .*\{\n)`, "${1}\t"+level+": {notes},\n")
	change("state/users.go", `(type User struct \{\n)`, "${1}\tMotto string `json:\"motto,omitempty\"`\n")
	change("state/users.go", `(type AddUser struct \{\n)`, "${1}\tMotto string `json:\"motto,omitempty\"`\n")
	change("state/users.go", `&User\{`, "&User{Motto: c.Motto, ")
	for file, with := range map[string]string{
		"state/note.go":               "testdata/next/state/note.go",
		"testdata/member/commands.go": "testdata/next/member/commands.go",
	} {
		path, _ := filepath.Abs(file)
		replaced[path], _ = filepath.Abs(with)
	}
	overlay := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err := errors.Join(err, os.WriteFile(overlay, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	build := func(name string, flags ...string) string {
		path := filepath.Join(dir, name)
		args := append(append([]string{"build", "-buildvcs=false", "-o", path}, flags...), "./testdata/member")
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build the %s version: %v\n%s", name, err, out)
		}
		return path
	}
	return build("today"), build("next", "-overlay", overlay)
}

// A process is a member of a test's mesh that runs by itself.
type process struct {
	t      *testing.T
	name   string
	dir    string
	secret string
	join   string

	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
	stderr  *bytes.Buffer
	digests map[uint64]string // index -> hash of its state, over all its runs
}

func (p *process) start(program string) {
	p.t.Helper()
	p.cmd = exec.Command(program, "-dir", p.dir, "-name", p.name, "-version", filepath.Base(program), "-secret", p.secret, "-join", p.join)
	p.stderr = new(bytes.Buffer)
	p.cmd.Stderr = p.stderr
	var errs [3]error
	p.orders, errs[0] = p.cmd.StdinPipe()
	out, err := p.cmd.StdoutPipe()
	errs[1] = err
	p.answers = bufio.NewReader(out)
	errs[2] = p.cmd.Start()
	if err := errors.Join(errs[:]...); err != nil {
		p.t.Fatal(err)
	}
}

// stop ends it the ordinary way.
func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	p.orders.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%s: %v: %s", p.name, err, p.stderr)
	}
	p.cmd = nil
}

// ends waits until it ends by itself, and returns why.
func (p *process) ends() string {
	p.t.Helper()
	if err := p.cmd.Wait(); err == nil {
		p.t.Errorf("%s ended without an error", p.name)
	}
	p.cmd = nil
	return p.stderr.String()
}

// A status is what a process answers.
type status struct {
	Gossip  string
	Ready   bool
	Leads   bool
	Level   int
	Index   uint64
	Digests map[uint64]string
	Error   string
}

func (p *process) do(order string) status {
	p.t.Helper()
	fmt.Fprintln(p.orders, order)
	line, err := p.answers.ReadBytes('\n')
	var r status
	if err := errors.Join(err, json.Unmarshal(line, &r)); err != nil {
		p.cmd.Wait()
		p.t.Fatalf("%s: %s: %v: %s", p.name, order, err, p.stderr)
	}
	maps.Copy(p.digests, r.Digests)
	return r
}

func (p *process) ready() {
	p.t.Helper()
	eventually(p.t, p.name+" is ready", func() error {
		if !p.do("status").Ready {
			return errors.New("it is not")
		}
		return nil
	})
}

// same checks that the states were the same at every index at which two of the
// processes had looked at theirs, and are the same now.
func same(t *testing.T, all []*process) {
	t.Helper()
	eventually(t, "all have applied the same", func() error {
		var indexes []uint64
		for _, p := range all {
			indexes = append(indexes, p.do("status").Index)
		}
		last := slices.Max(indexes)
		for i, p := range all {
			if indexes[i] != last || p.digests[last] == "" {
				return fmt.Errorf("%s is at %d, another at %d", p.name, indexes[i], last)
			}
		}
		return nil
	})
	known := map[uint64]string{}
	for _, p := range all {
		for index, digest := range p.digests {
			if there := known[index]; there != "" && there != digest {
				t.Errorf("%s has another state than others at index %d", p.name, index)
			}
			known[index] = digest
		}
	}
}

// TestRollingUpgrade runs nodes of today's version and of a next one in one mesh
// while one after another is upgraded.
func TestRollingUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	today, next := builds(t)
	secret := transport.Generate()
	add := func(name string) *process {
		p := &process{t: t, name: name, dir: t.TempDir(), secret: secret.Text(), digests: map[uint64]string{}}
		t.Cleanup(p.stop)
		return p
	}
	mesh := []*process{add("n0"), add("n1"), add("n2")}
	for _, p := range mesh {
		p.start(today)
		p.ready()
		for _, other := range mesh {
			if other != p {
				other.join = p.do("status").Gossip
			}
		}
	}
	users := 0
	write := func(through ...*process) {
		t.Helper()
		for _, p := range through {
			users++
			if r := p.do(fmt.Sprint("user u", 1000+users)); r.Error != "" {
				t.Fatalf("a command of today through %s: %s", p.name, r.Error)
			}
		}
		same(t, mesh)
	}
	waits := func(p *process, behind string) {
		t.Helper()
		for _, order := range []string{"note early", "motto early"} {
			if r := p.do(order); !strings.Contains(r.Error, behind+" runs today") {
				t.Errorf("%s before all are upgraded: %q, want a refusal that names %s", order, r.Error, behind)
			}
		}
	}
	upgrade := func(p *process, to string) {
		t.Helper()
		p.stop()
		p.start(to)
		p.ready()
	}
	write(mesh...)

	upgrade(mesh[2], next)
	waits(mesh[2], "n0 runs today, n1")
	write(mesh...)
	upgrade(mesh[0], next)
	waits(mesh[2], "n1")
	waits(mesh[0], "n1")
	write(mesh...)

	// The old one misses more than the log keeps: it gets a snapshot of a new one.
	mesh[1].stop()
	old := mesh[1]
	mesh = []*process{mesh[0], mesh[2]}
	for i := range 20 {
		mesh[0].do(fmt.Sprint("user missed", i))
	}
	write(mesh...)
	mesh = append(mesh, old)
	old.start(today)
	old.ready()
	write(mesh...)

	upgrade(old, next)
	eventually(t, "the mesh agrees on the next level", func() error {
		for _, p := range mesh {
			if level := p.do("status").Level; level != state.Level+1 {
				return fmt.Errorf("%s is at level %d", p.name, level)
			}
		}
		return nil
	})
	for _, p := range mesh {
		for _, order := range []string{"note " + p.name, "motto by-" + p.name} {
			if r := p.do(order); r.Error != "" {
				t.Errorf("%s through %s after the upgrade: %s", order, p.name, r.Error)
			}
		}
	}
	write(mesh...)

	// There is no way back, and no way in.
	old.stop()
	old.start(today)
	if why := old.ends(); !strings.Contains(why, "upgrade this node") {
		t.Errorf("an old node in a mesh that went on: %q", why)
	}
	late := add("n3")
	late.join = mesh[0].do("status").Gossip
	late.start(today)
	if why := late.ends(); !strings.Contains(why, "upgrade this node") {
		t.Errorf("an old node that wants in: %q", why)
	}
}
