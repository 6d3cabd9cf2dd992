// Command load writes as fast as it can, with a number of clients, through one
// node of a mesh of malla or one member of etcd, and prints how many writes a
// second that were. It is a module of its own, so that malla does not depend on
// etcd's client.
//
//	load -clients 16 -seconds 5 -malla http://127.0.0.1:8000 -token T -item song.wav
//	load -clients 16 -seconds 5 -etcd 127.0.0.1:2379 -size 300
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"malla/httpapi"
)

// result is what is printed, as JSON.
type result struct {
	PerSecond float64 `json:"per_second"`
	Median    float64 `json:"median_ms"`
	P99       float64 `json:"p99_ms"`
}

func main() {
	clients := flag.Int("clients", 1, "how many write at once, each one after another")
	seconds := flag.Float64("seconds", 5, "how long")
	node := flag.String("malla", "", "URL of a node")
	token := flag.String("token", "", "of a user of malla")
	item := flag.String("item", "", "name of that user's item of which links are made")
	member := flag.String("etcd", "", "HOST:PORT of a member")
	size := flag.Int("size", 300, "bytes of key and value")
	flag.Parse()
	write, err := writer(*node, *token, *item, *member, *size, *clients)
	if err == nil {
		var r result
		if r, err = run(*clients, time.Duration(*seconds*float64(time.Second)), write); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(r)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// writer returns what makes one write; client and n are different each time.
func writer(node, token, item, member string, size, clients int) (func(client, n int) error, error) {
	ctx := context.Background()
	switch {
	case node != "":
		c := &httpapi.Client{Base: node, Token: token, HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}}
		return func(int, int) error {
			_, err := c.Share(ctx, item, 60)
			return err
		}, nil
	case member != "":
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{member}, DialTimeout: 5 * time.Second})
		if err != nil {
			return nil, err
		}
		run := time.Now().UnixNano()
		return func(client, n int) error {
			key := fmt.Sprintf("%d/%03d/%09d", run, client, n)
			_, err := c.Put(ctx, key, strings.Repeat("x", max(0, size-len(key))))
			return err
		}, nil
	}
	return nil, errors.New("-malla or -etcd must be given")
}

// run lets the clients write for that long.
func run(clients int, long time.Duration, write func(client, n int) error) (result, error) {
	times := make([][]float64, clients) // milliseconds
	errs := make([]error, clients)
	began := time.Now()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := 0; time.Since(began) < long && errs[i] == nil; n++ {
				at := time.Now()
				errs[i] = write(i, n)
				times[i] = append(times[i], time.Since(at).Seconds()*1000)
			}
		})
	}
	all.Wait()
	took := time.Since(began).Seconds()
	sorted := slices.Concat(times...)
	slices.Sort(sorted)
	return result{float64(len(sorted)) / took, sorted[len(sorted)/2], sorted[len(sorted)*99/100]}, errors.Join(errs...)
}
