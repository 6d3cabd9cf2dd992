package cluster

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"malla/cluster/state"
)

// TestMain is also the process that checks logs and may die of it.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "check-log" {
		os.Exit(ReportLog(os.Args[2], os.Stdout, os.Stderr))
	}
	if dir := os.Getenv("MALLA_TEST_CHECK_LOG"); dir != "" {
		begin, _ := strconv.Atoi(os.Getenv("MALLA_TEST_BEGIN"))
		checkFlips(dir, begin)
		return
	}
	// Most of these tests wait for nodes that wait for each other.
	flag.Parse()
	if n := runtime.GOMAXPROCS(0); n < 4 && flag.Lookup("test.parallel").Value.String() == strconv.Itoa(n) {
		flag.Set("test.parallel", "4")
	}
	os.Exit(m.Run())
}

// writeLog makes a log as a node does.
func writeLog(t testing.TB, dir string, entries int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(LogFile(dir)), 0o700); err != nil {
		t.Fatal(err)
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: LogFile(dir), BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoSync: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer bolt.Close()
	logs := &sealedLog{bolt, func(error) {}}
	stable := &voteStore{StableStore: bolt}
	if err := stable.SetUint64([]byte("CurrentTerm"), 2+uint64(entries/100)); err != nil {
		t.Fatal(err)
	}
	if err := persistVote(stable, 2, "0123456789abcdef0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= entries; i += 64 {
		var batch []*raft.Log
		for k := i; k < min(i+64, entries+1); k++ {
			entry, err := state.Encode(fmt.Sprint("request ", k), user(fmt.Sprint("user", k)))
			if err != nil {
				t.Fatal(err)
			}
			batch = append(batch, &raft.Log{Index: uint64(k), Term: 2 + uint64(k/100), Type: raft.LogCommand, Data: entry})
		}
		batch[0].Type, batch[0].Data = raft.LogConfiguration, raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "0123456789abcdef0123456789abcdef", Address: "a"}}})
		if err := logs.StoreLogs(batch); err != nil {
			t.Fatal(err)
		}
	}
}

// content is what raft would read of a log.
func content(dir string) (string, error) {
	options := readOnly
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: LogFile(dir), BoltOptions: &options})
	if err != nil {
		return "", err
	}
	defer bolt.Close()
	var out strings.Builder
	last, err := bolt.LastIndex()
	if err != nil {
		return "", err
	}
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := bolt.GetLog(i, &l); err != nil {
			return "", err
		}
		fmt.Fprintln(&out, l.Index, l.Term, l.Type, string(l.Data))
	}
	stable := &voteStore{StableStore: bolt}
	voted, err := stable.GetUint64([]byte(voteTermKey))
	if err != nil {
		return "", err
	}
	candidate, err := stable.Get([]byte(voteCandKey))
	fmt.Fprintln(&out, voted, string(candidate))
	return out.String(), err
}

const flips = 200

// checkFlips flips one bit after another, each time in a fresh copy, and says
// what became of it. Some end this process.
func checkFlips(dir string, begin int) {
	sound, err := os.ReadFile(LogFile(dir))
	if err != nil {
		fmt.Println(err)
		return
	}
	want, err := content(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	used := len(bytes.TrimRight(sound, "\x00"))
	random := rand.New(rand.NewPCG(1, 2))
	copied := filepath.Join(dir, "copy")
	os.MkdirAll(filepath.Dir(LogFile(copied)), 0o700)
	for i := range flips {
		at, bit := random.IntN(used), random.IntN(8)
		if i%5 == 1 { // one of the two pages that say where everything is
			at = i/5%2*os.Getpagesize() + random.IntN(80)
		}
		if i < begin {
			continue
		}
		data := slices.Clone(sound)
		if i > 0 { // the first shows that the sound one is believed
			data[at] ^= 1 << bit
		}
		if err := os.WriteFile(LogFile(copied), data, 0o600); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(i, " ")
		_, err := CheckLog(copied)
		switch got, readErr := content(copied); {
		case errors.Is(err, ErrLogDamaged) && readErr == nil && got != want:
			fmt.Println("found, though bolt reads it")
		case errors.Is(err, ErrLogDamaged):
			fmt.Println("found")
		case err == nil && readErr == nil && got == want:
			fmt.Println("harmless")
		default:
			fmt.Printf("BELIEVED: byte %d bit %d: check says %v, reading %v\n", at, bit, err, readErr)
		}
	}
}

// TestNoFlippedBitIsBelieved: whatever bit rots, the log is found damaged, or
// the check crashes, or what is read is what was written.
func TestNoFlippedBitIsBelieved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeLog(t, dir, 300)
	count := map[string]int{}
	for begin := 0; begin < flips; {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MALLA_TEST_CHECK_LOG="+dir, "MALLA_TEST_BEGIN="+strconv.Itoa(begin))
		out, err := cmd.Output()
		lines := bufio.NewScanner(bytes.NewReader(out))
		for lines.Scan() {
			n, verdict, _ := strings.Cut(lines.Text(), " ")
			if verdict == "" {
				verdict = "crash"
			}
			if i, _ := strconv.Atoi(n); i != begin {
				t.Fatalf("%q after %d: %v", lines.Text(), begin, err)
			}
			if count[verdict]++; !strings.HasPrefix(verdict, "found") && verdict != "harmless" && verdict != "crash" {
				t.Error(lines.Text())
			}
			begin++
		}
		if len(out) == 0 {
			t.Fatalf("no word of the check: %v", err)
		}
	}
	t.Log(count)
	if count["found, though bolt reads it"] < flips/20 {
		t.Errorf("bolt finds what rots by itself: %v", count) // and the seals may go
	}
	if count["found"] < flips/10 || count["harmless"] < 1 {
		t.Errorf("of %d flips only %d were found", flips, count["found"])
	}
}

