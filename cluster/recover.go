package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"malla/cluster/state"
)

// A Survivor is what a node that does not run has of the agreement.
type Survivor struct {
	ID         state.NodeID `json:"id"`
	Term       uint64       `json:"term"`       // of the last entry
	Index      uint64       `json:"index"`      // of the last entry; of two nodes of one generation the one with the larger term, then index, has more
	Generation uint64       `json:"generation"` // of the mesh; see Recover
	Voters     []string     `json:"voters"`     // names, or ids, of the nodes whose majority decides
	Nodes      []string     `json:"nodes"`      // names of all nodes on record

	State *state.State `json:"-"` // with every entry applied
}

// A Recovery makes a mesh of one node of what is left of a larger one. ID and
// Dir are as in [Config]; the node must not run.
type Recovery struct {
	ID       state.NodeID
	Dir      string
	Logger   *slog.Logger
	CheckLog func(dir string) (aside []string, err error) // as in Config
}

// Survey reads what the node has, and changes nothing.
func (r Recovery) Survey() (*Survivor, error) {
	a, err := r.open()
	if err != nil {
		return nil, err
	}
	s, err := a.survey()
	return s, errors.Join(err, a.bolt.Close())
}

// Recover makes the node the only one of a new generation of its mesh. All that
// is in its log is taken as agreed on, also entries that no majority ever had.
// The other nodes are forgotten and their tasks released; they come back with
// [Config].Rejoin. What they may still agree on among each other does not get
// into the new generation, and when they meet it they stop.
func (r Recovery) Recover() (*Survivor, error) {
	a, err := r.open()
	if err != nil {
		return nil, err
	}
	s, err := a.survey()
	if err == nil {
		err = a.recover(&r, max(uint64(time.Now().UnixMilli()), s.Generation+1))
	}
	return s, errors.Join(err, a.bolt.Close())
}

func (r Recovery) open() (*agreement, error) {
	if !fileExists(LogFile(r.Dir)) {
		return nil, fmt.Errorf("there is no log at %s: this node was never in a mesh", LogFile(r.Dir))
	}
	cfg := Config{ID: r.ID, Dir: r.Dir, State: state.New(), Logger: r.Logger, CheckLog: r.CheckLog}
	cfg.fill()
	disk, err := openLogDisk(&cfg)
	if err != nil {
		return nil, err
	}
	a, err := openAgreement(&cfg, disk, func(error) {})
	if err == nil && a.mark == rejoining {
		err = errors.Join(errors.New("this node was being rebuilt from others and does not have the whole log: recover another one"), a.bolt.Close())
	}
	return a, err
}

// offline are the parts of raft that are needed without the others.
func (a *agreement) offline() (*raft.Config, raft.Transport) {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(a.id)
	conf.Logger = newHCLog(slog.New(slog.DiscardHandler))
	_, trans := raft.NewInmemTransport(raft.ServerAddress(a.id))
	return conf, trans
}

// survey applies the log to the machine's state.
func (a *agreement) survey() (*Survivor, error) {
	conf, trans := a.offline()
	servers, err := raft.GetConfiguration(conf, a.machine, a.logs, a.stable, a.snaps, trans)
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	st := a.machine.state
	s := &Survivor{ID: a.id, Generation: a.generation.Load(), State: st, Index: st.Index()}
	if metas, err := a.snaps.List(); err == nil && len(metas) > 0 {
		s.Index, s.Term = metas[0].Index, metas[0].Term
	}
	last, err := a.logs.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	for index := s.Index + 1; index <= last; index++ {
		var l raft.Log
		if err := a.logs.GetLog(index, &l); err != nil {
			return nil, fmt.Errorf("read the log: entry %d: %w", index, err)
		}
		if l.Type == raft.LogCommand {
			a.machine.Apply(&l)
		}
		s.Index, s.Term = l.Index, l.Term
	}
	if a.machine.broken.Load() {
		return nil, fmt.Errorf("read the log: %w", errStopped)
	}
	for _, n := range st.View().Nodes() {
		s.Nodes = append(s.Nodes, n.Name)
	}
	for _, server := range servers.Servers {
		if server.Suffrage != raft.Voter {
			continue
		}
		name := string(server.ID)
		if n, ok := st.View().Node(state.NodeID(server.ID)); ok {
			name = n.Name
		}
		s.Voters = append(s.Voters, name)
	}
	slices.Sort(s.Voters)
	return s, nil
}

