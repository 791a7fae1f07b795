package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"confgate/core"
	"confgate/core/auth"
	"confgate/media"
	"confgate/protocol/eventop"
	"confgate/transport"
)

// config is what serve was told to do, by flags, the environment and a file.
type config struct {
	dev, devRemote bool

	listen, adminListen string
	allowOrigins        []string // "*": any
	nodeID              string
	drain               time.Duration

	proxies transport.Proxies
	sockets transport.Limits
	outbox  struct{ events, bytes int }
	// memoryGuard is how many percent of the memory limit may be used.
	memoryGuard uint

	mediaPort int
	mediaIPs  []netip.Addr
	media     core.MediaOptions

	turn turnConfig

	roomLimit   int
	idGrace     time.Duration
	idRepublish bool
	idTenant    string // empty: the only one
	jwt         jwtConfig
	rooms       auth.RoomsConfig

	file        string // that settings are read from; empty: none
	tenantsHere bool   // it has tenants
	tenantsFile string
	throttle    auth.ThrottleConfig

	recheck       time.Duration // in which those in rooms are asked for again; 0: never
	tokenEndsCall bool

	eventop eventop.Knobs
	roomIDs roomIDs
	limits  core.Limits

	logFormat logFormat
	logLevel  slog.Level
}

// jwtConfig says which tokens the id dialect's clients have to show.
type jwtConfig struct {
	secret      string
	secretFiles []string
	encoding    auth.Encoding
	keyFiles    []keyFile
	jwks        auth.JWKSConfig

	issuer, audience      string
	userClaim, roomsClaim string
	matchUser             bool
	leeway                time.Duration
}

// How long calls get to end when the gateway is told to stop.
const (
	devDrain  = 10 * time.Second
	liveDrain = 30 * time.Second
)

// newFlags declares every setting of c. What stands in backquotes is the word for the
// value in the help. A setting that can be repeated takes a comma-separated list
// as well.
func newFlags(c *config) *flag.FlagSet {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.BoolVar(&c.dev, "dev", false, "no authentication, any origin, loopback addresses only")
	fs.BoolVar(&c.devRemote, "dev-remote", false, "with --dev, allow any address: all who reach it are let in")
	fs.StringVar(&c.file, "config", "", "YAML `file` with settings")

	fs.StringVar(&c.listen, "listen", "127.0.0.1:8080", "`host:port`: where clients connect, over HTTP and WebSocket")
	fs.Func("allow-origin", "web `origin` that may connect, https://app.example; *: any (repeatable)",
		list(&c.allowOrigins, parseOrigin))
	fs.StringVar(&c.adminListen, "admin-listen", "127.0.0.1:9090", "`host:port`: where metrics, health and profiles are")
	fs.StringVar(&c.nodeID, "node-id", "", "`letters` that Socket.IO session ids begin with; empty: random")
	fs.DurationVar(&c.drain, "drain", liveDrain, "`time` that calls get to end; 10s with --dev")

	fs.IntVar(&c.mediaPort, "media-port", 7882, "UDP `port` of all media, and TCP port of the fallback")
	fs.Func("media-ip", "`address` clients send it to (repeatable; default this machine's, 127.0.0.1 with --dev)",
		list(&c.mediaIPs, parseIP))
	fs.Func("video-codecs", "`codec` of pictures: vp8, h264, vp9; the most wanted first, vp8 if all else fails (repeatable)",
		list(&c.media.Video, parseVideoCodec))
	fs.BoolVar(&c.media.OpusDTX, "opus-dtx", false, "have publishers send next to no audio while they are silent")
	fs.BoolVar(&c.media.OpusRED, "opus-red", false, "have publishers repeat audio in later packets, against loss")

	turnFlags(fs, &c.turn)

	fs.IntVar(&c.roomLimit, "id-room-limit", 25, "most `people` in a room; 0: no limit")
	fs.DurationVar(&c.idGrace, "id-grace", 0, "`time` that a seat outlives a lost connection")
	fs.BoolVar(&c.idRepublish, "id-republish", false, "clients publish anew when cut off, so they may send other codecs than vp8")
	fs.StringVar(&c.idTenant, "id-tenant", "", "`cpCode` whose rooms id clients enter; none: one for all")
	tokenFlags(fs, &c.jwt)
	roomsFlags(fs, &c.rooms)
	fs.StringVar(&c.tenantsFile, "tenants-file", "", "YAML `file` with tenants, if they are not in that of --config")
	fs.IntVar(&c.throttle.Failures, "auth-failures", 10, "wrong `proofs` in --auth-window that shut an address out")
	fs.IntVar(&c.throttle.TenantFailures, "auth-tenant-failures", 10, "the same for one tenant, `proofs`; -1: any number")
	fs.DurationVar(&c.throttle.Window, "auth-window", 30*time.Minute, "`time` for which a wrong proof counts")

	fs.DurationVar(&c.recheck, "auth-recheck", time.Minute, "`time` in which the backend is asked again for those in rooms")
	fs.BoolVar(&c.tokenEndsCall, "token-ends-call", false, "put out of rooms whose token has run out")

	eventopFlags(fs, &c.eventop)
	houseFlags(fs, &c.roomIDs, &c.limits)
	socketFlags(fs, c)

	c.logFormat = logAuto
	fs.Func("log-format", "`auto|text|json`: auto is text on a terminal, else json (default auto)",
		one(&c.logFormat, logAuto, logText, logJSON))
	fs.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "`debug|info|warn|error`: debug tells every command")
	return fs
}

