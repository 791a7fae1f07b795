package bench

import (
	"errors"
	"io"
	"time"
)

const rtpHeader = 12 // bytes of one without extensions

// parseBroadcast reads the arguments of `bench broadcast`, in which one sends video to many.
func parseBroadcast(args []string, w io.Writer) (options, error) {
	f := newFlags("broadcast", w)
	subscribers := f.Int("subscribers", 100, "how `many` receive what one sends")
	f.IntVar(&f.rooms, "rooms", 1, "`rooms` that they are spread over, each with a sender of its own")
	f.DurationVar(&f.duration, "duration", 20*time.Second, "how `long` to count packets once everybody receives something")
	f.IntVar(&f.load.fps, "video-fps", 30, "video `frames` a second; 0: nothing is sent at all")
	f.IntVar(&f.load.packets, "frame-packets", 4, "`packets` of a frame; a key frame has three times as many")
	size := f.Int("packet-bytes", 1150, "`bytes` of a packet, its RTP header included")
	f.DurationVar(&f.load.keyEvery, "key-frame-every", 10*time.Second, "`time` between key frames that nobody asked for")
	f.Float64Var(&f.joinRate, "join-rate", 20, "subscribers that `join` each second; 0: each when the one before receives")
	if err := f.parse(args); err != nil {
		return f.options, err
	}
	if err := errors.Join(
		within("subscribers", *subscribers, 1, maxSubscribers),
		within("rooms", f.rooms, 1, *subscribers),
		durationWithin("duration", f.duration, 100*time.Millisecond),
		within("video-fps", f.load.fps, 0, maxFPS),
		within("frame-packets", f.load.packets, 1, 40),
		within("packet-bytes", *size, minVideoPayload+rtpHeader, maxVideoPayload+rtpHeader),
		durationWithin("key-frame-every", f.load.keyEvery, time.Second),
		rateWithin("join-rate", f.joinRate, 0, maxJoinRate),
	); err != nil {
		return f.options, err
	}
	f.load.size = *size - rtpHeader
	f.members, f.senders = *subscribers+f.rooms, 1
	f.open = newCall
	return f.options, nil
}
