package httpapi

import (
	"fmt"
	"net/http"
	"testing"
)

// BenchmarkRequests asks the whole handler, without a network. The library has 50 files.
func BenchmarkRequests(b *testing.B) {
	r := newRig(b)
	for i := range 50 {
		r.put("ana", fmt.Sprintf("song %d.mp3", i), fmt.Sprint("sound ", i))
	}
	r.queue("ana", "one.mp3")
	for name, path := range map[string]string{
		"health": "/health", "media": "/media", "jobs": "/jobs", "workers": "/workers/stats", "range": "/media/song%201.mp3",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				request, err := http.NewRequest("GET", path, nil)
				if err != nil {
					b.Fatal(err)
				}
				request.Header.Set("Authorization", "Bearer "+r.tokens["ana"])
				request.Header.Set("Range", "bytes=1-3")
				w := &recorder{header: http.Header{}}
				r.api.Handler().ServeHTTP(w, request)
				if w.status >= 400 {
					b.Fatal(w.status, w.body.String())
				}
			}
		})
	}
}
