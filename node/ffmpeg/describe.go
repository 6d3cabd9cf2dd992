package ffmpeg

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
)

// Describe says what the output of a conversion is, as [Runner.Probe] would,
// mostly without a process of its own: where our own ffmpeg has just made a
// plain song, its header is read here. Wherever anything is unclear, and for
// films, it is Probe. The report is that of the conversion.
func (r *Runner) Describe(ctx context.Context, p Params, rep Report) (Info, error) {
	if rep.made != nil {
		return *rep.made, nil
	}
	info, ok, err := describe(p, rep)
	if err != nil {
		return Info{}, err
	}
	if !ok {
		return r.Probe(ctx, p.Output)
	}
	return info, r.policy.Check(info)
}

// A heard is what the header of a song tells.
type heard struct {
	profile  string
	rate     int     // Hz
	channels int     // 1 or 2: of more, only ffprobe knows which they are
	bitrate  int64   // bits/s, 0 where the header does not tell
	start    float64 // seconds
	duration float64 // seconds
	measured bool    // duration was found by reading the whole file
	main     bool    // the container says that it is the default stream
	language text    // of the stream
	tags     map[string]text
}

// headBytes is how much of a song's beginning must hold all that is told.
const headBytes = 256 << 10

// headers is container -> what reads its header. Each gives up on everything
// that our own ffmpeg does not write in a plain song.
var headers = map[Container]func(io.ReaderAt, []byte, int64) (heard, bool){
	MP3: readMP3, FLAC: readFLAC, WAV: readWAV, Ogg: readOgg, AAC: readADTS, MOV: readM4A,
}

// describe reads the header of a plain song. It is not ok where something is
// unclear.
func describe(p Params, rep Report) (Info, bool, error) {
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		return Info{}, false, err
	}
	c := carry(p.Info, s, p.Options)
	if s.format.Kind != Audio || c.Cover != nil || c.Chapters {
		return Info{}, false, nil
	}
	f, err := os.Open(p.Output)
	if err != nil {
		return Info{}, false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Info{}, false, err
	}
	head := make([]byte, min(headBytes, st.Size()))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return Info{}, false, err
	}
	container, ok := Sniff(head)
	if !ok || container != s.format.container {
		return Info{}, false, nil
	}
	h, ok := headers[container](f, head, st.Size())
	if !ok || !h.sane() || math.Abs(h.duration-rep.OutTime) > 0.3 {
		return Info{}, false, nil
	}
	return h.info(s.format, st.Size()), true, nil
}

func (h heard) sane() bool {
	return (h.channels == 1 || h.channels == 2) && h.rate >= minSampleRate && h.rate <= maxSampleRate && h.duration > 0
}

func (h heard) info(f Format, size int64) Info {
	st := Stream{Type: "audio", Codec: f.audio.codec, Profile: h.profile, Channels: h.channels, SampleRate: h.rate,
		Layout: [...]string{"", "mono", "stereo"}[h.channels], BitRate: h.bitrate, Start: h.start, Default: h.main, Language: h.language.line(16)}
	if st.Language == "und" {
		st.Language = ""
	}
	info := Info{Container: f.container, Type: f.Type, Kind: Audio, Duration: h.duration, Measured: h.measured,
		BitRate: int64(float64(size) * 8 / h.duration), Size: size, Tags: map[string]string{}}
	if !h.measured {
		st.Duration = h.duration
	}
	info.Streams = []Stream{st}
	if collectTags(info.Tags, h.tags); len(info.Tags) == 0 {
		info.Tags = nil
	}
	return info
}

// A bag collects tags and notices what ffprobe might read otherwise.
type bag struct {
	tags    map[string]text
	strange bool
}

func (b *bag) put(name string, value []byte) {
	if b.tags == nil {
		b.tags = map[string]text{}
	}
	if _, twice := b.tags[name]; twice {
		b.strange = true
	}
	b.tags[name] = text(value)
}
