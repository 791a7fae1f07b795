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
	if value, ok = l.peek(key); ok {
		l.order.MoveToFront(l.at[key])
	}
	return value, ok
}

func (l *lru[K, V]) put(key K, value V) {
	if e := l.at[key]; e != nil {
		e.Value.(*pair[K, V]).value = value
		l.order.MoveToFront(e)
		return
	}
	l.at[key] = l.order.PushFront(&pair[K, V]{key, value})
	if last, _ := l.oldest(); l.order.Len() > l.most {
		l.remove(last)
	}
}

// peek is get, but the key counts as asked for as little as before.
func (l *lru[K, V]) peek(key K) (value V, ok bool) {
	e := l.at[key]
	if e == nil {
		return value, false
	}
	return e.Value.(*pair[K, V]).value, true
}

// oldest gives what was not asked for the longest.
func (l *lru[K, V]) oldest() (key K, ok bool) {
	e := l.order.Back()
	if e == nil {
		return key, false
	}
	return e.Value.(*pair[K, V]).key, true
}

// remove forgets one.
func (l *lru[K, V]) remove(key K) {
	if e := l.at[key]; e != nil {
		l.order.Remove(e)
		delete(l.at, key)
	}
}

// drop forgets what fits.
func (l *lru[K, V]) drop(fits func(K) bool) {
	for key := range l.at {
		if fits(key) {
			l.remove(key)
		}
	}
}

func (l *lru[K, V]) len() int { return l.order.Len() }
