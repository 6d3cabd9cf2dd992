package cluster

import (
	"fmt"

	metrics "github.com/hashicorp/go-metrics/compat"
	sink "github.com/hashicorp/go-metrics/compat/prometheus"
	"github.com/prometheus/client_golang/prometheus"
)

// registerMetrics sends the metrics of raft, its log store and the gossip to
// reg, as raft_… and memberlist_…. The libraries have one sink for the whole
// process, which the last call sets. It must be set through the compat
// packages: that is what raft and memberlist call, and they do not reach a
// sink that go-metrics itself was given.
func registerMetrics(reg prometheus.Registerer) error {
	s, err := sink.NewPrometheusSinkFrom(sink.PrometheusOpts{Registerer: reg, Name: "malla_cluster"})
	if err != nil {
		return fmt.Errorf("register the metrics of the cluster: %w", err)
	}
	cfg := metrics.DefaultConfig("")
	cfg.EnableHostname = false
	cfg.EnableRuntimeMetrics = false
	if _, err := metrics.NewGlobal(cfg, s); err != nil {
		return fmt.Errorf("register the metrics of the cluster: %w", err)
	}
	return nil
}
