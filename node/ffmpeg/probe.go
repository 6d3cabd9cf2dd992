package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// maxProbeOutput bounds what ffprobe may tell about a file.
const maxProbeOutput = 1 << 20

// texts for people about files that cannot be read.
const (
	msgEmpty     = "The file is empty."
	msgNotMedia  = "The file is not audio or video of a kind that malla knows."
	msgUnread    = "The file begins like %s but cannot be read: it is damaged or cut short."
	msgNoStreams = "The file has neither sound nor moving picture."
)

// Probe says what the file at an absolute path is. It blocks while ffprobe
// reads, at most for [Limits.Probe] a pass. Its errors are [ErrNotMedia],
// [ErrRefused] for a file that our policy keeps out, or one of the system.
// A damaged file of which anything can be read is not an error.
func (r *Runner) Probe(ctx context.Context, path string) (Info, error) {
	info, err := r.look(ctx, path)
	if err != nil {
		return Info{}, err
	}
	if err := r.policy.Check(info); err != nil {
		return Info{}, err
	}
	return info, nil
}

// look is Probe without the policy.
func (r *Runner) look(ctx context.Context, path string) (Info, error) {
	if err := checkPath(path); err != nil {
		return Info{}, err
	}
	container, size, uncounted, err := sniffFile(path)
	if err != nil {
		return Info{}, err
	}
	out := &cappedBuffer{limit: maxProbeOutput}
	res, err := runChild(ctx, child{
		path:   r.tools.FFprobe,
		env:    r.tools.env,
		args:   probeArgs(path, container),
		stdout: out,
		limits: childLimits{wall: r.limits.Probe, cpu: r.limits.Probe, memory: r.limits.memoryFor(1)},
	})
	if err != nil {
		return Info{}, probeFailure(err, path, res)
	}
	if !res.ok {
		return Info{}, unreadable(container, path, res)
	}
	info, err := parseProbe(out.Bytes(), container)
	if err != nil {
		return Info{}, &Error{Kind: NotMedia, Msg: fmt.Sprintf(msgUnread, container.name()), Log: err.Error() + "\n" + logText(res.stderr, path)}
	}
	info.Size = size
	if _, ok := info.Audio(); !ok {
		if _, ok := info.Video(); !ok {
			return Info{}, noStreams(info, path, res)
		}
	}
	if info.Duration <= 0 || uncounted || info.late() {
		r.measure(ctx, path, &info)
	}
	if info.BitRate == 0 && info.Duration > 0 {
		info.BitRate = int64(float64(size) * 8 / info.Duration)
	}
	return info, nil
}

// late tells a Matroska file that begins so late that it matters whether its
// duration counts from its beginning or from zero: some muxers write this, some
// that.
func (i Info) late() bool {
	const seconds = 0.5
	film, hasFilm := i.Video()
	sound, hasSound := i.Audio()
	first := film.Start
	if !hasFilm || hasSound && sound.Start < first {
		first = sound.Start
	}
	return (i.Container == Matroska || i.Container == WebM) && first > seconds
}

// sniffFile opens the file, which must be a regular one.
func sniffFile(path string) (c Container, size int64, uncounted bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, false, fmt.Errorf("probe: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", 0, false, fmt.Errorf("probe: %w", err)
	}
	if !st.Mode().IsRegular() {
		return "", 0, false, fmt.Errorf("probe: %s is not a regular file", path)
	}
	if st.Size() == 0 {
		return "", 0, false, &Error{Kind: NotMedia, Msg: msgEmpty}
	}
	c, ok, uncounted, err := sniffReader(f)
	if err != nil {
		return "", 0, false, fmt.Errorf("probe: %w", err)
	}
	if !ok {
		return "", 0, false, &Error{Kind: NotMedia, Msg: msgNotMedia}
	}
	return c, st.Size(), uncounted, nil
}

// measure reads the whole file without decoding it, to learn how long it is
// when no header says so for sure: recordings of browsers, raw MP3 and ADTS. If that
// cannot be done in time, an estimate that ffprobe made stays.
func (r *Runner) measure(ctx context.Context, path string, info *Info) {
	info.Estimated, info.Measured = info.Duration > 0, true
	var last Progress
	progress := &progressReader{report: func(p Progress) { last = p }}
	res, err := runChild(ctx, child{
		path:   r.tools.FFmpeg,
		env:    r.tools.env,
		args:   measureArgs(path, *info),
		stdout: progress,
		limits: childLimits{wall: r.limits.Probe, cpu: r.limits.Probe, memory: r.limits.memoryFor(1)},
	})
	if err != nil || !res.ok || last.OutTime <= 0 {
		r.log.Debug("duration cannot be measured", "err", err, "stderr", logText(res.stderr, path))
		return
	}
	info.Duration, info.Estimated = last.OutTime, false
	info.BitRate = 0
	film, _ := info.Video()
	for i := range info.Streams {
		s := &info.Streams[i]
		s.Duration = 0 // of the estimate
		if s.Index == film.Index && s.Type == "video" && s.FPS == 0 {
			s.FPS = float64(last.Frame) / last.OutTime
		}
	}
}

// probeFailure translates the end of an ffprobe that had to be stopped.
func probeFailure(err error, path string, res outcome) error {
	switch {
	case errors.Is(err, errTooMuchOutput):
		return &Error{Kind: Refused, Msg: "The file describes itself at too great length.", Log: logText(res.stderr, path)}
	case errors.Is(err, errWall):
		return &Error{Kind: Refused, Msg: "The file takes too long to be examined.", Log: logText(res.stderr, path)}
	}
	return err
}

