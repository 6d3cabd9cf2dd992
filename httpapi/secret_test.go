package httpapi

import (
	"slices"
	"strings"
	"testing"
	"time"

	"malla/cluster/state"
	"malla/httpapi/auth"
)

func TestRotateSecret(t *testing.T) {
	r := newRig(t)
	mesh := r.api.cfg.Mesh.(*fewNodes)
	for _, name := range []string{"alpha", "beta", "attic"} {
		r.log.Propose(t.Context(), state.RegisterNode{ID: state.NodeID("id-" + name), Name: name, Key: []byte("key"), At: time.Now()})
	}
	rotate := func(ask RotateRequest) *reply {
		return r.do(req{method: "POST", path: "/cluster/secret/rotate", as: "root", body: ask})
	}
	rotate(RotateRequest{}).want(200)
	if mesh.keepSessions != auth.SessionTime {
		t.Errorf("sessions go on for %v", mesh.keepSessions)
	}
	rotate(RotateRequest{Sessions: EndSessions, Without: []string{"attic", "id-beta"}}).want(200)
	if mesh.keepSessions != 0 || !slices.Equal(mesh.without, []state.NodeID{"id-attic", "id-beta"}) {
		t.Errorf("kept for %v, without %v", mesh.keepSessions, mesh.without)
	}
	for field, ask := range map[string]RotateRequest{"without": {Without: []string{"nobody"}}, "sessions": {Sessions: "some"}} {
		if p := read[Problem](rotate(ask).want(400)); p.Field != field {
			t.Errorf("%+v: the problem names %q", ask, p.Field)
		}
	}

	r.log.Propose(t.Context(), state.RemoveNode{ID: "id-attic", At: time.Now()})
	p := read[Problem](rotate(RotateRequest{}).want(400))
	if p.Field != "sessions" || !strings.Contains(p.Detail, "attic") {
		t.Errorf("a removed node knows the secret, and the problem is %+v", p)
	}
	rotate(RotateRequest{Sessions: KeepSessions}).want(200)

	var without []state.NodeID // the rig's own nodes, which have no key
	for _, n := range r.log.View().Nodes() {
		if len(n.Key) == 0 {
			without = append(without, n.ID)
		}
	}
	r.log.Propose(t.Context(), state.BeginRotation{Current: "s0", Next: "s1", By: "id-alpha", Without: without, At: time.Now()})
	r.log.Propose(t.Context(), state.AdvanceRotation{Epoch: 1, Node: "id-alpha", Phase: state.SecretPreparing})
	s := read[SecretStatus](r.do(req{method: "GET", path: "/cluster/secret", as: "root"}).want(200))
	want := []SecretNode{{"alpha", true, false, false}, {"beta", false, false, false}}
	s.Nodes = slices.DeleteFunc(s.Nodes, func(n SecretNode) bool { return n.Excused })
	if s.Phase != "preparing" || !slices.Equal(s.Nodes, want) || !slices.Equal(s.KnownTo, []string{"attic"}) {
		t.Errorf("status %+v", s)
	}
	if body := r.do(req{method: "GET", path: "/cluster/secret", as: "root"}).body; strings.Contains(string(body), "s1") {
		t.Errorf("the status tells more than how far it is: %s", body)
	}
}
