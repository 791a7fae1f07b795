package core

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// An outbox is bounded by what its events hold, whatever kind they are.
func TestOutboxIsBoundedByBytes(t *testing.T) {
	const limit = 100_000
	big := strings.Repeat("x", limit/4)
	members := make([]Member, limit/4/memberBytes)
	for _, e := range []Event{
		Shown{Image: big}, Said{Message: JSON(big)}, Passed{Body: JSON(big)}, CandidatePassed{Body: JSON(big)},
		FeedsAdded{Feeds: make([]Feed, len(members))},
		Reply{Result: Answered{SDP: big}}, Reply{Result: Offered{SDP: big}}, Reply{Result: Relayed{Body: JSON(big)}},
		Reply{Result: Listed{Members: members}}, Reply{Result: Joined{State: RoomState{Members: members}}},
		Reply{Result: Joined{State: RoomState{Sharing: &Sharing{Image: big}}}},
		Reply{Result: Joined{State: RoomState{Groups: make([]RoomID, limit/4/idBytes)}}},
		Reply{Ref: Ref{ID: big}}, Reply{Ref: Ref{Op: big}}, Reply{Ref: Ref{As: UserID(big)}}, Reply{Ref: Ref{Ack: big}},
	} {
		var cut error
		o := NewOutbox(1000, func(err error) { cut = err })
		o.LimitBytes(limit)
		n := 0
		for ; cut == nil && n < 100; n++ {
			o.Put(e)
		}
		if n != 5 || !errors.Is(cut, ErrSlow) { // one that does not count, three more, and one too many
			t.Errorf("%.60q: cut after %d, %v", describe(e), n, cut)
		}
	}
}

// The largest event does not count, wherever it stands; what was taken does not
// either.
func TestOutboxTakesOneLargeEvent(t *testing.T) {
	const limit = 10_000
	image := Shown{Image: strings.Repeat("x", 100*limit)}
	for _, events := range [][]Event{
		{image, Said{}, Said{}}, {Said{}, image, Said{}}, {Said{}, Said{}, image},
	} {
		var cut error
		o := NewOutbox(1000, func(err error) { cut = err })
		o.LimitBytes(limit)
		for range 3 {
			for _, e := range events {
				o.Put(e)
			}
			if got, err := o.Take(t.Context()); err != nil || len(got) != len(events) {
				t.Fatalf("took %d, %v", len(got), err)
			}
		}
		if cut != nil {
			t.Errorf("cut off: %v", cut)
		}
		for _, e := range slices.Concat(events, events) {
			o.Put(e)
		}
		if !errors.Is(cut, ErrSlow) {
			t.Errorf("two images wait: %v", cut)
		}
	}
}

func TestOutboxIsBoundedByEvents(t *testing.T) {
	var cut error
	o := NewOutbox(8, func(err error) { cut = err })
	for range 8 {
		o.Put(Shown{Image: strings.Repeat("x", 1<<20)}) // without LimitBytes
	}
	if cut != nil {
		t.Fatal(cut)
	}
	o.Put(Said{})
	if !errors.Is(cut, ErrSlow) {
		t.Error(cut)
	}
}
