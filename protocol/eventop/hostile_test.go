package eventop_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"confgate/core"
	"confgate/protocol/eventop"
	"confgate/protocol/wiretest"
)

// byTenant lets everyone in as who they say they are, in the tenant that they name.
func byTenant(c core.Credentials) (core.Grant, error) {
	return core.Grant{Tenant: core.TenantID(c.Tenant), User: c.User}, nil
}

// guest is somebody who has registered.
func guest(h *wiretest.Hall, tenant, user string) *wiretest.Voice {
	v := h.Voice(eventop.New(eventop.Knobs{}))
	v.Say(`{"eventOp":"register","reqId":1,"cpCode":%q,"authKey":"k","userId":%q}`, tenant, user)
	return v
}

// fields are what some operation or other has to have, or may have.
var fields = []string{
	``,
	`,"target":"ben","sdp":"v=0","candidate":"c","message":"m","img":"i","name":"n","groupId":"g","draw":true,"type":"cam","video":false,"list":["ben"]`,
	`,"target":"ben","sdp":{"type":"offer","sdp":"v=0"},"type":"screen","usage":"cam","host":"ann","title":"t","capacity":1,"audio":false,"chat":false,"useMediaSvr":"N"`,
	`,"target":"ben","sdp":{"type":"answer","sdp":"v=0"},"type":"cam","useMediaSvr":"Y","reqImage":true`,
}

// TestForeignRoomsAreAbsent: to every operation, a room of another tenant is answered
// like one that is not there, byte for byte; and who tries many is told the same of
// all of them.
func TestForeignRoomsAreAbsent(t *testing.T) {
	h := wiretest.NewHall(t, wiretest.AuthorizerFunc(byTenant), core.DefaultLimits())
	ben := guest(h, "theirs", "ben")
	for i := range 10 {
		ben.Say(`{"eventOp":"createVideoRoom","reqId":1,"roomId":"r100000%d"}`, i)
		ben.Say(`{"eventOp":"joinRoom","reqId":1,"roomId":"r100000%d"}`, i)
	}
	ben.Heard()
	absent := 0
	for _, op := range eventop.Operations() {
		for i, more := range fields {
			var told [2]string
			for j, room := range []string{"r1000001", "r2000001"} {
				user := fmt.Sprintf("eve%d%d", i, j) // who has tried nothing yet
				eve := guest(h, "ours-"+op, user)
				said := eve.Say(`{"eventOp":%q,"reqId":2,"roomId":%q,"cpCode":"ours","authKey":"k","userId":%q%s}`, op, room, user, more)
				told[j] = strings.NewReplacer(room, "ROOM", user, "EVE").Replace(strings.Join(said, "\n"))
				eve.Close()
			}
			if strings.Contains(told[0], `"code":"441"`) {
				absent++
			}
			if told[0] != told[1] || told[0] == "" && op != "candidate" {
				t.Errorf("%s %d: told apart:\n%s\n%s", op, i, told[0], told[1])
			}
		}
	}

	if absent < len(eventop.Operations()) {
		t.Errorf("%d answers said that there is no such room", absent)
	}

	eve := guest(h, "ours", "eve")
	answered := 0
	later := ""
	for i := range 10_000 {
		op := []string{"joinRoom", "memberList", "chat", "destroyRoom", "leaveRoom"}[i%5]
		room := fmt.Sprintf("r%d", 1000000+i/2*(1+i%2*1000)) // each other is one that is there, at first
		said := strings.Join(eve.Say(`{"eventOp":%q,"reqId":2,"roomId":%q,"message":"m"}`, op, room), "\n")
		switch said = strings.ReplaceAll(strings.ReplaceAll(said, room, "ROOM"), op, "OP"); {
		case strings.Contains(said, `"code":"441"`):
			answered++
		case later == "":
			later = said
		case said != later:
			t.Fatalf("%s %s: %s, and before that %s", op, room, said, later)
		}
	}
	if answered > core.DefaultLimits().Misses || !strings.Contains(later, `"code":"445"`) {
		t.Errorf("%d probes were answered, the others with %s", answered, later)
	}
	if heard := ben.Heard(); len(heard) > 0 {
		t.Errorf("ben heard %q", heard)
	}
}

// TestNobodySpeaksAsAnother has ann say each operation in the name of somebody of her
// room, of another room, of another tenant, of nobody and of herself in other letters:
// she is refused, and nobody hears or sees anything of it.
func TestNobodySpeaksAsAnother(t *testing.T) {
	h := wiretest.NewHall(t, wiretest.AuthorizerFunc(byTenant), core.DefaultLimits())
	people := map[string]*wiretest.Voice{}
	for _, p := range []struct{ user, tenant, room string }{
		{"ann", "ours", "r1"}, {"ben", "ours", "r1"}, {"cay", "ours", "r2"}, {"dan", "theirs", "r1"},
	} {
		v := guest(h, p.tenant, p.user)
		v.Say(`{"eventOp":"createVideoRoom","reqId":1,"roomId":%q}`, p.room) // or it is there
		v.Say(`{"eventOp":"joinRoom","reqId":1,"roomId":%q}`, p.room)
		people[p.user] = v
	}
	look := func() string {
		return fmt.Sprint(h.Room("ours", "r1"), h.Room("ours", "r2"), h.Room("theirs", "r1"), h.Hub.Stats())
	}
	for _, v := range people {
		v.Heard()
	}
	before := look()
	tried := 0
	for _, op := range eventop.Operations() {
		if op == "register" {
			continue // its userId is who one would like to be, which the authorizer judges
		}
		for _, user := range []string{`"ben"`, `"cay"`, `"dan"`, `"nobody"`, `7`, `"ANN"`, `" ann"`, `"ann\u0000"`} {
			for _, room := range []string{`"r1"`, `"r2"`, `"r3"`} {
				for _, more := range fields {
					tried++
					said := people["ann"].Say(`{"eventOp":%q,"reqId":2,"userId":%s,"roomId":%s%s}`, op, user, room, more)
					if len(said) != 1 || !strings.Contains(said[0], `"code":"412"`) {
						t.Errorf("%s as %s in %s: %q", op, user, room, said)
					}
				}
			}
		}
		for _, name := range []string{"ben", "cay", "dan"} {
			if heard := people[name].Heard(); len(heard) > 0 {
				t.Errorf("%s: %s heard %q", op, name, heard)
			}
		}
		if after := look(); after != before || len(h.Media()) > 0 {
			t.Errorf("%s: before\n%s\nafter\n%s", op, before, after)
		}
	}
	if want := (len(eventop.Operations()) - 1) * 8 * 3 * len(fields); tried != want || !slices.Contains(eventop.Operations(), "kickOut") {
		t.Errorf("%d tried of %d", tried, want)
	}
}
