package idv1_test

import (
	"testing"

	"go.uber.org/goleak"

	"confgate/protocol/idv1"
	"confgate/protocol/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roomLimit is small, so that a story can fill a room.
const roomLimit = 3

// TestScripts plays the stories that only this dialect tells.
func TestScripts(t *testing.T) { wiretest.Dir(t, "testdata", idv1.New(roomLimit)) }
