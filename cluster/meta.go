package cluster

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"

	"malla/cluster/state"
)

// Lengths of the texts in the metadata, so that all together stay below the
// 512 bytes at which memberlist panics.
const (
	maxName = 63
	maxZone = 63
	maxText = 63 // version
	maxHost = 253
)

// A meta is what a node says of itself in the gossip: facts that change
// seldom. Everything in it is a hint; what counts is in the state.
type meta struct {
	id       state.NodeID // is the name in the gossip; not encoded
	epoch    uint64       // milliseconds since 1970 at the start of the node: tells its runs apart
	joined   bool         // it is in the agreement of the mesh
	leaving  bool         // it is about to go
	expect   uint8        // it waits for so many nodes to form a mesh with
	httpPort uint16
	peerPort uint16
	host     string // advertised, where it is not the address of the gossip
	name     string
	zone     string
	version  string

	generation uint64 // of the mesh that it is in; see gate
}

const metaVersion = 1

const (
	flagJoined = 1 << iota
	flagLeaving
	flagRecovered // the generation follows the texts
)

// encode writes: version 1, flags 1, expect 1, epoch 8, ports 2+2, then the
// texts, each after its length in a byte, then the generation 8 if it is not 0.
func (m meta) encode() []byte {
	var flags byte
	if m.joined {
		flags |= flagJoined
	}
	if m.leaving {
		flags |= flagLeaving
	}
	if m.generation != 0 {
		flags |= flagRecovered
	}
	out := []byte{metaVersion, flags, m.expect}
	out = binary.BigEndian.AppendUint64(out, m.epoch)
	out = binary.BigEndian.AppendUint16(out, m.httpPort)
	out = binary.BigEndian.AppendUint16(out, m.peerPort)
	for _, text := range []string{m.host, m.name, m.zone, m.version} {
		out = append(out, byte(len(text)))
		out = append(out, text...)
	}
	if m.generation != 0 {
		out = binary.BigEndian.AppendUint64(out, m.generation)
	}
	return out
}

// check tells which text is too long to be gossiped.
func (m meta) check() error {
	for _, t := range []struct {
		what, text string
		most       int
	}{{"advertised host", m.host, maxHost}, {"name", m.name, maxName}, {"zone", m.zone, maxZone}, {"version", m.version, maxText}} {
		if len(t.text) > t.most {
			return fmt.Errorf("the %s has %d bytes, at most %d can be gossiped", t.what, len(t.text), t.most)
		}
	}
	return nil
}

var errMeta = errors.New("gossip of an unknown form")

// decodeMeta reads what encode wrote. Bytes after the known ones are those
// of a newer version and are passed over.
func decodeMeta(id string, in []byte) (meta, error) {
	const fixed = 1 + 1 + 1 + 8 + 2 + 2
	if !idPattern.MatchString(id) || len(in) < fixed || in[0] < metaVersion {
		return meta{}, errMeta
	}
	m := meta{
		id:       state.NodeID(id),
		joined:   in[1]&flagJoined != 0,
		leaving:  in[1]&flagLeaving != 0,
		expect:   in[2],
		epoch:    binary.BigEndian.Uint64(in[3:]),
		httpPort: binary.BigEndian.Uint16(in[11:]),
		peerPort: binary.BigEndian.Uint16(in[13:]),
	}
	recovered := in[1]&flagRecovered != 0
	in = in[fixed:]
	for _, text := range []*string{&m.host, &m.name, &m.zone, &m.version} {
		if len(in) == 0 || len(in) < 1+int(in[0]) {
			return meta{}, errMeta
		}
		*text = string(in[1 : 1+in[0]])
		in = in[1+in[0]:]
	}
	if recovered {
		if len(in) < 8 {
			return meta{}, errMeta
		}
		m.generation = binary.BigEndian.Uint64(in)
	}
	return m, nil
}

// peerAddr is where the node's link is.
func (p *peer) peerAddr() string {
	host, _, err := net.SplitHostPort(p.gossip)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(int(p.meta.peerPort)))
}

// httpAddr is where people reach the node: under the name that it was told
// to advertise, if any.
func (p *peer) httpAddr() string {
	host, _, err := net.SplitHostPort(p.gossip)
	if err != nil {
		return ""
	}
	if p.meta.host != "" {
		host = p.meta.host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(p.meta.httpPort)))
}

// rawID returns the 16 bytes of an id.
func rawID(id state.NodeID) (raw [16]byte) {
	hex.Decode(raw[:], []byte(id)) // ids are checked where they come in
	return raw
}
