package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// An announcer tells the followers at once what was committed. Raft's leader
// tells it with the next entries only, or after its CommitTimeout, and until
// then a follower cannot answer whose write it passed on, nor begin the work
// that it was given. What is sent is what the leader could send itself, an
// AppendEntries without entries behind the last committed one; no follower can
// tell the difference, and it may be lost, late or sent twice.
type announcer struct {
	send  func(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error
	sends sync.WaitGroup

	mu        sync.Mutex // guards the fields below
	closed    bool
	header    raft.RPCHeader // of raft's messages of that term
	term      uint64         // in which this node led when a follower last took entries from it
	committed uint64         // index of an entry of that term
	followers map[raft.ServerID]*follower
}

// A follower is what the announcer knows of one.
type follower struct {
	address raft.ServerAddress
	has     uint64 // index of the last entry that it took in the announcer's term
	told    uint64 // up to where it was told what is committed
	busy    bool   // it is being told
}

func newAnnouncer(send func(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error) *announcer {
	return &announcer{send: send, followers: make(map[raft.ServerID]*follower)}
}

// sent notes that raft sent req as the leader of its term and the follower
// agreed.
func (a *announcer) sent(id raft.ServerID, address raft.ServerAddress, req *raft.AppendEntriesRequest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if req.Term > a.term {
		a.term, a.committed, a.header = req.Term, 0, req.RPCHeader
		clear(a.followers)
	}
	if req.Term < a.term {
		return
	}
	f := a.followers[id]
	if f == nil {
		f = &follower{}
		a.followers[id] = f
	}
	f.address = address
	f.told = max(f.told, req.LeaderCommitIndex)
	if n := len(req.Entries); n > 0 {
		f.has = max(f.has, req.Entries[n-1].Index)
	}
	a.announce(id, f)
}

// commit notes that the entry at that index, of that term, is committed.
func (a *announcer) commit(index, term uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if term != a.term {
		return // this node does not lead, or the entry is of an earlier leader
	}
	a.committed = max(a.committed, index)
	for id, f := range a.followers {
		a.announce(id, f)
	}
}

// news returns what to tell the follower, or nil. a.mu is held.
func (a *announcer) news(f *follower) *raft.AppendEntriesRequest {
	if a.closed || f.told >= a.committed || f.has < a.committed {
		return nil
	}
	f.told = a.committed
	return &raft.AppendEntriesRequest{
		RPCHeader: a.header, Term: a.term,
		PrevLogEntry: a.committed, PrevLogTerm: a.term, LeaderCommitIndex: a.committed,
	}
}

// announce tells the follower the news, in the background, and goes on while
// there are newer ones. a.mu is held.
func (a *announcer) announce(id raft.ServerID, f *follower) {
	if f.busy {
		return
	}
	req := a.news(f)
	if req == nil {
		return
	}
	f.busy = true
	address := f.address
	a.sends.Go(func() {
		for req != nil {
			a.send(id, address, req, new(raft.AppendEntriesResponse)) // what fails, raft finds out itself
			a.mu.Lock()
			if req = a.news(f); req == nil {
				f.busy = false
			}
			a.mu.Unlock()
		}
	})
}

// close waits for what is being sent; the transport is closed by then.
func (a *announcer) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.sends.Wait()
}