// tokenFlags declares which tokens count in the id dialect.
func tokenFlags(fs *flag.FlagSet, c *jwtConfig) {
	fs.StringVar(&c.secret, "id-jwt-secret", "", "`secret` that HMAC tokens are signed with; a file is safer")
	fs.Func("id-jwt-secret-file", "`file` that holds it; old and new one while it changes (repeatable)", list(&c.secretFiles, parsePath))
	c.encoding = auth.Base64
	fs.Func("id-jwt-secret-encoding", "`base64|plain`: how the secret is written (default base64)",
		one(&c.encoding, auth.Base64, auth.Plain))
	fs.Func("id-jwt-key-file", "`[kid=]file` with the issuer's public key, PEM (repeatable)", list(&c.keyFiles, parseKeyFile))
	fs.StringVar(&c.jwks.URL, "id-jwks-url", "", "`URL` of the issuer's public keys, as a JWK set")
	fs.DurationVar(&c.jwks.Refresh, "id-jwks-refresh", 15*time.Minute, "`time` between two looks at it")
	fs.BoolVar(&c.matchUser, "id-jwt-match-user", true, "a token must be that of the user who joins")
	fs.StringVar(&c.userClaim, "id-jwt-user-claim", "id", "`claim` that says whose a token is")
	fs.StringVar(&c.issuer, "id-jwt-issuer", "", "claim `iss` that tokens must have; empty: any")
	fs.StringVar(&c.audience, "id-jwt-audience", "", "claim `aud` that tokens must have; empty: any")
	fs.DurationVar(&c.leeway, "id-jwt-leeway", auth.MaxLeeway, "`time` by which clocks may differ, a minute at most")
	fs.StringVar(&c.roomsClaim, "id-jwt-rooms-claim", "", "`claim` with the rooms that a token opens; empty: all of them")
}

// roomsFlags declares how a backend is asked who may enter which room.
func roomsFlags(fs *flag.FlagSet, c *auth.RoomsConfig) {
	fs.StringVar(&c.URL, "id-rooms-url", "", "`URL` that is asked whether {user} may enter {room}; empty: nobody is asked")
	fs.DurationVar(&c.Timeout, "id-rooms-timeout", 3*time.Second, "`time` to answer in")
	fs.DurationVar(&c.Remember, "id-rooms-ttl", 30*time.Second, "`time` for which an answer counts")
	c.Outage = auth.Closed
	fs.Func("id-rooms-outage", "`closed|open`: while it gives no answer, for people with tokens (default closed)",
		one(&c.Outage, auth.Closed, auth.LetPeople))
}

