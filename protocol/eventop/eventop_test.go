package eventop

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"confgate/core"
)

// FuzzDecode looks for frames that make the codec panic, or that give other than
// exactly one of command and error.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"eventOp":"register","reqId":1,"cpCode":"KP","authKey":"k","userId":8,"forced":"true"}`,
		`{"eventOp":"createVideoRoom","reqId":"a","capacity":"5","destroy":"false","talkingNoty":"Y"}`,
		`{"eventOp":"sdpRoom","reqId":{},"roomId":"r","sdp":"{\"type\":\"OFFER\",\"sdp\":\"v=0\"}","type":"screen","target":"u"}`,
		`{"eventOp":"sdp","sdp":"v=0 a=setup:actpass","x":[1,{"y":null}]}`,
		`{"eventOp":"candidate","candidate":"{\"candidate\":\"c\",\"sdpMid\":0}","cam":"stream"}`,
		`{"eventOp":"createGroup","reqId":"g","roomId":"r","list":"[\"a\",1]"}`,
		`{"eventOp":"drawing","roomId":"r","xy":{"x0":0.1},"type":"line"}`,
		`{"eventOp":"permit","roomId":"r","target":"u","draw":"false"}`,
		`{"eventOp":"inform","target":"u","message":{"a":[1]}}`,
		`{"eventOp":"chat","code":"200"}`,
	} {
		f.Add([]byte(s))
	}
	codec := New(Knobs{}).Codec
	f.Fuzz(func(t *testing.T, b []byte) {
		cmd, ref, err := codec.Decode(b)
		if cmd != nil && err != nil {
			t.Fatalf("both command %v and error %v", cmd, err)
		}
		if c, ok := cmd.(core.Cast); ok { // what is passed on is a frame again
			for _, frame := range codec.Encode(core.Passed{From: "u", To: c.To, Topic: c.Topic, Body: c.Body}) {
				if _, _, err := codec.Decode(frame); err != nil && core.AsError(err).Code == core.Malformed {
					t.Fatalf("%q becomes %q: %v", b, frame, err)
				}
			}
		}
		codec.Encode(core.Reply{Ref: ref, Result: core.Done{}, Err: core.AsError(err)})
	})
}

