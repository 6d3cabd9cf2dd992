package replica

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"malla/blobs"
)

// Between nodes: GET and PUT of /chunks/{ref}, and questions about many
// chunks at once as POST /chunks/{question}: the body is their refs, 32 bytes
// each, the answer one byte for each, '1' for yes.
const (
	chunksPath   = "/chunks/"
	uploadHeader = "Malla-Upload" // on whose behalf; see Ledger

	refSize = len(blobs.Ref{})
)

type question string

const (
	keep    question = "keep"    // is it here, sound, and left alone by the collector from now on?
	offer   question = "offer"   // is it here, unverified? Else fetch it, if you are a holder.
	discard question = "discard" // was it only this upload's, and is it gone now?
)

// batch is how many refs are asked about at once. To keep is to read and hash
// 8 MiB each, so few of them fit into a time-out.
func (q question) batch() int {
	if q == keep {
		return 16
	}
	return 4096
}

// statuses pairs each error that has a meaning for the other node with its
// status; everything else is 500 and tells nothing.
var statuses = []struct {
	err    error
	status int
}{
	{blobs.ErrNotFound, http.StatusNotFound},
	{blobs.ErrBadRef, http.StatusBadRequest},
	{blobs.ErrCorrupt, http.StatusUnprocessableEntity},
	{blobs.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{blobs.ErrFull, http.StatusInsufficientStorage},
	{blobs.ErrUnavailable, http.StatusServiceUnavailable},
}

func statusOf(err error) int {
	err = blobs.OfDisk(err)
	if errors.Is(err, blobs.ErrBroken) {
		return http.StatusServiceUnavailable // to the others this node is one that cannot be reached
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// errorOf is the reverse of statusOf.
func errorOf(status int) error {
	for _, s := range statuses {
		if status == s.status {
			return s.err
		}
	}
	return fmt.Errorf("unexpected answer %d", status)
}

func encodeRefs(refs []blobs.Ref) []byte {
	out := make([]byte, 0, len(refs)*refSize)
	for _, ref := range refs {
		out = append(out, ref[:]...)
	}
	return out
}

// decodeRefs reads at most limit refs.
func decodeRefs(r io.Reader, limit int) ([]blobs.Ref, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(limit*refSize)+1))
	if err != nil {
		return nil, err
	}
	if len(data)%refSize != 0 || len(data) > limit*refSize {
		return nil, fmt.Errorf("%w: a list of %d bytes", blobs.ErrBadRef, len(data))
	}
	refs := make([]blobs.Ref, len(data)/refSize)
	for i := range refs {
		copy(refs[i][:], data[i*refSize:])
	}
	return refs, nil
}
