package auth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"malla/blobs"
	"malla/cluster/state"
)

var cheap = Cost{Memory: 64, Passes: 1, Lanes: 1}

func TestPasswords(t *testing.T) {
	ctx := t.Context()
	p, err := NewPasswords(Cost{})
	if err != nil {
		t.Fatal(err)
	}
	phc, err := p.Hash(ctx, "correct horse")
	if err != nil || !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q %v", phc, err)
	}
	if again, _ := p.Hash(ctx, "correct horse"); again == phc {
		t.Error("the same password has the same hash twice: no salt")
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "correct hors": false, "": false, "correct horse\x00": false} {
		if ok, err := p.Check(ctx, phc, password); ok != want || err != nil {
			t.Errorf("%q: %v %v", password, ok, err)
		}
	}
	if ok, err := p.Check(ctx, "", "correct horse"); ok || err != nil {
		t.Error("nobody's password was right:", err)
	}
}

func TestPasswordsAreTexts(t *testing.T) {
	p, err := NewPasswords(cheap)
	if err != nil {
		t.Fatal(err)
	}
	phc, err := p.Hash(t.Context(), "contraseña")
	if err != nil {
		t.Fatal(err)
	}
	if ok, _ := p.Check(t.Context(), phc, "contrasen\u0303a"); !ok {
		t.Error("the same text in another form is another password")
	}
	for _, row := range []struct {
		password string
		good     bool
	}{
		{strings.Repeat("ñ", 7), false}, {strings.Repeat("ñ", 8), true}, {strings.Repeat("ñ", 256), true},
		{strings.Repeat("x", 257), false}, {strings.Repeat("x", 1<<20), false}, {"", false},
	} {
		_, err := p.Hash(t.Context(), row.password)
		if good := err == nil; good != row.good || !good && !errors.Is(err, state.ErrInvalid) {
			t.Errorf("%d bytes: %v", len(row.password), err)
		}
	}
}