func TestACutLogIsDamaged(t *testing.T) {
	dir := t.TempDir()
	writeLog(t, dir, 300)
	info, err := os.Stat(LogFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	check := CheckLogIn(os.Args[0], "check-log")
	if _, err := check(dir); err != nil {
		t.Fatalf("a sound log: %v", err)
	}
	for _, size := range []int64{info.Size() / 2, 8192, 4096, 1} {
		if err := os.Truncate(LogFile(dir), size); err != nil {
			t.Fatal(err)
		}
		if _, err := check(dir); !errors.Is(err, ErrLogDamaged) || !strings.Contains(err.Error(), LogFile(dir)) || !strings.Contains(err.Error(), "--rejoin") {
			t.Errorf("cut at %d: %v", size, err)
		}
	}
}

// TestDamagedSnapshots: one that the log can do without is put aside.
func TestDamagedSnapshots(t *testing.T) {
	for _, c := range []struct {
		name           string
		begins, ends   uint64
		sound, damaged []uint64
		want           string // of the error
		aside          int
	}{
		{"none, and a log from the beginning", 1, 50, nil, nil, "", 0},
		{"a sound one in front of the log", 41, 90, []uint64{40}, nil, "", 0},
		{"a gap behind the only one", 42, 90, []uint64{40}, nil, "no snapshot reaches entry 42", 0},
		{"no snapshot and no beginning", 42, 90, nil, nil, "no snapshot reaches entry 42", 0},
		{"the newest damaged, the log begins in the older one", 41, 90, []uint64{40}, []uint64{80}, "", 1},
		{"the newest damaged, the whole log here", 1, 90, nil, []uint64{80}, "", 1},
		{"the newest damaged, a gap behind the older one", 71, 90, []uint64{40}, []uint64{80}, "the log begins only at entry 71", 0},
		{"the newest damaged, and the log ends before it", 1, 70, []uint64{40}, []uint64{80}, "does not reach as far", 0},
		{"an older one damaged", 81, 90, []uint64{80}, []uint64{40}, "", 0},
		{"a snapshot of the leader in front of an empty log", 0, 0, []uint64{80}, nil, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			a := agreement{id: "0123456789abcdef0123456789abcdef"}
			_, trans := a.offline()
			store, err := raft.NewFileSnapshotStore(dir, keptPictures, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			make := func(index uint64) string {
				sink, err := store.Create(1, index, 1, a.alone(), 1, trans)
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(sink, "the state")
				if err := sink.Close(); err != nil {
					t.Fatal(err)
				}
				return filepath.Join(dir, "snapshots", sink.ID(), "state.bin")
			}
			for _, index := range c.sound {
				make(index)
			}
			for _, index := range c.damaged {
				flip(t, make(index), "state")
			}
			aside, err := checkSnapshots(dir, c.begins, c.ends)
			if c.want == "" && (err != nil || len(aside) != c.aside) {
				t.Errorf("put aside %v: %v", aside, err)
			}
			if c.want != "" && (!errors.Is(err, ErrLogDamaged) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// BenchmarkCheckLog is what the check costs at a start, for as many entries as
// a log has at most.
func BenchmarkCheckLog(b *testing.B) {
	dir := b.TempDir()
	writeLog(b, dir, 18_000)
	for b.Loop() {
		if _, err := CheckLog(dir); err != nil {
			b.Fatal(err)
		}
	}
}
