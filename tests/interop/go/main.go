// Interop answers questions about our bytes with other people's verifiers: golang.org/x/mod/sumdb (note, tlog) and
// github.com/transparency-dev/formats (cosignature/v1, tlog-proof, witness policy).
//
// It reads a JSON list of questions from standard input and writes a JSON list of answers; []byte is base64 in both.
// It decides nothing itself: every answer is what one library call returned.
package main

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Do      string
	Note    []byte
	LogKeys []string
	Witness []string
	Policy  []byte
	Leaves  [][]byte
	Hashes  [][]byte
	Index   int64
	Old     int64
	Size    int64
	OldRoot []byte
	Root    []byte
	Leaf    []byte
	Key     []byte
	Message []byte
	Sig     []byte
	SignKey string
	Data    []byte
}

type answer struct {
	Error   string   // empty when the library was content
	Text    string   // of an opened note
	Names   []string // of verified lines
	Unknown []string // of lines set apart
	Times   []int64  // of cosignatures, in the order of Names
	Hashes  [][]byte
	Root    []byte
	Data    []byte
	Index   uint64
	Origin  string
	Size    uint64
	Extra   []byte
	Holds   bool
}

func main() {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	answers := make([]answer, len(questions))
	for i, q := range questions {
		a, err := reply(q)
		if err != nil {
			a = answer{Error: err.Error()}
		}
		answers[i] = a
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func reply(q question) (answer, error) {
	switch q.Do {
	case "open":
		return open(q)
	case "checkpoint":
		var c log.Checkpoint
		rest, err := c.Unmarshal(q.Data)
		return answer{Origin: c.Origin, Size: c.Size, Root: c.Hash, Data: rest}, err
	case "tree":
		return tree(q)
	case "record":
		path, err := hashes(q.Hashes)
		if err != nil {
			return answer{}, err
		}
		return answer{}, tlog.CheckRecord(path, q.Size, hash(q.Root), q.Index, hash(q.Leaf))
	case "consistency":
		path, err := hashes(q.Hashes)
		if err != nil {
			return answer{}, err
		}
		return answer{}, tlog.CheckTree(path, q.Size, hash(q.Root), q.Old, hash(q.OldRoot))
	case "ed25519":
		return answer{Holds: ed25519.Verify(q.Key, q.Message, q.Sig)}, nil
	case "cosign":
		signer, err := fnote.NewSignerForCosignatureV1(q.SignKey)
		if err != nil {
			return answer{}, err
		}
		data, err := note.Sign(&note.Note{Text: string(q.Data)}, signer)
		return answer{Data: data}, err
	case "sign":
		signer, err := note.NewSigner(q.SignKey)
		if err != nil {
			return answer{}, err
		}
		data, err := note.Sign(&note.Note{Text: string(q.Data)}, signer)
		return answer{Data: data}, err
	case "proof":
		return tlogProof(q)
	case "policy":
		group, err := witness.ParsePolicy(q.Policy)
		if err != nil {
			return answer{}, err
		}
		return answer{Holds: group.Satisfied(q.Note)}, nil
	}
	return answer{}, fmt.Errorf("unknown question %q", q.Do)
}

func open(q question) (answer, error) {
	var verifiers []note.Verifier
	cosigner := map[string]bool{}
	for _, vkey := range q.LogKeys {
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return answer{}, err
		}
		verifiers = append(verifiers, v)
	}
	for _, vkey := range q.Witness {
		v, err := fnote.NewVerifierForCosignatureV1(vkey)
		if err != nil {
			return answer{}, err
		}
		verifiers = append(verifiers, v)
		cosigner[fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash())] = true
	}
	n, err := note.Open(q.Note, note.VerifierList(verifiers...))
	if err != nil {
		return answer{}, err
	}
	a := answer{Text: n.Text}
	for _, sig := range n.Sigs {
		a.Names = append(a.Names, sig.Name)
		if cosigner[fmt.Sprintf("%s+%08x", sig.Name, sig.Hash)] {
			at, err := fnote.CoSigV1Timestamp(sig)
			if err != nil {
				return answer{}, err
			}
			a.Times = append(a.Times, at.Unix())
		} else {
			a.Times = append(a.Times, -1)
		}
	}
	for _, sig := range n.UnverifiedSigs {
		a.Unknown = append(a.Unknown, sig.Name)
	}
	return a, nil
}

// stored answers tlog's reads from the hashes of a tree that was grown in memory.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		if i < 0 || i >= int64(len(s)) {
			return nil, fmt.Errorf("hash %d not stored", i)
		}
		out = append(out, s[i])
	}
	return out, nil
}

// tree grows a tree over q.Leaves (raw data) and returns its root, the path of q.Index, and the proof from q.Old.
func tree(q question) (answer, error) {
	var s stored
	for i, leaf := range q.Leaves {
		more, err := tlog.StoredHashes(int64(i), leaf, s)
		if err != nil {
			return answer{}, err
		}
		s = append(s, more...)
	}
	size := int64(len(q.Leaves))
	root, err := tlog.TreeHash(size, s)
	if err != nil {
		return answer{}, err
	}
	a := answer{Root: root[:]}
	if q.Old > 0 {
		path, err := tlog.ProveTree(size, q.Old, s)
		if err != nil {
			return answer{}, err
		}
		a.Hashes = raw(path)
		return a, nil
	}
	path, err := tlog.ProveRecord(size, q.Index, s)
	if err != nil {
		return answer{}, err
	}
	a.Hashes = raw(path)
	return a, nil
}

func tlogProof(q question) (answer, error) {
	var p proof.TLogProof
	if err := p.Unmarshal(q.Data); err != nil {
		return answer{}, err
	}
	a := answer{Index: p.Index, Extra: p.ExtraData, Data: p.Marshal(), Text: string(p.Checkpoint)}
	for _, h := range p.Hashes {
		a.Hashes = append(a.Hashes, append([]byte(nil), h[:]...))
	}
	return a, nil
}

func hash(b []byte) (h tlog.Hash) {
	copy(h[:], b)
	return h
}

func hashes(list [][]byte) ([]tlog.Hash, error) {
	out := []tlog.Hash{}
	for _, b := range list {
		if len(b) != tlog.HashSize {
			return nil, fmt.Errorf("hash of %d bytes", len(b))
		}
		out = append(out, hash(b))
	}
	return out, nil
}

func raw(list []tlog.Hash) [][]byte {
	out := [][]byte{}
	for _, h := range list {
		out = append(out, append([]byte(nil), h[:]...))
	}
	return out
}