func TestDamagedHashes(t *testing.T) {
	p, err := NewPasswords(cheap)
	if err != nil {
		t.Fatal(err)
	}
	good, _ := p.Hash(t.Context(), "correct horse")
	for _, phc := range []string{
		"x", "$argon2id$", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "m=64", "m=99999999", 1),
		strings.Replace(good, "t=1", "t=0", 1), strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "v=19", "v=16", 1), good + "$", good[:len(good)-30],
	} {
		if ok, err := p.Check(t.Context(), phc, "correct horse"); ok || err == nil {
			t.Errorf("%s: %v %v", phc, ok, err)
		}
	}
	for _, c := range []Cost{{Memory: 1, Passes: 1, Lanes: 1}, {Memory: 64}, {Memory: 1 << 30, Passes: 1, Lanes: 1}} {
		if _, err := NewPasswords(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// A flood of sign-ins is refused, not queued for ever, and what is done stays right.
func TestHashingIsBounded(t *testing.T) {
	p, err := NewPasswords(Cost{Memory: 1024, Passes: 4, Lanes: 1})
	if err != nil {
		t.Fatal(err)
	}
	phc, _ := p.Hash(t.Context(), "correct horse")
	var all sync.WaitGroup
	var mu sync.Mutex
	right, busy := 0, 0
	for range 300 {
		all.Go(func() {
			ok, err := p.Check(t.Context(), phc, "correct horse")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case ok && err == nil:
				right++
			case errors.Is(err, state.ErrBusy):
				busy++
			default:
				t.Errorf("%v %v", ok, err)
			}
		})
	}
	all.Wait()
	if right == 0 || busy == 0 {
		t.Errorf("%d were right and %d were refused", right, busy)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	if _, err := p.Check(ctx, phc, "correct horse"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(p.queue) != 0 {
		t.Error("who gave up still stands in the queue")
	}
}

func TestThrottle(t *testing.T) {
	now := start
	th := NewThrottle(5, func() time.Time { return now })
	var waits []time.Duration
	for range 16 {
		th.Fail("ana")
		waits = append(waits, th.Wait("ana"))
	}
	want := []time.Duration{0, 0, 0, 0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second,
		64 * time.Second, 128 * time.Second, 256 * time.Second, 512 * time.Second, 15 * time.Minute, 15 * time.Minute}
	if fmt.Sprint(waits) != fmt.Sprint(want) {
		t.Errorf("waits are %v", waits)
	}
	if th.Wait("bob") != 0 {
		t.Error("another has to wait too")
	}
	now = now.Add(15*time.Minute + time.Second)
	if th.Wait("ana") != 0 {
		t.Error("locked out for ever")
	}
	now = now.Add(16 * time.Minute)
	th.Fail("ana")
	if th.Wait("ana") != 0 {
		t.Error("old failures were not forgotten")
	}
	th.Fail("bob")
	th.Succeed("bob")
	if len(th.keys) != 1 {
		t.Error("a success is not forgotten")
	}
	for i := range maxTracked + 100 {
		th.Fail(fmt.Sprint(i))
	}
	if len(th.keys) > maxTracked {
		t.Errorf("%d keys are remembered", len(th.keys))
	}
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"10.1.2.3:55": "10.1.2.3", "[2001:db8:1:2:3:4:5:6]:55": "2001:db8:1:2::/64", "[::ffff:10.1.2.3]:55": "10.1.2.3", "[fe80::1%eth0]:1": "fe80::/64", "pipe": "pipe",
	} {
		if got := Network(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

func TestShareTokens(t *testing.T) {
	a, b := NewShareToken(), NewShareToken()
	id, ok := ShareOf(a)
	if a == b || len(a) != 32 || !ok || len(id) != 64 || strings.Contains(string(id), a) {
		t.Errorf("%q %q %q", a, b, id)
	}
	for _, text := range []string{"", "x", a + "x", a[:31] + "/", a[:31] + "\n", string(id)} {
		if _, ok := ShareOf(text); ok {
			t.Errorf("%q is a token", text)
		}
	}
}

func TestLinks(t *testing.T) {
	now := start
	s, apply := agreed(t)
	blob := blobs.Blob{Ref: blobs.RefOf([]byte("x")), SHA256: blobs.RefOf([]byte("x")), Size: 1}
	for _, id := range []string{"m1", "m2"} {
		apply(state.AddMedia{ID: state.MediaID(id), Owner: "u1", Name: id, Content: state.Content{Blob: blob}, At: start})
	}
	links := NewLinks(keys('k'), func() time.Time { return now })
	other := NewLinks(keys('x'), func() time.Time { return now })
	owner, _ := s.View().User("u1")
	text, expires := links.Sign(owner, "m1", 10*time.Minute)
	q, _ := url.ParseQuery(text)
	if m, err := links.Opens(s.View(), "m1", q); err != nil || m.Name != "m1" || !expires.Equal(start.Add(10*time.Minute)) || !Linked(q) {
		t.Fatalf("%v %v %v", m, err, expires)
	}
	forged, _ := other.Sign(owner, "m1", time.Minute)
	with := func(name, value string) url.Values {
		changed := url.Values{"e": q["e"], "s": q["s"]}
		changed.Set(name, value)
		return changed
	}
	fq, _ := url.ParseQuery(forged)
	for name, bad := range map[string]url.Values{
		"no signature": {"e": q["e"]}, "no end": {"s": q["s"]}, "another end": with("e", "99999999999"), "no number": with("e", "soon"),
		"another signature": with("s", "AAAA"), "another key": fq,
	} {
		if _, err := links.Opens(s.View(), "m1", bad); !errors.Is(err, state.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, item := range []state.MediaID{"m2", "none"} {
		if _, err := links.Opens(s.View(), item, q); !errors.Is(err, state.ErrDenied) {
			t.Errorf("the link opens %s: %v", item, err)
		}
	}
	now = start.Add(11 * time.Minute)
	if _, err := links.Opens(s.View(), "m1", q); !errors.Is(err, state.ErrDenied) {
		t.Error("an expired link opens")
	}
	now = start
	if _, until := links.Sign(owner, "m1", 100*time.Hour); until.After(start.Add(MaxLinkTime)) {
		t.Error("a link lives too long:", until)
	}
	apply(state.EndSessions{User: "u1"})
	if _, err := links.Opens(s.View(), "m1", q); !errors.Is(err, state.ErrDenied) {
		t.Error("a link outlives its owner's sessions")
	}
}

func BenchmarkCheckToken(b *testing.B) {
	s := state.New()
	data, err := state.Encode("", state.AddUser{ID: "u1", Name: "ana", Password: "phc"})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Apply(1, data); err != nil {
		b.Fatal(err)
	}
	ours, err := NewSessions(keys('k'), "m1", time.Now)
	if err != nil {
		b.Fatal(err)
	}
	u, _ := s.View().User("u1")
	token, err := ours.Issue(u)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := ours.Check(s.View(), token); err != nil {
			b.Fatal(err)
		}
	}
}
