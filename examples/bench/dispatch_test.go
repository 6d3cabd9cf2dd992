package main

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestWatchForSeesOnlyItsOwn(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	watch := func(parent int) <-chan time.Time {
		looking, seen := make(chan struct{}), make(chan time.Time, 1)
		go func() {
			defer close(seen)
			watchFor(ctx, "sleep", map[int]bool{parent: true}, looking, seen)
		}()
		<-looking
		return seen
	}
	mine := watch(os.Getpid())
	others := watch(1 << 30)
	began := time.Now()
	cmd := exec.CommandContext(ctx, "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if at, saw := <-mine; !saw || at.Before(began) {
		t.Errorf("seen: %v at %v", saw, at)
	}
	cancel() // which ends the child too
	cmd.Wait()
	if _, saw := <-others; saw {
		t.Error("another's child was taken for its own")
	}
}
