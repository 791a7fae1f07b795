package transport

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func (p sioPacket) String() string {
	return fmt.Sprintf("%c %d %s %q %s", p.kind, p.attachments, p.namespace, p.ack, p.data)
}

func TestDecodeSocketIO(t *testing.T) {
	tests := []struct{ text, want string }{
		{`0`, `0 0 / "" `},
		{`0{"token":"123"}`, `0 0 / "" {"token":"123"}`},
		{`0/SignalServer,`, `0 0 /SignalServer "" `},
		{`0/SignalServer`, `0 0 /SignalServer "" `},
		{`0/SignalServer?token=x,`, `0 0 /SignalServer?token=x "" `},
		{`0/chat,{"a":"b"}`, `0 0 /chat "" {"a":"b"}`},
		{`1`, `1 0 / "" `},
		{`1/chat,`, `1 0 /chat "" `},
		{`2["hello"]`, `2 0 / "" ["hello"]`},
		{`2["hello",1,"2",{"3":[true]}]`, `2 0 / "" ["hello",1,"2",{"3":[true]}]`},
		{`2456["hello"]`, `2 0 / "456" ["hello"]`},
		{`2/chat,0["hello"]`, `2 0 /chat "0" ["hello"]`},
		{`2/,["hello"]`, `2 0 / "" ["hello"]`},
		{`2`, `2 0 / "" `},
		{`27`, `2 0 / "7" `},
		{`2[7]`, `2 0 / "" [7]`},
		{`2[-7]`, `2 0 / "" [-7]`},
		{`2 [ "hello" ]`, `2 0 / ""  [ "hello" ]`},
		{`3456["ok"]`, `3 0 / "456" ["ok"]`},
		{`3/chat,456[]`, `3 0 /chat "456" []`},
		{`51-["hello",{"_placeholder":true,"num":0}]`, `5 1 / "" ["hello",{"_placeholder":true,"num":0}]`},
		{`510-/chat,7["hello"]`, `5 10 /chat "7" ["hello"]`},
		{`61-456[{"_placeholder":true,"num":0}]`, `6 1 / "456" [{"_placeholder":true,"num":0}]`},
		{`4"no"`, `4 0 / "" "no"`},

		{``, ``}, {`7`, ``}, {`abc`, ``}, {`-`, ``},
		{`0"x"`, ``}, {`0[]`, ``}, {`0{`, ``}, {`0/chat,x`, ``}, {`0{}{}`, ``},
		{`1{}`, ``}, {`1/chat,"x"`, ``},
		{`2{}`, ``}, {`2"hello"`, ``}, {`2[]`, ``}, {`2[null]`, ``}, {`2[{}]`, ``}, {`2[true]`, ``}, {`2["hello"`, ``}, {`2["hello",]`, ``}, {`2x`, ``},
		{`2["connect"]`, ``}, {`2["disconnect",1]`, ``}, {`2["connect_err\u006fr"]`, ``}, {`2["newListener"]`, ``},
		{`2[["hello"]]`, ``}, {`2-1["hello"]`, ``}, {`21.5["hello"]`, ``},
		{`21234567890123456["hello"]`, ``},
		{`3{}`, ``}, {`3"x"`, ``},
		{`4[]`, ``}, {`41`, `4 0 / "1" `},
		{`5["hello"]`, ``}, {`50-["hello"]`, ``}, {`511-["hello"]`, ``}, {`5-["hello"]`, ``}, {`51`, ``}, {`51.0-["hello"]`, ``},
		{`5+1-["hello"]`, ``}, {`5-1-["hello"]`, ``}, {`5999999999999999999999-["hello"]`, ``}, {`6x-[]`, ``},
		{`2/` + strings.Repeat("x", maxName) + `,["hello"]`, ``},
		{`2["` + strings.Repeat("[", 20000) + `]`, ``},
	}
	for _, tt := range tests {
		got, err := decodeSocketIO([]byte(tt.text))
		switch {
		case tt.want == "" && !errors.Is(err, ErrBroken):
			t.Errorf("%.60q: taken as %s, %v", tt.text, got, err)
		case tt.want != "" && (err != nil || got.String() != tt.want):
			t.Errorf("%.60q: %s, %v, want %s", tt.text, got, err, tt.want)
		}
	}
}

