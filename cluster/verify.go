package cluster

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// ErrLogDamaged tells that what a node keeps of the agreement cannot be
// trusted. Its text names the file.
var ErrLogDamaged = errors.New("damaged")

// cure is what to do about a damaged log.
const cure = "start this node once with --rejoin: it puts its log aside and gets everything anew from the others, and keeps its files; where there is no other node, restore a backup (malla restore --help)"

func damaged(file string, what any) error {
	return fmt.Errorf("%s is %w (%v): %s", file, ErrLogDamaged, what, cure)
}

func inUse(dir string) error {
	return fmt.Errorf("another node is running with the data directory %s: stop it, or give this one its own", dir)
}

// CheckLog reads the whole log and the snapshots of a node that does not run,
// whose [Config].Dir is dir. What is not as it was written is [ErrLogDamaged],
// unless it is a snapshot that the log can do without: that one is put aside,
// and its new path returned.
//
// Damage may also end the process: bolt panics in goroutines of its own, and
// reading a file that was cut off is SIGBUS. Call it in a process of its own,
// and take a crash of that for damage.
func CheckLog(dir string) (aside []string, err error) {
	file := LogFile(dir)
	if info, err := os.Stat(file); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil, nil // a new node, or one that finds its log missing
	}
	if err := checkPages(file); errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, inUse(dir)
	} else if os.IsPermission(err) {
		return nil, fmt.Errorf("read the log: %w", err)
	} else if err != nil {
		return nil, damaged(file, err)
	}
	begins, ends, err := checkEntries(file)
	if err != nil {
		return nil, damaged(file, err)
	}
	return checkSnapshots(filepath.Dir(file), begins, ends)
}

// readOnly opens the file beside nobody who writes.
var readOnly = bbolt.Options{Timeout: lockTimeout, ReadOnly: true, PreLoadFreelist: true}

// checkMetas looks at the two pages of which each commit writes one in turn.
// Where the newer one is damaged bolt takes the older one, and the last commit
// is gone without a word. A crash does not do that: what is written of them lies
// in one sector. See meta in go.etcd.io/bbolt/internal/common.
func checkMetas(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	const header, summed = 16, 56 // of the page, of the record in front of its checksum
	second := int64(0)
	for i := range int64(2) {
		meta := make([]byte, summed+8)
		if _, err := f.ReadAt(meta, i*second+header); err != nil {
			return fmt.Errorf("meta page %d: %w", i, err)
		}
		sum := fnv.New64a()
		sum.Write(meta[:summed])
		if sum.Sum64() != binary.NativeEndian.Uint64(meta[summed:]) {
			return fmt.Errorf("meta page %d: checksum", i)
		}
		second = int64(binary.NativeEndian.Uint32(meta[8:])) // the size of a page
	}
	return nil
}

// checkPages has bolt look at its own tree.
func checkPages(file string) error {
	if err := checkMetas(file); err != nil {
		return err
	}
	options := readOnly
	db, err := bbolt.Open(file, 0, &options)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) (first error) {
		for _, bucket := range []string{"logs", "conf"} {
			if tx.Bucket([]byte(bucket)) == nil {
				return fmt.Errorf("no bucket %q", bucket)
			}
		}
		for err := range tx.Check() {
			if first == nil {
				first = err // the channel must be read to its end
			}
		}
		return first
	})
}

// checkEntries reads every entry, and what the node voted for. It returns the
// first and the last entry of the part that goes on to the end: in front of that
// a snapshot from the leader may have left a gap.
func checkEntries(file string) (begins, ends uint64, err error) {
	options := readOnly
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: file, BoltOptions: &options})
	if err != nil {
		return 0, 0, err
	}
	defer bolt.Close()
	if begins, err = bolt.FirstIndex(); err != nil {
		return 0, 0, err
	}
	if ends, err = bolt.LastIndex(); err != nil {
		return 0, 0, err
	}
	newest := uint64(0) // term
	for index := begins; index <= ends && ends > 0; index++ {
		var l raft.Log
		err := bolt.GetLog(index, &l)
		if errors.Is(err, raft.ErrLogNotFound) {
			begins = index + 1
			continue
		}
		if err != nil {
			return 0, 0, fmt.Errorf("entry %d: %w", index, err)
		}
		if err := checkSeal(index, &l); err != nil {
			return 0, 0, err
		}
		if l.Term < newest {
			return 0, 0, fmt.Errorf("entry %d is of term %d, behind one of term %d", index, l.Term, newest)
		}
		newest = l.Term
	}
	return begins, ends, checkVote(&voteStore{StableStore: bolt}, newest)
}

