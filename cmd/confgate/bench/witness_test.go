package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestWitness: what a dialect promises passes, and what breaks a promise is seen. Lines
// are what member 1 says (>) and is told (<).
func TestWitness(t *testing.T) {
	const in = `<{"id":"existingParticipants","members":[{"userId":"2"}]}`
	const here = `>{"eventOp":"joinRoom","reqId":"1"} <{"eventOp":"joinRoom","reqId":"1","code":"200","members":{"1":{},"2":{}}}`
	for _, c := range []struct {
		name, dialect, story string
		want                 string // in a complaint; empty: there is none
		owed                 int
	}{
		{"a visit", "id", in + ` <{"id":"newParticipantArrived","member":{"userId":"3"}} <{"id":"videoStateAnswer","userId":"3","video":true} <{"id":"participantLeft","userId":"3"}`, "", 0},
		{"who comes twice", "id", in + ` <{"id":"newParticipantArrived","member":{"userId":"2"}}`, "there already", 0},
		{"who leaves twice", "id", in + ` <{"id":"participantLeft","userId":"2"} <{"id":"participantLeft","userId":"2"}`, "not there", 0},
		{"who was never there leaves", "id", in + ` <{"id":"participantLeft","userId":"3"}`, "not there", 0},
		{"of one who has gone", "id", in + ` <{"id":"participantLeft","userId":"2"} <{"id":"audioStateAnswer","userId":"2"}`, "not there", 0},
		{"of another room", "id", in + ` <{"id":"newParticipantArrived","member":{"userId":"9"}}`, "stranger", 0},
		{"itself among the others", "id", `<{"id":"existingParticipants","members":[{"userId":"1"}]}`, "itself", 0},
		{"let in twice", "id", in + " " + in, "twice", 0},
		{"an answer", "id", in + ` >{"id":"receiveVideoFrom","userId":"2"} <{"id":"receiveVideoAnswer","userId":"2"}`, "", 0},
		{"two answers", "id", in + ` >{"id":"receiveVideoFrom","userId":"2"} <{"id":"receiveVideoAnswer","userId":"2"} <{"id":"receiveVideoAnswer","userId":"2"}`, "no offer", 0},
		{"no answer", "id", in + ` >{"id":"receiveVideoFrom","userId":"2"}`, "", 1},
		{"no answer of one who left", "id", in + ` >{"id":"receiveVideoFrom","userId":"2"} <{"id":"participantLeft","userId":"2"}`, "", 0},
		{"states out of order", "id", in + ` >{"id":"videoStateFrom","video":true} >{"id":"videoStateFrom"} <{"id":"videoStateAnswer","userId":"1"}`, "out of turn", 2},
		{"what no client knows", "id", in + ` <{"id":"myInfo"}`, "no client knows", 0},

		{"replies", "eventop", here + ` >{"eventOp":"memberList","reqId":"2"} <{"eventOp":"memberList","reqId":"2","code":"200","members":{"1":{},"2":{}}}`, "", 0},
		{"a list without one", "eventop", here + ` >{"eventOp":"memberList","reqId":"2"} <{"eventOp":"memberList","reqId":"2","code":"200","members":{"1":{}}}`, "before of 1", 0},
		{"two replies", "eventop", here + ` <{"eventOp":"joinRoom","reqId":"1","code":"442"}`, "does not wait for", 0},
		{"out of order", "eventop", here + ` >{"eventOp":"chat","reqId":"2"} >{"eventOp":"drawing","reqId":"3"} <{"eventOp":"drawing","reqId":"3","code":"200"}`, "before that", 1},
		{"media take their time", "eventop", here + ` >{"eventOp":"subscribe","reqId":"2"} >{"eventOp":"drawing","reqId":"3"} <{"eventOp":"drawing","reqId":"3","code":"200"}`, "", 1},
		{"chat", "eventop", here + ` <{"eventOp":"presence","type":"chat","user":"2","message":"tag\u0020a\u00207"} <{"eventOp":"presence","type":"chat","user":"2","message":"tag\u0020a\u00208"}`, "", 0},
		{"a chat is lost", "eventop", here + ` <{"eventOp":"presence","type":"chat","user":"2","message":"tag\u0020a\u00207"} <{"eventOp":"presence","type":"chat","user":"2","message":"tag\u0020a\u00209"}`, "after their word 7", 0},
		{"another room's chat", "eventop", here + ` <{"eventOp":"presence","type":"chat","user":"2","message":"gat\u0020a\u00207"}`, "in another room", 0},
		{"another room's event", "eventop", here + ` <{"eventOp":"presence","type":"leave","roomId":"r2","user":"2"}`, "another room's", 0},
		{"who leaves comes no more", "eventop", here + ` <{"eventOp":"presence","type":"leave","user":"2"} <{"eventOp":"presence","type":"publish","feeds":[{"id":"2"}]}`, "not there", 0},
		{"its own feed", "eventop", here + ` <{"eventOp":"presence","type":"publish","feeds":[{"id":"1"}]}`, "not there", 0},
		{"a stroke of nobody", "eventop", here + ` <{"eventOp":"drawing","userId":"3"}`, "not there", 0},
	} {
		got, owed := witnessed(c.dialect, strings.Fields(c.story))
		if (c.want == "") != (len(got) == 0) || !slices.ContainsFunc(append(got, ""), func(s string) bool { return strings.Contains(s, c.want) }) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if owed != c.owed {
			t.Errorf("%s: %d requests wait, want %d", c.name, owed, c.owed)
		}
	}
}

// witnessed plays a story to a witness, and gives its complaints and what is owed.
func witnessed(dialect string, story []string) (got []string, owed int) {
	met := newPeople()
	for _, m := range []*member{{user: "1", room: "r1"}, {user: "2", room: "r1"}, {user: "3", room: "r1"}, {user: "9", room: "r2"}} {
		met.add(m)
	}
	r := newRoll("1", "r1", "tag", met, new(account), func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) })
	var speaks tongue = &idTongue{roll: r, offers: make(map[string]int), late: make(map[string]int)}
	if dialect == "eventop" {
		speaks = &opTongue{roll: r, waiting: make(map[string]string)}
	}
	for _, line := range story {
		if line[0] == '>' {
			speaks.said([]byte(line[1:]))
		} else {
			speaks.heard([]byte(line[1:]))
		}
	}
	return got, speaks.owed()
}
