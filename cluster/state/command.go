package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
)

// A Command is one change that users or nodes intend. The commands of this
// package are plain structs, named as imperatives: what happens when one is
// applied, and why it may be refused, is written at each.
type Command interface {
	apply(t *tx) (id string, err error)
}

// ErrDamaged tells that an entry is not what was written into the log.
var ErrDamaged = errors.New("log entry damaged")

// envelope is what stands in the log around a command, after four bytes of
// CRC32C (Castagnoli; the log's file has no checksums of its own). Its form never
// changes: every version must be able to refuse what it does not know.
type envelope struct {
	Level   int             `json:"v"` // at which the command came in
	Request string          `json:"req,omitempty"`
	Since   uint64          `json:"since,omitempty"` // no try of the request came before that entry
	Name    string          `json:"cmd"`
	Body    json.RawMessage `json:"body"`
}

const checksumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode writes cmd as a log entry. A second entry with the same request id is
// answered like the first and changes nothing, so that a proposal whose fate is
// unknown may be tried again; an empty id switches that off.
func Encode(request string, cmd Command) ([]byte, error) { return EncodeSince(0, request, cmd) }

// EncodeSince is Encode for a request of which no entry up to the index since is
// a try. Answers are remembered for some time only: a try that comes later than
// that is refused as Busy, instead of being carried out a second time.
func EncodeSince(since uint64, request string, cmd Command) ([]byte, error) {
	body, err := json.Marshal(cmd)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", cmd, err)
	}
	name := reflect.TypeOf(cmd).Name()
	if decoders[name] == nil {
		return nil, fmt.Errorf("encode %T: not a registered command", cmd)
	}
	text, err := json.Marshal(envelope{levelOf(cmd), request, since, name, body})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return frame(text), nil
}

// frame puts the checksum before the text of an entry.
func frame(text []byte) []byte {
	out := binary.BigEndian.AppendUint32(make([]byte, 0, checksumSize+len(text)), crc32.Checksum(text, castagnoli))
	return append(out, text...)
}

// An item is one command of an entry. The command is nil where this version of
// malla does not know it.
type item struct {
	envelope
	cmd Command
}

// decode reads what Encode or Join wrote.
func decode(data []byte) ([]item, error) {
	if len(data) < checksumSize {
		return nil, ErrDamaged
	}
	text := data[checksumSize:]
	if binary.BigEndian.Uint32(data) != crc32.Checksum(text, castagnoli) {
		return nil, fmt.Errorf("%w: checksum", ErrDamaged)
	}
	var env envelope
	if err := json.Unmarshal(text, &env); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if env.Name == batchName && env.Level == batchLevel {
		items, err := split(env.Body)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrDamaged, err)
		}
		return items, nil
	}
	cmd, err := env.command()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return []item{{env, cmd}}, nil
}

// Check tells whether nodes of this version can apply the entry, be it to refuse
// what is in it.
func Check(entry []byte) error {
	items, err := decode(entry)
	if err != nil {
		return err
	}
	for _, it := range items {
		if it.cmd == nil && it.Level <= Level {
			return fmt.Errorf("%w: unknown command %q", ErrDamaged, it.Name)
		}
	}
	return nil
}

// command reads the command, if this version of malla knows it.
func (e *envelope) command() (Command, error) {
	decoder := decoders[e.Name]
	if decoder == nil || e.Level > Level {
		return nil, nil
	}
	cmd, err := decoder(e.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %v", e.Name, err)
	}
	return cmd, nil
}

// decoders: name of a command in the log -> its decoder.
var decoders = map[string]func(json.RawMessage) (Command, error){
	"AddUser":       decodeAs[AddUser],
	"AddFirstAdmin": decodeAs[AddFirstAdmin],
	"EndSessions":   decodeAs[EndSessions],
	"AddMedia":      decodeAs[AddMedia],
	"RemoveMedia":   decodeAs[RemoveMedia],
	"RestoreMedia":  decodeAs[RestoreMedia],
	"PurgeMedia":    decodeAs[PurgeMedia],
	"EmptyTrash":    decodeAs[EmptyTrash],
	"SetIndex":      decodeAs[SetIndex],
	"AddJob":        decodeAs[AddJob],
	"CancelJob":     decodeAs[CancelJob],
	"RetryJob":      decodeAs[RetryJob],
	"SetPriority":   decodeAs[SetPriority],
	"ConvertWhole":  decodeAs[ConvertWhole],
	"AssignTasks":   decodeAs[AssignTasks],
	"FinishTask":    decodeAs[FinishTask],
	"FailTask":      decodeAs[FailTask],
	"ReleaseTasks":  decodeAs[ReleaseTasks],
	"AddShare":      decodeAs[AddShare],
	"RemoveShare":   decodeAs[RemoveShare],
	"RegisterNode":  decodeAs[RegisterNode],
	"RemoveNode":    decodeAs[RemoveNode],
	"DrainNode":     decodeAs[DrainNode],
	"UndrainNode":   decodeAs[UndrainNode],
	"Sweep":         decodeAs[Sweep],
	"RaiseLevel":    decodeAs[RaiseLevel],

	"BeginRotation":      decodeAs[BeginRotation],
	"ExcuseFromRotation": decodeAs[ExcuseFromRotation],
	"AdvanceRotation":    decodeAs[AdvanceRotation],
	"SwitchSecret":       decodeAs[SwitchSecret],
	"DropSecret":         decodeAs[DropSecret],
}

func decodeAs[C Command](body json.RawMessage) (Command, error) {
	var c C
	err := json.Unmarshal(body, &c)
	if c, ok := any(&c).(compact); ok {
		c.intern()
	}
	return c, err
}
