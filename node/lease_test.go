package node_test

import (
	"fmt"
	"testing"
	"time"

	"malla/cluster"
	"malla/httpapi"
	"malla/node"
	"malla/node/nodetest"
)

func TestAStoppedNodeHandsItsWorkOver(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a conversion twice; the whole suite does it")
	}
	m := nodetest.New(t, 3, func(_ int, cfg *node.Config) { cfg.Slots, cfg.Timing.DeadGrace = 1, time.Hour })
	c := m.Node(0).User("ana")
	upload(t, c, "film.mp4", generated(t, "long.mp4"))
	asked, err := c.Convert(t.Context(), httpapi.ConvertRequest{InputFile: "film.mp4", OutputFormat: "webm"})
	if err != nil {
		t.Fatal(err)
	}
	worker := -1
	nodetest.Eventually(t, "a node works on the job", 20*time.Second, func() error {
		job, err := c.Job(t.Context(), asked.JobID)
		if err != nil || job.Progress <= 0 || job.Progress >= 100 {
			return fmt.Errorf("job: %+v, %v", job, err)
		}
		for i := range m.Len() {
			if m.Node(i).Name() == job.AssignedWorker {
				worker = i
			}
		}
		return nil
	})
	stopped := m.Node(worker).Name()
	m.Node(worker).Stop()
	survivor := as(c, m.Others(worker)[0])
	job := waitJob(t, survivor, asked.JobID)
	if job.Status != httpapi.Completed || len(job.Tasks) == 0 || len(job.Tasks[0].Attempts) == 0 {
		t.Fatalf("job: %+v", job)
	}
	if first := job.Tasks[0].Attempts[0]; first.Cause != "moved" || first.Node == job.Tasks[0].Node {
		t.Errorf("the first attempt: %+v, the task: %+v", first, job.Tasks[0])
	}
	onlyOneOutput(t, survivor)
	stays := 0
	for _, s := range m.Others(worker)[0].Nodes() {
		if s.Role != string(cluster.Nonvoter) && (s.Name != stopped || s.State == string(cluster.Left)) {
			stays++ // also in the votes: it is expected back
		}
	}
	if stays != 3 {
		t.Errorf("the mesh is %+v", m.Others(worker)[0].Nodes())
	}
}