// eventopFlags declares what the documents of the eventOp dialect leave open.
func eventopFlags(fs *flag.FlagSet, k *eventop.Knobs) {
	fs.Func("eventop-sdp-delivery", "`both|reply|event`: where SDP travels (default both)",
		one(&k.SDPDelivery, eventop.InBoth, eventop.InReply, eventop.InEvent))
	k.SDPDelivery = eventop.InBoth
	fs.BoolVar(&k.OnlyWithReqID, "eventop-only-with-reqid", false, "no reply to requests without a reqId")
	fs.BoolVar(&k.DrawingAsPresence, "eventop-presence-drawing", false, "relay strokes as presence events")
	fs.BoolVar(&k.NoP2PSubscribed, "eventop-no-subscribed", false, "no event to who answers a peer-to-peer offer")
	fs.BoolVar(&k.NotifyDestroy, "eventop-notify-destroy", false, "tell members when their room is destroyed")
	fs.BoolVar(&k.NoRepublish, "eventop-no-republish", false, "clients do not publish anew when cut off, so they send vp8")
	fs.BoolVar(&k.AnyHost, "eventop-any-host", false, "every member may do what is the host's")
	fs.IntVar(&k.Capacity, "eventop-capacity", 0, "most `people` in a room by default; 0: no limit")
	fs.Func("eventop-grace", "`time` that seats outlive a lost connection (default 0s)",
		func(text string) error {
			d, err := time.ParseDuration(text)
			if err == nil && d < 0 {
				err = errors.New("must not be less than 0")
			}
			k.Grace = wholeSeconds(d)
			return err
		})
	fs.IntVar(&k.MaxMessage, "eventop-max-message", 10<<20, "most `bytes` of a message")
	fs.Func("eventop-deny", "`what` needs the host's permit: draw, chat, … (repeatable)",
		func(text string) error { return deny(&k.Deny, text) })
}

// wholeSeconds rounds up what there is of a second.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// deny takes away each of a comma-separated list of permits.
func deny(p *core.Permits, text string) error {
	permits := map[string]*bool{
		"screen": &p.Screen, "chat": &p.Chat, "whiteboard": &p.Whiteboard, "draw": &p.Draw, "document": &p.Document,
	}
	for name := range strings.SplitSeq(text, ",") {
		permit := permits[strings.TrimSpace(name)]
		if permit == nil {
			return fmt.Errorf("%q is none of screen, chat, whiteboard, draw, document", name)
		}
		*permit = true
	}
	return nil
}

// settingGroups are the headings of the help, and what stands under each.
var settingGroups = []struct {
	title string
	names []string
}{
	{"Mode", []string{"dev", "dev-remote", "config"}},
	{"Clients", []string{"listen", "allow-origin", "admin-listen", "node-id", "drain"}},
	{"Media", []string{"media-port", "media-ip", "video-codecs", "opus-dtx", "opus-red"}},
	{"TURN", []string{"turn-listen", "turn-listen-tcp", "turn-listen-tls", "turn-tls-cert", "turn-tls-key", "turn-host", "turn-url", "turn-secret", "turn-secret-file",
		"turn-ttl", "turn-ports", "turn-allow-peer", "turn-allocations", "turn-user-allocations", "turn-user-rate", "turn-stun"}},
	{"Dialect id", []string{"id-room-limit", "id-grace", "id-republish", "id-tenant"}},
	{"Tokens of the id dialect", []string{"id-jwt-secret", "id-jwt-secret-file", "id-jwt-secret-encoding", "id-jwt-key-file", "id-jwks-url", "id-jwks-refresh",
		"id-jwt-match-user", "id-jwt-user-claim", "id-jwt-issuer", "id-jwt-audience", "id-jwt-leeway", "id-jwt-rooms-claim"}},
	{"Rooms of the id dialect", []string{"id-rooms-url", "id-rooms-timeout", "id-rooms-ttl", "id-rooms-outage"}},
	{"Who may come in", []string{"tenants-file", "auth-failures", "auth-tenant-failures", "auth-window", "auth-recheck", "token-ends-call"}},
	{"Dialect eventOp", []string{"eventop-sdp-delivery", "eventop-only-with-reqid", "eventop-presence-drawing", "eventop-no-subscribed", "eventop-notify-destroy", "eventop-no-republish", "eventop-any-host", "eventop-capacity", "eventop-grace", "eventop-max-message", "eventop-deny"}},
	{"Rooms (limits: 0 is none)", append([]string{"room-ids"}, houseLimits...)},
	{"Connections (limits: 0 is none)", socketSettings},
	{"Log", []string{"log-format", "log-level"}},
}

