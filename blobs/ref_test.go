package blobs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"malla/blobs"
)

func TestParseRef(t *testing.T) {
	good := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"64 lower-case digits", good, true},
		{"nothing is the zero ref", "", true},
		{"upper case", strings.ToUpper(good), false},
		{"one digit less", good[1:], false},
		{"one digit more", good + "0", false},
		{"a letter that is no digit", good[1:] + "g", false},
		{"a path", "../" + good[3:], false},
		{"a space", " " + good[1:], false},
		{"two bytes for one character", "é" + good[2:], false},
	} {
		ref, err := blobs.ParseRef(c.text)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, blobs.ErrBadRef) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.ok && !ref.IsZero() && ref.String() != c.text {
			t.Errorf("%s: became %s", c.name, ref)
		}
	}
}

func TestRefInJSON(t *testing.T) {
	type record struct {
		Ref  blobs.Ref `json:"ref"`
		None blobs.Ref `json:"none"`
	}
	want := record{Ref: blobs.RefOf([]byte("malla"))}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got record
	if err := json.Unmarshal(data, &got); err != nil || got != want {
		t.Errorf("%s became %+v, %v", data, got, err)
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add(blobs.RefOf(nil).String())
	f.Add("")
	f.Add("../../etc/passwd")
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := blobs.ParseRef(text)
		if err != nil {
			if !ref.IsZero() {
				t.Errorf("%q is refused but gives %s", text, ref)
			}
			return
		}
		if out, err := ref.MarshalText(); err != nil || !ref.IsZero() && !bytes.Equal(out, []byte(text)) {
			t.Errorf("%q became %q, %v", text, out, err)
		}
	})
}
