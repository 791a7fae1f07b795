package bench

import (
	"errors"
	"testing"
)

// answeredLink is a connection that takes one answer, as a browser's.
type answeredLink struct {
	link
	taken bool
}

func (l *answeredLink) answer(string) error {
	if l.taken {
		return errAnswered
	}
	l.taken = true
	return nil
}

// TestAnswersTooMany has a member that asked for somebody twice take as many answers, and
// no more.
func TestAnswersTooMany(t *testing.T) {
	for name, test := range map[string]struct {
		offers, answers int
		want            error
	}{
		"one each":       {1, 1, nil},
		"two each":       {2, 2, nil},
		"one dropped":    {2, 1, nil},
		"one to nothing": {1, 2, errAnswered},
		"two to nothing": {2, 4, errAnswered},
	} {
		t.Run(name, func(t *testing.T) {
			m := &member{
				user: "8", offers: map[string]int{"7": test.offers},
				down: map[string]*subscription{"7": {link: &answeredLink{}}},
			}
			var err error
			for range test.answers {
				err = errors.Join(err, m.answered(answered{of: "7"}))
			}
			if !errors.Is(err, test.want) || (err != nil) != (test.want != nil) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}
