package bench

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pion/webrtc/v4"
)

// line is one member's signalling connection, in whatever dialect. A line is used by
// its member's goroutine; trickle may be called by others too.
type line interface {
	join(ctx context.Context, room string) error
	// offer asks for a connection that carries the media of the user of: to the
	// gateway when that is the member, else from it.
	offer(ctx context.Context, of, sdp string) error
	trickle(ctx context.Context, of string, c webrtc.ICECandidateInit) error
	// next gives what the gateway says next, passing over what no bench cares for.
	next(ctx context.Context) (notice, error)
	// leave says goodbye and hangs up.
	leave(ctx context.Context) error
	// hangUp ends the line without a word.
	hangUp()
}

// notice is something that the gateway tells a member. The set is closed.
//
//sumtype:decl
type notice interface{ notice() }

type (
	// entered: the member is in the room, with others who were there before.
	entered struct{ others []string }
	// refused: the member was not let in.
	refused struct{ why string }
	// arrived: somebody else has come.
	arrived struct{ user string }
	// departed: somebody else has gone.
	departed struct{ user string }
	// answered: the gateway's answer to an offer.
	answered struct{ of, sdp string }
	// found: one of the gateway's candidates.
	found struct {
		of        string
		candidate webrtc.ICECandidateInit
	}
)

func (entered) notice()  {}
func (refused) notice()  {}
func (arrived) notice()  {}
func (departed) notice() {}
func (answered) notice() {}
func (found) notice()    {}

// dialect opens lines of one dialect.
type dialect func(ctx context.Context, web *http.Client, gateway *url.URL, user string) (line, error)

func dialects() map[string]dialect {
	return map[string]dialect{"id": dialID}
}

func findDialect(name string) (dialect, error) {
	all := dialects()
	if d, ok := all[name]; ok {
		return d, nil
	}
	known := strings.Join(slices.Sorted(maps.Keys(all)), ", ")
	return nil, fmt.Errorf("no dialect %q; there is: %s", name, known)
}
