package library

import (
	"strings"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// Describe is what a probe told of a blob, as the state keeps it.
func Describe(blob blobs.Blob, info ffmpeg.Info) state.Content {
	c := state.Content{
		Blob: blob, Type: info.Type, Kind: string(info.Kind), Duration: info.Duration, Tags: info.Tags,
		Container: string(info.Container), Estimated: info.Estimated, BitRate: info.BitRate, Chapters: info.Chapters,
	}
	for _, s := range info.Streams {
		kind := s.Type
		if s.Cover {
			kind = coverStream
		}
		width, height := s.Size()
		c.Streams = append(c.Streams, state.Stream{
			Type: kind, Codec: s.Codec, Width: width, Height: height, FPS: s.FPS,
			Channels: s.Channels, SampleRate: s.SampleRate, BitRate: s.BitRate, Language: s.Language,
			Index: s.Index, Profile: s.Profile, PixFmt: s.PixFmt, Rotation: s.Rotation, SampleAspect: s.SampleAspect, Interlaced: s.Interlaced,
			Layout: s.Layout, Start: s.Start, Duration: s.Duration, Default: s.Default, Color: colorText(s.Color),
		})
	}
	return c
}

const coverStream = "cover"

// colorText writes colours as the state keeps them, with empty places where
// the file tells nothing; nothing at all where it tells nothing of anything.
func colorText(c ffmpeg.Color) string {
	if c == (ffmpeg.Color{}) {
		return ""
	}
	return strings.Join([]string{c.Range, c.Matrix, c.Transfer, c.Primaries}, "/")
}

func parseColor(text string) ffmpeg.Color {
	parts := strings.Split(text, "/")
	if len(parts) != 4 {
		return ffmpeg.Color{}
	}
	return ffmpeg.Color{Range: parts[0], Matrix: parts[1], Transfer: parts[2], Primaries: parts[3]}
}

// Recall is the probe again that Describe was given, so that nobody needs to
// look at the bytes a second time.
func Recall(c state.Content) ffmpeg.Info {
	info := ffmpeg.Info{
		Container: ffmpeg.Container(c.Container), Type: c.Type, Kind: ffmpeg.MediaKind(c.Kind), Duration: c.Duration, Estimated: c.Estimated,
		BitRate: c.BitRate, Size: c.Blob.Size, Tags: c.Tags, Chapters: c.Chapters,
	}
	for _, s := range c.Streams {
		st := ffmpeg.Stream{
			Index: s.Index, Type: s.Type, Codec: s.Codec, Profile: s.Profile, PixFmt: s.PixFmt, Width: s.Width, Height: s.Height,
			Rotation: s.Rotation, SampleAspect: s.SampleAspect, FPS: s.FPS, Interlaced: s.Interlaced, Channels: s.Channels, Layout: s.Layout,
			SampleRate: s.SampleRate, BitRate: s.BitRate, Start: s.Start, Duration: s.Duration, Language: s.Language, Default: s.Default, Color: parseColor(s.Color),
		}
		if s.Type == coverStream {
			st.Type, st.Cover = "video", true
		}
		st.Width, st.Height = st.Size() // turned back: as stored
		info.Streams = append(info.Streams, st)
	}
	return info
}
