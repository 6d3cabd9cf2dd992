//go:build !amd64

package upload

const canTwice = false

// blocks2 is not called where canTwice is false.
func blocks2(a, b *[8]uint32, k *[64]uint32, p *byte, n int) {}
