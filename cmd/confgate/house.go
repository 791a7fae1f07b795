package main

import (
	"flag"
	"fmt"

	"confgate/core"
)

// houseSettings are the settings of rooms, in the order of the help.
var houseSettings = []string{
	"tenant-rooms", "user-rooms", "spare-legs", "leg-candidates", "name-size", "message-size", "sdp-size", "image-size",
}

// houseFlags declares the limits of rooms.
func houseFlags(fs *flag.FlagSet, l *core.Limits) {
	*l = core.DefaultLimits()
	fs.IntVar(&l.TenantRooms, "tenant-rooms", l.TenantRooms, "most `rooms` of a tenant at once")
	fs.IntVar(&l.UserRooms, "user-rooms", l.UserRooms, "most `rooms` at once that one user has made")
	fs.IntVar(&l.SpareLegs, "spare-legs", l.SpareLegs, "most `connections` of a member, besides one a member of the room")
	fs.IntVar(&l.Candidates, "leg-candidates", l.Candidates, "most ICE `candidates` that a client sends for a connection")
	fs.IntVar(&l.Name, "name-size", l.Name, "most `bytes` of a name or a title; the rest is cut off")
	fs.IntVar(&l.Message, "message-size", l.Message, "most `bytes` of a chat message, a stroke, a notice")
	fs.IntVar(&l.SDP, "sdp-size", l.SDP, "most `bytes` of an SDP")
	fs.IntVar(&l.Image, "image-size", l.Image, "most `bytes` of a shared page or a canvas, as a data URL")
}

// checkHouse says which of them make no sense.
func checkHouse(l core.Limits) (errs []error) {
	values := []int{l.TenantRooms, l.UserRooms, l.SpareLegs, l.Candidates, l.Name, l.Message, l.SDP, l.Image}
	for i, value := range values {
		if value < 0 {
			errs = append(errs, fmt.Errorf("--%s: %d is less than 0, which is no limit", houseSettings[i], value))
		}
	}
	return errs
}