// section gives the first column of the tables under a heading of the document.
func section(t *testing.T, heading string) (names []string) {
	doc, err := os.ReadFile("../../docs/eventop.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "\n## "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return names
}

// TestDocumented holds the codec against its document: every operation and every
// kind of presence stands there, and the reverse.
func TestDocumented(t *testing.T) {
	if said, documented := slices.Sorted(maps.Keys(requests(Knobs{}))), section(t, "Operations"); !slices.Equal(said, documented) {
		t.Errorf("the codec knows %v\nthe document %v", said, documented)
	}
	kinds := map[string]bool{}
	kind := regexp.MustCompile(`^{"eventOp":"presence","type":"(\w+)"`)
	codec := New(Knobs{NotifyDestroy: true}).Codec
	answer := core.JSON(`{"sdp":{"type":"answer","sdp":"a"}}`)
	for _, e := range []core.Event{
		core.MemberJoined{}, core.MemberLeft{}, core.MemberEdited{}, core.FeedsAdded{}, core.FeedRemoved{}, core.Found{},
		core.Shared{Content: core.ScreenShare}, core.Shared{Content: core.Whiteboard}, core.Shared{Content: core.Document},
		core.Shown{}, core.Unshared{}, core.Said{}, core.Speaking{}, core.Invited{}, core.Kicked{}, core.RoomClosed{},
		core.Passed{Topic: core.Notice}, core.Passed{Topic: core.CanvasAsked},
		core.Passed{Topic: core.CanvasShown, Body: core.JSON(`"x"`)},
		core.Reply{Ref: core.Ref{Op: "sdp"}, Result: core.Relayed{To: "u", Topic: core.Signal, Body: answer}},
	} {
		for _, frame := range codec.Encode(e) {
			if m := kind.FindSubmatch(frame); m != nil {
				kinds[string(m[1])] = true
			}
		}
	}
	if said, documented := slices.Sorted(maps.Keys(kinds)), section(t, "Events"); !slices.Equal(said, documented) {
		t.Errorf("the codec says %v\nthe document %v", said, documented)
	}
}

// TestEveryCodeHasItsWord holds the table of codes against core's.
func TestEveryCodeHasItsWord(t *testing.T) {
	for _, c := range core.Codes() {
		if codes[c] == "" {
			t.Errorf("no code for %s", c)
		}
	}
}

func TestKnobs(t *testing.T) {
	reply := core.Reply{Ref: core.Ref{Op: "sdpRoom"}, Result: core.Answered{Room: "r", Stream: core.Stream{User: "u", Source: core.Cam}, SDP: "a"}}
	offer := core.Reply{Ref: core.Ref{Op: "subscribe", ID: "1"}, Result: core.Offered{Room: "r", Stream: core.Stream{User: "u", Source: core.Cam}, SDP: "o"}}
	stroke := core.Passed{Room: "r", From: "u", Topic: core.Stroke, Body: core.JSON(`{"eventOp":"drawing","roomId":"r","type":"line"}`)}
	answered := core.Reply{Ref: core.Ref{Op: "sdp", ID: "1"}, Result: core.Relayed{To: "u", Topic: core.Signal, Body: core.JSON(`{"sdp":"v=0"}`)}}
	for _, tt := range []struct {
		name  string
		knobs Knobs
		event core.Event
		want  string
	}{
		{"SDP in the reply", Knobs{SDPDelivery: InReply}, reply, `{"eventOp":"sdpRoom","code":"200","message":"OK","roomId":"r","type":"cam","sdp":{"type":"answer","sdp":"a"}}`},
		{"SDP in the event", Knobs{SDPDelivery: InEvent}, offer, `{"eventOp":"subscribe","reqId":1,"code":"200","message":"OK","roomId":"r","type":"cam","target":"u"}
{"eventOp":"sdpRoom","roomId":"r","type":"cam","sdp":{"type":"offer","sdp":"o"},"target":"u","user":"u","userId":"u","displayId":"u","usage":"cam","useMediaSvr":"Y"}`},
		{"no reply without reqId", Knobs{OnlyWithReqID: true, SDPDelivery: InReply}, reply, ""},
		{"drawing as presence", Knobs{DrawingAsPresence: true}, stroke, `{"roomId":"r","eventOp":"presence","type":"drawing","user":"u"}`},
		{"drawing as itself", Knobs{}, stroke, `{"eventOp":"drawing","roomId":"r","type":"line","userId":"u","user":"u"}`},
		{"subscribed", Knobs{}, answered, `{"eventOp":"sdp","reqId":1,"code":"200","message":"OK"}
{"eventOp":"presence","type":"subscribed","user":"u","cam":true}`},
		{"no subscribed", Knobs{NoP2PSubscribed: true}, answered, `{"eventOp":"sdp","reqId":1,"code":"200","message":"OK"}`},
		{"destroyed in silence", Knobs{}, core.RoomClosed{Room: "r"}, ""},
		{"destroyed aloud", Knobs{NotifyDestroy: true}, core.RoomClosed{Room: "r"}, `{"eventOp":"presence","type":"destroyRoom","roomId":"r"}`},
		{"speaking", Knobs{}, core.Speaking{Room: "r", User: "u", On: true}, `{"eventOp":"presence","type":"talking","roomId":"r","user":"u","talking":true}`},
	} {
		var got []string
		for _, frame := range New(tt.knobs).Codec.Encode(tt.event) {
			got = append(got, string(frame))
		}
		if s := strings.Join(got, "\n"); s != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, s, tt.want)
		}
	}
	cmd, _, err := New(Knobs{Capacity: 7, AnyHost: true, Deny: core.Permits{Chat: true}}).Codec.Decode([]byte(`{"eventOp":"createRoom"}`))
	if c, ok := cmd.(core.Open); err != nil || !ok || c.Capacity != 7 || !c.AnyHost || c.Deny != (core.Permits{Chat: true}) {
		t.Errorf("created %+v, %v", cmd, err)
	}
}

// TestSenderIsKnownInEveryOperation: who a frame says it is from reaches core, which
// refuses it if it is anybody but the session's own user.
func TestSenderIsKnownInEveryOperation(t *testing.T) {
	codec := New(Knobs{}).Codec
	for op := range requests(Knobs{}) {
		want := core.UserID("victim")
		if op == "register" {
			want = "" // whoever registers is asked to prove it
		}
		for _, fields := range []string{``, `,"roomId":"r","target":"t","sdp":"v=0","candidate":"c","message":1,"img":"i","name":"n","groupId":"g","draw":true,"cpCode":"c","authKey":"k"`} {
			cmd, ref, err := codec.Decode([]byte(`{"eventOp":"` + op + `","reqId":1,"userId":"victim"` + fields + `}`))
			if ref.As != want || op != "register" && (cmd == nil || err != nil) {
				t.Errorf("%s is %v from %q, %v", op, cmd, ref.As, err)
			}
		}
	}
}

// TestListsWithinStrings: a list that is written within a string is bounded as any.
func TestListsWithinStrings(t *testing.T) {
	d := New(Knobs{})
	for list, want := range map[string]int{
		`["a","b"]`:                             2,
		` ["a", 7 ] `:                           2,
		`a`:                                     1,
		``:                                      0,
		`[` + strings.Repeat(`1,`, 4095) + `1]`: 4096,
		`[` + strings.Repeat(`1,`, 4096) + `1]`: -1,
		`["a"`:                                  -1,
		`["a"] "b"`:                             -1,
		`[{"a":"b"}]`:                           -1,
	} {
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		cmd, _, err := d.Codec.Decode(fmt.Appendf(nil, `{"eventOp":"createGroup","reqId":"g","roomId":"r","list":%s}`, text))
		if err != nil {
			t.Fatal(err)
		}
		got := -1
		if g, ok := cmd.(core.Group); ok {
			got = len(g.Users)
		}
		if got != want {
			t.Errorf("%.20q: %d users, want %d", list, got, want)
		}
	}
}
