package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pion/webrtc/v4"
)

// line is one member's signalling connection, in whatever dialect. A line is used by
// its member's goroutine; trickle and poke may be called by others too.
type line interface {
	join(ctx context.Context, room string) error
	// offer asks for a connection that carries the media of the user of: to the
	// gateway when that is the member, else from it.
	offer(ctx context.Context, of, sdp string) error
	trickle(ctx context.Context, of string, c webrtc.ICECandidateInit) error
	// poke says something to which the room has an answer, in order: echoed.
	poke(ctx context.Context) error
	// next gives what the gateway says next, passing over what no bench cares for.
	next(ctx context.Context) (notice, error)
	// leave says goodbye and hangs up.
	leave(ctx context.Context) error
	// hangUp ends the line without a word.
	hangUp()
}

// anybody is what members say of themselves where nobody is asked who they are.
const anybody = "bench"

// entry is how somebody comes in whose name is taken.
type entry int

const (
	waiting    entry = iota // as the gateway has it
	displacing              // the one who has it is to go
)

// carrier takes a line's messages to the gateway and back. One goroutine reads; all may write.
type carrier interface {
	read(ctx context.Context) ([]byte, error)
	write(ctx context.Context, message []byte) error
	// close ends the connection properly.
	close(ctx context.Context) error
	hangUp()
}

// asker is a line whose gateway makes the offer for what it sends: it comes as offered.
type asker interface {
	line
	// ask asks for the media of another user.
	ask(ctx context.Context, of string) error
	// answer answers what was offered.
	answer(ctx context.Context, of, sdp string) error
}

// notice is something that the gateway tells a member. The set is closed.
//
//sumtype:decl
type notice interface{ notice() }

type (
	// entered: the member is in the room, with others who were there before. Media can
	// be asked for of those in ready; of the rest once they are published.
	entered struct{ others, ready []string }
	// refused: the member was not let in.
	refused struct{ why string }
	// published: the media of some others can be asked for from now on.
	published struct{ users []string }
	// departed: somebody else has gone.
	departed struct{ user string }
	// answered: the gateway's answer to an offer.
	answered struct{ of, sdp string }
	// offered: the gateway's offer for what an asker asked for.
	offered struct{ of, sdp string }
	// found: one of the gateway's candidates.
	found struct {
		of        string
		candidate webrtc.ICECandidateInit
	}
	// echoed: the answer to a poke.
	echoed struct{}
)

func (entered) notice()   {}
func (refused) notice()   {}
func (published) notice() {}
func (departed) notice()  {}
func (answered) notice()  {}
func (offered) notice()   {}
func (found) notice()     {}
func (echoed) notice()    {}

// errUnknownMessage: the gateway said what the dialect's clients do not understand.
var errUnknownMessage = errors.New("unknown message")

// dialect opens lines of one dialect.
type dialect func(ctx context.Context, web *http.Client, gateway *url.URL, user string) (line, error)

// dialects are what a run can be told to speak. Of several, each member in turn takes
// the next.
func dialects() map[string][]dialect {
	return map[string][]dialect{
		"id":      {dialID},
		"eventop": {dialEventop},
		"mixed":   {dialID, dialEventop},
	}
}

func findDialect(name string) ([]dialect, error) {
	all := dialects()
	if d, ok := all[name]; ok {
		return d, nil
	}
	known := strings.Join(slices.Sorted(maps.Keys(all)), ", ")
	return nil, fmt.Errorf("no dialect %q; there is: %s", name, known)
}
