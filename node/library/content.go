package library

import (
	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// Describe is what a probe told of a blob, as the state keeps it.
func Describe(blob blobs.Blob, info ffmpeg.Info) state.Content {
	c := state.Content{Blob: blob, Type: info.Type, Kind: string(info.Kind), Duration: info.Duration, Tags: info.Tags}
	for _, s := range info.Streams {
		kind := s.Type
		if s.Cover {
			kind = coverStream
		}
		width, height := s.Size()
		c.Streams = append(c.Streams, state.Stream{
			Type: kind, Codec: s.Codec, Width: width, Height: height, FPS: s.FPS,
			Channels: s.Channels, SampleRate: s.SampleRate, BitRate: s.BitRate, Language: s.Language,
		})
	}
	return c
}

const coverStream = "cover"

// outline is as much of the probe as the state kept: enough to tell whether a
// format fits, not to convert.
func outline(c state.Content) ffmpeg.Info {
	info := ffmpeg.Info{Type: c.Type, Kind: ffmpeg.MediaKind(c.Kind), Duration: c.Duration, Size: c.Blob.Size, Tags: c.Tags}
	for i, s := range c.Streams {
		st := ffmpeg.Stream{Index: i, Type: s.Type, Codec: s.Codec, Width: s.Width, Height: s.Height, FPS: s.FPS,
			Channels: s.Channels, SampleRate: s.SampleRate, BitRate: s.BitRate, Language: s.Language}
		if s.Type == coverStream {
			st.Type, st.Cover = "video", true
		}
		info.Streams = append(info.Streams, st)
	}
	return info
}
