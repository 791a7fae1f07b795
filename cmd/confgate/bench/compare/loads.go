package main

// contender is a server that is measured.
type contender int

const (
	confgate contender = iota
	baseline
)

func (c contender) String() string { return [...]string{confgate: "confgate", baseline: "baseline"}[c] }

// load is one set of arguments of confgate bench.
type load struct {
	name string
	args []string
	on   []contender
}

// The names of the loads.
const (
	broadcast = "broadcast to 100"
	idle      = "1,000 idle legs"
	wide      = "broadcast to 300"
	square    = "room of 25, everybody to everybody"
)

// loads is the fixed set. Idle legs are in several rooms, so that what a room tells its
// members of each other does not outweigh the media.
var loads = []load{
	{broadcast, []string{"broadcast", "--subscribers", "100", "--join-rate", "20", "--duration", "12s"}, []contender{confgate, baseline}},
	{idle, []string{"broadcast", "--subscribers", "980", "--rooms", "20", "--video-fps", "0", "--join-rate", "80", "--duration", "12s"}, []contender{confgate, baseline}},
	{wide, []string{"broadcast", "--subscribers", "300", "--join-rate", "20", "--duration", "15s"}, []contender{confgate}},
	{square, []string{"room", "--members", "25", "--duration", "10s"}, []contender{confgate}},
}

// turn is one run.
type turn struct {
	load load
	on   contender
}

// schedule lets the contenders take turns: A B A B. What only one is put through comes
// once, at the end.
func schedule(pairs int) []turn {
	var all, last []turn
	for pair := range pairs {
		for _, l := range loads {
			for _, c := range l.on {
				switch {
				case len(l.on) > 1:
					all = append(all, turn{l, c})
				case pair == 0:
					last = append(last, turn{l, c})
				}
			}
		}
	}
	return append(all, last...)
}