// alone is the configuration of a mesh of one node.
func (a *agreement) alone() raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(a.id), Address: raft.ServerAddress(a.id)}}}
}

func (a *agreement) recover(r *Recovery, generation uint64) error {
	// The generation first: from here on nobody of the old mesh is listened to.
	if err := writeGeneration(r.Dir, generation); err != nil {
		return err
	}
	heir := &heir{machine: machine{state: state.New(), fail: func(error) {}, committed: func(index, term uint64) {}, configured: func() {}}, id: a.id, at: time.Now().UTC()}
	conf, trans := a.offline()
	if err := raft.RecoverCluster(conf, heir, a.logs, a.stable, a.snaps, trans, a.alone()); err != nil {
		return fmt.Errorf("make a mesh of this node: %w", err)
	}
	return writeMark(r.Dir, joined)
}

// An heir is a machine whose snapshot knows no node but this one.
type heir struct {
	machine
	id state.NodeID
	at time.Time
}

// Snapshot implements raft.FSM.
func (h *heir) Snapshot() (raft.FSMSnapshot, error) {
	if err := forgetNodes(h.state, h.id, h.at); err != nil {
		return nil, err
	}
	return h.machine.Snapshot()
}

// forgetNodes takes the records of all nodes but one out of a state that is not
// in use, and releases their tasks.
func forgetNodes(st *state.State, but state.NodeID, at time.Time) error {
	for _, n := range st.View().Nodes() {
		if n.ID == but {
			continue
		}
		if err := change(st, state.RemoveNode{ID: n.ID, At: at}); err != nil {
			return fmt.Errorf("forget node %s: %w", n.Name, err)
		}
	}
	return nil
}

// endSessions makes everybody log in again: the state would let sessions in
// that were ended since it was saved.
func endSessions(st *state.State) error {
	for u := range st.View().Users() {
		if err := change(st, state.EndSessions{User: u.ID}); err != nil {
			return fmt.Errorf("end the sessions of %s: %w", u.Name, err)
		}
	}
	return nil
}

// change applies a command to a state that is not in use.
func change(st *state.State, cmd state.Command) error {
	entry, err := state.Encode("", cmd)
	if err == nil {
		_, err = st.Apply(st.Index(), entry)
	}
	return err
}

// A Refounding is the agreement of a new mesh of one node, on its way.
type Refounding struct {
	dir string
	id  state.NodeID
}

// Refound begins to write the agreement of a new mesh of one node, whose id and
// [Config].Dir these are. Nothing may be in dir yet. Before Finish no node starts
// with it.
func Refound(dir string, id state.NodeID) (*Refounding, error) {
	if fileExists(filepath.Dir(LogFile(dir))) || fileExists(markPath(dir)) {
		return nil, fmt.Errorf("there is a log in %s already", dir)
	}
	if err := mkdir(filepath.Dir(LogFile(dir))); err != nil {
		return nil, err
	}
	return &Refounding{dir, id}, writeMark(dir, joined) // without a log it is refused
}

// Finish gives the mesh its state, such as that of a backup, which must not be in
// use. The nodes on record in it are forgotten and all sessions end. Its index
// goes on behind every index that the old mesh may have reached since: clients
// would wait for those. The generation is new, too, for nodes of the old mesh
// that have the same secret.
func (f *Refounding) Finish(st *state.State) error {
	now := time.Now().UTC()
	st.Skip(indexGap)
	if err := errors.Join(forgetNodes(st, "", now), endSessions(st), writeGeneration(f.dir, uint64(now.UnixMilli()))); err != nil {
		return err
	}
	a := &agreement{id: f.id}
	_, trans := a.offline()
	snaps, err := raft.NewFileSnapshotStoreWithLogger(filepath.Dir(LogFile(f.dir)), keptPictures, newHCLog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return fmt.Errorf("open the snapshots: %w", err)
	}
	sink, err := snaps.Create(raft.SnapshotVersionMax, st.Index(), 1, a.alone(), 1, trans)
	if err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	if err := (picture{Snapshot: st.Snapshot()}).Persist(sink); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return nil
}

// indexGap is more than a mesh adds to its log while a backup is of any use.
const indexGap = 1 << 30
