package eventop

import (
	"maps"
	"slices"
)

// Operations are all that the codec reads.
func Operations() []string { return slices.Sorted(maps.Keys(requests(Knobs{}))) }
