package eventop

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"confgate/core"
	"confgate/protocol"
)

// sdp is a session description: an object, a JSON string of one, or a bare SDP.
type sdp struct{ Type, SDP string }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *sdp) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	text, object, err := textOrObject(dec)
	if err != nil {
		return err
	}
	if strings.HasPrefix(text, "v=") {
		s.SDP, s.Type = text, "offer"
		if !strings.Contains(text, "a=setup:actpass") { // RFC 8842: every offer has it
			s.Type = "answer"
		}
		return nil
	}
	var f struct {
		Type string `json:"type"`
		SDP  string `json:"sdp"`
	}
	if err := json.Unmarshal(object, &f); err != nil {
		return err
	}
	s.Type, s.SDP = strings.ToLower(f.Type), f.SDP
	return nil
}

// candidate is an ICE candidate: an object, a JSON string of one, or a bare
// candidate line; null and "" are the end of candidates.
type candidate struct {
	core.Candidate
	given bool
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (c *candidate) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	text, object, err := textOrObject(dec)
	if err != nil {
		return err
	}
	c.given = true
	if object == nil || string(object) == "null" {
		c.Line = text
		return nil
	}
	var f struct {
		Line  string          `json:"candidate"`
		Mid   protocol.Text   `json:"sdpMid"`
		Index protocol.Number `json:"sdpMLineIndex"`
		Ufrag protocol.Text   `json:"usernameFragment"`
	}
	if err := json.Unmarshal(object, &f); err != nil {
		return err
	}
	c.Candidate = core.Candidate{Line: f.Line, Mid: string(f.Mid), Index: uint16(f.Index.Or(0)), Ufrag: string(f.Ufrag)}
	return nil
}

// textOrObject reads a value that is an object, a JSON string of an object, or any
// other string; null is an object.
func textOrObject(dec *jsontext.Decoder) (text string, object jsontext.Value, err error) {
	v, err := dec.ReadValue()
	if err != nil {
		return "", nil, err
	}
	switch v.Kind() {
	case jsontext.KindBeginObject, jsontext.KindNull:
		return "", v.Clone(), nil
	case jsontext.KindString:
		if err := json.Unmarshal(v, &text); err != nil {
			return "", nil, err
		}
		if inner := strings.TrimSpace(text); strings.HasPrefix(inner, "{") || inner == "null" {
			if inner != "null" && protocol.Check([]byte(inner)) != nil {
				return "", nil, errors.New("not valid JSON within a string")
			}
			return "", jsontext.Value(inner), nil
		}
		return text, nil, nil
	}
	return "", nil, errors.New("neither object nor string")
}

// source says which of a user's streams is meant, in any of the spellings of type
// and cam. Absent is the camera.
type source core.Source

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *source) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch strings.ToLower(tok.String()) {
	case "true", "1", "cam", "camera", "", "null":
		*s = source(core.Cam)
	case "false", "0", "screen", "stream":
		*s = source(core.Screen)
	default:
		return errors.New("neither cam nor screen")
	}
	return nil
}

// orCam gives what the client said, or the camera.
func (s source) orCam() core.Source {
	if s == "" {
		return core.Cam
	}
	return core.Source(s)
}

// users is a list of user ids: an array, a JSON string of one, or one id.
type users []core.UserID

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (u *users) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	*u = nil
	if v.Kind() == jsontext.KindString {
		var text string
		if err := json.Unmarshal(v, &text); err != nil {
			return err
		}
		if !strings.HasPrefix(strings.TrimSpace(text), "[") {
			if text != "" {
				*u = users{core.UserID(text)}
			}
			return nil
		}
		if protocol.CheckList([]byte(text)) != nil {
			return errors.New("not a valid list within a string")
		}
		v = jsontext.Value(text)
	}
	var list []protocol.Text
	if err := json.Unmarshal(v, &list); err != nil {
		return err
	}
	for _, id := range list {
		*u = append(*u, core.UserID(id))
	}
	return nil
}
