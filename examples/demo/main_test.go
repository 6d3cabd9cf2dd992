package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// The demo itself, with a shorter song and film: three processes, every format,
// each output looked at with ffprobe.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute; the whole suite does it")
	}
	program := filepath.Join(t.TempDir(), "malla")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "malla").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if err := run(t.Context(), program, 3, true); err != nil {
		t.Error(err)
	}
}
