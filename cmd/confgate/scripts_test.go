package main

import (
	"testing"

	"confgate/protocol/eventop"
	"confgate/protocol/idv1"
	"confgate/protocol/wiretest"
)

// TestStories plays what people of any dialect can tell each other. However a story
// is told, and in whatever mixture, it leaves the same tape.
func TestStories(t *testing.T) {
	wiretest.Dir(t, "testdata/stories", idv1.New(3), eventop.New(eventop.Knobs{}))
}
