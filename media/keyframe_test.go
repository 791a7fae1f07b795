package media

import "testing"

func TestH264Keyframe(t *testing.T) {
	for name, test := range map[string]struct {
		payload []byte
		want    bool
	}{
		"empty":                        {nil, false},
		"SPS":                          {[]byte{0x67, 0x42}, true},
		"SPS, cut":                     {[]byte{0x67}, false},
		"PPS":                          {[]byte{0x68, 0xce}, false},
		"SEI":                          {[]byte{0x06, 0x05}, false},
		"IDR":                          {[]byte{0x65, 0x88}, true},
		"IDR, cut":                     {[]byte{0x65}, false},
		"IDR, second slice":            {[]byte{0x65, 0x48}, false},
		"delta":                        {[]byte{0x41, 0x9a}, false},
		"SPS and PPS together":         {[]byte{24, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce}, true},
		"SEI and IDR together":         {[]byte{24, 0, 1, 0x06, 0, 2, 0x65, 0x88}, true},
		"PPS and a slice together":     {[]byte{24, 0, 2, 0x68, 0xce, 0, 2, 0x41, 0x9a}, false},
		"together, nothing":            {[]byte{24}, false},
		"together, a size cut":         {[]byte{24, 0}, false},
		"together, a unit cut":         {[]byte{24, 0, 9, 0x67}, false},
		"together, a unit of no size":  {[]byte{24, 0, 0, 0, 2, 0x67, 0x42}, false},
		"part of IDR, first":           {[]byte{28 | 0x60, 0x80 | 5, 0x88}, true},
		"part of IDR, first, cut":      {[]byte{28 | 0x60, 0x80 | 5}, false},
		"part of IDR, of second slice": {[]byte{28 | 0x60, 0x80 | 5, 0x48}, false},
		"part of IDR, later":           {[]byte{28 | 0x60, 5, 0x88}, false},
		"part of IDR, last":            {[]byte{28 | 0x60, 0x40 | 5, 0x88}, false},
		"part of SPS, first":           {[]byte{28 | 0x60, 0x80 | 7, 0x42}, true},
		"part of delta, first":         {[]byte{28 | 0x60, 0x80 | 1, 0x9a}, false},
		"part, cut":                    {[]byte{28}, false},
	} {
		if got, _ := h264Keyframe(test.payload); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestVP9Keyframe(t *testing.T) {
	sizes := []byte{0x30, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68} // two layers: 320x180, 640x360
	for name, test := range map[string]struct {
		payload []byte
		want    bool
		area    int
	}{
		"empty":                        {nil, false, 0},
		"key":                          {[]byte{0x08, 0x82}, true, 0},
		"descriptor only":              {[]byte{0x08}, false, 0},
		"not the start":                {[]byte{0x00, 0x82}, false, 0},
		"delta":                        {[]byte{0x48, 0x86}, false, 0},
		"short picture id":             {[]byte{0x88, 0x11, 0x82}, true, 0},
		"long picture id":              {[]byte{0x88, 0x91, 0x22, 0x82}, true, 0},
		"picture id cut":               {[]byte{0x88}, false, 0},
		"long picture id cut":          {[]byte{0x88, 0x91}, false, 0},
		"layers":                       {[]byte{0xa8, 0x11, 0x00, 0x07, 0x82}, true, 0},
		"layers, flexible":             {[]byte{0xb8, 0x11, 0x00, 0x82}, true, 0},
		"layers, an upper one":         {[]byte{0xb8, 0x11, 0x03, 0x82}, false, 0},
		"layers cut":                   {[]byte{0xa8, 0x11}, false, 0},
		"counter cut":                  {[]byte{0xa8, 0x11, 0x00}, false, 0},
		"sizes":                        {append([]byte{0x0a}, append(sizes, 0x82)...), true, 640 * 360},
		"sizes, one cut":               {append([]byte{0x0a}, sizes[:6]...), true, 320 * 180},
		"structure without sizes":      {[]byte{0x0a, 0x00, 0x82}, true, 0},
		"structure missing":            {[]byte{0x0a}, false, 0},
		"flexible delta":               {[]byte{0xd8, 0x11, 0x02, 0x86}, false, 0},
		"all of it, not flexible, key": {append([]byte{0xaa, 0x91, 0x22, 0x00, 0x07}, append(sizes, 0x82)...), true, 640 * 360},
	} {
		if key, area := vp9Keyframe(test.payload); key != test.want || area != test.area {
			t.Errorf("%s: %v, %d pixels", name, key, area)
		}
	}
}

// FuzzKeyframe gives what anybody may send to each of the formats.
func FuzzKeyframe(f *testing.F) {
	for _, seed := range [][]byte{
		{0x90, 0xf0, 0x81, 2, 3, 4, 0}, {0x10, 0, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0},
		{0x67, 0x42}, {24, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce}, {28 | 0x60, 0x85, 0x88},
		{0xaa, 0x91, 0x22, 0, 7, 0x30, 1, 0x40, 0, 0xb4, 2, 0x80, 1, 0x68, 0x82}, {0xd8, 0x11, 2, 0x86},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for format := range formats {
			if key, area := format.beginsKeyframe(b); key && len(b) < 2 || !key && area > 0 || area < 0 {
				t.Fatalf("format %d: %v, %d pixels, of %d bytes", format, key, area, len(b))
			}
		}
	})
}

// TestReplayBeginsWithParameters: who joins gets the parameters of an H.264 picture,
// which come before it in packets of their own.
func TestReplayBeginsWithParameters(t *testing.T) {
	r := newRing(16)
	put := func(seq uint16, stamp uint32, key bool) {
		r.put(packet{index: r.index(seq), stamp: stamp, key: key, size: 100}, nil)
	}
	put(1, 10, true) // a picture before
	put(2, 10, false)
	put(3, 20, true)  // parameters
	put(4, 20, false) // more of them
	put(5, 20, true)  // the slice
	put(6, 20, false)
	put(7, 30, false)
	if index, ok := r.sinceKey(16, 1000); !ok || uint16(index) != 3 {
		t.Errorf("begins with %d, %v", uint16(index), ok)
	}
	if _, ok := r.sinceKey(16, 400); ok {
		t.Error("begins though the parameters do not fit")
	}
}

// sps writes a sequence parameter set of constrained baseline for a picture of a size.
func sps(width, height, order int) []byte {
	var out []byte
	var last, n int
	bit := func(v int) {
		last, n = last<<1|v, n+1
		if n == 8 {
			out, last, n = append(out, byte(last)), 0, 0
		}
	}
	number := func(v int) {
		size := 0
		for 1<<(size+1) <= v+1 {
			size++
		}
		for range size {
			bit(0)
		}
		for i := size; i >= 0; i-- {
			bit((v + 1) >> i & 1)
		}
	}
	number(0)
	number(0)
	switch number(order); order {
	case 0:
		number(2)
	case 1:
		bit(0)
		number(1)
		number(2)
		number(2)
		number(7)
		number(9)
	}
	number(1)
	bit(0)
	blocks := func(n int) int { return (n + 15) / 16 }
	number(blocks(width) - 1)
	number(blocks(height) - 1)
	bit(1)
	bit(1)
	bit(1)
	number(0)
	number((16*blocks(width) - width) / 2)
	number(0)
	number((16*blocks(height) - height) / 2)
	bit(0)
	bit(1)
	for n != 0 {
		bit(0)
	}
	var escaped []byte
	zeros := 0
	for _, b := range append([]byte{66, 0xe0, 31}, out...) {
		if zeros == 2 && b <= 3 {
			escaped, zeros = append(escaped, 3), 0
		}
		if zeros++; b != 0 {
			zeros = 0
		}
		escaped = append(escaped, b)
	}
	return escaped
}

func TestSPSArea(t *testing.T) {
	for _, size := range [][2]int{{640, 360}, {320, 180}, {1280, 720}, {1920, 1080}, {16, 16}, {400, 226}} {
		for order := range 3 {
			unit := sps(size[0], size[1], order)
			for name, payload := range map[string][]byte{
				"alone":       append([]byte{0x67}, unit...),
				"in a packet": append(append([]byte{0x78, 0, byte(len(unit) + 1), 0x67}, unit...), 0, 2, 0x68, 1),
				"begun":       append([]byte{0x7c, 0x87}, unit...),
			} {
				if key, area := h264Keyframe(payload); !key || area != size[0]*size[1] {
					t.Errorf("%v, %s, order %d: %v, %d pixels, want %d", size, name, order, key, area, size[0]*size[1])
				}
			}
			for n := range unit[:len(unit)-1] {
				if key, area := h264Keyframe(append([]byte{0x67}, unit[:n]...)); key != (n > 0) || area < 0 {
					t.Errorf("%d bytes of %d: %v, %d pixels", n, len(unit), key, area)
				}
			}
		}
	}
	for name, unit := range map[string][]byte{
		"high profile": append([]byte{100}, sps(640, 360, 0)[1:]...), "zeros": make([]byte, 100),
	} {
		if area := spsArea(unit); area != 0 {
			t.Errorf("%s: %d pixels", name, area)
		}
	}
}
