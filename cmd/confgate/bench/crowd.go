package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"
)

// crowdName is the name under which this program is started again, to be frozen.
const crowdName = "crowd"

// crowd is what the program that is started again is told, on its first line of input.
type crowd struct {
	Gateway string        `json:"gateway"`
	Room    string        `json:"room"`
	Key     string        `json:"key"`
	Members []crowdMember `json:"members"`
}

type crowdMember struct {
	Name    int    `json:"name"`
	Index   uint16 `json:"index"`
	Dialect string `json:"dialect"`
}

// The times of a crowd.
const (
	crowdLife   = 10 * time.Minute // at most
	maxFrozen   = 50 * time.Second
	beforeFrost = 4 * time.Second // at most, from the start
	afterFrost  = 3 * time.Second // at most
)

// newCrowd names a crowd whom others may meet.
func (m *meeting) newCrowd(rng *rand.Rand) crowd {
	c := crowd{Gateway: m.subject.gateway().String(), Room: m.room, Key: m.subject.key()}
	for _, d := range []string{"id", "eventop"} {
		index := m.come.Add(1)
		one := crowdMember{m.first + int(index), uint16(index), d}
		met := &member{user: strconv.Itoa(one.Name), room: m.room, index: one.Index, sends: true}
		m.people.add(met)
		m.remember(met)
		c.Members = append(c.Members, one)
	}
	rng.Shuffle(len(c.Members), func(i, j int) { c.Members[i], c.Members[j] = c.Members[j], c.Members[i] })
	return c
}

// freezes has a crowd come in a program of its own, which is frozen for a while.
func (m *meeting) freezes(ctx context.Context, c crowd, rng *rand.Rand) {
	input, hold := io.Pipe()
	process, err := m.trial.programs.Again([]string{crowdName}, input)
	if err != nil {
		m.violated("start a crowd: %v", err)
		return
	}
	ended := make(chan int, 1)
	go func() { ended <- process.Wait() }()
	if err := json.NewEncoder(hold).Encode(c); err != nil {
		m.violated("tell a crowd: %v", err)
	}
	_ = pause(ctx, time.Duration(rng.Float64()*float64(beforeFrost)))
	if err := process.Freeze(); err != nil {
		m.violated("freeze a crowd: %v", err)
	}
	m.counts.freezes.Add(1)
	_ = pause(ctx, time.Duration(rng.Float64()*float64(maxFrozen)))
	if err := process.Thaw(); err != nil {
		m.violated("thaw a crowd: %v", err)
	}
	_ = pause(ctx, time.Duration(rng.Float64()*float64(afterFrost)))
	_ = hold.Close()
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case code := <-ended:
		if code != exitOK {
			m.violated("a crowd ended with code %d", code)
		}
	case <-limit.C:
		_ = process.Signal(os.Kill)
		m.violated("a crowd does not end; code %d", <-ended)
	}
}

// runCrowd is the crowd's own program. What happens to its members it does not judge:
// it was frozen.
func runCrowd(ctx context.Context, _ []string, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, crowdLife)
	defer cancel()
	if err := beCrowd(ctx, os.Stdin); err != nil {
		fmt.Fprintln(stderr, "crowd:", err)
		return exitFailed
	}
	return exitOK
}

func beCrowd(ctx context.Context, input io.Reader) error {
	lines := bufio.NewReader(input)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var c crowd
	if err := json.Unmarshal(first, &c); err != nil {
		return err
	}
	gateway, err := url.Parse(c.Gateway)
	if err != nil {
		return err
	}
	e, err := newEngine(loopback)
	if err != nil {
		return err
	}
	st := &stage{
		web: newWeb(), gateway: gateway, people: newPeople(), engine: e, load: soakLoad(),
		clock: clock{time.Now()}, window: newWindow(), board: newBoard(),
	}
	defer st.close()
	st.people.apart = true
	var all []*member
	var joins sync.WaitGroup
	for _, one := range c.Members {
		m := st.member(one.Index, one.Name, crowdDialect(one.Dialect, c.Key, waiting))
		m.room, m.sends = c.Room, true
		all = append(all, m)
		joins.Go(func() { _ = m.join(ctx) })
	}
	joins.Wait()
	_, _ = io.Copy(io.Discard, lines)
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveFor)
	defer cancel()
	st.leave(bye, all)
	return nil
}

// dialectOf has every other speak the one dialect or the other.
func dialectOf(i int) string { return []string{"id", "eventop"}[i%2] }

// crowdDialect opens lines that show what a trial's gateway wants to see.
func crowdDialect(name, key string, e entry) dialect {
	if name == "eventop" {
		return func(ctx context.Context, web *http.Client, gateway *url.URL, user string) (line, error) {
			l, err := dialEventop(ctx, web, gateway, user)
			if op, ok := l.(*eventopLine); ok {
				op.tenant, op.key, op.entry = trialTenant, key, e
			}
			return l, err
		}
	}
	return func(ctx context.Context, web *http.Client, gateway *url.URL, user string) (line, error) {
		l, err := dialID(ctx, web, gateway, user)
		if err != nil {
			return nil, err
		}
		if id, ok := l.(*idLine); ok {
			id.token, err = token(key, user)
		}
		return l, err
	}
}
