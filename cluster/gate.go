package cluster

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// A gate stands between the link and raft, and lets in what this node may hear.
//
// A recovered mesh has another generation than the one that it came from, whose
// members may still be there: with their old configuration they could elect a
// leader, and raft would follow it. So every message says its generation, and
// one of another generation is refused.
//
// A node that lost its log is deaf until the others agreed that it does not vote
// (see rejoin.go), and gives no vote before it has caught up.
type gate struct {
	*raft.NetworkTransport
	generation *atomic.Uint64
	open       atomic.Int32 // one of the values below
	passed     chan raft.RPC
	done       chan struct{}
	once       sync.Once
}

const (
	gateOpen   int32 = iota
	gateLogs         // what a leader sends; no votes
	gateClosed       // nothing
)

var (
	errGeneration = errors.New("this mesh was recovered: a node of the mesh before that has no say in it")
	errDeaf       = errors.New("this node is being rebuilt and takes no part yet")
)

func newGate(trans *raft.NetworkTransport, generation *atomic.Uint64) *gate {
	g := &gate{NetworkTransport: trans, generation: generation, passed: make(chan raft.RPC), done: make(chan struct{})}
	go g.run() // ends with Close
	return g
}

func (g *gate) run() {
	for {
		var rpc raft.RPC
		select {
		case rpc = <-g.NetworkTransport.Consumer():
		case <-g.done:
			return
		}
		if why := g.refuse(rpc.Command); why != nil {
			if rpc.Reader != nil { // what the stream still carries of a snapshot; may take its time
				go func() {
					io.Copy(io.Discard, rpc.Reader)
					rpc.Respond(nil, why)
				}()
			} else {
				rpc.Respond(nil, why)
			}
			continue
		}
		select {
		case g.passed <- rpc:
		case <-g.done:
			return
		}
	}
}

// refuse tells why raft must not hear a message, or nil.
func (g *gate) refuse(command any) error {
	if m, ok := command.(raft.WithRPCHeader); ok {
		if _, generation := cutGeneration(m.GetRPCHeader().Addr); generation != g.generation.Load() {
			return errGeneration
		}
	}
	switch g.open.Load() {
	case gateOpen:
		return nil
	case gateLogs:
		switch command.(type) {
		case *raft.AppendEntriesRequest, *raft.InstallSnapshotRequest:
			return nil
		}
	}
	return errDeaf
}

// Consumer implements raft.Transport.
func (g *gate) Consumer() <-chan raft.RPC { return g.passed }

// Close implements raft.WithClose.
func (g *gate) Close() error {
	g.once.Do(func() { close(g.done) })
	return g.NetworkTransport.Close()
}

// EncodePeer implements raft.Transport: the address in the header of a message
// is the node's id and, behind a dot, the generation in hex where there is one.
func (g *gate) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte {
	out := []byte(addr)
	if generation := g.generation.Load(); generation != 0 {
		out = append(out, '.')
		out = hex.AppendEncode(out, binary.BigEndian.AppendUint64(nil, generation))
	}
	return out
}

// DecodePeer implements raft.Transport.
func (g *gate) DecodePeer(in []byte) raft.ServerAddress {
	id, _ := cutGeneration(in)
	return raft.ServerAddress(id)
}

// cutGeneration reads what EncodePeer wrote.
func cutGeneration(in []byte) (id []byte, generation uint64) {
	id, rest, _ := bytes.Cut(in, []byte("."))
	if raw, err := hex.DecodeString(string(rest)); err == nil && len(raw) == 8 {
		generation = binary.BigEndian.Uint64(raw)
	}
	return id, generation
}