// notOnList matches what libavcodec says when it refuses a decoder.
var notOnList = regexp.MustCompile(`Codec \(([a-z0-9_]{1,32})\) not on whitelist`)

// unreadable explains why ffprobe failed.
func unreadable(c Container, path string, res outcome) error {
	log := logText(res.stderr, path)
	if m := notOnList.FindStringSubmatch(res.stderr); m != nil {
		return &Error{Kind: Refused, Msg: fmt.Sprintf("The file uses the codec %s, which malla does not decode.", m[1]), Log: log}
	}
	if strings.Contains(res.stderr, "moov atom not found") {
		return &Error{Kind: NotMedia, Msg: "The file is cut short: its index, which stands at its end, is missing.", Log: log}
	}
	return &Error{Kind: NotMedia, Msg: fmt.Sprintf(msgUnread, c.name()), Log: log}
}

// noStreams explains a file without a stream that we can decode.
func noStreams(info Info, path string, res outcome) error {
	log := logText(res.stderr, path)
	for _, s := range info.Streams {
		if (s.Type == "video" && !s.Cover || s.Type == "audio") && s.Codec != "" {
			if !decodable[s.Codec] {
				return &Error{Kind: Refused, Msg: fmt.Sprintf("The file uses the codec %s, which malla does not decode.", codecName(s.Codec)), Log: log}
			}
			return &Error{Kind: NotMedia, Msg: fmt.Sprintf(msgUnread, info.Container.name()), Log: log}
		}
	}
	if len(info.Streams) == 0 {
		return &Error{Kind: NotMedia, Msg: fmt.Sprintf(msgUnread, info.Container.name()), Log: log}
	}
	return &Error{Kind: NotMedia, Msg: msgNoStreams, Log: log}
}

var containerNames = map[Container]string{
	MOV: "MP4 or QuickTime", Matroska: "Matroska", WebM: "WebM", AVI: "AVI", FLV: "Flash video",
	MPEGTS: "an MPEG transport stream", MPEGPS: "an MPEG program stream", ASF: "Windows Media",
	Ogg: "Ogg", MP3: "MP3", WAV: "WAV", FLAC: "FLAC", AAC: "AAC", AIFF: "AIFF",
}

// name is the container's name for people.
func (c Container) name() string { return containerNames[c] }

// Demuxers and decoders that hostile files may reach. What is not here is
// never run, whatever a file says. Lists of the formats that people have;
// rare decoders are where memory errors live.
var (
	demuxers = []string{"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "mpegts", "mpeg", "asf",
		"ogg", "mp3", "wav", "flac", "aac", "aiff"}

	videoDecoders = []string{"h264", "hevc", "vp8", "vp9", "libvpx", "libvpx-vp9", "libdav1d", "libaom-av1", "av1",
		"mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4", "h263", "h263i", "h263p", "flv",
		"wmv1", "wmv2", "wmv3", "vc1", "vp6", "vp6f", "theora", "mjpeg", "prores", "dnxhd", "dvvideo", "ffv1",
		"cinepak", "rawvideo"}

	audioDecoders = []string{"aac", "aac_latm", "mp3float", "mp3", "mp2float", "mp2", "mp1float", "mp1", "vorbis",
		"libvorbis", "opus", "libopus", "flac", "alac", "ac3", "eac3", "dca", "truehd", "mlp", "wmav1", "wmav2", "wmapro",
		"speex", "libspeex", "amrnb", "amrwb", "adpcm_ima_wav", "adpcm_ima_qt", "adpcm_ms", "adpcm_swf", "nellymoser", "gsm_ms",
		"pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be",
		"pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw", "pcm_bluray", "pcm_dvd"}

	// Covers are copied, never converted; a decoder tells only their size.
	coverDecoders = []string{"png"}

	// Subtitles that are text become the target's kind of text.
	textDecoders = []string{"subrip", "srt", "ass", "ssa", "mov_text", "text", "webvtt"}

	// ffprobe opens a decoder for every stream and gives up when one is not
	// allowed. These belong to streams that ffmpeg is told to leave alone, so
	// here they see no data to speak of.
	probeDecoders = []string{"dvbsub", "dvdsub", "pgssub", "xsub", "cc_dec", "libzvbi_teletextdec", "bmp", "gif", "webp"}

	convertList   = strings.Join(slices.Concat(videoDecoders, audioDecoders, coverDecoders), ",")
	subtitledList = strings.Join(slices.Concat(videoDecoders, audioDecoders, coverDecoders, textDecoders), ",")
	probeList     = strings.Join(slices.Concat(videoDecoders, audioDecoders, coverDecoders, textDecoders, probeDecoders), ",")
	demuxerList   = strings.Join(demuxers, ",")
)

// decodable is the set of codecs (not decoders) whose streams may be
// converted, by ffprobe's names.
var decodable = codecSet(append(slices.Concat(videoDecoders, audioDecoders),
	"av1", "flv1", "msmpeg4v3", "dts", "amr_nb", "amr_wb"))

func codecSet(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}

var plainName = regexp.MustCompile(`^[a-z0-9_]{1,32}$`)

// codecName is a codec's name if it is one, for texts that people read.
func codecName(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return "unknown"
}
