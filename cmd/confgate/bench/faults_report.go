package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// faultReport is what came of one fault: its figures in the order in which they are
// told, and whether they are as they must be.
type faultReport struct {
	Fault   string   `json:"fault"`
	Seed    uint64   `json:"seed"`
	Figures []figure `json:"figures"`
	Faults  []string `json:"faults,omitempty"`
	Pass    bool     `json:"pass"`
}

// figure is one measured value, and what it may be at most.
type figure struct {
	Name  string   `json:"name"`
	Value float64  `json:"value"`
	Unit  string   `json:"unit,omitempty"`
	Most  *float64 `json:"most,omitempty"`
	Least *float64 `json:"least,omitempty"`
}

func (f figure) ok() bool {
	return (f.Most == nil || f.Value <= *f.Most) && (f.Least == nil || f.Value >= *f.Least)
}

// tell adds a figure that has no goal.
func (r *faultReport) tell(name string, value float64, unit string) {
	r.Figures = append(r.Figures, figure{Name: name, Value: round(value, 2), Unit: unit})
}

// most adds a figure that must not be more.
func (r *faultReport) most(name string, value, most float64, unit string) {
	r.Figures = append(r.Figures, figure{Name: name, Value: round(value, 2), Unit: unit, Most: &most})
}

// exactly adds a figure that must be just that.
func (r *faultReport) exactly(name string, value, want float64, unit string) {
	r.Figures = append(r.Figures, figure{Name: name, Value: value, Unit: unit, Most: &want, Least: &want})
}

// fault notes something that should not have happened.
func (r *faultReport) fault(format string, args ...any) {
	if len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// judge is called when all is told.
func (r *faultReport) judge() {
	r.Pass = len(r.Faults) == 0 && len(r.Figures) > 0
	for _, f := range r.Figures {
		r.Pass = r.Pass && f.ok()
	}
}

func (r *faultReport) ok() bool             { return r.Pass }
func (r *faultReport) complaints() []string { return r.Faults }

func (r *faultReport) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.Figures {
		goal := ""
		switch {
		case f.Least != nil:
			goal = fmt.Sprintf("must be %g", *f.Least)
		case f.Most != nil:
			goal = fmt.Sprintf("at most %g", *f.Most)
		}
		missed := ""
		if !f.ok() {
			missed = "MISSED"
		}
		fmt.Fprintf(t, "%s\t%.6g %s\t%s\t%s\n", f.Name, f.Value, f.Unit, goal, missed)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %s (seed %d)\n", r.Fault, verdict(r.Pass), r.Seed)
	return err
}
