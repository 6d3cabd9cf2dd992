package ffmpeg

import (
	"fmt"
	"math"
)

const (
	megabyte = 1_000_000
	// sizeMargin is left free: encoders keep to a bitrate only about.
	sizeMargin = 0.01
	// shrinkTries are how often an output that came out too large is made again.
	shrinkTries = 3
)

// forFile fills in what depends on the file, and refuses what cannot be had
// from it.
func (s settings) forFile(info Info) (settings, error) {
	if err := s.checkTrim(info); err != nil {
		return s, err
	}
	if s.sizeMB == 0 {
		return s, nil
	}
	seconds := expected(info, s)
	if seconds == 0 {
		return s, &OptionError{Field: "options.size_mb", Reason: "needs a file that tells how long it is; choose a bitrate instead"}
	}
	return s.fit(info, seconds)
}

// fit chooses the bitrates that make the output as large as it may be.
func (s settings) fit(info Info, seconds float64) (settings, error) {
	rate := (s.sizeMB*megabyte*(1-sizeMargin) - s.wrapping(info, seconds)) * 8 / seconds
	sound, _ := info.Audio()
	tracks := float64(len(soundsOf(info, rooms[s.format.Name])))
	low, high := s.soundRange(sound)
	if s.format.Kind == Audio {
		s.bitrate = s.audio.step(min(int(rate), high), sound.SampleRate)
		return s, s.impossible(rate, float64(low), info, seconds)
	}
	film, _ := info.Video()
	if tracks > 0 && s.bitrate == 0 {
		s.bitrate = s.audio.step(min(max(int(rate/8/tracks), low), high), sound.SampleRate)
	}
	rate -= tracks * float64(s.bitrate)
	least := max(videoRateOption.Min, s.video.density*s.pixelRate(film))
	s.videoBitrate = int(min(max(rate, least), videoRateOption.Max))
	return s, s.impossible(rate, least, info, seconds)
}

// soundRange are the lowest bitrate that is worth hearing and the highest that
// is worth its room.
func (s settings) soundRange(sound Stream) (low, high int) {
	n := s.channelsOf(sound)
	low, high = 8_000*n, s.audio.ceiling(n)
	if s.format.Kind == Video {
		high = min(high, max(96_000, 64_000*n))
	}
	switch {
	case s.audio.encoder == lame.encoder && sound.SampleRate >= 32_000:
		low = 32_000
	case s.audio.encoder == vorbis.encoder: // its modes at 44.1 kHz
		low, high = max(33_000, 24_000*n), min(high, 240_000*n)
	}
	return low, high
}

// mp3Rates are the bitrates that MP3 has, in kbit/s: MPEG-1's, and below 32 kHz
// MPEG-2's.
var mp3Rates = map[bool][]int{
	true:  {32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
	false: {8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
}

// step is the highest bitrate up to the one given that the codec has.
func (a audioCodec) step(rate, sampleRate int) int {
	rate = max(rate, a.lowest)
	if a.encoder != lame.encoder {
		return rate
	}
	rates := mp3Rates[sampleRate >= 32_000]
	best := rates[0] * 1000
	for _, k := range rates {
		if k*1000 <= rate {
			best = k * 1000
		}
	}
	return best
}

// pixelRate is pixels a second.
func (s settings) pixelRate(film Stream) float64 {
	w, h := s.size(film)
	return float64(w*h) * s.rate(film)
}

// rate is the output's pictures a second, or a guess.
func (s settings) rate(film Stream) float64 {
	switch {
	case s.fps != 0:
		return s.fps
	case film.FPS != 0:
		return film.FPS
	}
	return 30
}

// wrapping is what the container takes, in bytes, on the safe side: its head,
// and so much for each frame of picture and of sound.
func (s settings) wrapping(info Info, seconds float64) float64 {
	frame := 16.0
	switch s.format.container {
	case AVI:
		frame = 40
	case MP3, AAC:
		frame = 0 // is in their bitrate, or next to nothing
	}
	count := 0.0
	if film, ok := info.Video(); ok && s.format.Kind == Video {
		count += s.rate(film) * seconds
	}
	for _, sound := range soundsOf(info, rooms[s.format.Name]) {
		count += float64(max(sound.SampleRate, 44_100)) / 1000 * seconds
	}
	return 2_000 + frame*count
}

// impossible tells when a rate is below the least that is needed, and what size
// would do.
func (s settings) impossible(rate, least float64, info Info, seconds float64) error {
	if rate >= least {
		return nil
	}
	needed := (least + float64(s.soundBeside(info))) * seconds / 8
	smallest := (needed + s.wrapping(info, seconds)) / (1 - sizeMargin) / megabyte
	smallest = max(sizeOption.Min, math.Ceil(smallest*100)/100)
	cure := "or a shorter part"
	if s.format.Kind == Video {
		cure = "a lower resolution or a shorter part"
	}
	return &OptionError{Field: "options.size_mb", Reason: fmt.Sprintf("%s is too small for %.1f s; choose %s or more, %s", number(s.sizeMB), seconds, number(smallest), cure)}
}

// soundBeside is the bitrate of all sounds beside a picture.
func (s settings) soundBeside(info Info) int {
	if s.format.Kind == Video {
		return s.bitrate * len(soundsOf(info, rooms[s.format.Name]))
	}
	return 0
}

// limit is the largest size that was asked for, in bytes; 0: none was.
func (s settings) limit() int64 { return int64(s.sizeMB * megabyte) }

// smaller lowers the bitrate by what an output was too large, and a little
// more. It is false when there is nothing left to lower.
func (s settings) smaller(info Info, bytes int64) (settings, bool) {
	over := float64(bytes-s.limit()) + sizeMargin*float64(s.limit())
	less := int(math.Ceil(over * 8 / expected(info, s)))
	if s.format.Kind == Video {
		s.videoBitrate = max(s.videoBitrate-less, int(videoRateOption.Min))
		return s, s.videoBitrate > int(videoRateOption.Min)
	}
	sound, _ := info.Audio()
	before := s.bitrate
	s.bitrate = s.audio.step(s.bitrate-less, sound.SampleRate)
	return s, s.bitrate < before
}

// larger raises the bitrate of a sound that came out much smaller than it may
// be: Vorbis and AAC only aim at theirs. It is false when there is no need, or
// no way. Films are not made again for that: they take long, and come close.
func (s settings) larger(info Info, bytes int64) (settings, bool) {
	share := float64(bytes) / float64(s.limit())
	if s.format.Kind != Audio || share > 0.9 {
		return s, false
	}
	sound, _ := info.Audio()
	_, high := s.soundRange(sound)
	before := s.bitrate
	s.bitrate = s.audio.step(min(int(float64(before)*min(0.97/share, 2)), high), sound.SampleRate)
	return s, s.bitrate > before
}

// tooLarge says that no try was small enough.
func (s settings) tooLarge(bytes int64) error {
	size := math.Ceil(float64(bytes)/megabyte*100) / 100
	return &Error{Kind: TooLarge, Msg: fmt.Sprintf("The output does not fit in %s MB: the smallest that could be made is %s MB. Allow more, a lower resolution or a shorter part.", number(s.sizeMB), number(size))}
}
