package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"confgate/core"
)

// The bounds of a frame's shape. Its size is the transport's to bound.
const (
	maxDepth    = 16   // objects and arrays within each other
	maxMembers  = 64   // of one object
	maxElements = 4096 // of one array
)

// Check reports whether a frame is one JSON object that everybody reads alike:
// valid UTF-8, no name twice in an object, nothing after it, and within the bounds
// of depth and width. What dialects decode must have passed it.
func Check(frame []byte) error {
	return check(frame, jsontext.KindBeginObject, "a frame is a JSON object")
}

// CheckList is Check for an array, as some clients write one within a string.
func CheckList(list []byte) error {
	return check(list, jsontext.KindBeginArray, "a list is a JSON array")
}

func check(text []byte, kind jsontext.Kind, what string) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text))
	if dec.PeekKind() != kind {
		return malformed(what, nil)
	}
	for {
		tok, err := dec.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return malformed("not valid JSON", wrong(dec.InputOffset(), err))
		case tok.Kind() == jsontext.KindNumber && overflows(tok):
			return malformed("a number that not everybody can read", nil)
		}
		depth := dec.StackDepth()
		kind, n := dec.StackIndex(depth)
		switch {
		case depth == 0 && n > 1:
			return malformed("more than one JSON value", nil)
		case depth > maxDepth:
			return malformed("nested too deeply", nil)
		case kind == jsontext.KindBeginObject && n > 2*maxMembers: // names count too
			return malformed("too many members", nil)
		case kind == jsontext.KindBeginArray && n > maxElements:
			return malformed("too many elements", nil)
		}
	}
}

// overflows reports whether a number is more than a double can be (RFC 8259 section 6):
// some then read infinity, some nothing at all.
func overflows(number jsontext.Token) bool {
	_, err := number.Float()
	return err != nil
}

// wrong says what is wrong with JSON. The library would quote it, and what is in a
// frame may be a secret.
func wrong(at int64, err error) error {
	what := "syntax error"
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		what = "duplicate name"
	case errors.Is(err, io.ErrUnexpectedEOF):
		what = "unexpected end"
	}
	return fmt.Errorf("%s after byte %d", what, at)
}

// Read decodes the fields of F from a frame, whose names are matched to the letter.
// Fields that F does not have are ignored.
func Read[F any](frame []byte) (F, error) {
	var f F
	if err := json.Unmarshal(frame, &f); err != nil {
		msg := "a field has the wrong type"
		if bad, ok := errors.AsType[*json.SemanticError](err); ok && bad.JSONPointer != "" {
			msg = "field " + strconv.Quote(string(bad.JSONPointer)[1:]) + " makes no sense"
		}
		return f, &core.Error{Code: core.Invalid, Msg: msg, Cause: err}
	}
	return f, nil
}

// Write encodes v, which must be a type that can always be encoded.
func Write(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Decoder reads a frame whose kind is known and that has passed Check. It gives a
// command or an error, never both.
type Decoder func(frame []byte) (core.Command, error)

// On makes a Decoder for frames with the fields of F.
func On[F any](to func(F) (core.Command, error)) Decoder {
	return func(frame []byte) (core.Command, error) {
		f, err := Read[F](frame)
		if err != nil {
			return nil, err
		}
		cmd, err := to(f)
		if err != nil {
			return nil, err
		}
		return cmd, nil
	}
}

// Missing says that a field must be there and is not.
func Missing(field string) error {
	return core.Errorf(core.Missing, "field %q is missing", field)
}

// Need refuses a request that lacks a field it must have. Names and values come in
// turn; the first that is empty is named.
func Need(pairs ...Text) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return Missing(string(pairs[i]))
		}
	}
	return nil
}

func malformed(msg string, cause error) error {
	return &core.Error{Code: core.Malformed, Msg: msg, Cause: cause}
}

// Text is a string that clients may write as a number. Null is the empty string.
type Text string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *Text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch tok.Kind() {
	case jsontext.KindString, jsontext.KindNumber:
		*t = Text(tok.String())
	case jsontext.KindNull:
		*t = ""
	default:
		return errors.New("neither string nor number")
	}
	return nil
}

// Flag is a boolean that clients may write as a string or a number. Null and the
// empty string are as good as absent.
type Flag struct{ value *bool }

var (
	flagOn  = []string{"true", "1", "y", "yes", "on"}
	flagOff = []string{"false", "0", "n", "no", "off"}
)

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (f *Flag) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	*f = Flag{}
	switch word := strings.ToLower(tok.String()); {
	case tok.Kind() == jsontext.KindNull || word == "":
	case tok.Kind() == jsontext.KindBeginObject || tok.Kind() == jsontext.KindBeginArray:
		return errors.New("not a boolean")
	case slices.Contains(flagOn, word):
		f.value = new(true)
	case slices.Contains(flagOff, word):
		f.value = new(false)
	default:
		return errors.New("not a boolean")
	}
	return nil
}

// Ptr gives the value, or nil where the client gave none.
func (f Flag) Ptr() *bool { return f.value }

// Or gives the value, or otherwise where the client gave none.
func (f Flag) Or(otherwise bool) bool {
	if f.value == nil {
		return otherwise
	}
	return *f.value
}

// Number is an integer that clients may write as a string. Null and the empty
// string are as good as absent.
type Number struct{ value *int }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (n *Number) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	*n = Number{}
	if tok.Kind() == jsontext.KindNull || tok.String() == "" {
		return nil
	}
	v, err := strconv.Atoi(strings.TrimSpace(tok.String()))
	if err != nil {
		return errors.New("not an integer")
	}
	n.value = &v
	return nil
}

// Ptr gives the value, or nil where the client gave none.
func (n Number) Ptr() *int { return n.value }

// Or gives the value, or otherwise where the client gave none.
func (n Number) Or(otherwise int) int {
	if n.value == nil {
		return otherwise
	}
	return *n.value
}
