package kvtest

import "bytes"

const maxHeight = 20

// list is a skip list from byte keys to values of type V, ordered by key. Towers are chosen by a small
// generator of its own so that runs repeat exactly.
type list[V any] struct {
	head node[V]
	seed uint64
	size int
}

type node[V any] struct {
	key  []byte
	val  V
	next []*node[V]
}

func newList[V any]() *list[V] {
	l := &list[V]{seed: 0x9E3779B97F4A7C15}
	l.head.next = make([]*node[V], maxHeight)
	return l
}

func (l *list[V]) height() int {
	l.seed ^= l.seed << 13
	l.seed ^= l.seed >> 7
	l.seed ^= l.seed << 17
	h := 1
	for x := l.seed; h < maxHeight && x&3 == 0; x >>= 2 {
		h++
	}
	return h
}

// seek returns the first node with key >= k, filling prev with the last smaller node of each level.
func (l *list[V]) seek(k []byte, prev *[maxHeight]*node[V]) *node[V] {
	n := &l.head
	for h := maxHeight - 1; h >= 0; h-- {
		for n.next[h] != nil && bytes.Compare(n.next[h].key, k) < 0 {
			n = n.next[h]
		}
		if prev != nil {
			prev[h] = n
		}
	}
	return n.next[0]
}

// before returns the last node with key < k, nil when there is none.
func (l *list[V]) before(k []byte) *node[V] {
	var prev [maxHeight]*node[V]
	l.seek(k, &prev)
	if prev[0] == &l.head {
		return nil
	}
	return prev[0]
}

func (l *list[V]) get(k []byte) *node[V] {
	n := l.seek(k, nil)
	if n != nil && bytes.Equal(n.key, k) {
		return n
	}
	return nil
}

// upsert returns the node of k, creating it with a copy of k.
func (l *list[V]) upsert(k []byte) *node[V] {
	var prev [maxHeight]*node[V]
	n := l.seek(k, &prev)
	if n != nil && bytes.Equal(n.key, k) {
		return n
	}
	h := l.height()
	n = &node[V]{key: bytes.Clone(k), next: make([]*node[V], h)}
	for i := range h {
		n.next[i] = prev[i].next[i]
		prev[i].next[i] = n
	}
	l.size++
	return n
}
