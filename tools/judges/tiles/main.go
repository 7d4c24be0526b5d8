// What the libraries of Go's checksum database say of our tiles: they open our checkpoint, derive
// proofs from our tiles and check them. Each line: verdict, judge, question.
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var folder string
var failed bool

func say(right bool, question, said string) {
	verdict := "as expected"
	if !right {
		verdict, failed = "UNEXPECTED ", true
	}
	fmt.Printf("%s  %-24s %s: %s\n", verdict, "golang.org/x/mod/sumdb", question, said)
}

func read(name string) []byte {
	bytes, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		panic(err)
	}
	return bytes
}

// C2SP's paths are Go's without the height.
type tiles struct{ alter string }

func (tiles) Height() int                         { return 8 }
func (tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		bytes, err := os.ReadFile(filepath.Join(folder, path))
		if err != nil {
			return nil, err
		}
		if path == t.alter {
			bytes[5] ^= 1
		}
		all = append(all, bytes)
	}
	return all, nil
}

func open(name string) tlog.Tree {
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read("vkey.txt"))))
	if err != nil {
		panic(err)
	}
	opened, err := note.Open(read(name), note.VerifierList(verifier))
	if err != nil {
		panic(err)
	}
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		panic(err)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		panic(err)
	}
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return tree
}

func main() {
	folder = os.Args[1]
	old, tree := open("old-checkpoint.txt"), open("checkpoint.txt")
	say(true, "two checkpoints", fmt.Sprintf("opened, of %d and %d leaves", old.N, tree.N))
	reader := tlog.TileHashReader(tree, tiles{})
	for _, index := range []int64{0, 255, 256, old.N, tree.N - 1} {
		hash := tlog.RecordHash([]byte(fmt.Sprintf("entry %d", index)))
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		if err == nil {
			err = tlog.CheckRecord(proof, tree.N, tree.Hash, index, hash)
		}
		say(err == nil, fmt.Sprintf("leaf %d is included", index), fmt.Sprintf("%d hashes, %v", len(proof), err))
		err = tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash([]byte("another")))
		say(err != nil, fmt.Sprintf("another leaf at %d", index), fmt.Sprint(err))
	}
	proof, err := tlog.ProveTree(tree.N, old.N, reader)
	if err == nil {
		err = tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
	}
	say(err == nil, "the old tree is the new one's beginning", fmt.Sprintf("%d hashes, %v", len(proof), err))
	old.Hash[0] ^= 1
	err = tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
	say(err != nil, "another old tree", fmt.Sprint(err))
	// The reader authenticates most tiles, and some versions not all: then the proof does not lead up.
	altered, err := tlog.ProveRecord(tree.N, 257, tlog.TileHashReader(tree, tiles{alter: "tile/0/001"}))
	if err == nil {
		err = tlog.CheckRecord(altered, tree.N, tree.Hash, 257, tlog.RecordHash([]byte("entry 257")))
	}
	say(err != nil, "an altered tile", fmt.Sprint(err))
	if failed {
		os.Exit(1)
	}
}
