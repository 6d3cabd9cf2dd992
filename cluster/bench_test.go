package cluster

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// BenchmarkPropose is a write on three nodes that share this machine's disk,
// by one client after another and by many at once.
func BenchmarkPropose(b *testing.B) {
	m := newMesh(b)
	nodes := m.up(3)
	m.joins(nodes[0])
	leader := m.leader(nodes...)
	follower := nodes[0]
	if follower == leader {
		follower = nodes[1]
	}
	var users atomic.Int64
	for name, n := range map[string]*node{"leader": leader, "follower": follower} {
		for _, clients := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d", name, clients), func(b *testing.B) {
				b.SetParallelism(clients / 2) // times GOMAXPROCS, which is two or more
				if clients == 1 {
					for b.Loop() {
						if _, err := n.c.Propose(b.Context(), user(fmt.Sprint("user", users.Add(1)))); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := n.c.Propose(b.Context(), user(fmt.Sprint("user", users.Add(1)))); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}
