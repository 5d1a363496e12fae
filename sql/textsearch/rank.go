package textsearch

import (
	"math"
	"slices"

	"github.com/meridian-db/meridian/sql/types"
)

// Weights are what occurrences with weight D, C, B and A count for.
type Weights [4]float32

// DefaultWeights are PostgreSQL's.
var DefaultWeights = Weights{0.1, 0.2, 0.4, 1.0}

// Norm says by what a rank is divided.
type Norm int

// The bits of a Norm.
const (
	NormLogLength Norm = 1 << iota
	NormLength
	NormExtentDistance // RankCover only
	NormUnique
	NormLogUnique
	NormItself
)

// noPosition stands for the positions of a lexeme that has none.
var noPosition = []types.TSPos{types.TSPos(0)}

func positions(l types.Lexeme) (ps []types.TSPos, known bool) {
	if len(l.Pos) == 0 {
		return noPosition, false
	}
	return l.Pos, true
}

func documentLength(d types.TSDocument) int {
	n := 0
	for _, l := range d {
		n += max(1, len(l.Pos))
	}
	return n
}

// Rank is ts_rank. Its arithmetic is PostgreSQL's step by step, in single precision where that is.
func Rank(w Weights, d types.TSDocument, q *types.TSTree, norm Norm) float32 {
	if len(d) == 0 || q == nil {
		return 0
	}
	words := Words(q)
	var res float32
	if (q.Op == types.TSAnd || q.Op == types.TSPhrase) && len(words) > 1 {
		res = rankNear(w, d, words)
	} else {
		res = rankAny(w, d, words)
	}
	if res < 0 {
		res = 1e-20
	}
	if norm&NormLogLength != 0 {
		res = float32(float64(res) / (math.Log(float64(documentLength(d)+1)) / math.Log(2)))
	}
	if norm&NormLength != 0 {
		res /= float32(documentLength(d))
	}
	if norm&NormUnique != 0 {
		res /= float32(len(d))
	}
	if norm&NormLogUnique != 0 {
		res = float32(float64(res) / (math.Log(float64(len(d)+1)) / math.Log(2)))
	}
	if norm&NormItself != 0 {
		res /= res + 1
	}
	return res
}

// rankAny adds up how often words occur.
func rankAny(w Weights, d types.TSDocument, words []*types.TSTree) float32 {
	var res float32
	for _, q := range words {
		for _, l := range entries(d, q) {
			ps, _ := positions(l)
			var sum float32
			best, bestAt := float32(-1), 0
			for j, p := range ps {
				wp := w[p.Weight()]
				sum += wp / float32((j+1)*(j+1))
				if wp > best {
					best, bestAt = wp, j
				}
			}
			res = float32(float64(res) + float64(best+sum-best/float32((bestAt+1)*(bestAt+1)))/1.64493406685)
		}
	}
	if len(words) > 0 {
		res /= float32(len(words))
	}
	return res
}

// rankNear looks at how near words are to each other.
func rankNear(w Weights, d types.TSDocument, words []*types.TSTree) float32 {
	type found struct {
		ps    []types.TSPos
		known bool
	}
	at := make([]*found, len(words))
	res := float32(-1)
	for i, q := range words {
		for _, l := range entries(d, q) {
			ps, known := positions(l)
			at[i] = &found{ps, known}
			for _, other := range at[:i] {
				if other == nil {
					continue
				}
				for _, p := range ps {
					for _, o := range other.ps {
						distance := placeOf(p, known) - placeOf(o, other.known)
						distance = max(distance, -distance)
						if distance == 0 {
							if known && other.known {
								continue
							}
							distance = types.MaxTSPos + 1
						}
						near := float32(math.Sqrt(float64(w[p.Weight()] * w[o.Weight()] * wordDistance(distance))))
						if res < 0 {
							res = near
						} else {
							res = float32(1 - (1-float64(res))*(1-float64(near)))
						}
					}
				}
			}
		}
	}
	return res
}

// placeOf puts words without positions behind all others.
func placeOf(p types.TSPos, known bool) int {
	if !known {
		return types.MaxTSPos
	}
	return p.At()
}

