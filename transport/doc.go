// Package transport carries frames between clients and their sessions: the two
// pumps of a connection, the framings (bare WebSocket, SockJS, Socket.IO) and the HTTP edge
// they are mounted on. It keeps out what frames mean: that is the dialect's, and
// the session's.
//
// SockJS is spoken over this project's one WebSocket library. The server that can
// be had for Go puts several messages into one frame, where clients lose all that
// follow one they choke on, and brings a second WebSocket library.
package transport