// loadConfig reads the settings. An error is about what the operator wrote, and
// never quotes a secret; flag.ErrHelp asks for the help.
func loadConfig(args, env []string) (config, error) {
	var c config
	fs := newFlags(&c)
	given, err := loadSettings(fs, args, env)
	if err != nil {
		return config{}, err
	}
	c.tenantsHere = given[tenantsKey]
	if c.dev && !given["drain"] {
		c.drain = devDrain
	}
	if c.dev && len(c.mediaIPs) == 0 {
		c.mediaIPs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	if c.dev && len(c.allowOrigins) == 0 {
		c.allowOrigins = []string{"*"}
	}
	return c, errors.Join(c.check(), checkSockets(c, fs))
}

// nodeID is what stands before the dot in a session's id.
var nodeID = regexp.MustCompile(`^[A-Za-z0-9]{0,32}$`)

// addresses are what the gateway listens on, each with its setting.
func (c config) addresses() []struct{ setting, addr string } {
	return append([]struct{ setting, addr string }{{"listen", c.listen}, {"admin-listen", c.adminListen}}, c.turn.addresses()...)
}

func (c config) check() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, a := range c.addresses() {
		if _, err := net.ResolveTCPAddr("tcp", a.addr); err != nil {
			fail("--%s: %q is no host:port, such as 127.0.0.1:8080", a.setting, a.addr)
		}
	}
	if c.mediaPort < 0 || c.mediaPort > 65535 {
		fail("--media-port: %d is no port", c.mediaPort)
	}
	if c.roomLimit < 0 {
		fail("--id-room-limit: %d is less than 0", c.roomLimit)
	}
	if c.eventop.MaxMessage < 1<<10 {
		fail("--eventop-max-message: %d is less than 1024", c.eventop.MaxMessage)
	}
	if !nodeID.MatchString(c.nodeID) {
		fail("--node-id: %q is not made of letters and digits", c.nodeID)
	}
	if c.eventop.Capacity < 0 {
		fail("--eventop-capacity: %d is less than 0", c.eventop.Capacity)
	}
	if c.idGrace < 0 {
		fail("--id-grace: %v is less than 0", c.idGrace)
	}
	if c.drain < 0 {
		fail("--drain: %v is less than 0", c.drain)
	}
	errs = append(errs, c.checkAuth(), c.turn.check())
	errs = append(errs, checkHouse(c.limits)...)
	if c.dev {
		errs = append(errs, c.checkDev())
	} else {
		errs = append(errs, c.checkLive())
	}
	return errors.Join(errs...)
}

// checkDev keeps a gateway that lets everyone in from being reached by everyone.
func (c config) checkDev() error {
	if c.jwt.given() || c.rooms.URL != "" || c.tenantsFile != "" || c.tenantsHere {
		return errors.New("--dev asks for no authentication, yet keys, tenants or rooms to be asked about are configured: take one of them away")
	}
	if c.devRemote {
		return nil
	}
	const advice = "is not a loopback address, and --dev lets everyone in; to allow that, say --dev-remote"
	for _, a := range c.addresses() {
		if !loopback(a.addr) {
			return fmt.Errorf("--%s: %s %s", a.setting, a.addr, advice)
		}
	}
	for _, ip := range c.mediaIPs {
		if !ip.IsLoopback() {
			return fmt.Errorf("--media-ip: %s %s", ip, advice)
		}
	}
	return nil
}

func (c config) checkLive() error {
	switch {
	case c.devRemote:
		return errors.New("--dev-remote says nothing without --dev")
	case !c.jwt.given() && c.tenantsFile == "" && !c.tenantsHere:
		return errNoWayIn
	case !c.jwt.given() && (c.rooms.URL != "" || c.jwt.roomsClaim != ""):
		return errors.New("--id-rooms-url and --id-jwt-rooms-claim say nothing without tokens")
	}
	return nil
}

