package sim

// Shrink looks for a shorter schedule under which a life still goes wrong: it leaves out halves, then quarters, and so on
// down to single events (delta debugging), and starts over as long as something could be left out. Lives are not
// the same each time, as the order of goroutines is not, so each candidate gets tries attempts; at most budget lives
// are lived. It returns the shortest life found and what went wrong in it.
func Shrink(l Life, res Result, tries, budget int, live func(Life) (Result, error)) (Life, Result) {
	fails := func(s Schedule) (Result, bool) {
		candidate := l
		candidate.Schedule = s
		for range tries {
			if budget--; budget < 0 {
				return Result{}, false
			}
			if r, err := live(candidate); err == nil && len(r.Errs) > 0 {
				return r, true
			}
		}
		return Result{}, false
	}
	for part := (len(l.Schedule) + 1) / 2; part > 0 && budget > 0; {
		left := false
		for at := 0; at < len(l.Schedule) && budget > 0; {
			end := min(at+part, len(l.Schedule))
			shorter := append(append(Schedule{}, l.Schedule[:at]...), l.Schedule[end:]...)
			if r, bad := fails(shorter); bad {
				l.Schedule, res, left = shorter, r, true
			} else {
				at = end
			}
		}
		if !left || part > len(l.Schedule) {
			part /= 2
		}
	}
	return l, res
}
