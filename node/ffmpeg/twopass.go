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

// twoPass tells whether the film is encoded in two passes. Chips do it in one.
func (s settings) twoPass(c Carriage) bool {
	return s.rated() && s.encoder != hardware && c.Film != nil && !c.Copied.Film
}

// listens tells whether the sounds are measured before they are encoded.
func (s settings) listens(c Carriage) bool { return len(c.Sounds) > 0 && s.loudness != 0 }

// analysisArgs are the arguments of the ffmpeg that looks and listens before
// another one makes the output: the picture's first pass, the sound's loudness.
// They are nil where there is nothing to find out.
func analysisArgs(p Params, s settings, c Carriage) []string {
	listens := s.listens(c)
	if !s.twoPass(c) && !listens {
		return nil
	}
	level := "error"
	if listens {
		level = talkative
	}
	args := inputArgs(globalAt(level, p.Threads), p, s)
	if s.twoPass(c) {
		s.pass = 1
		args = append(args, pictureArgs(p, s, c)...)
	}
	if listens {
		args = append(args, listenArgs(p, s, c)...)
	}
	args = append(args, "-sn", "-dn", "-threads", strconv.Itoa(p.Threads))
	args = append(args, boundArgs(p, s)...)
	return append(args, "-f", "null", "-")
}

// listenArgs measure the sounds as the output will have them, before they are
// brought to their loudness.
func listenArgs(p Params, s settings, c Carriage) []string {
	var args []string
	for i, sound := range c.Sounds {
		filter := s.cut(p.Info, "atrim")
		if s.from != 0 && !p.Info.Container.seeks() {
			filter += "atrim=start=" + number(s.from) + "," // ffmpeg's own comes behind
		}
		if layout := s.layouts(sound); layout != s.audio.layouts { // it is to be mixed
			filter += "aformat=channel_layouts=" + layout + ","
		}
		args = append(args, "-map", mapped(sound), "-filter:a:"+strconv.Itoa(i), filter+listener(sound))
	}
	return append(args, "-c:a", pcm.encoder)
}

// lookingShare is how much of the whole work the analysis is, by feel: progress
// should not jump.
func (s settings) lookingShare(c Carriage) float64 {
	switch {
	case s.twoPass(c):
		return 0.4
	case s.format.Kind == Video:
		return 0.1
	}
	return 0.3
}
