package media

import (
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// maxSide is as wide and as high as any picture: more than formats here can say, and
// less than makes an area overflow.
const maxSide = 1<<15 - 1

// largestPicture is the largest picture, in pixels, that the owner of a section says it
// has use for: "imageattr:* recv [x=[16:400],y=[16:225]]" (RFC 6236). It is 0 when it
// says nothing, or that anything will do. What cannot be read says nothing.
func largestPicture(attributes []sdp.Attribute) int {
	largest := 0
	for _, a := range attributes {
		if a.Key != "imageattr" {
			continue
		}
		area := largestReceived(a.Value)
		if area == 0 {
			return 0
		}
		largest = max(largest, area)
	}
	return largest
}

// largestReceived reads one such attribute: the sets after "recv", up to "send".
func largestReceived(value string) int {
	largest := 0
	receives := false
	for word := range strings.FieldsSeq(value) {
		switch {
		case word == "recv":
			receives = true
		case word == "send":
			receives = false
		case receives:
			area := largestOfSet(word)
			if area == 0 {
				return 0
			}
			largest = max(largest, area)
		}
	}
	return largest
}

// largestOfSet reads "[x=800,y=600,q=0.6]", in which a side is a number, a range
// "[480:16:800]" or a list "[480,640]".
func largestOfSet(set string) int {
	inside, ok := strings.CutPrefix(set, "[")
	if !ok {
		return 0
	}
	x, ok := strings.CutPrefix(inside, "x=")
	if !ok {
		return 0
	}
	x, y, ok := strings.Cut(x, ",y=")
	if !ok {
		return 0
	}
	if end := strings.IndexFunc(y, isLetter); end >= 0 {
		y = y[:end] // other keys follow
	}
	return largestSide(x) * largestSide(y)
}

// largestSide is the largest number of a side; 0 when one makes no sense.
func largestSide(values string) int {
	largest := 0
	for _, v := range strings.FieldsFunc(values, func(r rune) bool { return strings.ContainsRune("[]:,", r) }) {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return 0
		}
		largest = max(largest, min(n, maxSide))
	}
	return largest
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }
