package cluster

import (
	"context"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
)

// The libraries call things errors that heal by themselves, such as a node
// that does not answer. Here an error is what someone must act on, so their
// levels are lowered by one.
func lowered(level hclog.Level) slog.Level {
	switch level {
	case hclog.Error:
		return slog.LevelWarn
	case hclog.Warn:
		return slog.LevelInfo
	case hclog.Info:
		return slog.LevelDebug
	}
	return slog.LevelDebug - 4
}

// slogSink hands what raft logs to slog.
type slogSink struct{ log *slog.Logger }

func newHCLog(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Info, Output: io.Discard})
	l.RegisterSink(slogSink{log})
	return l
}

// Accept implements hclog.SinkAdapter.
func (s slogSink) Accept(name string, level hclog.Level, msg string, args ...any) {
	ctx := context.Background()
	if !s.log.Enabled(ctx, lowered(level)) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 { // formatted by hclog's own loggers only
			args[i] = slog.AnyValue(f[1:])
		}
	}
	s.log.Log(ctx, lowered(level), name+": "+msg, args...)
}

// newStdLog makes the kind of logger that memberlist wants; the level stands
// in brackets before the message. Memberlist logs every packet that it cannot
// decrypt, so whoever can send packets could fill the disk: beyond twenty lines
// at once only one a second gets through.
func newStdLog(l *slog.Logger) *log.Logger {
	return log.New(lines{l, rate.NewLimiter(1, 20)}, "", 0)
}

type lines struct {
	log   *slog.Logger
	limit *rate.Limiter // of what is above debug
}

func (l lines) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	level := hclog.Debug
	if text, found := strings.CutPrefix(line, "["); found {
		if name, rest, found := strings.Cut(text, "] "); found {
			line = rest
			if name == "ERR" {
				name = "ERROR"
			}
			level = hclog.LevelFromString(name)
		}
	}
	if lowered(level) <= slog.LevelDebug || l.limit.Allow() {
		l.log.Log(context.Background(), lowered(level), line)
	}
	return len(p), nil
}
