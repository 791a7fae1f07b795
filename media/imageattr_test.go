package media

import (
	"testing"

	"github.com/pion/sdp/v3"
)

// TestLargestPicture reads what RFC 6236 has as examples, what pages send, and what
// makes no sense, which says nothing.
func TestLargestPicture(t *testing.T) {
	for _, test := range []struct {
		want   int
		values []string
	}{
		{0, nil},
		{400 * 225, []string{"* recv [x=[16:400],y=[16:225]]"}},
		{330 * 250, []string{"97 send [x=800,y=640,sar=1.1,q=0.6] [x=480,y=320] recv [x=330,y=250]"}},
		{330 * 250, []string{"97 recv [x=330,y=250] send [x=800,y=640,sar=1.1,q=0.6]"}},
		{800 * 600, []string{"97 recv [x=[480:16:800],y=[320:16:600],par=[1.2-1.3],q=0.6] [x=[176:8:208],y=[144:8:176]]"}},
		{640 * 480, []string{"* recv [x=[480,640],y=[320,480]]"}},
		{640 * 360, []string{"96 recv [x=320,y=180]", "97 recv [x=640,y=360]"}},
		{0, []string{"96 recv [x=320,y=180]", "97 recv *"}},
		{0, []string{"96 recv *"}},
		{maxSide * 180, []string{"96 recv [x=999999,y=180]"}},
		{0, []string{"96 send [x=320,y=180]"}},
		{0, []string{"* recv [x=0,y=180]"}},
		{0, []string{"* recv [x=-3,y=-3]"}},
		{0, []string{"* recv [x=9999999999999999999999,y=180]"}},
		{0, []string{"* recv [y=180,x=320]"}},
		{0, []string{"* recv [x=,y=]"}},
		{0, []string{"* recv ["}},
		{0, []string{"* recv [x=320"}},
		{0, []string{""}},
	} {
		var attributes []sdp.Attribute
		for _, v := range test.values {
			attributes = append(attributes, sdp.NewAttribute("imageattr", v))
		}
		if got := largestPicture(attributes); got != test.want {
			t.Errorf("%q: %d pixels, want %d", test.values, got, test.want)
		}
	}
}
