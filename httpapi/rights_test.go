package httpapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"malla/cluster/state"
	"malla/httpapi/auth"
)

// TestRights asks every route of the table as everybody: nobody, the owner of
// what is asked for, another user, and an administrator, who has no more rights
// to other people's files than anybody. A route without a row fails.
func TestRights(t *testing.T) {
	const ok, signIn, none, denied, wrong, conflict = 200, 401, 404, 403, 400, 409
	type row struct{ anon, owner, other, admin int }
	all, users, owned := row{ok, ok, ok, ok}, row{signIn, ok, ok, ok}, row{signIn, ok, none, none}
	want := map[string]row{
		"POST /auth/signup": {wrong, wrong, wrong, wrong}, "POST /auth/login": {wrong, wrong, wrong, wrong}, "POST /auth/setup": {wrong, wrong, wrong, wrong},
		"POST /auth/logout": users, "GET /auth/me": users,
		"GET /media": users, "GET /media/:ref": owned, "HEAD /media/:ref": owned, "DELETE /media/:ref": owned, "GET /media/:ref/info": owned, "POST /media/:ref/url": owned,
		"GET /trash": users, "DELETE /trash": {signIn, wrong, wrong, wrong}, "DELETE /trash/:id": owned, "POST /trash/:id/restore": owned,
		"POST /upload": {signIn, 415, 415, 415}, "OPTIONS /files/": all, "POST /files/": {signIn, wrong, wrong, wrong},
		"HEAD /files/:id": owned, "PATCH /files/:id": {signIn, wrong, none, none}, "DELETE /files/:id": {signIn, 204, none, none},
		"GET /formats": all, "POST /convert": {signIn, ok, none, none},
		"GET /jobs": all, "GET /jobs/:id": owned, "DELETE /jobs/:id": owned, "PATCH /jobs/:id": owned,
		"POST /jobs/:id/retry": {signIn, conflict, none, none}, "GET /jobs/:id/log": owned, "GET /queue/stats": users, "GET /workers/stats": all,
		"POST /share/:ref": owned, "GET /shares": users, "DELETE /shares/:id": owned, "GET /s/:token": all, "HEAD /s/:token": all,
		"GET /events": {signIn, ok, ok, ok}, "GET /nodes": users, "POST /nodes/:id/drain": {signIn, denied, denied, ok}, "DELETE /nodes/:id/drain": {signIn, denied, denied, ok},
		"DELETE /nodes/:id": {signIn, denied, denied, ok}, "GET /cluster/secret": {signIn, denied, denied, ok}, "POST /cluster/secret/rotate": {signIn, denied, denied, ok},
		"GET /health": all, "HEAD /health": all, "GET /ready": all, "HEAD /ready": all, "GET /version": all, "GET /metrics": all,
		"GET /cluster/backup": {signIn, denied, denied, 404}, // the rig makes none
	}
	for _, rt := range routes() {
		name := rt.method + " " + rt.path
		if rt.right == auth.Unset {
			t.Errorf("%s names no right", name)
		}
		expected, there := want[name]
		if !there {
			t.Errorf("%s has no row in this test", name)
			continue
		}
		delete(want, name)
		for i, status := range []int{expected.anon, expected.owner, expected.other, expected.admin} {
			as := []string{"", "ana", "bob", "root"}[i]
			t.Run(name+" as "+as, func(t *testing.T) {
				r := newRig(t)
				r.token("root")
				r.token("bob")
				q := r.aRequest(rt)
				q.as = as
				if rt.path == "/events" && status == 200 {
					q.header = append(q.header, "Last-Event-ID", "not a number") // a stream would not end
					status = 400
				}
				r.do(q).want(status)
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		t.Errorf("%s is no route any more", name)
	}
}

// aRequest is a request to a route about something of ana's.
func (r *rig) aRequest(rt route) req {
	r.t.Helper()
	q := req{method: rt.method, path: rt.path}
	replace := func(param, value string) { q.path = strings.Replace(q.path, param, value, 1) }
	switch {
	case strings.Contains(rt.path, ":ref") || rt.path == "/convert":
		replace(":ref", r.put("ana", "song.mp3", "sound").ID)
		q.body = ConvertRequest{InputFile: "song.mp3", OutputFormat: "mp3"}
	case strings.HasPrefix(rt.path, "/nodes/"):
		r.log.Propose(r.t.Context(), state.RegisterNode{ID: "n1", Name: "worker_a", At: time.Now()})
		r.log.Propose(r.t.Context(), state.RegisterNode{ID: "n2", Name: "worker_b", At: time.Now()})
		replace(":id", "worker_a")
	case rt.path == "/cluster/secret/rotate":
		q.body = RotateRequest{}
		r.token("ana")
	case strings.HasPrefix(rt.path, "/trash/"):
		item := r.put("ana", "song.mp3", "sound")
		r.do(req{method: "DELETE", path: "/media/song.mp3", as: "ana"}).want(200)
		replace(":id", item.ID)
	case strings.HasPrefix(rt.path, "/jobs/"):
		replace(":id", r.queue("ana", "song.mp3"))
		q.body = JobChange{"low"}
	case strings.HasPrefix(rt.path, "/files/"):
		q.header = []string{"Tus-Resumable", "1.0.0"}
		if rt.path == "/files/:id" {
			replace("/files/:id", r.do(req{method: "POST", path: "/files/", as: "ana",
				header: []string{"Tus-Resumable", "1.0.0", "Upload-Length", "10", "Upload-Metadata", "filename YS5tcDM="}}).want(201).header.Get("Location"))
		}
	case rt.path == "/shares/:id" || rt.path == "/s/:token":
		r.put("ana", "song.mp3", "sound")
		made := read[Shared](r.do(req{method: "POST", path: "/share/song.mp3", as: "ana"}).want(200))
		replace(":id", made.ID)
		replace(":token", made.URL[len(made.URL)-32:])
	default:
		r.token("ana")
	}
	return q
}

func TestDrainSaysWhyNot(t *testing.T) {
	r := newRig(t)
	r.log.Propose(r.t.Context(), state.RegisterNode{ID: "n1", Name: "worker_a", At: time.Now()})
	r.log.Propose(r.t.Context(), state.RegisterNode{ID: "n2", Name: "worker_b", At: time.Now()})
	r.do(req{method: "POST", path: "/nodes/nobody/drain", as: "root"}).want(404)
	r.do(req{method: "POST", path: "/nodes/n2/drain", as: "root"}).want(409)
	r.do(req{method: "POST", path: "/nodes/n1/drain", as: "root"}).want(200)
	if n, _ := r.log.View().Node("n1"); n.DrainingAt.IsZero() {
		t.Error("it is not agreed on")
	}
	r.do(req{method: "DELETE", path: "/nodes/n1/drain", as: "root"}).want(200)
	if n, _ := r.log.View().Node("n1"); !n.DrainingAt.IsZero() {
		t.Error("it was not taken back")
	}
}

func TestForgettingANode(t *testing.T) {
	r := newRig(t)
	r.log.Propose(r.t.Context(), state.RegisterNode{ID: "n1", Name: "worker_a", At: time.Now()})
	r.log.Propose(r.t.Context(), state.RegisterNode{ID: "n2", Name: "worker_b", At: time.Now()})
	r.do(req{method: "DELETE", path: "/nodes/nobody", as: "root"}).want(404)
	r.do(req{method: "DELETE", path: "/nodes/worker_b", as: "root"}).want(409)
	r.do(req{method: "DELETE", path: "/nodes/worker_b?force=perhaps", as: "root"}).want(400)
	if len(r.mesh.forgotten) > 0 {
		t.Errorf("it forgot %v", r.mesh.forgotten)
	}
	r.do(req{method: "DELETE", path: "/nodes/worker_b?force=true", as: "root"}).want(200)
	r.do(req{method: "DELETE", path: "/nodes/n1", as: "root"}).want(200)
	if fmt.Sprint(r.mesh.forgotten) != "[n2 n1]" {
		t.Errorf("it forgot %v", r.mesh.forgotten)
	}
}

func TestNodesTellUsersLessThanAdministrators(t *testing.T) {
	r := newRig(t)
	for as, detailed := range map[string]bool{"ana": false, "root": true} {
		list := read[struct{ Nodes []NodeStatus }](r.do(req{method: "GET", path: "/nodes", as: as}).want(200)).Nodes
		if len(list) != 2 || list[0].Name != "worker_a" || !list[0].Self || list[1].Self || list[0].URL == "" || list[0].Role != "leader" || (list[0].CPU != 0) != detailed {
			t.Errorf("%s sees %+v", as, list)
		}
	}
}
