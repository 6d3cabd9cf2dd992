package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"malla/cluster/state"
)

func TestItemsAreToldAsTheyAre(t *testing.T) {
	var texts mediaTexts
	var found []*state.Media
	for i := range 10 {
		found = append(found, &state.Media{ID: state.MediaID(fmt.Sprint(i)), Name: `<"ñ">`, Content: state.Content{Kind: "audio", Tags: map[string]string{"title": "a&b"}}})
	}
	for round := range 3 {
		renamed := *found[round]
		renamed.Name = fmt.Sprint("renamed", round)
		found[round] = &renamed // what is new is another record
		got, err := texts.of(found)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range found {
			if want, _ := json.Marshal(mediaOf(m)); !bytes.Equal(got[i], want) {
				t.Errorf("round %d, item %d is told as %s, want %s", round, i, got[i], want)
			}
		}
	}
}

func TestTextsOfItemsAreBounded(t *testing.T) {
	var texts mediaTexts
	long := state.Content{Tags: map[string]string{"comment": string(bytes.Repeat([]byte("x"), maxTexts/8))}}
	for range 40 {
		if _, err := texts.of([]*state.Media{{Content: long}}); err != nil {
			t.Fatal(err)
		}
	}
	kept := 0
	for _, some := range []map[*state.Media][]byte{texts.young, texts.old} {
		for _, text := range some {
			kept += len(text)
		}
	}
	if kept > 2*maxTexts || len(texts.young) == 0 || len(texts.old) == 0 {
		t.Errorf("%d bytes are kept, in %d and %d texts", kept, len(texts.young), len(texts.old))
	}
}
