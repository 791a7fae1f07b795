package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goroutines holds every function of the gateway that starts goroutines, or timers
// that run in their own: how many there are, and what ends them. Nothing else may
// start any.
var goroutines = []struct{ pkg, function, why string }{
	{"./cmd/confgate", "gateway.run", "one a port, until it is closed; one that keeps keys and tenants new, one that judges rights again, and one that watches somebody else's TURN servers, which run waits for"},
	{"./cmd/confgate", "untilSignal", "one when the first signal comes, for as long as it takes to stop listening for signals"},

	{"./core", "Hub.Recheck", "one for each right that is judged again, at most maxJudged, until the backend has answered; Recheck waits for them"},
	{"./core", "Hub.start", "one a room, until the room ends"},

	{"./media", "keyframes.admit", "a timer for each published stream, until it asks for a key frame or the stream ends"},
	{"./media", "Plane.accept", "two for each TCP connection of a client, at most maxStreams, until it or the plane is closed"},
	{"./media", "Plane.listen", "one for each socket of the port, and one that ticks, until the plane is closed, which waits for them"},
	{"./media", "leg.start", "one for each connection that shakes hands, until that is done or the connection is closed, which waits for it"},
	{"./media", "newLeg", "a timer for each connection that is not established yet"},
	{"./media", "queue.add", "one for each connection that has work, until it has none"},
	{"./media", "speech.hear", "a timer for each member who speaks, until they are silent or gone"},

	{"./media/relay", "Probe", "a timer's like, while a server is asked: ends the wait when the context ends"},

	{"./transport", "Edge.welcome", "a timer for each connection, until its client has said who it is or it ends"},
	{"./transport", "pumps.startWriting", "the writer, beside the reader in Serve's caller's, while there is something to write; Serve waits for it"},
	{"./transport", "pumps.startCatchingUp", "one while frames wait until they are due, which nobody else handles meanwhile; the connection's end waits for it"},
	{"./transport", "Edge.socketHandler", "one for each WebSocket, until it is closed"},
	{"./transport", "engineSession.begin", "a timer for each session, until it ends; one goroutine then, until nothing of it runs"},
	{"./transport", "engineSession.startReading", "one for each WebSocket that carries a session, until either ends"},
	{"./transport", "newXHRSession", "a timer for each session of requests, while no request is there"},
	{"./transport", "sioClient.serve", "one when a client leaves a namespace that it used, or the session ends, until nothing of it runs"},
	{"./transport", "socket.Read", "a timer's like, while a read waits: closes the connection when the context ends"},
	{"./transport", "socket.beat", "a timer while the answer to a ping is awaited, which tells that it is late"},
	{"./transport", "socket.close", "a timer while a connection closes, which tears it down when the client does not answer"},
	{"./transport", "startPulse", "a timer for each connection, until it is closed"},
	{"./transport", "xhr.open", "one for each session of requests, until it ends; a timer then, until its name is forgotten"},
}

// variables holds the package-level variables that are neither tables nor
// sentinel errors by their looks, and why they may be.
var variables = []struct{ pkg, name, why string }{
	{"./protocol/wiretest", "update", "a flag of go test"},
}

// apart holds the packages that are no part of the gateway's process, so that
// their goroutines are their own business.
var apart = []struct{ pkg, why string }{
	{"./cmd/confgate/bench", "a measuring client, in a process of its own"},
	{"./cmd/confgate/bench/baseline", "a server to compare with, in a process of its own"},
	{"./cmd/confgate/bench/compare", "a program that runs others"},
	{"./cmd/confgate/bench/soak", "a program that runs others"},
	{"./protocol/wiretest", "test support"},
}

func TestGoroutines(t *testing.T) {
	started := map[[2]string]token.Position{}
	for _, p := range packages(t) {
		for file, fset := range parsed(t, p) {
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok {
					for _, at := range starts(f) {
						started[[2]string{p.local(), nameOf(f)}] = fset.Position(at)
					}
				}
			}
		}
	}
	for _, g := range goroutines {
		key := [2]string{g.pkg, g.function}
		if _, ok := started[key]; !ok {
			t.Errorf("%s %s starts no goroutine any more: drop its row", g.pkg, g.function)
		}
		delete(started, key)
	}
	for key, at := range started {
		if !slices.ContainsFunc(apart, func(a struct{ pkg, why string }) bool { return a.pkg == key[0] }) {
			t.Errorf("%s: %s starts a goroutine: say in goroutines how many there are and what ends them, or do without", at, key[1])
		}
	}
}

