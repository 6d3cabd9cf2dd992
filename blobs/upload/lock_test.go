package upload

import (
	"testing"
)

func TestARequestIsInterruptedOnceItReads(t *testing.T) {
	l := newLocker()
	first, _ := l.NewLock("a")
	interrupted := make(chan struct{})
	if err := first.Lock(t.Context(), func() { close(interrupted) }); err != nil {
		t.Fatal(err)
	}
	second, _ := l.NewLock("a")
	locked := make(chan error)
	go func() { locked <- second.Lock(t.Context(), func() {}) }()
	l.reading("b") // another's
	select {
	case <-interrupted:
		t.Fatal("interrupted before it read")
	case err := <-locked:
		t.Fatalf("two have the lock: %v", err)
	default:
	}
	l.reading("a")
	l.reading("a")
	<-interrupted
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-locked; err != nil {
		t.Fatal(err)
	}
	if err := second.Unlock(); err != nil {
		t.Fatal(err)
	}
}
