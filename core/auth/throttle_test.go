package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"confgate/core"
)

// judge lets in who has the key "right", and counts whom it was asked about.
type judge struct {
	compared atomic.Int32
	slow     chan struct{} // judging takes until it is closed; nil: no time
}

func (j *judge) Authorize(_ context.Context, c core.Credentials) (core.Grant, error) {
	j.compared.Add(1)
	if j.slow != nil {
		<-j.slow
	}
	switch c.Key {
	case "right":
		return core.Grant{Tenant: core.TenantID(c.Tenant), User: c.User}, nil
	case "expired":
		return core.Grant{}, refuse(Expired, "token expired")
	default:
		return core.Grant{}, asGuess(refuse(BadProof, "wrong"))
	}
}

func (j *judge) since(before int32) int { return int(j.compared.Load() - before) }

func from(address, tenant, key string) core.Credentials {
	return core.Credentials{User: "8", Remote: address, Tenant: tenant, Key: key}
}

func throttledReason(err error) bool {
	e, ok := errors.AsType[*RefusalError](err)
	return ok && e.Reason == Throttled
}

// TestThousandGuesses shows that of a thousand guesses ten are compared in half an
// hour, however they are spread.
func TestThousandGuesses(t *testing.T) {
	for name, guess := range map[string]func(n int) core.Credentials{
		"one address, one tenant": func(int) core.Credentials { return from("192.0.2.1:5000", "school", "x") },
		"from many ports":         func(n int) core.Credentials { return from(fmt.Sprintf("192.0.2.1:%d", 1024+n), "school", "x") },
		"for many tenants":        func(n int) core.Credentials { return from("192.0.2.1:5000", fmt.Sprint("school", n), "x") },
		"tokens":                  func(int) core.Credentials { return from("192.0.2.1:5000", "", "x") },
		"from one IPv6 network": func(n int) core.Credentials {
			return from(fmt.Sprintf("[2001:db8:0:1:%x::%x]:5000", n, n), "school", "x")
		},
		"from as many addresses": func(n int) core.Credentials {
			return from(fmt.Sprintf("198.51.%d.%d:5000", n/256, n%256), "school", "x")
		},
		"by IPv4 and IPv6 spellings": func(n int) core.Credentials {
			return from([]string{"192.0.2.1:1", "[::ffff:192.0.2.1]:1", "[::ffff:c000:201]:2"}[n%3], fmt.Sprint(n), "x")
		},
		"from addresses of no form":   func(n int) core.Credentials { return from(fmt.Sprint("nowhere", n), fmt.Sprint(n), "x") },
		"with zones in the addresses": func(n int) core.Credentials { return from(fmt.Sprintf("[fe80::1%%eth%d]:1", n), fmt.Sprint(n), "x") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := new(judge)
				a := NewThrottle(ThrottleConfig{}).Before(j)
				for n := range 1000 { // a bit more than one a second, for less than half an hour
					_, err := a.Authorize(t.Context(), guess(n))
					if e := core.AsError(err); e == nil || e.Code != core.Unauthorized || e.Msg != "not authorized" {
						t.Fatalf("guess %d: %v", n, err)
					}
					<-time.After(1700 * time.Millisecond)
				}
				if n := j.since(0); n != 10 {
					t.Errorf("%d were compared", n)
				}
				<-time.After(30 * time.Minute)
				if _, err := a.Authorize(t.Context(), from("192.0.2.1:5000", "school", "right")); err != nil {
					t.Errorf("half an hour later: %v", err)
				}
			})
		})
	}
}

// TestGuessesInParallel shows that nothing is gained by guessing before the first
// answer has come.
func TestGuessesInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{slow: make(chan struct{})}
		a := NewThrottle(ThrottleConfig{}).Before(j)
		answers := make(chan error)
		for range 1000 {
			go func() {
				_, err := a.Authorize(t.Context(), from("192.0.2.1:1", "school", "x"))
				answers <- err
			}()
		}
		synctest.Wait()
		if n := j.since(0); n != 10 {
			t.Errorf("%d are compared at once", n)
		}
		close(j.slow)
		for range 1000 {
			if err := <-answers; err == nil {
				t.Error("let in")
			}
		}
		if n := j.since(0); n != 10 {
			t.Errorf("%d were compared", n)
		}
	})
}

