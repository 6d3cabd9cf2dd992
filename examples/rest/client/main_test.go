package main

import (
	"os/exec"
	"strings"
	"testing"

	"malla/node/nodetest"
)

// Both walks, this program's and the one with curl, against a real node.
func TestLifecycle(t *testing.T) {
	node := nodetest.New(t, 1).Node(0)
	var out strings.Builder
	if err := run(t.Context(), &out, node.URL(), ""); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("%s is not here: lifecycle.sh was not run", tool)
			return
		}
	}
	said, err := exec.CommandContext(t.Context(), "bash", "../lifecycle.sh", node.URL()).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "all checks held") {
		t.Errorf("lifecycle.sh: %v\n%s", err, said)
	}
}
