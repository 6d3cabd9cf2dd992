package footage

import (
	"encoding/binary"
	"math/rand/v2"
)

// NoiseRate is how many bytes of noise make a second.
const NoiseRate = 2 * 44100

// Noise returns a WAV file, 16 bits mono at 44.1 kHz, with so many bytes of
// random sound: a file of any size that is media, and that nobody can compress
// or guess. The same seed gives the same bytes.
func Noise(seed uint64, size int) []byte {
	size &^= 1
	file := append(make([]byte, 0, 52+size), waveHeader(size)...)
	sound := rand.New(rand.NewPCG(seed, 0))
	for len(file) < 44+size {
		file = binary.LittleEndian.AppendUint64(file, sound.Uint64())
	}
	return file[:44+size]
}

// waveHeader is the beginning of a WAV file, 16 bits mono at 44.1 kHz, before
// so many bytes of sound.
func waveHeader(size int) []byte {
	le := binary.LittleEndian
	var file []byte
	file = append(file, "RIFF"...)
	file = le.AppendUint32(file, uint32(36+size))
	file = append(file, "WAVEfmt "...)
	file = le.AppendUint32(file, 16)        // length of this part
	file = le.AppendUint16(file, 1)         // PCM
	file = le.AppendUint16(file, 1)         // channels
	file = le.AppendUint32(file, 44100)     // samples a second
	file = le.AppendUint32(file, NoiseRate) // bytes a second
	file = le.AppendUint16(file, 2)         // bytes a sample
	file = le.AppendUint16(file, 16)        // bits a sample
	file = append(file, "data"...)
	file = le.AppendUint32(file, uint32(size))
	return file
}
