package bench

import "sync"

// people are those who may be met in a run.
type people struct {
	apart  bool // others may be met too, whose media nobody asks for
	mu     sync.RWMutex
	byName map[string]*member // guarded by mu
}

func newPeople() *people { return &people{byName: make(map[string]*member)} }

// find gives nil where there is nobody of that name.
func (p *people) find(name string) *member {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byName[name]
}

func (p *people) add(m *member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byName[m.user] = m
}

func (p *people) forget(all []*member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range all {
		delete(p.byName, m.user)
	}
}
