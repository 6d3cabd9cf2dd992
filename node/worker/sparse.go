package worker

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"malla/blobs"
	"malla/node/ffmpeg"
)

// A sparseFile is a file of a blob's size in which only some spans are filled;
// the rest is holes, which read as zeros. What reads it must not notice: so it
// can tell afterwards whether somebody did read a hole.
type sparseFile struct {
	path  string
	size  int64
	spans []ffmpeg.Span // filled; in order, apart from each other, at whole pages
}

// pageSize is what spans are rounded to, in bytes: the kernel keeps files in
// pieces of at least that size.
const pageSize = 64 << 10

// fillSparse makes a file at path with the given parts of the blob.
func fillSparse(ctx context.Context, from Blobs, ref blobs.Ref, path string, spans []ffmpeg.Span) (*sparseFile, error) {
	src, err := from.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(src.Size()); err != nil {
		return nil, err
	}
	s := &sparseFile{path: path, size: src.Size(), spans: pages(spans, src.Size())}
	for _, span := range s.spans {
		if err := copySpan(f, src, span); err != nil {
			return nil, fmt.Errorf("fill bytes %d to %d: %w", span.From, span.To, err)
		}
	}
	return s, nil
}

func copySpan(f *os.File, src io.ReadSeeker, span ffmpeg.Span) error {
	if _, err := src.Seek(span.From, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(io.NewOffsetWriter(f, span.From), src, span.To-span.From)
	return err
}

// pages rounds spans to whole pages within a file of that size, in order and
// without overlaps.
func pages(spans []ffmpeg.Span, size int64) []ffmpeg.Span {
	var all []ffmpeg.Span
	for _, s := range spans {
		s.From = max(0, s.From) / pageSize * pageSize
		s.To = min(size, (s.To+pageSize-1)/pageSize*pageSize)
		if s.From < s.To {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b ffmpeg.Span) int { return cmp.Compare(a.From, b.From) })
	var merged []ffmpeg.Span
	for _, s := range all {
		if n := len(merged); n > 0 && s.From <= merged[n-1].To {
			merged[n-1].To = max(merged[n-1].To, s.To)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// holes are the spans that are not filled, without the readahead behind each
// filled one: the kernel reads that far on by itself.
func (s *sparseFile) holes() []ffmpeg.Span {
	const readahead = 512 << 10
	var all []ffmpeg.Span
	at := int64(0)
	for _, span := range append(slices.Clone(s.spans), ffmpeg.Span{From: s.size, To: s.size}) {
		if span.From > at {
			all = append(all, ffmpeg.Span{From: at, To: span.From})
		}
		at = span.To + readahead
	}
	return all
}

// readOutside tells whether somebody has read bytes that are not filled. Where
// the system cannot tell it says no; wrong pictures are noticed all the same,
// but later.
func (s *sparseFile) readOutside() bool {
	f, err := os.Open(s.path)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, hole := range s.holes() {
		if cached(f, hole) {
			return true
		}
	}
	return false
}
