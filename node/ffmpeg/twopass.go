package ffmpeg

import (
	"slices"
	"strconv"
)

// passLog is what the encoders call their notes from the first pass to the
// second, in a folder that is made for that and is their working folder.
const passLog = "pass"

// talkative is the level at which the listener tells, each line with its own.
const talkative = "level+info"

// talks tells whether a child with these arguments tells more than errors.
func talks(args []string) bool { return slices.Contains(args, talkative) }

// listens tells whether the sound is measured before it is encoded.
func (s settings) listens(info Info) bool {
	_, ok := info.Audio()
	return ok && s.loudness != 0
}

// analysisArgs are the arguments of the ffmpeg that looks and listens before
// another one makes the output: the picture's first pass, the sound's loudness.
// They are nil where there is nothing to find out.
func analysisArgs(p Params, s settings) []string {
	listens := s.listens(p.Info)
	if !s.twoPass() && !listens {
		return nil
	}
	level := "error"
	if listens {
		level = talkative
	}
	args := inputArgs(globalAt(level, p.Threads), p, s)
	if s.twoPass() {
		s.pass = 1
		args = append(args, videoArgs(p, s)...)
	}
	if listens {
		args = append(args, listenArgs(p, s)...)
	}
	args = append(args, "-sn", "-dn", "-threads", strconv.Itoa(p.Threads))
	args = append(args, boundArgs(p, s)...)
	return append(args, "-f", "null", "-")
}

// listenArgs measure the sound as the output will have it, before it is brought
// to its loudness.
func listenArgs(p Params, s settings) []string {
	sound, _ := p.Info.Audio()
	filter := s.cut(p.Info, "atrim")
	if s.from != 0 && !p.Info.Container.seeks() {
		filter += "atrim=start=" + number(s.from) + "," // ffmpeg's own comes behind
	}
	if layout := s.layouts(sound); layout != s.audio.layouts { // it is to be mixed
		filter += "aformat=channel_layouts=" + layout + ","
	}
	return []string{"-map", mapped(sound), "-c:a", "pcm_s16le", "-af", filter + listener}
}

// lookingShare is how much of the whole work the analysis is, by feel: progress
// should not jump.
func (s settings) lookingShare() float64 {
	switch {
	case s.twoPass():
		return 0.4
	case s.format.Kind == Video:
		return 0.1
	}
	return 0.3
}
