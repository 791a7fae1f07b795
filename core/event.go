package core

// Event is something a client is told. The set is closed; every switch over it is
// checked for completeness. Like commands, events are plain data.
//
//sumtype:decl
type Event interface{ event() }

type (
	// Reply settles one command. Exactly one of Result and Err is set. It goes out
	// before the news that the command makes.
	Reply struct {
		Ref    Ref
		Result Result
		Err    *Error
	}

	// MemberJoined goes to everyone who was there already.
	MemberJoined struct {
		Room   RoomID
		Member Member
	}

	// MemberLeft goes to everyone who stays. After it, nothing about User comes
	// until they join again.
	MemberLeft struct {
		Room RoomID
		User UserID
	}

	// MemberEdited goes to everyone else; the member themself gets Edited as the
	// result. One change, one event: Changed says what is new.
	MemberEdited struct {
		Room    RoomID
		Member  Member
		Changed Changed
	}

	// FeedsAdded says which streams can be subscribed to that could not be before:
	// only those that are new to the recipient, and never its own.
	FeedsAdded struct {
		Room  RoomID
		Feeds []Feed
	}

	// FeedRemoved says that a member who is still here stopped sending a stream.
	FeedRemoved struct {
		Room   RoomID
		Stream Stream
	}

	// Found carries one of the server's ICE candidates. It comes after the SDP
	// that it belongs to.
	Found struct {
		Room      RoomID
		Stream    Stream
		Candidate Candidate
	}

	// Shared says that User took the share lock.
	Shared struct {
		Room    RoomID
		User    UserID
		Content Content
	}

	// Shown carries a page of the document that User shares.
	Shown struct {
		Room  RoomID
		User  UserID
		Image string
	}

	// Unshared says that User gave the share lock back.
	Unshared struct {
		Room    RoomID
		User    UserID
		Content Content
	}

	// Said carries a member's message. Room is empty when it was sent to a person.
	Said struct {
		Room    RoomID
		From    UserID
		Message JSON
	}

	// Passed carries what a member cast.
	Passed struct {
		Room  RoomID
		From  UserID
		To    UserID // empty: it went to everyone
		Topic Topic
		Body  JSON
	}

	// CandidatePassed carries a candidate of another member of a mesh room.
	CandidatePassed struct {
		Room RoomID
		From UserID
		To   UserID
		Body JSON
	}

	// Speaking goes to everyone, the speaker too, in rooms that ask for it.
	Speaking struct {
		Room RoomID
		User UserID
		On   bool
	}

	// Invited asks its recipient over into a breakout room.
	Invited struct {
		Room  RoomID
		From  UserID
		Group RoomID
	}

	// Kicked asks its recipient to leave. When it was the house that put them out, they
	// have left already, and By is the host, whose guests they were.
	Kicked struct {
		Room RoomID
		By   UserID
	}

	// RoomClosed says that a room ended with its recipient in it.
	RoomClosed struct{ Room RoomID }
)

func (Reply) event()           {}
func (MemberJoined) event()    {}
func (MemberLeft) event()      {}
func (MemberEdited) event()    {}
func (FeedsAdded) event()      {}
func (FeedRemoved) event()     {}
func (Found) event()           {}
func (Shared) event()          {}
func (Shown) event()           {}
func (Unshared) event()        {}
func (Said) event()            {}
func (Passed) event()          {}
func (CandidatePassed) event() {}
func (Speaking) event()        {}
func (Invited) event()         {}
func (Kicked) event()          {}
func (RoomClosed) event()      {}

// Changed says which of a member's fields an edit set.
type Changed struct{ Name, Video, Audio bool }

// Result is what a command that was done has to show for it. The set is closed.
//
//sumtype:decl
type Result interface{ result() }

type (
	// Done has nothing to show.
	Done struct{}

	// Welcome is the result of Hello.
	Welcome struct {
		User       UserID
		ICEServers []ICEServer
	}

	// Opened is the result of Open.
	Opened struct{ Room RoomID }

	// Joined is the result of Join.
	Joined struct{ State RoomState }

	// Listed is the result of List.
	Listed struct {
		Room    RoomID
		Members []Member
	}

	// Edited is the result of Edit.
	Edited struct {
		Room    RoomID
		Member  Member
		Changed Changed
	}

	// Answered is the result of Offer: the server's SDP answer.
	Answered struct {
		Room   RoomID
		Stream Stream
		SDP    string
	}

	// Offered is the result of Subscribe: the server's SDP offer.
	Offered struct {
		Room   RoomID
		Stream Stream
		SDP    string
	}

	// Relayed is the result of Cast.
	Relayed struct {
		To    UserID
		Topic Topic
		Body  JSON
	}

	// Grouped is the result of Group.
	Grouped struct {
		Room  RoomID
		Group RoomID
	}
)

func (Done) result()     {}
func (Welcome) result()  {}
func (Opened) result()   {}
func (Joined) result()   {}
func (Listed) result()   {}
func (Edited) result()   {}
func (Answered) result() {}
func (Offered) result()  {}
func (Relayed) result()  {}
func (Grouped) result()  {}
