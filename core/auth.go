package core

import (
	"context"
	"time"
)

// Peer is where a client comes from, as the edge saw it.
type Peer struct {
	Remote string // its address
	Origin string // of the web page it is, in the form in which equal ones are equal; empty: it is none
}

// Credentials are what a client shows to be let in. Dialects fill the fields they
// have.
type Credentials struct {
	User   UserID // who the client says it is; empty: the house may choose
	Tenant string // the tenant it names, where its dialect does
	Key    string // proves membership of the tenant
	Token  string // proves who the user is
	Room   RoomID // what it is about to enter, where it is known
	Name   string
	Device string
	Remote string // of its Peer, as is Origin
	Origin string
}

// Grant is what an Authorizer gives: who the client is from now on.
type Grant struct {
	Tenant     TenantID
	User       UserID
	MaxUsers   int // of the tenant online at once; 0: no limit
	ICEServers []ICEServer

	// Until is when what the client showed runs out; zero: never.
	Until time.Time
	// Stays asks again, while the client is in a room, whether it may be. An error is
	// a clear no: who cannot be asked says nothing. It may wait, and be called from
	// several goroutines. Nil: being let in once is enough.
	Stays func(context.Context) error
}

// ICEServer is a STUN or TURN server for clients to use, in the shape of the
// RTCIceServer of W3C's WebRTC API.
type ICEServer struct {
	URLs       []string
	Username   string
	Credential string
}

// Authorizer says who a client is. It may wait: it is called from the session's
// own goroutine and never from a room. Refusals are errors with code Unauthorized.
type Authorizer interface {
	Authorize(context.Context, Credentials) (Grant, error)
}
