package ffmpeg

import (
	"archive/zip"
	"bytes"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
)

func TestSniffKnowsWhatFFmpegWrites(t *testing.T) {
	tone := func(more ...string) []string { return append(append([]string{}, toneArgs...), more...) }
	pic := func(more ...string) []string { return append(append([]string{}, filmArgs...), more...) }
	rows := []struct {
		file string
		args []string
		want Container
	}{
		{"a.mp4", pic(), MOV}, {"a.mov", pic(), MOV}, {"a.m4a", tone(), MOV}, {"a.3gp", pic("-s", "176x144", "-r", "15", "-ac", "1", "-c:v", "mpeg4", "-c:a", "aac"), MOV},
		{"frag.mp4", pic("-movflags", "frag_keyframe+empty_moov"), MOV},
		{"a.mkv", pic(), Matroska}, {"a.mka", tone(), Matroska}, {"a.webm", pic("-c:v", "libvpx", "-c:a", "libopus"), WebM},
		{"a.avi", pic(), AVI}, {"a.flv", pic("-ar", "44100"), FLV}, {"a.ts", pic(), MPEGTS}, {"a.m2ts", pic("-mpegts_m2ts_mode", "1"), MPEGTS},
		{"a.mpg", pic(), MPEGPS}, {"a.vob", pic("-f", "vob"), MPEGPS},
		{"a.wmv", pic(), ASF}, {"a.wma", tone(), ASF},
		{"a.ogg", tone("-c:a", "libvorbis"), Ogg}, {"a.opus", tone("-c:a", "libopus"), Ogg},
		{"a.mp3", tone(), MP3}, {"bare.mp3", tone("-id3v2_version", "0", "-write_xing", "0"), MP3},
		{"low.mp3", tone("-ar", "11025", "-b:a", "8k", "-id3v2_version", "0"), MP3}, {"a.mp2", tone("-f", "mp2"), MP3},
		{"a.wav", tone(), WAV}, {"rf64.wav", tone("-rf64", "always"), WAV}, {"a.flac", tone(), FLAC},
		{"a.aac", tone(), AAC}, {"tagged.aac", tone("-write_id3v2", "1", "-metadata", "title=x"), AAC}, {"a.aiff", tone(), AIFF},
	}
	for _, row := range rows {
		t.Run(row.file, func(t *testing.T) {
			t.Parallel()
			head := readFile(t, makeMedia(t, row.file, row.args...))
			if got, ok := Sniff(head); !ok || got != row.want {
				t.Errorf("got %q %v, want %q", got, ok, row.want)
			}
			if got, ok := Sniff(head[:min(len(head), 4096)]); !ok || got != row.want {
				t.Errorf("first 4 KiB: got %q %v, want %q", got, ok, row.want)
			}
		})
	}
}

