package ffmpeg

import (
	"strconv"
	"strings"
)

// audioArgs choose the sound's stream and its encoder. A silent film has none.
func audioArgs(p Params, s settings) []string {
	sound, ok := p.Info.Audio()
	if !ok {
		return []string{"-an"}
	}
	a := s.audio
	args := []string{"-map", mapped(sound), "-c:a", a.encoder}
	switch {
	case s.bitrate != 0:
		args = append(args, "-b:a", Bitrate(min(s.bitrate, a.ceiling(s.channelsOf(sound)))).String())
	case a.encoder == flac.encoder:
		args = append(args, "-compression_level", strconv.Itoa(s.compression))
	case a.encoder == vorbis.encoder && s.format.Kind == Audio:
		args = append(args, "-q:a", number(s.quality))
	}
	if filter := strings.TrimSuffix(s.cut(p.Info, "atrim")+soundFilter(sound, s), ","); filter != "" {
		args = append(args, "-af", filter)
	}
	switch {
	case a.encoder != vorbis.encoder:
	case s.bitrate != 0 && (sound.SampleRate < 40_000 || sound.SampleRate > 50_000):
		args = append(args, "-ar", "44100") // at which every bitrate that we ask for has a mode
	case sound.SampleRate < 8000:
		args = append(args, "-ar", "8000") // below which it has no modes
	}
	return args
}

// channelsOf is how many channels the output has.
func (s settings) channelsOf(sound Stream) int {
	if s.channels != 0 {
		return s.channels
	}
	return min(sound.Channels, s.audio.most)
}

// soundFilter brings a sound into a layout that the encoder takes, then to its
// loudness.
func soundFilter(sound Stream, s settings) string {
	var steps []string
	if layouts := s.layouts(sound); layouts != "" {
		steps = append(steps, "aformat=channel_layouts="+layouts)
	}
	if s.heard != (loudness{}) {
		steps = append(steps, s.heard.filter(s.loudness, sound.SampleRate))
	}
	return strings.Join(steps, ",")
}

// layoutOf is number of channels -> ffmpeg's name of their layout.
var layoutOf = map[int]string{1: "mono", 2: "stereo", 6: "5.1"}

// layouts are the channel layouts that the output may have; empty where ffmpeg
// chooses well by itself.
func (s settings) layouts(sound Stream) string {
	switch {
	case s.channels != 0:
		return layoutOf[s.channels]
	case s.loudness != 0 && s.audio.most == 2:
		return layoutOf[s.channelsOf(sound)] // mixed before it is measured, not after
	}
	return s.audio.layouts
}
