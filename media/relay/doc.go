// Package relay is the gateway's own STUN and TURN server on Pion, and the maker of
// the credentials with which clients use it, or somebody else's: it carries media for
// those whose networks let nothing else through. It keeps out who is a user, what
// clients are told and how, and every address that is not for them.
//
// # Map
//
//	Issuer  makes credentials that end, and says what is right with one shown
//	Server  owns the sockets, the users' accounts and the counters
//	├ gate     stands before Pion's server: what comes in is checked, what goes out is weighed
//	├ door     takes TCP and TLS connections, and cuts what they carry into messages
//	├ relayed  one allocation's socket: every packet's destination is checked
//	└ policy   which addresses are nobody's business
//
// Pion's server does the protocol (RFC 8656). The gate does what it leaves out: a
// credential that is refused is answered 401 and not 400, a stranger is answered with
// little more than they sent, and a stream that is no TURN is closed.
package relay
