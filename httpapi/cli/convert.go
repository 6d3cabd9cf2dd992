package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"malla/httpapi"
)

// ConvertCmd asks for a conversion of one file, or the same one of several.
type ConvertCmd struct {
	Remote
	Words   []string `arg:"" name:"name" help:"Names or ids of files in your library, and last the format: mp3, flac, wav, aac, ogg, m4a, mp4, avi, mkv, webm or mov. With --purpose the format may be left out."`
	Format  string   `short:"f" placeholder:"FORMAT" help:"The format; then all names are those of files."`
	Purpose string   `short:"p" placeholder:"NAME" help:"What it is for, such as phone, web, archive or podcast: stands for a format and options."`

	Resolution   string `placeholder:"720p" help:"Of videos: the shorter side at most."`
	FPS          string `name:"fps" placeholder:"25" help:"Of videos: pictures a second."`
	CRF          *int   `name:"crf" placeholder:"23" help:"Of videos: smaller is better and larger."`
	Preset       string `placeholder:"medium" help:"Of videos: slower is smaller."`
	VideoCodec   string `placeholder:"CODEC" help:"Of videos."`
	VideoBitrate string `placeholder:"2000k" help:"Of the picture, in two passes."`
	Encoder      string `placeholder:"hardware" help:"Of videos: software or hardware."`
	Copy         string `placeholder:"auto" help:"auto or never: take over streams that fit as they are."`
	SizeMB       string `name:"size-mb" placeholder:"25" help:"Largest size of the output, in millions of bytes."`
	Bitrate      string `placeholder:"192k" help:"Of mp3, aac and m4a."`
	AudioBitrate string `placeholder:"128k" help:"Of the sound of videos."`
	Compression  *int   `placeholder:"5" help:"Of flac."`
	Quality      *int   `placeholder:"5" help:"Of ogg."`
	Channels     string `placeholder:"2" help:"Of the sound: 1 or 2, and 6 where the format has them."`
	Loudness     string `placeholder:"-16" help:"Make it that loud, in LUFS (EBU R128)."`
	From         string `placeholder:"TIME" help:"Begin there: seconds, or H:MM:SS."`
	To           string `placeholder:"TIME" help:"End there: seconds, or H:MM:SS."`

	Option map[string]string `short:"o" mapsep:"none" placeholder:"NAME=VALUE" help:"Any option that the mesh knows; may be repeated."`

	Priority string `enum:"low,normal,high," default:"" help:"low, normal, or high (administrators)."`
	Wait     bool   `short:"w" help:"Wait until it has ended, showing progress; the exit code tells how."`
}

// Help is shown by --help.
func (ConvertCmd) Help() string {
	return `The outputs appear in your library as NAME_converted.FORMAT. Ctrl-C while waiting
leaves the conversions running.

    malla convert song.wav mp3 --bitrate 320k
    malla convert film.avi webm --crf 30 --wait && malla get film_converted.webm
    malla convert *.wav flac --priority low
    malla convert film.mov --purpose phone --size-mb 25
    malla convert film.mkv mp4 --from 0:30 --to 1:30 --option profile=main`
}

// formats are those that a last word is known by where it need not be one.
var formats = []string{"mp3", "flac", "wav", "aac", "ogg", "m4a", "mp4", "avi", "mkv", "webm", "mov"}

// split tells the files from the format.
func (c ConvertCmd) split() (files []string, format string, err error) {
	files, format = c.Words, c.Format
	last := files[len(files)-1]
	switch {
	case format != "":
		return files, format, nil
	case c.Purpose == "" && len(files) < 2:
		return nil, "", usage("convert %s to what? Name a format after it, such as mp3, or a --purpose", plain(last))
	case c.Purpose == "", len(files) > 1 && slices.Contains(formats, strings.ToLower(last)):
		return files[:len(files)-1], last, nil
	}
	return files, "", nil // what the purpose says
}

// options is the JSON object of the options that were given. Values are sent as
// texts: only the mesh knows their types.
func (c ConvertCmd) options() (json.RawMessage, error) {
	given := map[string]any{}
	for name, value := range map[string]string{
		"bitrate": c.Bitrate, "video_codec": c.VideoCodec, "preset": c.Preset, "resolution": c.Resolution, "fps": c.FPS, "channels": c.Channels,
		"loudness": c.Loudness, "from": c.From, "to": c.To, "size_mb": c.SizeMB, "video_bitrate": c.VideoBitrate, "audio_bitrate": c.AudioBitrate,
		"copy": c.Copy, "encoder": c.Encoder,
	} {
		if value != "" {
			given[name] = value
		}
	}
	for name, value := range map[string]*int{"compression": c.Compression, "quality": c.Quality, "crf": c.CRF} {
		if value != nil {
			given[name] = *value
		}
	}
	for name, value := range c.Option {
		if _, twice := given[name]; twice {
			return nil, usage("%s is given twice: by a flag of its own and by --option", plain(name))
		}
		given[name] = value
	}
	return json.Marshal(given)
}

