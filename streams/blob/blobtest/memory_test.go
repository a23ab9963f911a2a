package blobtest_test

import (
	"testing"

	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

func TestMemory(t *testing.T) {
	blobtest.Test(t, func(*testing.T) blob.Bucket { return new(blobtest.Memory) })
}
