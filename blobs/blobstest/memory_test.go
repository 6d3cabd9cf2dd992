package blobstest_test

import (
	"testing"

	"malla/blobs"
	"malla/blobs/blobstest"
)

func TestMemoryContract(t *testing.T) {
	blobstest.Store(t, func(*testing.T) blobs.Store { return new(blobstest.Memory) })
}