// TestSlidingWindow shows that the end of one half hour and the beginning of the
// next are no better time than any other.
func TestSlidingWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := new(judge)
		a := NewThrottle(ThrottleConfig{}).Before(j)
		var at []time.Time
		for range 3 * 60 * 60 {
			before := j.compared.Load()
			a.Authorize(t.Context(), from("192.0.2.1:1", "school", "x")) //nolint:errcheck // what counts is whether it was compared
			if j.since(before) > 0 {
				at = append(at, time.Now())
			}
			<-time.After(time.Second)
		}
		for n := range len(at) - 10 {
			if gap := at[n+10].Sub(at[n]); gap < 30*time.Minute {
				t.Fatalf("eleven were compared within %v", gap)
			}
		}
		if len(at) < 60 {
			t.Errorf("%d were compared in three hours", len(at))
		}
	})
}

// TestManyComeInAtOnce has a school begin its lesson: none of this is guessing.
func TestManyComeInAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{slow: make(chan struct{})}
		a := NewThrottle(ThrottleConfig{}).Before(j)
		answers := make(chan error)
		for n := range 300 {
			key := []string{"right", "expired"}[n%2]
			go func() {
				_, err := a.Authorize(t.Context(), from("192.0.2.1:1", "school", key))
				answers <- err
			}()
		}
		synctest.Wait()
		close(j.slow)
		for range 300 {
			if err := <-answers; throttledReason(err) {
				t.Fatal("shut out")
			}
		}
		if n := j.since(0); n != 300 {
			t.Errorf("%d were judged", n)
		}
	})
}

// TestPupilCannotLockOutTheSchool shows what becomes of others at an address from
// which somebody guesses.
func TestPupilCannotLockOutTheSchool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := new(judge)
		a := NewThrottle(ThrottleConfig{}).Before(j)
		try := func(c core.Credentials) (time.Duration, error) {
			began := time.Now()
			_, err := a.Authorize(t.Context(), c)
			return time.Since(began), err
		}
		if _, err := try(from("192.0.2.1:1", "school", "right")); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := try(from("192.0.2.1:2", "school", "x")); throttledReason(err) {
				t.Fatal("shut out too early")
			}
		}
		if took, err := try(from("192.0.2.1:3", "school", "right")); err != nil || took != 3*time.Second {
			t.Errorf("a pupil waits %v, %v", took, err)
		}
		if took, err := try(from("192.0.2.1:3", "other", "right")); !throttledReason(err) || took > 0 {
			t.Errorf("for a tenant that nobody there belongs to: %v after %v", err, took)
		}
		if took, err := try(from("192.0.2.9:3", "school", "right")); !throttledReason(err) || took > 0 {
			t.Errorf("from an address that nobody came from: %v after %v", err, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		before := j.compared.Load()
		if _, err := a.Authorize(ctx, from("192.0.2.1:3", "school", "right")); !throttledReason(err) || j.since(before) > 0 {
			t.Errorf("one who went while waiting: %v", err)
		}
		<-time.After(2 * stayKnownFor)
		for range 10 {
			try(from("192.0.2.1:2", "school", "x"))
		}
		if _, err := try(from("192.0.2.1:3", "school", "right")); !throttledReason(err) {
			t.Errorf("two days later the address still counts as known: %v", err)
		}
	})
}

func TestThrottleWithoutTenants(t *testing.T) {
	j := new(judge)
	a := NewThrottle(ThrottleConfig{TenantFailures: -1}).Before(j)
	for n := range 100 {
		if _, err := a.Authorize(t.Context(), from(fmt.Sprintf("192.0.2.%d:1", n), "school", "x")); throttledReason(err) {
			t.Fatal("shut out")
		}
	}
}