// checkAuth looks at what says who may come in.
func (c config) checkAuth() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.jwt.secret != "" && len(c.jwt.secretFiles) > 0 {
		fail("--id-jwt-secret and --id-jwt-secret-file: only one can count")
	}
	if c.jwt.leeway < 0 || c.jwt.leeway > auth.MaxLeeway {
		fail("--id-jwt-leeway: %v is not between 0 and %v", c.jwt.leeway, auth.MaxLeeway)
	}
	for setting, at := range map[string]time.Duration{
		"id-jwks-refresh": c.jwt.jwks.Refresh, "id-rooms-timeout": c.rooms.Timeout, "id-rooms-ttl": c.rooms.Remember, "auth-window": c.throttle.Window,
	} {
		if at < time.Second {
			fail("--%s: %v is less than a second", setting, at)
		}
	}
	if c.rooms.Timeout > maxRoomsTimeout {
		fail("--id-rooms-timeout: %v is more than %v, and clients are not waited for that long", c.rooms.Timeout, maxRoomsTimeout)
	}
	if c.recheck != 0 && c.recheck < time.Second {
		fail("--auth-recheck: %v is less than a second, and not 0", c.recheck)
	}
	if c.throttle.Failures < 1 {
		fail("--auth-failures: %d is less than 1", c.throttle.Failures)
	}
	if c.throttle.TenantFailures == 0 || c.throttle.TenantFailures < -1 {
		fail("--auth-tenant-failures: %d is neither -1 nor 1 or more", c.throttle.TenantFailures)
	}
	return errors.Join(errs...)
}

// maxRoomsTimeout keeps the wait for the backend within the time that a client has to
// be let in, and to answer a ping.
const maxRoomsTimeout = 5 * time.Second

// loopback reports whether only this machine can reach addr, a host:port.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// tenant is the world in which all clients of the id dialect live.
func (c config) tenant() core.TenantID {
	return core.TenantID(cmp.Or(c.idTenant, "id"))
}

// given reports whether clients can come in by tokens.
func (c jwtConfig) given() bool {
	return c.secret != "" || len(c.secretFiles) > 0 || len(c.keyFiles) > 0 || c.jwks.URL != ""
}

// keyFile is a file with public keys, and the id that they go by.
type keyFile struct{ id, path string }

// parseKeyFile reads id=path, or a path. Ids hold no slash, so that paths may hold
// an equals sign.
func parseKeyFile(text string) (keyFile, error) {
	id, path, found := strings.Cut(text, "=")
	if !found || strings.Contains(id, "/") {
		id, path = "", text
	}
	if path == "" {
		return keyFile{}, errors.New("must be a path, or kid=path")
	}
	return keyFile{id, path}, nil
}

func parsePath(text string) (string, error) {
	if text == "" {
		return "", errors.New("must be a path")
	}
	return text, nil
}

// parseVideoCodec takes a codec that the media plane has.
func parseVideoCodec(text string) (string, error) {
	if known := media.VideoCodecs(); !slices.Contains(known, text) {
		return "", fmt.Errorf("%q is none of %s", text, strings.Join(known, ", "))
	}
	return text, nil
}

// list makes a flag's setter that adds each part of a comma-separated value.
func list[T any](to *[]T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		for part := range strings.SplitSeq(text, ",") {
			v, err := parse(strings.TrimSpace(part))
			if err != nil {
				return err
			}
			*to = append(*to, v)
		}
		return nil
	}
}

// one makes a flag's setter that takes one of a few words.
func one[T ~string](to *T, words ...T) func(string) error {
	return func(text string) error {
		if !slices.Contains(words, T(text)) {
			return fmt.Errorf("must be one of %q", words)
		}
		*to = T(text)
		return nil
	}
}

func parseIP(text string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return ip, errors.New("must be an IP address")
	case ip.IsUnspecified(), ip.IsMulticast(), ip.Zone() != "":
		return ip, errors.New("must be an address that clients can send to")
	}
	return ip.Unmap(), nil
}

// parseOrigin takes an origin that transport.Origins takes.
func parseOrigin(text string) (string, error) {
	_, err := transport.Origins(text)
	return text, err
}