func TestFrameOfAnEvent(t *testing.T) {
	tests := []struct{ text, name, frame string }{
		{`2["hello",{"a":1}]`, "hello", `{"a":1}`},
		{`2["hello",{"a":1},{"b":2},3]`, "hello", `{"a":1}`},
		{`2[ "h\u0065llo" , {"a":[1,{"b":"],}\"["}]} , 3 ]`, "hello", `{"a":[1,{"b":"],}\"["}]}`},
		{`2["hello","{\"a\":1}"]`, "hello", `{"a":1}`},
		{`2["hello","text"]`, "hello", `text`},
		{`2["hello",""]`, "hello", ``},
		{`2["hello",null]`, "hello", `null`},
		{`2["hello",[1,2]]`, "hello", `[1,2]`},
		{`2["hello",12]`, "hello", `12`},
		{`2["hello"]`, "hello", `null`},
		{`2["he,llo",1]`, "he,llo", `1`},
		{`2["he\"],llo",1]`, `he"],llo`, `1`},
		{`51-["hello",{"a":1},{"_placeholder":true,"num":0}]`, "hello", `{"a":1}`},
		{`51-["hello",{"a":{"_placeholder":true,"num":0}}]`, "hello", `null`},
		{`2["hello",{"_placeholder":true}]`, "hello", `{"_placeholder":true}`},
	}
	for _, tt := range tests {
		p, err := decodeSocketIO([]byte(tt.text))
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if !p.named(tt.name) || p.named(tt.name+"x") || string(p.frame()) != tt.frame {
			t.Errorf("%s: %s", tt.text, p.frame())
		}
	}
	for _, text := range []string{`2`, `2[7,1]`} {
		if p, err := decodeSocketIO([]byte(text)); err != nil || p.named("hello") || p.named("7") {
			t.Errorf("%s has a name, or %v", text, err)
		}
	}
}

// A packet is read as the parts that it is made of, or refused; its arguments are
// those that a JSON library finds.
func FuzzSocketIOPacket(f *testing.F) {
	for _, seed := range []string{`0`, `0/chat,{"a":1}`, `2["hello",{"a":1}]`, `2/chat,12["hello","x",[1]]`, `51-/chat,7["hello",{"_placeholder":true,"num":0}]`,
		`61-1[]`, `3/x,1["y"]`, `41`, `4{}`, `1/a`, "2[\"\xff\"]", `2["a\u0022,]",1]`, `2["a","{\"b\":1}"]`, `599-[]`, `2 [ 1 , 2 ] `, `2[1`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := decodeSocketIO(text)
		if err != nil {
			if !errors.Is(err, ErrBroken) {
				t.Fatalf("unknown error %v", err)
			}
			return
		}
		if p.kind < sioConnect || p.kind > sioBinaryAck || p.attachments > maxAttachments || len(p.namespace) > maxName ||
			len(p.ack) > maxAckDigits || len(p.data) > 0 && !json.Valid(p.data) {
			t.Fatalf("%q is %s", text, p)
		}
		if p.kind != sioEvent && p.kind != sioBinaryEvent || len(p.data) == 0 {
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(p.data, &want); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got := p.argument(i); string(got) != string(want[i]) {
				t.Fatalf("argument %d of %q is %q, want %q", i, p.data, got, want[i])
			}
		}
		if got := p.argument(len(want)); got != nil {
			t.Fatalf("%q has one more: %q", p.data, got)
		}
		p.frame()
		p.named("hello")
	})
}
