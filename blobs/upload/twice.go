package upload

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

// Each byte of an upload is hashed twice: as part of its chunk and of the whole.
// The SHA extensions of x86 spend most of their time waiting for the round
// before, and both hashes see the same blocks: on the same core, the second one
// costs a few percent where it is computed in between.

const (
	blockSize = sha256.BlockSize
	// minTwice is from how many bytes on that outweighs moving the states.
	minTwice = 4 << 10
	// A state is what crypto/sha256 marshals: a magic, eight words, the bytes
	// of a block that is not full, and how many bytes there were, big endian.
	stateMagic = "sha\x03"
	stateSize  = len(stateMagic) + sha256.Size + blockSize + 8
)

// A hashing hashes what it is given while its owner reads and writes on.
type hashing struct {
	work    chan []byte
	done    chan struct{}
	pending bool // whether the hashes may not be looked at, nor the bytes changed
}

// startHashing adds to both hashes. Who called it calls stop.
func startHashing(a, b hash.Hash) *hashing {
	h := &hashing{work: make(chan []byte), done: make(chan struct{})}
	go func() {
		defer close(h.done)
		for p := range h.work {
			writeTwice(a, b, p)
			h.done <- struct{}{}
		}
	}()
	return h
}

// add hashes p, which stays as it is until the next add or settle has returned.
func (h *hashing) add(p []byte) {
	h.settle()
	h.work <- p
	h.pending = true
}

// settle waits until all is hashed.
func (h *hashing) settle() {
	if h.pending {
		<-h.done
		h.pending = false
	}
}

// stop is settle for the last time.
func (h *hashing) stop() {
	h.settle()
	close(h.work)
	<-h.done
}

// writeTwice is a.Write(p) and b.Write(p), for two hashes that crypto/sha256
// made.
func writeTwice(a, b hash.Hash, p []byte) {
	if canTwice && len(p) >= minTwice {
		if n := blocksTwice(a, b, p); n > 0 {
			p = p[n:]
		}
	}
	a.Write(p)
	b.Write(p)
}

// blocksTwice takes as many bytes of p as make whole blocks in both hashes and
// returns how many. It takes none where they do not stand at the same place of
// a block.
func blocksTwice(a, b hash.Hash, p []byte) int {
	var bufA, bufB [stateSize]byte
	stateA, lenA := stateOf(a, bufA[:0])
	_, lenB := stateOf(b, bufB[:0])
	if stateA == nil || lenA%blockSize != lenB%blockSize {
		return 0
	}
	n := 0
	if rest := lenA % blockSize; rest != 0 {
		n = int(blockSize - rest)
		a.Write(p[:n])
		b.Write(p[:n])
	}
	stateA, lenA = stateOf(a, bufA[:0])
	stateB, lenB := stateOf(b, bufB[:0])
	if stateA == nil || stateB == nil {
		return n
	}
	blocks := (len(p) - n) / blockSize
	wordsA, wordsB := wordsOf(stateA), wordsOf(stateB)
	blocks2(&wordsA, &wordsB, &roundConstants, &p[n], blocks)
	setState(stateA, wordsA, lenA+uint64(blocks)*blockSize)
	setState(stateB, wordsB, lenB+uint64(blocks)*blockSize)
	if a.(encoding.BinaryUnmarshaler).UnmarshalBinary(stateA) != nil || b.(encoding.BinaryUnmarshaler).UnmarshalBinary(stateB) != nil {
		panic("upload: crypto/sha256 refuses the state that it gave") // neither is set: no hash is wrong
	}
	return n + blocks*blockSize
}

// stateOf appends h's state to buf and says how many bytes it stands for. Nil
// where it has another form than is known here.
func stateOf(h hash.Hash, buf []byte) ([]byte, uint64) {
	m, ok := h.(encoding.BinaryAppender)
	if !ok {
		return nil, 0
	}
	state, err := m.AppendBinary(buf)
	if err != nil || len(state) != stateSize || string(state[:len(stateMagic)]) != stateMagic {
		return nil, 0
	}
	return state, binary.BigEndian.Uint64(state[stateSize-8:])
}

func wordsOf(state []byte) (words [8]uint32) {
	for i := range words {
		words[i] = binary.BigEndian.Uint32(state[len(stateMagic)+4*i:])
	}
	return words
}

func setState(state []byte, words [8]uint32, n uint64) {
	for i, w := range words {
		binary.BigEndian.PutUint32(state[len(stateMagic)+4*i:], w)
	}
	binary.BigEndian.PutUint64(state[stateSize-8:], n)
}

// roundConstants are the first 32 bits of the fractional parts of the cube roots
// of the first 64 primes (FIPS 180-4, 4.2.2).
var roundConstants = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}
