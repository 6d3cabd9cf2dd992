package httpapi

import (
	"slices"
	"strings"
	"time"

	"malla/cluster/state"
	"malla/httpapi/auth"
)

// What becomes of the users' sessions of a secret that is replaced.
const (
	KeepSessions = "keep" // good for as long as any session
	EndSessions  = "end"  // over with the old secret: users sign in again
)

// RotateRequest asks for another secret.
type RotateRequest struct {
	Without  []string `json:"without,omitempty"`  // names or ids of nodes that are not waited for
	Sessions string   `json:"sessions,omitempty"` // keep or end; keep unless given, but a choice where a removed node knows the secret
}

// SecretStatus is how far the mesh is in replacing its secret, or that it is not.
type SecretStatus struct {
	Phase    string       `json:"phase"` // settled, preparing, switching
	Nodes    []SecretNode `json:"nodes"`
	Began    time.Time    `json:"began_at,omitzero"` // the last rotation
	Switched time.Time    `json:"switched_at,omitzero"`
	Ended    time.Time    `json:"ended_at,omitzero"`
	Canceled string       `json:"canceled,omitempty"` // why the last one came to nothing
	Sessions time.Time    `json:"old_sessions_until,omitzero"`
	KnownTo  []string     `json:"known_to,omitempty"` // nodes that were removed and know the secret in use
}

// SecretNode is how far one node is.
type SecretNode struct {
	Name     string `json:"name"`
	Prepared bool   `json:"prepared"`         // it has the next secret
	Switched bool   `json:"switched"`         // it uses it
	Excused  bool   `json:"excused,omitzero"` // it is not waited for
}

// rotateSecret begins to replace the mesh's secret; GET /cluster/secret tells how
// far it is. While that goes on, it only excuses more nodes.
func (c *call) rotateSecret() error {
	var ask RotateRequest
	if err := c.receive(&ask); err != nil {
		return err
	}
	rotation := c.view.Rotation()
	keep := auth.SessionTime
	switch ask.Sessions {
	case EndSessions:
		keep = 0
	case KeepSessions:
	case "":
		if len(rotation.KnownTo) > 0 && rotation.Phase == state.SecretSettled {
			return state.InvalidField("sessions", "these nodes were removed and know the secret in use: %s. With it they could sign in as anybody for as long as the old sessions go on. Say %q (--end-sessions), and all users sign in again, or %q (--keep-sessions), if you trust whoever has these nodes",
				strings.Join(rotation.KnownTo, ", "), EndSessions, KeepSessions)
		}
	default:
		return state.InvalidField("sessions", "want %s or %s", KeepSessions, EndSessions)
	}
	var without []state.NodeID
	for _, named := range ask.Without {
		id, ok := nodeNamed(c.view, named)
		if !ok {
			return state.InvalidField("without", "there is no node %q", named)
		}
		without = append(without, id)
	}
	if err := c.api.cfg.Mesh.RotateSecret(c.r.Context(), without, keep); err != nil {
		return err
	}
	c.agreed(0) // what it is by now
	return c.send(secretStatus(c.view, c.api.cfg.Now()))
}

func nodeNamed(view *state.View, named string) (state.NodeID, bool) {
	for _, n := range view.Nodes() {
		if n.Name == named || string(n.ID) == named {
			return n.ID, true
		}
	}
	return "", false
}

func (c *call) secretStatus() error { return c.send(secretStatus(c.view, c.api.cfg.Now())) }

func secretStatus(view *state.View, now time.Time) SecretStatus {
	r := view.Rotation()
	s := SecretStatus{
		Phase: string(r.Phase), Nodes: []SecretNode{}, Canceled: r.Canceled, KnownTo: r.KnownTo,
		Began: wireTime(r.BeganAt), Switched: wireTime(r.SwitchedAt), Ended: wireTime(r.EndedAt),
	}
	if r.Phase == state.SecretSettled {
		s.Phase = "settled"
	}
	for _, old := range r.Sessions {
		if old.Until.After(now) && old.Until.After(s.Sessions) {
			s.Sessions = wireTime(old.Until)
		}
	}
	for _, n := range view.Nodes() {
		s.Nodes = append(s.Nodes, SecretNode{
			n.Name, slices.Contains(r.Prepared, n.ID), slices.Contains(r.Switched, n.ID), slices.Contains(r.Without, n.ID),
		})
	}
	return s
}
