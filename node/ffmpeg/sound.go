package ffmpeg

import (
	"strconv"
	"strings"
)

// audioArgs encode the sounds that [soundMaps] chose, each by itself: tracks
// of one film may differ in everything.
func audioArgs(info Info, sounds []Stream, s settings) []string {
	var args []string
	for i, sound := range sounds {
		args = append(args, soundArgs(info, ":a:"+strconv.Itoa(i), sound, s)...)
	}
	return args
}

// soundArgs encode the sound that the specifier names in the output.
func soundArgs(info Info, at string, sound Stream, s settings) []string {
	a := s.audio
	args := []string{"-c" + at, a.encoder}
	switch {
	case s.bitrate != 0:
		args = append(args, "-b"+at, Bitrate(min(s.bitrate, a.ceiling(s.channelsOf(sound)))).String())
	case a.encoder == flac.encoder:
		args = append(args, "-compression_level"+at, strconv.Itoa(s.compression))
	case a.encoder == vorbis.encoder && s.format.Kind == Audio:
		args = append(args, "-q"+at, number(s.quality))
	}
	if filter := strings.TrimSuffix(s.cut(info, "atrim")+soundFilter(sound, s), ","); filter != "" {
		args = append(args, "-filter"+at, filter)
	}
	switch {
	case a.encoder != vorbis.encoder:
	case s.bitrate != 0 && (sound.SampleRate < 40_000 || sound.SampleRate > 50_000):
		args = append(args, "-ar"+at, "44100") // at which every bitrate that we ask for has a mode
	case sound.SampleRate < 8000:
		args = append(args, "-ar"+at, "8000") // below which it has no modes
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
	if heard, ok := s.heard[sound.Index]; ok {
		steps = append(steps, heard.filter(s.loudness, sound.SampleRate))
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
