package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"malla/cluster/transport"
)

func TestValidateNamesTheSettingAndTheCure(t *testing.T) {
	if err := Defaults().Validate(); err != nil {
		t.Fatalf("the defaults are wrong: %v", err)
	}
	for _, row := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.HTTP = "8000" }, "--http"},
		{func(c *Config) { c.Gossip = "host" }, "--gossip"},
		{func(c *Config) { c.Peer = "" }, "--peer"},
		{func(c *Config) { c.Join = []string{"10.0.0.1"} }, "--join"},
		{func(c *Config) { c.Advertise = "10.0.0.1:7946" }, "--advertise"},
		{func(c *Config) { c.Name = "<b>" }, "--name"},
		{func(c *Config) { c.BootstrapExpect = 3 }, "--bootstrap-expect"},
		{func(c *Config) { c.BootstrapExpect = -1 }, "--bootstrap-expect"},
		{func(c *Config) { c.Copies = 0 }, "--copies"},
		{func(c *Config) { c.Voters = 4 }, "--voters 4: want 1, 3, 5 or 7"},
		{func(c *Config) { c.Ack = "some" }, "--ack"},
		{func(c *Config) { c.Timing.Network = "fast" }, "--raft-timing"},
		{func(c *Config) { c.TrashKeep = 11 * 365 * 24 * time.Hour }, "--trash-keep"},
		{func(c *Config) { c.JobsKeep = 11 * 365 * 24 * time.Hour }, "--jobs-keep"},
		{func(c *Config) { c.Signup = "maybe" }, "--signup"},
		{func(c *Config) { c.PublicURL = "media.example.org" }, "--public-url"},
	} {
		c := Defaults()
		row.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("want a word about %s, got %v", row.want, err)
		}
	}
}

func TestWhereTheSecretComesFrom(t *testing.T) {
	dir := t.TempDir()
	given := transport.Generate()
	file := filepath.Join(dir, "given")
	if err := os.WriteFile(file, []byte(given.Text()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte(given.Text()), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := (Config{Data: dir, Secret: given.Text()}).secret(); err != nil || s != given {
		t.Errorf("given in the environment: %v", err)
	}
	if s, err := (Config{Data: dir, SecretFile: file}).secret(); err != nil || s != given {
		t.Errorf("given in a file: %v", err)
	}
	for name, c := range map[string]Config{
		"short":              {Data: dir, Secret: "abc"},
		"readable by all":    {Data: dir, SecretFile: open},
		"missing file":       {Data: dir, SecretFile: filepath.Join(dir, "none")},
		"joining without it": {Data: filepath.Join(dir, "new"), Join: []string{"10.0.0.1:7946"}},
	} {
		if _, err := c.secret(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	made, err := Config{Data: dir}.secret()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := (Config{Data: dir, Join: []string{"10.0.0.1:7946"}}).secret(); err != nil || again != made {
		t.Errorf("the secret that a node made was not found again: %v", err)
	}
}