func wordDistance(n int) float32 {
	if n > 100 {
		return 1e-30
	}
	return float32(1 / (1.005 + 0.05*math.Exp(float64(float32(n))/1.5-2)))
}

// occurrence is a word of a query at a place of a document; cover is a source of some of them.
type occurrence struct {
	pos   types.TSPos
	words []*types.TSTree
}

// window is a source: the words of some neighbouring occurrences.
type window map[string][]int

func (x window) find(q *types.TSTree, p *places) truth {
	at, ok := x[q.Word]
	if !ok {
		return no
	}
	if p != nil {
		p.at = append(p.at, at...)
		slices.Sort(p.at)
		p.at = slices.Compact(p.at)
	}
	return yes
}

func (x window) add(o occurrence) {
	for _, q := range o.words {
		x[q.Word] = append(x[q.Word], o.pos.At())
	}
}

// RankCover is ts_rank_cd: it looks for the shortest pieces of a document that fit the query.
func RankCover(w Weights, d types.TSDocument, q *types.TSTree, norm Norm) float32 {
	doc := occurrences(d, q)
	if len(doc) == 0 {
		return 0
	}
	var total, distances, previous float64
	extents := 0
	for start := 0; start < len(doc); {
		first, last, ok := cover(doc, q, &start)
		if !ok {
			break
		}
		var inverse float64
		for _, o := range doc[first : last+1] {
			inverse += 1 / float64(w[o.pos.Weight()])
		}
		size := last - first
		from, to := doc[first].pos.At(), doc[last].pos.At()
		noise := to - from - size
		if noise < 0 {
			noise = size / 2
		}
		total += float64(size+1) / inverse / float64(1+noise)
		middle := float64(to+from) / 2
		if extents > 0 && middle > previous {
			distances += 1 / (middle - previous)
		}
		previous = middle
		extents++
	}
	if norm&NormLogLength != 0 {
		total /= math.Log(float64(documentLength(d) + 1))
	}
	if norm&NormLength != 0 {
		total /= float64(documentLength(d))
	}
	if norm&NormExtentDistance != 0 && extents > 0 && distances > 0 {
		total /= float64(extents) / distances
	}
	if norm&NormUnique != 0 {
		total /= float64(len(d))
	}
	if norm&NormLogUnique != 0 {
		total /= math.Log(float64(len(d)+1)) / math.Log(2)
	}
	if norm&NormItself != 0 {
		total /= total + 1
	}
	return float32(total)
}

// occurrences lists where words of q are, by place; those of one place and weight are one.
func occurrences(d types.TSDocument, q *types.TSTree) []occurrence {
	if q == nil {
		return nil
	}
	var out []occurrence
	for _, w := range Words(q) {
		for _, l := range entries(d, w) {
			for _, p := range l.Pos {
				if w.Weights == 0 || w.Weights&(1<<p.Weight()) != 0 {
					out = append(out, occurrence{p, []*types.TSTree{w}})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b occurrence) int {
		if c := a.pos.At() - b.pos.At(); c != 0 {
			return c
		}
		return a.pos.Weight() - b.pos.Weight()
	})
	merged := out[:0]
	for _, o := range out {
		if n := len(merged); n > 0 && merged[n-1].pos == o.pos {
			merged[n-1].words = append(merged[n-1].words, o.words...)
			continue
		}
		merged = append(merged, o)
	}
	return merged
}

// cover finds the next piece, from *start on: as far as needed for the query to match, then back as far as needed.
func cover(doc []occurrence, q *types.TSTree, start *int) (first, last int, ok bool) {
	for ; *start < len(doc); *start++ {
		x := window{}
		last = *start
		for ; last < len(doc); last++ {
			if x.add(doc[last]); matches(x, q) {
				break
			}
		}
		if last == len(doc) {
			return 0, 0, false
		}
		x = window{}
		for first = last; first >= *start; first-- {
			if x.add(doc[first]); matches(x, q) {
				*start = first + 1
				return first, last, true
			}
		}
	}
	return 0, 0, false
}
