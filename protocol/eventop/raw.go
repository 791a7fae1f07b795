package eventop

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"confgate/core"
	"confgate/protocol"
)

// without gives a JSON object that has passed protocol.Check without some of its
// members, the rest as it was to the letter.
func without(object []byte, names ...string) core.JSON {
	dec := jsontext.NewDecoder(bytes.NewBuffer(object))
	_, _ = dec.ReadToken() // the brace; Check has seen that all is well
	out := []byte{'{'}
	for dec.PeekKind() == jsontext.KindString {
		name, _ := dec.ReadToken()
		drop := slices.Contains(names, name.String())
		quoted := protocol.Write(name.String())
		value, _ := dec.ReadValue()
		if drop {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, quoted...), ':'), value...)
	}
	return append(out, '}')
}

// with gives a JSON object with the members of another one after its own.
func with(object core.JSON, more any) []byte {
	tail := protocol.Write(more)
	if len(object) == 0 || bytes.Equal(object, []byte("{}")) {
		return tail
	}
	out := make([]byte, 0, len(object)+len(tail))
	out = append(out, object[:len(object)-1]...)
	return append(append(out, ','), tail[1:]...)
}
