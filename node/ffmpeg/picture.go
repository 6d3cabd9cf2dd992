package ffmpeg

import "strconv"

// pictureArgs take over or encode the film, if there is one.
func pictureArgs(p Params, s settings, c Carriage) []string {
	switch {
	case c.Film == nil:
		return nil
	case c.Copied.Film:
		return filmCopyArgs(*c.Film, s)
	case s.encoder == hardware:
		return append(chipArgs(p.Info, s), exactArgs(s)...)
	}
	return append(videoArgs(p, s), exactArgs(s)...)
}

// videoArgs choose the film's stream and its encoder.
func videoArgs(p Params, s settings) []string {
	film, _ := p.Info.Video()
	// The picture is named (v:0), since a cover that is copied may stand behind.
	args := []string{"-map", mapped(film), "-filter:v:0", s.cut(p.Info, "trim") + pictureFilter(film, s)}
	if s.video.Name != ffv1.Name { // which keeps the pixels as they are
		args = append(args, "-pix_fmt:v:0", "yuv420p")
	}
	args = append(args, "-c:v:0", s.video.Name)
	args = append(args, rateArgs(s)...)
	switch s.video.Name {
	case x264.Name:
		args = append(args, "-preset", s.preset)
		if s.profile != "" {
			args = append(args, "-profile:v", s.profile)
		}
		if s.format.Name == "avi" {
			args = append(args, "-bf", "0") // AVI cannot tell the order of B-frames
		}
	case x265.Name:
		// Without pools x265 starts as many threads as the machine has cores.
		args = append(args, "-preset", s.preset,
			"-x265-params", "log-level=error:pools="+strconv.Itoa(p.Threads)+x265Pass(s))
		if s.format.container == MOV {
			args = append(args, "-tag:v:0", "hvc1") // without which Apple's players refuse it
		}
	case ffv1.Name:
		args = append(args, "-level", "3", "-g", "1", "-slices", "4", "-slicecrc", "1")
	case vp9.Name:
		if p.Threads > 1 {
			args = append(args, "-row-mt", "1")
		}
		args = append(args, vpxSpeed(s.preset)...)
	case vp8.Name:
		args = append(args, vpxSpeed(s.preset)...)
	}
	if film.FPS == 0 && s.fps == 0 && s.format.container == AVI {
		args = append(args, "-r:v:0", "30") // AVI has one rate for the whole film
	}
	return args
}

// rateArgs steer an encoder for pictures by quality, or by a bitrate.
func rateArgs(s settings) []string {
	if s.videoBitrate != 0 {
		args := []string{"-b:v", Bitrate(s.videoBitrate).String()}
		if s.pass != 0 && s.video.Name != x265.Name {
			args = append(args, "-pass", strconv.Itoa(s.pass), "-passlogfile", passLog)
		}
		return args
	}
	switch s.video.Name {
	case x264.Name, x265.Name:
		return []string{"-crf", strconv.Itoa(s.crf)}
	case mpeg4.Name:
		return []string{"-q:v", "5"}
	case vp9.Name:
		return []string{"-crf", strconv.Itoa(s.crf), "-b:v", "0"}
	case vp8.Name:
		// VP8 has no pure constant quality: crf holds below a bit rate, and
		// without one the default of 256 kbit/s would win.
		return []string{"-crf", strconv.Itoa(s.crf), "-b:v", "20M"}
	}
	return nil
}

// x265Pass is the pass as x265 wants it: ffmpeg's own options do not reach it.
func x265Pass(s settings) string {
	if s.pass == 0 {
		return ""
	}
	return ":pass=" + strconv.Itoa(s.pass) + ":stats=" + passLog
}

// vpxSpeeds is preset -> -cpu-used; medium is the encoder's own default.
var vpxSpeeds = map[string]string{
	"ultrafast": "5", "superfast": "5", "veryfast": "4", "faster": "3", "fast": "2",
	"slow": "0", "slower": "0", "veryslow": "0",
}

func vpxSpeed(preset string) []string {
	if speed, ok := vpxSpeeds[preset]; ok {
		return []string{"-cpu-used", speed}
	}
	return nil
}

// pictureFilter cuts the odd row or column that yuv420p cannot have, rather
// than blur the whole picture, holds the size when a film changes it midway, and
// makes it smaller and its frames fewer or more where that is asked for.
func pictureFilter(film Stream, s settings) string {
	w, h := s.size(film)
	filter := "scale=" + strconv.Itoa(w) + ":" + strconv.Itoa(h)
	if s.video.Name != ffv1.Name {
		filter = "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0," + filter
	}
	if s.fps != 0 {
		filter = "fps=" + rateText(s.fps) + "," + filter
	}
	return filter
}

// size is that of the output's picture, as it is seen.
func (s settings) size(film Stream) (w, h int) {
	w, h = film.Size()
	short := min(w, h)
	if s.short != 0 && short > s.short {
		fit := func(n int) int { return max(2, (n*s.short+short)/(2*short)*2) }
		return fit(w), fit(h)
	}
	if s.video.Name == ffv1.Name {
		return w, h
	}
	return w &^ 1, h &^ 1
}
