package eventop_test

import (
	"testing"

	"go.uber.org/goleak"

	"confgate/protocol/eventop"
	"confgate/protocol/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScripts plays the stories that only this dialect tells.
func TestScripts(t *testing.T) { wiretest.Dir(t, "testdata", eventop.New(eventop.Knobs{})) }