// notMedia are files that must be refused by their beginning.
func notMedia(t testing.TB) map[string][]byte {
	t.Helper()
	var pngFile, jpegFile, gifFile, zipFile bytes.Buffer
	img := image.NewPaletted(image.Rect(0, 0, 300, 300), nil)
	img.Palette = append(img.Palette, image.Black, image.White)
	archive := zip.NewWriter(&zipFile)
	if _, err := archive.Create("a.mp3"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{png.Encode(&pngFile, img), jpeg.Encode(&jpegFile, img, nil), gif.Encode(&gifFile, img, nil), archive.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return map[string][]byte{
		"text":            []byte(strings.Repeat("the quick brown fox\n", 500)),
		"letters G":       bytes.Repeat([]byte("G"), 8000),
		"letters 0xff":    bytes.Repeat([]byte{0xff}, 8000),
		"zeros":           make([]byte, 8000),
		"one byte":        {0},
		"nothing":         {},
		"hls playlist":    []byte("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.ts\n#EXT-X-ENDLIST\n"),
		"concat script":   []byte("ffconcat version 1.0\nfile other.mp4\n"),
		"dash manifest":   []byte(`<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>`),
		"html":            []byte("<!DOCTYPE html><html><script>alert(1)</script></html>"),
		"svg":             []byte(`<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>`),
		"sdp":             []byte("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n"),
		"subtitles":       []byte("1\n00:00:01,000 --> 00:00:02,000\nHello\n"),
		"png":             pngFile.Bytes(),
		"jpeg":            jpegFile.Bytes(),
		"gif":             gifFile.Bytes(),
		"zip":             zipFile.Bytes(),
		"pdf":             []byte("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
		"webp":            []byte("RIFF\x24\x00\x00\x00WEBPVP8 aaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
		"heic":            []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"),
		"avif":            []byte("\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif"),
		"elf":             []byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 4000)),
		"ebml not media":  []byte("\x1a\x45\xdf\xa3\x88\x42\x82\x85other"),
		"raw mpeg video":  []byte("\x00\x00\x01\xb3\x0a\x00\x78\x13" + strings.Repeat("\x00", 100)),
		"one adts header": []byte("\xff\xf1\x50\x80\x02\x1f\xfc" + strings.Repeat("x", 100)),
		"riff of nothing": []byte("RIFF"),
	}
}

func TestSniffRefusesWhatIsNotMedia(t *testing.T) {
	for name, data := range notMedia(t) {
		if c, ok := Sniff(data); ok {
			t.Errorf("%s is taken for %s", name, c)
		}
	}
}

func TestSniffLooksBehindTagsAndJunk(t *testing.T) {
	mp3 := readFile(t, makeMedia(t, "a.mp3", append(append([]string{}, toneArgs...), "-id3v2_version", "0")...))
	tag := func(size int) []byte {
		head := []byte{'I', 'D', '3', 4, 0, 0, byte(size >> 21 & 0x7f), byte(size >> 14 & 0x7f), byte(size >> 7 & 0x7f), byte(size & 0x7f)}
		return append(head, make([]byte, size)...)
	}
	aacFile := readFile(t, makeMedia(t, "a.aac", toneArgs...))
	rows := []struct {
		name string
		data []byte
		want Container
	}{
		{"a cover of 300 kB in the tag", append(tag(300_000), mp3...), MP3},
		{"ADTS behind a big tag", append(tag(300_000), aacFile...), AAC},
		{"two tags", append(tag(100), append(tag(70_000), mp3...)...), MP3},
		{"zeros behind the tag", append(tag(2000), append(make([]byte, 9000), mp3...)...), MP3},
		{"1000 bytes of junk", append(bytes.Repeat([]byte("junk"), 250), mp3...), MP3},
		{"a tag and then a film", append(tag(70_000), readFile(t, film(t))...), ""},
		{"a tag and then text", append(tag(70_000), notMedia(t)["text"]...), ""},
	}
	for _, row := range rows {
		c, ok, _, err := sniffReader(bytes.NewReader(row.data))
		if err != nil || c != row.want || ok != (row.want != "") {
			t.Errorf("%s: got %q %v %v, want %q", row.name, c, ok, err, row.want)
		}
	}
}

func FuzzSniff(f *testing.F) {
	for _, data := range notMedia(f) {
		f.Add(data)
	}
	f.Add([]byte("\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska"))
	f.Add([]byte("\xff\xfb\x90\x00"))
	f.Add([]byte("ID3\x04\x00\x00\x00\x00\x00\x01\x00\xff\xfb\x90\x00"))
	f.Add([]byte("\x00\x00\x00\x08free\x00\x00\x00\x18ftypisom"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, ok := Sniff(data)
		if ok != (c != "") {
			t.Fatalf("container %q, ok %v", c, ok)
		}
		if ok && (c.name() == "" || mimeTypes[c].audio == "") {
			t.Fatalf("container %q is not in the tables", c)
		}
		if d, ok, _, err := sniffReader(bytes.NewReader(data)); err != nil || ok != (d != "") {
			t.Fatalf("reader: container %q, ok %v, %v", d, ok, err)
		}
	})
}

func BenchmarkSniff(b *testing.B) {
	// The worst case: every place of the beginning is looked at.
	noise := make([]byte, SniffLen)
	for i := range noise {
		noise[i] = byte(i * 7919 >> 3)
	}
	b.SetBytes(SniffLen)
	for b.Loop() {
		Sniff(noise)
	}
}