// Run asks for the conversion, and follows it if told to.
func (c ConvertCmd) Run(env *Env) error {
	files, format, err := c.split()
	if err != nil {
		return err
	}
	options, err := c.options()
	if err != nil {
		return err
	}
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	ask := httpapi.ConvertRequest{InputFile: files[0], OutputFormat: format, Purpose: c.Purpose, Options: options, Priority: c.Priority}
	if len(files) > 1 {
		ask.InputFile, ask.InputFiles = "", files
	}
	asked, err := s.Convert(env.ctx, ask)
	if err != nil {
		return err
	}
	queued, refused := asked.Jobs, []error{}
	if len(files) == 1 {
		queued = []httpapi.Queueing{{InputFile: files[0], JobID: asked.JobID}}
	}
	for _, q := range queued {
		if q.Error != "" {
			refused = append(refused, fmt.Errorf("%s: %s", plain(q.InputFile), plain(q.Error)))
		}
	}
	if c.Wait {
		return errors.Join(append(refused, c.waitAll(env, s, queued))...)
	}
	return errors.Join(append(refused, c.print(env, asked, queued))...)
}

// print says which jobs there are now.
func (c ConvertCmd) print(env *Env, asked httpapi.Converting, queued []httpapi.Queueing) error {
	if c.JSON {
		return env.printJSON(asked)
	}
	for _, q := range queued {
		if q.JobID != "" {
			fmt.Fprintln(env.Stdout, q.JobID)
		}
	}
	return nil
}

// waitAll waits for the jobs in turn: they run beside each other all the same.
func (c ConvertCmd) waitAll(env *Env, s *session, queued []httpapi.Queueing) error {
	var errs []error
	ended := []httpapi.Job{}
	for _, q := range queued {
		if q.JobID == "" {
			continue
		}
		job, err := c.follow(env, s, q)
		switch {
		case errors.Is(err, context.Canceled):
			fmt.Fprintf(env.Stderr, "The conversion goes on; malla cancel %s stops it.\n", q.JobID)
			return err
		case err != nil:
			errs = append(errs, err)
			continue
		case job.Status != httpapi.Completed && len(queued) > 1:
			errs = append(errs, fmt.Errorf("%s: the conversion failed: %s", plain(q.InputFile), plain(job.Error)))
		case job.Status != httpapi.Completed:
			errs = append(errs, fmt.Errorf("the conversion failed: %s", plain(job.Error)))
		case !c.JSON:
			fmt.Fprintln(env.Stdout, plain(job.OutputFile))
		}
		ended = append(ended, job)
	}
	if c.JSON {
		errs = append(errs, c.printEnded(env, ended, len(queued) == 1))
	}
	return errors.Join(errs...)
}

// printEnded prints a job as JSON, or a list where several were asked for.
func (c ConvertCmd) printEnded(env *Env, ended []httpapi.Job, single bool) error {
	if single && len(ended) == 1 {
		return env.printJSON(ended[0])
	}
	return env.printJSON(ended)
}

// follow waits for the job's end with a progress bar.
func (c ConvertCmd) follow(env *Env, s *session, q httpapi.Queueing) (httpapi.Job, error) {
	bar := env.percentBar(q.InputFile, c.JSON)
	defer bar.Clear()
	return s.WaitJob(env.ctx, q.JobID, func(job httpapi.Job) {
		bar.Describe(plain(strings.Join(append([]string{job.InputFile + " to " + job.OutputFormat}, how(job)...), "  ")))
		bar.Set(int(job.Progress))
	})
}

// how tells in a few words each how a job gets on.
func how(j httpapi.Job) []string {
	var words []string
	if j.QueuePosition > 0 {
		words = append(words, "number "+strconv.Itoa(j.QueuePosition)+" in the queue")
	}
	if j.Segments > 0 && !j.Ended() {
		words = append(words, fmt.Sprintf("%d of %d segments", j.SegmentsDone, j.Segments))
	}
	if j.Speed > 0 {
		words = append(words, fmt.Sprintf("%.1fx", j.Speed))
	}
	if j.ETA != nil {
		words = append(words, clock(max(1, *j.ETA))+" left")
	}
	return words
}