func TestThrottleSurvivesABug(t *testing.T) {
	throttle := NewThrottle(ThrottleConfig{})
	a := throttle.Before(broken{})
	for range 20 {
		func() {
			defer func() { _ = recover() }()
			a.Authorize(t.Context(), from("192.0.2.1:1", "school", "right")) //nolint:errcheck // it panics
		}()
	}
	if n := throttle.known.len(); n != 0 {
		t.Errorf("%d are known", n)
	}
	if _, err := throttle.Before(new(judge)).Authorize(t.Context(), from("192.0.2.1:1", "school", "right")); err != nil {
		t.Error(err)
	}
}

type broken struct{}

func (broken) Authorize(context.Context, core.Credentials) (core.Grant, error) { panic("a bug") }

func TestThrottleMemoryIsBounded(t *testing.T) {
	throttle := NewThrottle(ThrottleConfig{})
	a := throttle.Before(new(judge))
	for n := range maxSources {
		at := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)
		tenant := tenantKey{byte(n), byte(n >> 8)}
		sourceOf(throttle.addresses, at).fail(time.Now(), 10)
		sourceOf(throttle.tenants, tenant).fail(time.Now(), 10)
		throttle.known.add(acquaintance{address: at, tenant: tenant}, time.Now())
	}
	for n := range 100 {
		at := netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
		a.Authorize(t.Context(), from(at.String(), fmt.Sprint(n), "wrong")) //nolint:errcheck // what counts is what is kept
		throttle.known.add(acquaintance{address: netip.PrefixFrom(at, 32)}, time.Now())
	}
	for name, n := range map[string]int{"addresses": throttle.addresses.len(), "tenants": throttle.tenants.len()} {
		if n != maxSources {
			t.Errorf("%s: %d are kept, want %d", name, n, maxSources)
		}
	}
	if n := throttle.known.len(); n < maxSources/2 || n > maxSources {
		t.Errorf("%d are known, want from %d to %d", n, maxSources/2, maxSources)
	}
}

// TestThrottleForgets shows that nothing is kept of addresses from which people came
// in, and of those that guessed no longer than that counts.
func TestThrottleForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := NewThrottle(ThrottleConfig{TenantFailures: 10_000})
		a := throttle.Before(new(judge))
		kept := func(what string, addresses, tenants int) {
			t.Helper()
			if n, m := throttle.addresses.len(), throttle.tenants.len(); n != addresses || m != tenants {
				t.Errorf("%s: %d addresses and %d tenants are kept, want %d and %d", what, n, m, addresses, tenants)
			}
		}
		const many = 1000
		come := func(key string) {
			for n := range many {
				a.Authorize(t.Context(), from(fmt.Sprintf("198.51.%d.%d:5000", n/256, n%256), fmt.Sprint("school", n), key)) //nolint:errcheck // what counts is what is kept
			}
		}
		come("right")
		kept("who came in", 0, 0)
		come("expired")
		kept("who was refused", 0, 0)
		come("wrong")
		kept("who guessed", many, many)
		<-time.After(31 * time.Minute)
		for range many / 2 {
			if _, err := a.Authorize(t.Context(), from("192.0.2.1:5000", "school", "right")); err != nil {
				t.Fatal(err)
			}
		}
		kept("who guessed long ago", 0, 0)
	})
}

// TestAcquaintances shows for how long an address is known.
func TestAcquaintances(t *testing.T) {
	began := time.Now()
	who := acquaintance{address: network("192.0.2.1:1")}
	other := acquaintance{address: network("192.0.2.1:1"), tenant: tenantKey{1}}
	for after, want := range map[time.Duration]bool{
		0: true, time.Hour: true, stayKnownFor: true, 2*stayKnownFor - time.Hour: true, 2 * stayKnownFor: false, 100 * stayKnownFor: false,
	} {
		for _, looks := range []int{1, 50} {
			a := newAcquaintances()
			a.add(who, began)
			has := false
			for n := range looks {
				has = a.has(who, began.Add(after*time.Duration(n+1)/time.Duration(looks)))
			}
			if has != want || a.has(other, began) {
				t.Errorf("after %v, in %d looks: known %v, want %v", after, looks, has, want)
			}
		}
	}
}
