package media

import "sync"

// backlog is how much work core may have waiting at one leg.
const backlog = 64

// queue runs jobs one after the other, in a goroutine that lives while there are
// any, so that an idle leg has none.
type queue struct {
	rescue func() // deferred around each job, to recover its panic; may be nil

	mu      sync.Mutex
	jobs    []func() // guarded by mu
	running bool     // guarded by mu
	shut    bool     // guarded by mu
}

// push adds a job. It reports false when the backlog is full; a queue that has
// been closed takes jobs and forgets them.
func (q *queue) push(job func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.jobs) >= backlog {
		return false
	}
	q.add(job)
	return true
}

// post adds a job whatever the backlog. It is for news from Pion, of which each
// kind waits at most a few times.
func (q *queue) post(job func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(job)
}

// close runs last after what is waiting, and takes nothing more.
func (q *queue) close(last func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut {
		return
	}
	q.add(last)
	q.shut = true
}

// add needs q.mu.
func (q *queue) add(job func()) {
	if q.shut {
		return
	}
	q.jobs = append(q.jobs, job)
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		if len(q.jobs) == 0 {
			q.running = false
			q.mu.Unlock()
			return
		}
		job := q.jobs[0]
		q.jobs = q.jobs[1:]
		q.mu.Unlock()
		q.do(job)
	}
}

func (q *queue) do(job func()) {
	if q.rescue != nil {
		defer q.rescue()
	}
	job()
}

// crew counts the goroutines of a leg that read from its connection.
type crew struct {
	mu        sync.Mutex
	dismissed bool // guarded by mu
	members   sync.WaitGroup
}

// join reports whether the caller may go on; if so, it must leave in the end.
func (c *crew) join() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dismissed {
		return false
	}
	c.members.Add(1)
	return true
}

func (c *crew) leave() { c.members.Done() }

// dismiss lets nobody join any more and waits until all have left.
func (c *crew) dismiss() {
	c.mu.Lock()
	c.dismissed = true
	c.mu.Unlock()
	c.members.Wait()
}
