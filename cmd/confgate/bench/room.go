package bench

import (
	"errors"
	"io"
	"time"
)

// parseRoom reads the arguments of `bench room`, in which everybody in one room receives everybody else.
func parseRoom(args []string, w io.Writer) (options, error) {
	f := newFlags("room", w)
	f.IntVar(&f.members, "members", 25, "how many people `join` the room")
	f.DurationVar(&f.duration, "duration", 20*time.Second, "how `long` to count packets once everybody receives everybody")
	kbps := f.Int("video-kbps", 150, "`kbit` a second of each member's video")
	fps := f.Int("video-fps", 15, "video `frames` a second")
	keyEvery := f.Duration("key-frame-every", 10*time.Second, "`time` between key frames that nobody asked for")
	f.Float64Var(&f.joinRate, "join-rate", 0, "`joins` a second; 0: each when the room is whole after the one before")
	if err := f.parse(args); err != nil {
		return f.options, err
	}
	if err := errors.Join(
		within("members", f.members, 2, maxMembers),
		durationWithin("duration", f.duration, 100*time.Millisecond),
		within("video-kbps", *kbps, 1, maxKbps),
		within("video-fps", *fps, 1, maxFPS),
		durationWithin("key-frame-every", *keyEvery, time.Second),
		rateWithin("join-rate", f.joinRate, 0, maxJoinRate),
	); err != nil {
		return f.options, err
	}
	f.rooms, f.senders = 1, f.members
	f.load = videoLoad(*kbps, *fps, *keyEvery)
	f.open = newCall
	return f.options, nil
}