func TestVariables(t *testing.T) {
	for _, p := range packages(t) {
		for file, fset := range parsed(t, p) {
			for _, v := range variablesOf(file) {
				known := slices.ContainsFunc(variables, func(e struct{ pkg, name, why string }) bool {
					return e.pkg == p.local() && e.name == v.Name
				})
				if !known {
					t.Errorf("%s: variable %s is neither a table nor a sentinel error: make it a field of what needs it", fset.Position(v.Pos()), v.Name)
				}
			}
		}
	}
}

// TestRulesFind shows that the two rules find what they are there to find.
func TestRulesFind(t *testing.T) {
	const src = `package p

import ("errors"; "regexp"; "sync"; "time")

var ErrGone = errors.New("gone")
var words = map[string]int{"one": 1}
var shape = regexp.MustCompile("^a$")
var _ error = (*fault)(nil)
var hello = []byte("hello")
var cache = map[string]int{}
var count int
var mu sync.Mutex
var begun = time.Now()

func quiet() { func() {}() }
func spoken() { go quiet() }
func (r *room) open() { r.each(func() { r.group.Go(quiet) }) }
func later() { time.AfterFunc(1, quiet) }
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var functions, names []string
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && len(starts(f)) > 0 {
			functions = append(functions, nameOf(f))
		}
	}
	for _, v := range variablesOf(file) {
		names = append(names, v.Name)
	}
	if want := []string{"spoken", "room.open", "later"}; !slices.Equal(functions, want) {
		t.Errorf("functions that start goroutines: got %q, want %q", functions, want)
	}
	if want := []string{"cache", "count", "mu", "begun"}; !slices.Equal(names, want) {
		t.Errorf("variables that are state: got %q, want %q", names, want)
	}
}

// parsed gives the package's files that are built.
func parsed(t *testing.T, p listed) map[*ast.File]*token.FileSet {
	t.Helper()
	files := map[*ast.File]*token.FileSet{}
	for _, name := range p.product() {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[f] = fset
	}
	return files
}

// starts gives the places in a function that start goroutines: go statements, the
// Go methods of groups, and timers that run a function.
func starts(f *ast.FuncDecl) []token.Pos {
	var all []token.Pos
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			all = append(all, n.Pos())
		case *ast.CallExpr:
			if called, ok := n.Fun.(*ast.SelectorExpr); ok && (called.Sel.Name == "Go" || called.Sel.Name == "AfterFunc") {
				all = append(all, n.Pos())
			}
		}
		return true
	})
	return all
}

// variablesOf gives the package-level variables of a file that look like state:
// those that are neither a literal with something in it, nor an error, a pattern or
// embedded files.
func variablesOf(file *ast.File) []*ast.Ident {
	var all []*ast.Ident
	for _, decl := range file.Decls {
		block, ok := decl.(*ast.GenDecl)
		if !ok || block.Tok != token.VAR {
			continue
		}
		for _, s := range block.Specs {
			spec := s.(*ast.ValueSpec)
			embedded := isEmbedded(block.Doc) || isEmbedded(spec.Doc)
			for i, name := range spec.Names {
				constant := embedded || name.Name == "_" || i < len(spec.Values) && isConstant(spec.Values[i])
				if !constant {
					all = append(all, name)
				}
			}
		}
	}
	return all
}

func isEmbedded(comments *ast.CommentGroup) bool {
	return comments != nil && slices.ContainsFunc(comments.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

func isConstant(value ast.Expr) bool {
	switch value := value.(type) {
	case *ast.CompositeLit:
		return len(value.Elts) > 0
	case *ast.CallExpr:
		switch called := value.Fun.(type) {
		case *ast.ArrayType: // bytes, written as a string
			_, literal := value.Args[0].(*ast.BasicLit)
			return literal
		case *ast.SelectorExpr:
			pkg, ok := called.X.(*ast.Ident)
			return ok && slices.Contains([]string{"errors.New", "fmt.Errorf", "regexp.MustCompile"}, pkg.Name+"."+called.Sel.Name)
		}
	}
	return false
}

// nameOf names a function with its receiver's type: Hub.Session.
func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	typ := f.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	return typ.(*ast.Ident).Name + "." + f.Name.Name
}
