package upload

import "golang.org/x/sys/cpu"

// canTwice tells whether this processor has what blocks2 uses: the SHA
// extensions (bit 29 of leaf 7), and SSSE3 and SSE4.1.
var canTwice = cpu.X86.HasSSSE3 && cpu.X86.HasSSE41 && cpuid7()&(1<<29) != 0

// blocks2 takes n blocks of 64 bytes at p into both hashes. k are the constants
// of SHA-256.
//
//go:noescape
func blocks2(a, b *[8]uint32, k *[64]uint32, p *byte, n int)

// cpuid7 is what the processor says of its newer parts.
func cpuid7() (ebx uint32)
