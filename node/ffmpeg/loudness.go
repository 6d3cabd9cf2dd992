package ffmpeg

// loudness is what EBU R128 measures of a sound.
type loudness struct {
	integrated float64 // LUFS
	truePeak   float64 // dBTP
	span       float64 // LU, the loudness range
	threshold  float64 // LUFS, the gate below which nothing counted
}
