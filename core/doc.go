// Package core is the conference itself: rooms, the people in them and the
// streams they share. It speaks in commands and events, and keeps out every wire
// format, socket and media library.
//
// # Who may wait for whom
//
// One goroutine owns a room. A session may wait for its room, and media may wait
// for a room; a room waits for nobody: what it says goes into outboxes that never
// block, and what it asks of the media plane is answered later, by a message. So
// no cycle of waiting can form. The package has one lock over its maps, Hub.mu,
// and one in each Outbox; neither is held while anything else is called.
package core
