package main

import (
	"flag"
	"fmt"

	"confgate/core"
)

// houseLimits are the limits of rooms, in the order of the help.
var houseLimits = []string{
	"tenant-rooms", "user-rooms", "spare-legs", "leg-candidates", "name-size", "message-size", "sdp-size", "image-size", "pages-size", "room-misses", "room-rate", "room-burst",
}

// roomIDs is how the house names rooms that clients give no name.
type roomIDs string

const (
	shortIDs roomIDs = "short" // as clients know them: r and seven digits
	longIDs  roomIDs = "long"  // that nobody can guess
)

// next gives what thinks of an id.
func (ids roomIDs) next() func() core.RoomID {
	if ids == longIDs {
		return func() core.RoomID { return core.RoomID(core.LongID("r")) }
	}
	return func() core.RoomID { return core.RoomID(core.RandomID("r")) }
}

// houseFlags declares how rooms are named, and their limits.
func houseFlags(fs *flag.FlagSet, ids *roomIDs, l *core.Limits) {
	*ids = shortIDs
	fs.Func("room-ids", "`short|long`: ids that the house gives to rooms; nobody guesses long ones (default short)",
		one(ids, shortIDs, longIDs))
	*l = core.DefaultLimits()
	fs.IntVar(&l.TenantRooms, "tenant-rooms", l.TenantRooms, "most `rooms` of a tenant at once")
	fs.IntVar(&l.UserRooms, "user-rooms", l.UserRooms, "most `rooms` at once that one user has made")
	fs.IntVar(&l.SpareLegs, "spare-legs", l.SpareLegs, "most `connections` of a member, besides one a member of the room")
	fs.IntVar(&l.Candidates, "leg-candidates", l.Candidates, "most ICE `candidates` that a client sends for a connection")
	fs.IntVar(&l.Name, "name-size", l.Name, "most `bytes` of a name or a title; the rest is cut off")
	fs.IntVar(&l.Message, "message-size", l.Message, "most `bytes` of a chat message, a stroke, a notice")
	fs.IntVar(&l.SDP, "sdp-size", l.SDP, "most `bytes` of an SDP")
	fs.IntVar(&l.Image, "image-size", l.Image, "most `bytes` of a shared page or a canvas, as a data URL")
	fs.IntVar(&l.Pages, "pages-size", l.Pages, "most `bytes` of pages that one user shows, in all rooms")
	fs.IntVar(&l.RoomRate, "room-rate", l.RoomRate, "`number` of events a second that a room tells its members, together")
	fs.IntVar(&l.RoomBurst, "room-burst", l.RoomBurst, "`number` of them that may come at once")
	fs.IntVar(&l.Misses, "room-misses", l.Misses, "most `rooms` in ten minutes that a user asks for and are not there")
}

// checkHouse says which of them make no sense.
func checkHouse(l core.Limits) (errs []error) {
	values := []int{l.TenantRooms, l.UserRooms, l.SpareLegs, l.Candidates, l.Name, l.Message, l.SDP, l.Image, l.Pages, l.Misses, l.RoomRate, l.RoomBurst}
	for i, value := range values {
		if value < 0 {
			errs = append(errs, fmt.Errorf("--%s: %d is less than 0, which is no limit", houseLimits[i], value))
		}
	}
	return errs
}