// checkVote looks at the numbers that have no checksum: the node's term is
// never behind its log's or its vote's.
func checkVote(stable raft.StableStore, newest uint64) error {
	term, err := stable.GetUint64([]byte("CurrentTerm"))
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return err
	}
	voted, err := stable.GetUint64([]byte(voteTermKey))
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		voted, err = 0, nil
	}
	if err != nil {
		return err
	}
	if term < newest || term < voted {
		return fmt.Errorf("the node's term %d is behind its log's %d or its vote's %d", term, newest, voted)
	}
	if candidate, err := stable.Get([]byte(voteCandKey)); err == nil {
		if id, _ := cutGeneration(candidate); !idPattern.Match(bytes.TrimSpace(id)) {
			return fmt.Errorf("a vote for %q", candidate)
		}
	}
	return nil
}

// checkSnapshots makes sure that the log, which begins and ends at these
// entries, goes on where the newest sound snapshot ends. Else raft would start
// from whichever snapshot it can read, and miss entries, or lose some that this
// node has confirmed.
func checkSnapshots(dir string, begins, ends uint64) (aside []string, err error) {
	where := filepath.Join(dir, "snapshots")
	if _, err := os.Stat(where); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, keptPictures, hclog.NewNullLogger())
	if err != nil {
		return nil, fmt.Errorf("open the snapshots in %s: %w", dir, err)
	}
	names, err := snapshotNames(where)
	if err != nil {
		return nil, err
	}
	var broken []snapshotName
	have, needed := uint64(0), uint64(0) // the newest entry in a sound one, and in a broken one
	for _, name := range names {
		_, r, err := store.Open(name.id)
		if err == nil {
			have = name.index
			r.Close()
			break
		}
		broken, needed = append(broken, name), max(needed, name.index)
	}
	switch {
	case len(broken) > 0 && max(have, ends) < needed:
		return nil, damaged(filepath.Join(where, broken[0].id), "the checksum of this snapshot is wrong, and the log does not reach as far")
	case len(broken) > 0 && begins > have+1:
		return nil, damaged(filepath.Join(where, broken[0].id), fmt.Sprintf("the checksum of this snapshot is wrong, and the log begins only at entry %d", begins))
	case begins > have+1:
		return nil, damaged(where, fmt.Sprintf("no snapshot reaches entry %d, where the log begins", begins))
	}
	for _, name := range broken {
		to := filepath.Join(dir, "damaged-"+name.id)
		if err := os.Rename(filepath.Join(where, name.id), to); err != nil {
			return aside, fmt.Errorf("put a damaged snapshot aside: %w", err)
		}
		aside = append(aside, to)
	}
	return aside, nil
}

// A snapshotName is the folder of a snapshot; it says where that ends also
// where nothing in it can be read.
type snapshotName struct {
	id    string
	index uint64
}

// snapshotNames lists the complete snapshots, the newest first.
func snapshotNames(dir string) (all []snapshotName, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the snapshots: %w", err)
	}
	for _, e := range entries {
		var term, index, at uint64
		name := e.Name()
		if n, _ := fmt.Sscanf(name, "%d-%d-%d", &term, &index, &at); n == 3 && e.IsDir() && name == fmt.Sprintf("%d-%d-%d", term, index, at) {
			all = append(all, snapshotName{name, index})
		}
	}
	slices.SortFunc(all, func(a, b snapshotName) int { return cmp.Or(cmp.Compare(b.index, a.index), cmp.Compare(b.id, a.id)) })
	return all, nil
}
