package auth

import "container/list"

// lru is a map that forgets what was not asked for the longest when it is full.
type lru[K comparable, V any] struct {
	most  int
	order *list.List // of *pair, the latest in front
	at    map[K]*list.Element
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](most int) *lru[K, V] {
	return &lru[K, V]{most: most, order: list.New(), at: make(map[K]*list.Element)}
}

func (l *lru[K, V]) get(key K) (value V, ok bool) {
	e := l.at[key]
	if e == nil {
		return value, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*pair[K, V]).value, true
}

func (l *lru[K, V]) put(key K, value V) {
	if e := l.at[key]; e != nil {
		e.Value.(*pair[K, V]).value = value
		l.order.MoveToFront(e)
		return
	}
	l.at[key] = l.order.PushFront(&pair[K, V]{key, value})
	if last := l.order.Back(); l.order.Len() > l.most {
		l.order.Remove(last)
		delete(l.at, last.Value.(*pair[K, V]).key)
	}
}

// drop forgets what fits.
func (l *lru[K, V]) drop(fits func(K) bool) {
	for key, e := range l.at {
		if fits(key) {
			l.order.Remove(e)
			delete(l.at, key)
		}
	}
}

func (l *lru[K, V]) len() int { return l.order.Len() }
