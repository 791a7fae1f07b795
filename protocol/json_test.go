package protocol

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"confgate/core"
)

func TestCheckRefusesWhatOthersMightReadDifferently(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	wide := func(n int) string {
		var b strings.Builder
		b.WriteString(`{"a0":0`)
		for i := 1; i < n; i++ {
			b.WriteString(`,"a` + strings.Repeat("b", i) + `":0`)
		}
		return b.String() + "}"
	}
	long := func(n int) string { return `{"a":[0` + strings.Repeat(",0", n-1) + "]}" }
	for name, frame := range map[string]string{
		"empty": "", "blank": " ", "array": "[]", "string": `"x"`, "number": "1", "null": "null", "open": "{",
		"beyond a double": `{"a":1e309}`, "as far below": `{"a":[-1e999]}`,
		"two values": "{} {}", "trailing": "{}x", "comma": `{"a":1,}`, "single quotes": "{'a':1}", "comment": "{/**/}",
		"twice": `{"a":1,"a":2}`, "twice, escaped": `{"a":1,"\u0061":2}`, "twice, within": `{"x":[{"a":1,"a":2}]}`,
		"bad UTF-8": "{\"a\":\"\xff\"}", "bad UTF-8 name": "{\"\xc0\x80\":1}", "lone surrogate": `{"a":"\ud800"}`,
		"control": "{\"a\":\"\x01\"}", "NaN": `{"a":NaN}`, "infinity": `{"a":Infinity}`, "leading zero": `{"a":01}`,
		"hex": `{"a":0x1}`, "BOM": "\ufeff{}", "NUL": "{}\x00",
		"bool": "true", "close": "}", "colon": "{:}", "name alone": `{"a"}`, "no value": `{"a":}`, "no name": `{1:2}`,
		"null name": `{null:1}`, "two colons": `{"a"::1}`, "no comma": `{"a":1 "b":2}`, "two commas": `{"a":1,,"b":2}`,
		"first comma": `{,"a":1}`, "array comma": `{"a":[1,]}`, "array hole": `{"a":[,1]}`, "wrong bracket": `{"a":[1}`,
		"wrong brace": `{"a":{]}`, "open array": `{"a":[`, "open string": `{"a":"`, "open name": `{"a`, "open escape": `{"a":"\`,
		"twice, deep": `{"x":{"y":{"a":1,"a":1}}}`, "twice, a name escaped in part": `{"user":1,"us\u0065r":2}`,
		"twice, a thousand apart": `{"a":1,"b":[` + strings.Repeat("0,", 1000) + `0],"a":2}`,
		"twice, empty":            `{"":1,"":2}`, "twice, beyond ASCII": "{\"\u00e9\":1,\"\\u00e9\":2}",
		"surrogates turned": `{"a":"\udc00\ud800"}`, "low surrogate": `{"a":"\udc00"}`, "surrogate then text": `{"a":"\ud800x"}`,
		"surrogate name": `{"\ud800":1}`, "surrogate in UTF-8": "{\"a\":\"\xed\xa0\x80\"}", "overlong": "{\"a\":\"\xc0\xaf\"}",
		"beyond Unicode": "{\"a\":\"\xf4\x90\x80\x80\"}", "cut UTF-8": "{\"a\":\"\xe2\x82\"}", "bad escape": `{"a":"\x41"}`,
		"short escape": `{"a":"\u12"}`, "hex escape": `{"a":"\u00g0"}`, "raw newline": "{\"a\":\"\n\"}", "raw tab": "{\"a\":\"\t\"}",
		"raw NUL": "{\"a\":\"\x00\"}", "minus": `{"a":-}`, "plus": `{"a":+1}`, "point": `{"a":.5}`, "point last": `{"a":1.}`,
		"exponent": `{"a":1e}`, "minus infinity": `{"a":-Infinity}`, "minus NaN": `{"a":-NaN}`, "undefined": `{"a":undefined}`,
		"True": `{"a":True}`, "nul": `{"a":nul}`, "truee": `{"a":truee}`, "underscore": `{"a":1_000}`, "line comment": "{}//x",
		"form feed": "{\f}", "no-break space": "{\u00a0}", "separator": "{\u2028}", "array after": "{}[]", "comma after": "{},",
		"deep arrays":      `{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}",
		"unfinished depth": strings.Repeat(`{"a":[`, 5000), "wide within": `{"x":[` + wide(maxMembers+1) + "]}",
		"long within": `{"x":{"y":` + long(maxElements+1) + "}}",
		"too deep":    deep(maxDepth + 1), "much too deep": deep(20000), "too wide": wide(maxMembers + 1), "too long": long(maxElements + 1),
	} {
		if err := Check([]byte(frame)); err == nil || core.AsError(err).Code != core.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, frame := range map[string]string{
		"empty": "{}", "space": " {\n} ", "at depth": deep(maxDepth), "as wide": wide(maxMembers), "as long": long(maxElements),
		"other case": `{"a":1,"A":2}`, "any script": `{"이름":"익명 \ud83d\ude00"}`,
	} {
		if err := Check([]byte(frame)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCheckCostsLittle: a frame costs a small multiple of its size, however it is
// made.
func TestCheckCostsLittle(t *testing.T) {
	const size = 1 << 16
	for name, frame := range map[string]string{
		"objects":   `{"a":[` + strings.Repeat("{},", 4000) + "{}]}",
		"members":   `{"a":[` + strings.Repeat(`{"a":1,"b":2},`, 4000) + "{}]}",
		"depth":     strings.Repeat(`{"a":`, size/5),
		"elements":  `{"a":[` + strings.Repeat("0,", size/2),
		"a string":  `{"a":"` + strings.Repeat("x", size) + `"}`,
		"escapes":   `{"a":"` + strings.Repeat(`\u0041`, size/6) + `"}`,
		"a name":    `{"` + strings.Repeat("x", size) + `":1}`,
		"a number":  `{"a":` + strings.Repeat("9", size) + `}`,
		"backslash": `{"a":"` + strings.Repeat(`\\`, size/2) + `"}`,
	} {
		const rounds = 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			_ = Check([]byte(frame)) // what it says is other tests' business
		}
		runtime.ReadMemStats(&after)
		if got, most := (after.TotalAlloc-before.TotalAlloc)/rounds, uint64(20*len(frame)); got > most {
			t.Errorf("%s: %d bytes for a frame of %d", name, got, len(frame))
		}
	}
}

func TestNamesAreMatchedToTheLetter(t *testing.T) {
	got, err := Read[struct {
		User Text `json:"userId"`
	}]([]byte(`{"USERID":"a","userid":"b","u\u017ferId":"c","userId":"d"}`))
	if err != nil || got.User != "d" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTolerantScalars(t *testing.T) {
	type fields struct {
		Text   Text   `json:"t"`
		Flag   Flag   `json:"f"`
		Number Number `json:"n"`
	}
	on, off := new(true), new(false)
	for in, want := range map[string]any{
		`{"t":"8"}`: "8", `{"t":8}`: "8", `{"t":null}`: "", `{}`: "", `{"t":""}`: "", `{"t":-1.5e3}`: "-1.5e3",
		`{"f":true}`: on, `{"f":"true"}`: on, `{"f":"TRUE"}`: on, `{"f":1}`: on, `{"f":"1"}`: on, `{"f":"Y"}`: on,
		`{"f":false}`: off, `{"f":"false"}`: off, `{"f":0}`: off, `{"f":"0"}`: off, `{"f":"N"}`: off,
		`{"f":null}`: (*bool)(nil), `{"f":""}`: (*bool)(nil), `{"x":1}`: (*bool)(nil),
		`{"n":5}`: 5, `{"n":"5"}`: 5, `{"n":" -5 "}`: -5, `{"n":null}`: -99, `{"n":""}`: -99,
	} {
		f, err := Read[fields]([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		switch want := want.(type) {
		case string:
			if string(f.Text) != want {
				t.Errorf("%s: text %q", in, f.Text)
			}
		case *bool:
			if got := f.Flag.Ptr(); (got == nil) != (want == nil) || got != nil && *got != *want {
				t.Errorf("%s: flag %v", in, got)
			}
		case int:
			if got := f.Number.Or(-99); got != want {
				t.Errorf("%s: number %d", in, got)
			}
		}
	}
	for _, in := range []string{
		`{"t":true}`, `{"t":{}}`, `{"t":["a"]}`, `{"f":"maybe"}`, `{"f":2}`, `{"f":{}}`, `{"f":[true]}`,
		`{"n":"x"}`, `{"n":1.5}`, `{"n":1e309}`, `{"n":99999999999999999999}`, `{"n":true}`, `{"n":{}}`,
	} {
		if _, err := Read[fields]([]byte(in)); err == nil || core.AsError(err).Code != core.Invalid {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestBadFieldIsNamed(t *testing.T) {
	_, err := Read[struct {
		C struct {
			Mid Text `json:"sdpMid"`
		} `json:"candidate"`
	}]([]byte(`{"candidate":{"sdpMid":[]}}`))
	if e, ok := errors.AsType[*core.Error](err); !ok || e.Msg != `field "candidate/sdpMid" makes no sense` {
		t.Errorf("got %v", err)
	}
}

// FuzzCheck looks for a frame that passes Check and cannot be read.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"id":"joinRoom","userId":8,"candidate":{"candidate":"c"},"list":[1,"2",null,true]}`))
	f.Add([]byte("{\"\xff\":1}"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if Check(frame) != nil {
			return
		}
		if _, err := Read[map[string]any](frame); err != nil {
			t.Fatalf("%q passed and cannot be read: %v", frame, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	frame := []byte(`{"id":"receiveVideoFrom","userId":"8","sdpOffer":"` + strings.Repeat(`a=rtpmap:111 opus/48000/2\r\n`, 250) + `"}`)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Check(frame); err != nil {
			b.Fatal(err)
		}
	}
}
