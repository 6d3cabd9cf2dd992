// Command malla is a media library that runs as a mesh of identical nodes: the
// node and its client in one program.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/dustin/go-humanize"

	"malla/httpapi/cli"
	"malla/node"
)

// version is set by the linker.
var version = ""

// program is the command line.
type program struct {
	Serve   serveCmd         `cmd:"" help:"Run a node of the mesh."`
	Fsck    fsckCmd          `cmd:"" help:"Check the data directory of a node that does not run."`
	Recover recoverCmd       `cmd:"" help:"Make a mesh of one node whose mesh lost most of its nodes for good."`
	Restore restoreCmd       `cmd:"" help:"Make a new mesh of a backup."`
	Check   checkLogCmd      `cmd:"" name:"check-log" hidden:""`
	Secret  secretCmd        `cmd:"" help:"Print a new secret for a new mesh, or replace the one of a running mesh."`
	Version kong.VersionFlag `help:"Print the version and end."`

	cli.Commands
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	var p program
	options := append(cli.Options(),
		kong.Name("malla"),
		kong.Description("A media library that runs as a mesh of identical nodes: upload, convert, share and play audio and video."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": buildVersion()},
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	k := kong.Parse(&p, options...)
	os.Exit(cli.Report(os.Stderr, k.Run(cli.NewEnv(ctx))))
}

// buildVersion is the linked version, or what the build says of its commit.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "dev"
}

// secretCmd is about the mesh's secret.
type secretCmd struct {
	New    newSecretCmd        `cmd:"" default:"1" help:"Print a secret for a new mesh."`
	Rotate cli.SecretRotateCmd `cmd:"" help:"Replace the secret of a running mesh."`
	Status cli.SecretStatusCmd `cmd:"" help:"Tell how far the mesh is in replacing its secret."`
}

// newSecretCmd prints a new secret.
type newSecretCmd struct{}

func (newSecretCmd) Run() error {
	fmt.Println(node.NewSecret().Text())
	return nil
}

// serveCmd runs a node.
type serveCmd struct {
	HTTP            string   `name:"http" default:":8000" env:"MALLA_HTTP" help:"Address of the API and the pages."`
	Gossip          string   `default:":7946" env:"MALLA_GOSSIP" help:"Address of the gossip, TCP and UDP."`
	Peer            string   `default:":7947" env:"MALLA_PEER" help:"Address of the link between nodes."`
	Advertise       string   `env:"MALLA_ADVERTISE" placeholder:"HOST" help:"Host under which the other nodes reach this one; found by itself when empty."`
	Data            string   `default:"data" env:"MALLA_DATA" placeholder:"DIR" help:"Directory of everything that the node keeps."`
	Join            []string `env:"MALLA_JOIN" placeholder:"HOST:PORT" help:"Gossip addresses of nodes of the mesh to join."`
	BootstrapExpect int      `env:"MALLA_BOOTSTRAP_EXPECT" placeholder:"N" help:"N nodes started with the same command line form one mesh."`
	Rejoin          bool     `help:"Put a damaged log aside, or that of a mesh that was recovered elsewhere, and get everything from the other nodes again. The node keeps its id and its files, and has no vote until it has caught up. Give it once."`
	SecretFile      string   `env:"MALLA_SECRET_FILE" placeholder:"FILE" help:"File with the mesh's secret, readable by its owner alone. Or set MALLA_SECRET. Without either a new mesh makes one in DIR/secret. A newer one in the data directory, from malla secret rotate, goes before it."`
	Voters          int      `default:"5" env:"MALLA_VOTERS" help:"Nodes whose votes count, where there are as many: 1, 3, 5 or 7. The others have the whole state and stand by. Give all nodes the same."`
	RaftTiming      string   `default:"lan" enum:"lan,wan,local" env:"MALLA_RAFT_TIMING" help:"How long nodes wait for each other. lan: a leader that dies is replaced in about a second; a pause of a quarter of a second on it may cost an election. wan: in three to seven seconds, for answers that take hundreds of milliseconds. local: in half a second, for nodes on one machine that is never short of processors. Give all nodes the same."`
	Copies          int      `default:"3" env:"MALLA_COPIES" help:"Copies of every chunk, on different nodes."`
	Ack             string   `default:"majority" enum:"majority,all" env:"MALLA_ACK" help:"Copies that are safe on disks before bytes are acknowledged: majority or all. With all, uploads are refused while fewer nodes are up than there should be copies."`
	Slots           int      `default:"-1" env:"MALLA_SLOTS" placeholder:"CORES" help:"Tasks that this node runs at once: one for each core unless given, 0 for none."`
	Name            string   `env:"MALLA_NAME" help:"Name of the node, unique in the mesh; the host's when empty."`
	Zone            string   `env:"MALLA_ZONE" help:"Where the node stands; copies go to different zones."`
	PublicURL       string   `name:"public-url" env:"MALLA_PUBLIC_URL" placeholder:"URL" help:"Address under which people reach the mesh; shared links begin with it."`
	Signup          string   `default:"open" enum:"open,closed" env:"MALLA_SIGNUP" help:"Who may make an account: open or closed."`
	Reserve         string   `default:"5GB" env:"MALLA_RESERVE" help:"Room on the disk that stays free."`
	Capacity        string   `env:"MALLA_CAPACITY" placeholder:"SIZE" help:"Weight of this node beside the others: its share of the files grows with it. The size of the disk less the reserve unless given; it is no limit."`
	ScrubEvery      string   `default:"30d" env:"MALLA_SCRUB_EVERY" placeholder:"TIME" help:"Within this time everything on the disk is read and checked again: 30d, 12h; 0 for never."`
	MetricsToken    string   `env:"MALLA_METRICS_TOKEN" placeholder:"TOKEN" help:"Bearer token that /metrics asks for."`
	TrashKeep       string   `default:"7d" env:"MALLA_TRASH_KEEP" placeholder:"TIME" help:"How long what is deleted stays in the trash: 7d, 12h; 0 deletes at once. The node that is asked to delete settles it: give all nodes the same."`
	JobsKeep        string   `default:"30d" env:"MALLA_JOBS_KEEP" placeholder:"TIME" help:"How long jobs are listed that have ended: 30d, 12h. The node that leads settles it: give all nodes the same."`
	LeaveOnStop     bool     `env:"MALLA_LEAVE_ON_STOP" help:"When stopped by a signal, empty this node and leave the mesh for good, however long that takes. A second signal stops it at once, and it stays a member, as it does without this."`
	LogLevel        string   `default:"info" enum:"debug,info,warn,error" env:"MALLA_LOG_LEVEL" help:"debug, info, warn or error."`
	LogFormat       string   `default:"text" enum:"text,json" env:"MALLA_LOG_FORMAT" help:"text or json."`
}

// Help is shown by malla serve --help.
func (serveCmd) Help() string {
	return `Start one node, and it forms a mesh of its own:

    malla serve --data ./data

Start more with the same secret (the file "secret" in the first one's data
directory) and the gossip address of any node of the mesh:

    malla serve --name two --data ./data2 --http :8001 --gossip :7956 --peer :7957 \
        --secret-file ./data/secret --join 127.0.0.1:7946

A node that was in a mesh finds it again from its data directory.`
}

// Run serves until ctx ends.
func (c serveCmd) Run(ctx context.Context) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	for {
		err := c.serve(ctx, cfg)
		if !errors.Is(err, node.ErrRestart) {
			return err
		}
		cfg.Logger.Info("starting again", "why", err)
	}
}

// serve runs one node until ctx ends or the node cannot go on.
func (c serveCmd) serve(ctx context.Context, cfg node.Config) error {
	n, err := node.New(cfg)
	if err != nil {
		return err
	}
	defer func() {
		if err := n.Close(); err != nil {
			cfg.Logger.Warn("close", "err", err)
		}
	}()
	if err := n.Start(); err != nil {
		return err
	}
	go n.Greet(ctx, os.Stdout)
	select {
	case <-ctx.Done():
		cfg.Logger.Info("stopping")
		if c.LeaveOnStop {
			return leave(n)
		}
		return nil
	case err := <-n.Failed():
		return err
	}
}

// leave takes the node out of the mesh. What the node cannot go on from ends
// that, too.
func leave(n *node.Node) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case err := <-n.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	if err := n.Leave(ctx); err != nil {
		return fmt.Errorf("this node stays a member of the mesh: %w", cmp.Or(context.Cause(ctx), err))
	}
	return nil
}

// config is what the flags and the environment say.
func (c serveCmd) config() (node.Config, error) {
	reserve, err := humanize.ParseBytes(c.Reserve)
	if err != nil {
		return node.Config{}, fmt.Errorf("--reserve %q: want a size such as 5GB or 500MB", c.Reserve)
	}
	capacity := uint64(0)
	if c.Capacity != "" {
		if capacity, err = humanize.ParseBytes(c.Capacity); err != nil || capacity == 0 {
			return node.Config{}, fmt.Errorf("--capacity %q: want a size such as 4TB or 500GB", c.Capacity)
		}
	}
	keep, err := parseDays(c.TrashKeep)
	if err != nil || keep < 0 {
		return node.Config{}, fmt.Errorf("--trash-keep %q: want a time such as 7d or 12h, at least an hour, or 0 to keep nothing", c.TrashKeep)
	}
	scrub, err := parseDays(c.ScrubEvery)
	if err != nil {
		return node.Config{}, fmt.Errorf("--scrub-every %q: want a time such as 30d or 12h, at least an hour, or 0 for never", c.ScrubEvery)
	}
	jobsKeep, err := parseDays(c.JobsKeep)
	if err != nil || jobsKeep <= 0 {
		return node.Config{}, fmt.Errorf("--jobs-keep %q: want a time such as 30d or 12h, at least an hour", c.JobsKeep)
	}
	cfg := node.Defaults()
	cfg.HTTP, cfg.Gossip, cfg.Peer, cfg.Advertise, cfg.Data = c.HTTP, c.Gossip, c.Peer, c.Advertise, c.Data
	cfg.Timing.Network = node.Network(c.RaftTiming)
	cfg.BootstrapExpect, cfg.Voters, cfg.SecretFile, cfg.Copies = c.BootstrapExpect, c.Voters, c.SecretFile, c.Copies
	cfg.Name, cfg.Zone, cfg.PublicURL, cfg.Signup = c.Name, c.Zone, c.PublicURL, node.Signup(c.Signup)
	cfg.Rejoin, cfg.CheckLog = c.Rejoin, checkLog()
	cfg.Reserve, cfg.MetricsToken, cfg.Version = reserve, c.MetricsToken, buildVersion()
	cfg.ScrubEvery, cfg.Capacity, cfg.Ack, cfg.JobsKeep = scrub, capacity, node.Ack(c.Ack), jobsKeep
	if scrub == 0 {
		cfg.ScrubEvery = -1
	}
	if cfg.TrashKeep = keep; keep == 0 {
		cfg.TrashKeep = -1
	}
	switch {
	case c.Slots == 0:
		cfg.Slots = -1
	case c.Slots > 0:
		cfg.Slots = c.Slots
	}
	for _, seed := range c.Join {
		if seed = strings.TrimSpace(seed); seed != "" {
			cfg.Join = append(cfg.Join, seed)
		}
	}
	cfg.Secret = os.Getenv("MALLA_SECRET")
	os.Unsetenv("MALLA_SECRET") // not for child processes
	cfg.Logger = c.logger()
	return cfg, cfg.Validate()
}

// parseDays reads a time as [time.ParseDuration] does, and whole days as 30d.
func parseDays(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d != 0 && d < time.Hour {
		err = errors.New("too short")
	}
	return d, err
}

func (c serveCmd) logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelInfo // the parser lets only known ones through
	}
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}
