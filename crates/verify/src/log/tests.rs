use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use platform::testing::vectors;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::entry::{self, Entry, EntryError};
use super::merkle::{self, Edge, Hash, HashReader, MerkleError, Node};
use super::note::{Note, NoteError, VerifierKey};
use super::proof::{InclusionError, InclusionProof};
use super::tile::{self, Growth, Level, Tile, TileError, TileSet};
use crate::credential::jcs;
use crate::key::multikey::PublicKey;
use crate::sample;

/// The leaves of the reference tree of RFC 6962 implementations.
const LEAVES: [&[u8]; 8] = [
    &[],
    &[0x00],
    &[0x10],
    &[0x20, 0x21],
    &[0x30, 0x31],
    &[0x40, 0x41, 0x42, 0x43],
    &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
    &[
        0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e,
        0x6f,
    ],
];

/// The roots of the trees of the first 1, 2, ... 8 of them.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Every complete subtree of a small tree.
#[derive(Default)]
struct Nodes(BTreeMap<Node, Hash>);

impl HashReader for Nodes {
    fn hash(&self, node: Node) -> Option<Hash> {
        self.0.get(&node).copied()
    }
}

fn grow(leaves: impl IntoIterator<Item = Hash>) -> (Edge, Nodes) {
    let (mut edge, mut nodes) = (Edge::empty(), Nodes::default());
    for leaf in leaves {
        nodes.0.extend(edge.append(leaf));
    }
    (edge, nodes)
}

fn numbered_leaf(number: u64) -> Hash {
    merkle::leaf_hash(&number.to_be_bytes())
}

/// A published hash. Some vectors have text of another length in its place, which our types cannot
/// hold: a hash that is as equal or different stands for a placeholder, nothing for nothing.
fn decode_hash(text: &Value) -> Option<Hash> {
    let bytes = STANDARD.decode(text.as_str()?).ok().filter(|bytes| !bytes.is_empty())?;
    Some(bytes.as_slice().try_into().unwrap_or_else(|_| merkle::leaf_hash(&bytes)))
}

fn decode_hashes(list: &Value) -> Option<Vec<Hash>> {
    list.as_array().map_or(Some(Vec::new()), |list| list.iter().map(decode_hash).collect())
}

fn published_inclusion(test: &Value) -> Option<bool> {
    let verified = merkle::verify_inclusion(
        &decode_hash(&test["leafHash"])?,
        test["leafIdx"].as_u64()?,
        test["treeSize"].as_u64()?,
        &decode_hashes(&test["proof"])?,
        &decode_hash(&test["root"])?,
    );
    Some(verified.is_ok())
}

fn published_consistency(test: &Value) -> Option<bool> {
    let verified = merkle::verify_consistency(
        test["size1"].as_u64()?,
        &decode_hash(&test["root1"])?,
        test["size2"].as_u64()?,
        &decode_hash(&test["root2"])?,
        &decode_hashes(&test["proof"])?,
    );
    Some(verified.is_ok())
}

fn assert_as_published(file: &str, verify: fn(&Value) -> Option<bool>) {
    let Some(tests) = vectors::read_json(file) else { return };
    let tests = tests.as_array().unwrap();
    assert!(tests.len() > 50);
    for test in tests {
        let holds = verify(test).unwrap_or(false);
        assert_eq!(holds, test["wantErr"] == false, "{}", test["name"]);
    }
}

mod tree {
    use super::*;

    #[test]
    fn the_empty_tree_and_the_empty_leaf_hash_as_in_rfc_6962() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex::encode(merkle::empty_root()), empty);
        assert_eq!(Edge::empty().root(), merkle::empty_root());
        assert_eq!(hex::encode(merkle::leaf_hash(b"")), ROOTS[0]);
    }

    #[test]
    fn the_reference_trees_have_their_published_roots() {
        let mut edge = Edge::empty();
        let mut nodes = Nodes::default();
        for (leaf, root) in LEAVES.iter().zip(ROOTS) {
            nodes.0.extend(edge.append(merkle::leaf_hash(leaf)));
            assert_eq!(hex::encode(edge.root()), root);
            assert_eq!(merkle::root(&nodes, edge.size()), Ok(edge.root()));
        }
    }

    /// RFC 6962 section 2.1.3: the proofs of its example tree of 7 leaves, by the names there.
    #[test]
    fn the_proofs_of_the_rfc_6962_example_are_made_of_its_nodes() {
        let (_, nodes) = grow((0..7).map(numbered_leaf));
        let leaf = |index| nodes.hash(Node { level: 0, index }).unwrap();
        let pair = |index| nodes.hash(Node { level: 1, index }).unwrap();
        let (g, h, i, j) = (pair(0), pair(1), pair(2), leaf(6));
        let k = merkle::node_hash(&g, &h);
        let l = merkle::node_hash(&i, &j);
        let (a, b, c, d, e, f) = (leaf(0), leaf(1), leaf(2), leaf(3), leaf(4), leaf(5));
        let inclusion = |index| merkle::inclusion_proof(&nodes, index, 7).unwrap();
        assert_eq!(inclusion(0), [b, h, l]);
        assert_eq!(inclusion(3), [c, g, l]);
        assert_eq!(inclusion(4), [f, j, k]);
        assert_eq!(inclusion(6), [i, k]);
        let consistency = |old| merkle::consistency_proof(&nodes, old, 7).unwrap();
        assert_eq!(consistency(3), [c, d, g, l]);
        assert_eq!(consistency(4), [l]);
        assert_eq!(consistency(6), [i, j, k]);
        assert!(consistency(7).is_empty());
        assert_ne!(a, e);
    }

    #[test]
    fn proofs_from_one_to_eight_of_the_reference_tree_are_the_published_ones() {
        let (edge, nodes) = grow(LEAVES.iter().map(|leaf| merkle::leaf_hash(leaf)));
        let proof = merkle::consistency_proof(&nodes, 1, 8).unwrap();
        let published = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ];
        assert_eq!(proof.iter().map(hex::encode).collect::<Vec<_>>(), published);
        let old = merkle::leaf_hash(b"");
        assert_eq!(merkle::verify_consistency(1, &old, 8, &edge.root(), &proof), Ok(()));
        assert_eq!(merkle::inclusion_proof(&nodes, 0, 8).unwrap(), proof);
    }

    #[test]
    fn published_proofs_are_judged_as_published() {
        assert_as_published("merkle/inclusion.json", published_inclusion);
        assert_as_published("merkle/consistency.json", published_consistency);
    }

    #[test]
    fn every_proof_of_every_small_tree_holds_and_no_shortened_one_does() {
        let (_, nodes) = grow((0..70).map(numbered_leaf));
        for size in 1..=70 {
            let root = merkle::root(&nodes, size).unwrap();
            for index in 0..size {
                let proof = merkle::inclusion_proof(&nodes, index, size).unwrap();
                let leaf = numbered_leaf(index);
                let verify =
                    |proof: &[Hash]| merkle::verify_inclusion(&leaf, index, size, proof, &root);
                assert_eq!(verify(&proof), Ok(()));
                assert!(proof.is_empty() || verify(&proof[1..]).is_err());
                assert_eq!(verify(&[&proof[..], &[leaf]].concat()), Err(MerkleError::ProofLength));
            }
            for old in 1..=size {
                let old_root = merkle::root(&nodes, old).unwrap();
                let proof = merkle::consistency_proof(&nodes, old, size).unwrap();
                let verify =
                    |proof: &[Hash]| merkle::verify_consistency(old, &old_root, size, &root, proof);
                assert_eq!(verify(&proof), Ok(()), "{old} of {size}");
                assert!(proof.is_empty() || verify(&proof[1..]).is_err());
                assert!(verify(&[&proof[..], &[root]].concat()).is_err());
            }
        }
    }

    #[test]
    fn sizes_at_the_end_of_64_bits_do_not_overflow() {
        let hash = [0; 32];
        for size in [u64::MAX, 1 << 63, (1 << 63) + 1] {
            let nodes = merkle::inclusion_nodes(size - 1, size).unwrap();
            assert!(nodes.len() < 4096);
            assert!(merkle::verify_inclusion(&hash, size - 1, size, &[hash; 64], &hash).is_err());
            assert!(!merkle::consistency_nodes(3, size).unwrap().is_empty());
            let refused = merkle::verify_consistency(3, &hash, size, &hash, &[hash; 65]);
            assert!(refused.is_err());
        }
        assert_eq!(merkle::inclusion_nodes(5, 5), Err(MerkleError::OutOfRange));
        assert_eq!(merkle::consistency_nodes(6, 5), Err(MerkleError::OutOfRange));
        assert_eq!(merkle::consistency_nodes(0, 5), Err(MerkleError::OutOfRange));
    }

    #[test]
    fn an_edge_is_restored_from_what_it_shows() {
        let (edge, _) = grow((0..21).map(numbered_leaf));
        assert_eq!(edge.hashes().len(), 3);
        assert_eq!(Edge::restore(21, edge.hashes().to_vec()), Ok(edge.clone()));
        assert_eq!(Edge::restore(22, edge.hashes()[1..].to_vec()), Err(MerkleError::Edge));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn roots_and_proofs_are_those_of_another_implementation(
            entries in proptest::collection::vec(any::<Vec<u8>>(), 1..200),
            first in any::<prop::sample::Index>(),
            second in any::<prop::sample::Index>(),
        ) {
            let mut other = MemoryBackedTree::<Sha256, Vec<u8>>::new();
            entries.iter().for_each(|entry| other.push(entry.clone()));
            let (edge, nodes) = grow(entries.iter().map(|entry| merkle::leaf_hash(entry)));
            let (root, other_root) = (edge.root(), other.root());
            prop_assert_eq!(root.as_slice(), other_root.as_bytes().as_slice());

            let index = first.index(entries.len());
            let inclusion = merkle::inclusion_proof(&nodes, index as u64, edge.size());
            let inclusion = inclusion.unwrap().concat();
            let other_inclusion = other.prove_inclusion(index);
            prop_assert_eq!(inclusion.as_slice(), other_inclusion.as_bytes());

            let old = second.index(entries.len()) + 1;
            let consistency = merkle::consistency_proof(&nodes, old as u64, edge.size());
            let consistency = consistency.unwrap().concat();
            let other_consistency = other.prove_consistency(entries.len() - old);
            prop_assert_eq!(consistency.as_slice(), other_consistency.as_bytes());
        }
    }
}

mod tiles {
    use super::*;

    const SIZE: u64 = 70_000;

    #[test]
    fn paths_are_grouped_by_three_digits() {
        let hashes = |level, index, width| Tile { level: Level::Hashes(level), index, width };
        for (tile, path) in [
            (hashes(0, 0, 256), "tile/0/000"),
            (hashes(0, 273, 112), "tile/0/273.p/112"),
            (hashes(1, 1_234_067, 256), "tile/1/x001/x234/067"),
            (hashes(63, 1000, 1), "tile/63/x001/000.p/1"),
            (Tile { level: Level::Entries, index: 67, width: 255 }, "tile/entries/067.p/255"),
            (hashes(0, u64::MAX, 256), "tile/0/x018/x446/x744/x073/x709/x551/615"),
        ] {
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse(path), Ok(tile));
        }
    }

    #[test]
    fn other_spellings_of_a_path_are_refused() {
        for path in [
            "0/000",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/entry/000",
            "tile/0/0",
            "tile/0/1000",
            "tile/0/x001",
            "tile/0/001/000",
            "tile/0/x000/001",
            "tile/0/x1/000",
            "tile/0/+01",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p/",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
            "tile/0/000/",
            "tile/0//000",
        ] {
            assert_eq!(Tile::parse(path), Err(TileError::Path), "{path}");
        }
    }

    #[test]
    fn a_tree_of_70_000_entries_has_the_tiles_of_the_specification() {
        let all: Vec<Tile> = tile::tiles(SIZE).collect();
        let widths = |level: u8| -> Vec<u16> {
            let of_level = all.iter().filter(|tile| tile.level == Level::Hashes(level));
            of_level.map(|tile| tile.width).collect()
        };
        assert_eq!(widths(0).len(), 274);
        assert!(widths(0)[..273].iter().all(|width| *width == 256));
        assert_eq!(widths(0)[273], 112);
        assert_eq!(widths(1), [256, 17]);
        assert_eq!(widths(2), [1]);
        assert!(widths(3).is_empty());
        let partial = tile::partial_tiles(SIZE).iter().map(Tile::path).collect::<Vec<_>>();
        assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
        let whole = tile::tiles(256).map(|tile| tile.path()).collect::<Vec<_>>();
        assert_eq!(whole, ["tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(tile::tiles(0).count(), 0);
        assert_eq!(tile::partial_tiles(u64::MAX).len(), 8);
    }

    #[test]
    fn only_a_trees_own_tiles_belong_to_it() {
        let belongs = |path: &str| Tile::parse(path).unwrap().belongs_to(SIZE);
        assert!(belongs("tile/0/272") && belongs("tile/0/273.p/112"));
        assert!(belongs("tile/entries/273.p/112") && belongs("tile/2/000.p/1"));
        assert!(!belongs("tile/0/273") && !belongs("tile/0/273.p/111"));
        assert!(!belongs("tile/0/274.p/1") && !belongs("tile/3/000.p/1"));
        assert!(!belongs("tile/63/000.p/1"));
    }

    /// A log grown in batches of uneven size, whose store holds nothing but what it was told.
    fn grown(size: u64) -> (Edge, BTreeMap<Tile, Vec<u8>>) {
        let (mut edge, mut store) = (Edge::empty(), BTreeMap::<Tile, Vec<u8>>::new());
        let mut batch = 1;
        while edge.size() < size {
            let mut growth = Growth::resume(edge, |tile| store.get(&tile).cloned()).unwrap();
            for _ in 0..batch {
                if growth.size() < size {
                    growth.append(numbered_leaf(growth.size()));
                }
            }
            let (grown, tiles) = growth.finish();
            store.extend(tiles);
            edge = grown;
            batch = batch * 3 % 1009 + 1;
        }
        (edge, store)
    }

    #[test]
    fn proofs_are_derived_from_the_stored_tiles_alone() {
        let (edge, store) = grown(SIZE);
        assert_eq!(edge.root(), grow((0..SIZE).map(numbered_leaf)).0.root());
        for tile in tile::tiles(SIZE) {
            assert_eq!(store[&tile].len(), usize::from(tile.width) * 32, "{}", tile.path());
        }
        for index in [0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, SIZE - 1] {
            let nodes = merkle::inclusion_nodes(index, SIZE).unwrap();
            let fetched = fetch(&store, tile::tiles_of(&nodes, SIZE));
            let proof = merkle::inclusion_proof(&fetched, index, SIZE).unwrap();
            let leaf = numbered_leaf(index);
            let verified = merkle::verify_inclusion(&leaf, index, SIZE, &proof, &edge.root());
            assert_eq!(verified, Ok(()), "{index}");
            assert!(index >= 65_536 || proof.len() == 17);
        }
        for old in [1, 255, 256, 257, 65_536, 69_999] {
            let nodes = merkle::consistency_nodes(old, SIZE).unwrap();
            let fetched = fetch(&store, tile::tiles_of(&nodes, SIZE));
            let proof = merkle::consistency_proof(&fetched, old, SIZE).unwrap();
            let old_root = grow((0..old).map(numbered_leaf)).0.root();
            let verified = merkle::verify_consistency(old, &old_root, SIZE, &edge.root(), &proof);
            assert_eq!(verified, Ok(()), "{old}");
        }
        let nodes = merkle::root_nodes(SIZE);
        let fetched = fetch(&store, tile::tiles_of(&nodes, SIZE));
        assert_eq!(merkle::root(&fetched, SIZE), Ok(edge.root()));
    }

    fn fetch(store: &BTreeMap<Tile, Vec<u8>>, tiles: impl IntoIterator<Item = Tile>) -> TileSet {
        let mut set = TileSet::default();
        for tile in tiles {
            set.insert(tile, &store[&tile]).unwrap();
        }
        set
    }

    #[test]
    fn a_missing_tile_is_named() {
        let proof = merkle::inclusion_proof(&TileSet::default(), 0, 2);
        assert_eq!(proof, Err(MerkleError::Missing(Node { level: 0, index: 1 })));
        let (edge, _) = grown(300);
        let refused = Growth::resume(edge, |_| None).unwrap_err();
        assert_eq!(refused.to_string(), "the tile tile/0/001.p/44 is missing");
        let tile = Tile { level: Level::Hashes(0), index: 0, width: 2 };
        assert_eq!(TileSet::default().insert(tile, &[0; 63]), Err(TileError::Length));
    }

    #[test]
    fn bundles_hold_entries_after_their_lengths() {
        let long = vec![7; tile::ENTRY_LEN_MAX];
        let entries: [&[u8]; 3] = [b"ab", b"", &long];
        let bundle = tile::encode_bundle(entries).unwrap();
        assert_eq!(bundle[..8], [0, 2, b'a', b'b', 0, 0, 0xff, 0xff]);
        assert_eq!(tile::decode_bundle(&bundle, 3).unwrap(), entries);
        assert_eq!(tile::decode_bundle(&bundle, 2), Err(TileError::Length));
        assert_eq!(tile::decode_bundle(&bundle[..bundle.len() - 1], 3), Err(TileError::Length));
        assert_eq!(tile::decode_bundle(&[0], 0), Err(TileError::Length));
        let too_long = vec![7; tile::ENTRY_LEN_MAX + 1];
        assert_eq!(tile::encode_bundle([&too_long[..]]), Err(TileError::EntryTooLong));
    }
}

mod notes {
    use super::*;

    /// The example of the signed-note package of the Go checksum database.
    const GO_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "\
        If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvq\
        fqdngotpRZb6KE6RyyBwJnAM=\n";

    /// The examples of C2SP signed-note and tlog-checkpoint.
    const C2SP_NOTE: &str = "\
        Ognuno sta solo sul cuor della terra\n\
        trafitto da un raggio di sole:\n\
        \n\
        ed \u{e8} subito sera.\n\
        \n\
        \u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9o\
        JKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    const C2SP_CHECKPOINT: &str = "\
        example.com/behind-the-sofa\n\
        20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
        \n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN\
        7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

    fn key() -> VerifierKey {
        VerifierKey::new("verza.example/audit", PublicKey::of(&sample::key())).unwrap()
    }

    fn signed() -> Note {
        let mut note = Note::new("a\n\nb\n".to_owned()).unwrap();
        note.sign("verza.example/audit", &sample::key()).unwrap();
        note
    }

    #[test]
    fn a_note_of_the_go_checksum_database_is_verified() {
        let key = VerifierKey::parse(GO_VKEY).unwrap();
        assert_eq!(key.to_string(), GO_VKEY);
        let note = Note::parse(GO_NOTE).unwrap();
        assert_eq!(note.verify(std::slice::from_ref(&key)), Ok(vec![&key]));
        assert_eq!(note.to_string(), GO_NOTE);
        let changed = Note::parse(&GO_NOTE.replace("cryptography", "blockchain")).unwrap();
        assert_eq!(changed.verify(&[key]), Err(NoteError::Signature));
    }

    #[test]
    fn the_examples_of_the_specifications_are_read_and_written_back() {
        let note = Note::parse(C2SP_NOTE).unwrap();
        assert!(note.text().ends_with("\n\ned \u{e8} subito sera.\n"));
        assert_eq!(note.signatures()[0].name, "quasimodo.example/salvatore");
        assert_eq!(note.signatures()[0].bytes.len(), 64);
        assert_eq!(note.to_string(), C2SP_NOTE);

        let note = Note::parse(C2SP_CHECKPOINT).unwrap();
        let checkpoint = Checkpoint::parse(note.text()).unwrap();
        assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size, 20_852_163);
        assert_eq!(checkpoint.text(), note.text());
        assert_eq!(hex::encode(note.signatures()[0].id), "033de0ae");
    }

    #[test]
    fn signatures_of_unknown_keys_are_ignored() {
        let stranger = "\u{2014} witness.example AAAAAAECAw==\n";
        let text = signed().to_string().replace("\u{2014}", &format!("{stranger}\u{2014}"));
        let note = Note::parse(&text).unwrap();
        assert_eq!(note.signatures().len(), 2);
        assert_eq!(note.verify(&[key()]).unwrap(), [&key()]);
        let namesake = VerifierKey::parse(GO_VKEY).unwrap();
        assert_eq!(note.verify(&[namesake]), Err(NoteError::NoKnownKey));
        let other = VerifierKey::new("verza.example/audit", *peter().public_key()).unwrap();
        assert_eq!(note.verify(&[other]), Err(NoteError::NoKnownKey), "same name, other key");
    }

    fn peter() -> VerifierKey {
        VerifierKey::parse(GO_VKEY).unwrap()
    }

    #[test]
    fn one_wrong_signature_of_a_known_key_fails_the_note() {
        let good = signed().to_string();
        let wrong = good.replace("a\n\nb\n", "a\n\nc\n");
        assert_eq!(Note::parse(&wrong).unwrap().verify(&[key()]), Err(NoteError::Signature));
        let line = good.lines().last().unwrap();
        let wrong_line = Note::parse(&wrong).unwrap().signatures()[0].to_string();
        let mut other = Note::new("a\n\nc\n".to_owned()).unwrap();
        other.sign("verza.example/audit", &sample::key()).unwrap();
        let both = format!("{other}{line}\n");
        assert_eq!(Note::parse(&both).unwrap().verify(&[key()]), Err(NoteError::Signature));
        assert!(both.contains(wrong_line.trim_end()));
    }

    #[test]
    fn malformed_notes_are_refused() {
        let good = signed().to_string();
        for malformed in [
            "",
            "text\n",
            "text\n\n",
            &good[..good.len() - 1],
            &good.replace("a\n", "a\t\n"),
            &good.replace("\u{2014} ", "- "),
            &good.replace("\u{2014} verza", "\u{2014}  verza"),
            &good.replace("\u{2014} verza.", "\u{2014} ver+za."),
            &format!("{good}x\n"),
            &format!("{good}\u{2014} n AAAA\n"),
            &format!("{good}\u{2014} n AAAAAB==\n"),
            &format!("{good}{}", "\u{2014} n AAAAAAE=\n".repeat(100)),
        ] {
            assert_eq!(Note::parse(malformed), Err(NoteError::Malformed), "{malformed:?}");
        }
        let many = format!("{good}{}", "\u{2014} n AAAAAAE=\n".repeat(99));
        assert!(Note::parse(&many).is_ok());
        assert_eq!(Note::new("no newline".to_owned()), Err(NoteError::Text));
        assert_eq!(Note::new("carriage\r\n".to_owned()), Err(NoteError::Text));
    }

    #[test]
    fn malformed_keys_are_refused() {
        for vkey in [
            "",
            "PeterNeumann",
            "PeterNeumann+c74f20a3",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+BBpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc",
        ] {
            assert!(VerifierKey::parse(vkey).is_err(), "{vkey}");
        }
        for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb"] {
            let key = PublicKey::of(&sample::key());
            assert_eq!(VerifierKey::new(name, key), Err(NoteError::Name), "{name:?}");
        }
    }

    #[test]
    fn a_checkpoint_has_one_spelling_and_its_own_logs_signature() {
        let root = [7; 32];
        let checkpoint = Checkpoint { origin: key().name().to_owned(), size: 3, root };
        let note = checkpoint.sign(&sample::key()).unwrap();
        assert_eq!(Checkpoint::open(&note, &[key()]), Ok(checkpoint.clone()));

        let text = checkpoint.text();
        for malformed in [
            text.replace("\n3\n", "\n03\n"),
            text.replace("\n3\n", "\n+3\n"),
            text.replace("\n3\n", "\n18446744073709551616\n"),
            text.replace("=\n", "\n"),
            format!("{text}extension\n"),
            format!("\n3\n{}", text.lines().last().unwrap()),
        ] {
            assert_eq!(Checkpoint::parse(&malformed), Err(CheckpointError::Malformed));
        }
        let foreign = Checkpoint { origin: "other.example".to_owned(), ..checkpoint.clone() };
        let mut note = Note::new(foreign.text()).unwrap();
        note.sign(key().name(), &sample::key()).unwrap();
        assert_eq!(Checkpoint::open(&note, &[key()]), Err(CheckpointError::OtherOrigin));
        let forged = Checkpoint { origin: "x\n9".to_owned(), ..checkpoint };
        assert_eq!(forged.sign(&sample::key()), Err(CheckpointError::Malformed));
    }
}

mod inclusion {
    use super::*;

    fn known() -> Vec<VerifierKey> {
        vec![VerifierKey::new("verza.example/audit", PublicKey::of(&sample::key())).unwrap()]
    }

    fn proof(extra: Option<Vec<u8>>) -> InclusionProof {
        let (edge, nodes) = grow((0..100).map(numbered_leaf));
        let origin = "verza.example/audit".to_owned();
        let checkpoint = Checkpoint { origin, size: edge.size(), root: edge.root() };
        InclusionProof {
            extra,
            index: 73,
            hashes: merkle::inclusion_proof(&nodes, 73, 100).unwrap(),
            checkpoint: checkpoint.sign(&sample::key()).unwrap(),
        }
    }

    #[test]
    fn a_proof_is_read_back_and_verified() {
        for extra in [None, Some(vec![]), Some(b"note to self".to_vec())] {
            let proof = proof(extra);
            let text = proof.to_string();
            assert!(text.starts_with("c2sp.org/tlog-proof@v1\n"));
            let read = InclusionProof::parse(&text).unwrap();
            assert_eq!(read, proof);
            assert_eq!(read.verify(&73u64.to_be_bytes(), &known()).unwrap().size, 100);
            let other = read.verify(&74u64.to_be_bytes(), &known());
            assert_eq!(other, Err(InclusionError::Merkle(MerkleError::OtherRoot)));
        }
    }

    #[test]
    fn the_only_leaf_needs_no_hashes() {
        let (edge, _) = grow([numbered_leaf(0)]);
        let origin = "verza.example/audit".to_owned();
        let checkpoint = Checkpoint { origin, size: 1, root: edge.root() };
        let note = checkpoint.sign(&sample::key()).unwrap();
        let proof = InclusionProof { extra: None, index: 0, hashes: vec![], checkpoint: note };
        let read = InclusionProof::parse(&proof.to_string()).unwrap();
        assert_eq!(read.verify(&0u64.to_be_bytes(), &known()), Ok(checkpoint));
    }

    #[test]
    fn malformed_proofs_are_refused() {
        let text = proof(None).to_string();
        let hash = text.lines().nth(2).unwrap().to_owned() + "\n";
        for malformed in [
            String::new(),
            text.replace("@v1", "@v2"),
            text.replace("index 73", "index 073"),
            text.replace("index 73", "index -1"),
            text.replace("index 73\n", ""),
            text.replace("index 73", "extra !\nindex 73"),
            text.replace("index 73", "extra YQ==\nextra YQ==\nindex 73"),
            text.replace(&hash, &hash[1..]),
            text.replace(&hash, &hash.repeat(65)),
            text.replace("\n\nverza", "\nverza"),
        ] {
            let refused = InclusionProof::parse(&malformed).unwrap_err();
            assert_eq!(refused, InclusionError::Malformed, "{malformed}");
        }
    }
}

mod entries {
    use super::*;

    fn row() -> Value {
        json!({ "id": 7, "verb": "credential.issued", "data": { "credentialSha256": "00" } })
    }

    #[test]
    fn an_entry_is_canonical_and_tells_kind_and_hour_only() {
        let entry = Entry::new(&sample::SALT, &row(), "credential.issued", sample::ISSUED_AT + 59);
        let text = entry.as_ref().unwrap().encode().unwrap();
        let salted = [
            &sample::SALT[..],
            br#"{"data":{"credentialSha256":"00"},"id":7,"verb":"credential.issued"}"#,
        ];
        let digest = <Sha256 as sha2::Digest>::digest(salted.concat());
        let expected = format!(
            r#"{{"commitment":"{}","hour":"2026-11-22T10Z","type":"credential.issued","v":1}}"#,
            hex::encode(digest),
        );
        assert_eq!(text, expected);
        assert_eq!(Entry::parse(&text), Ok(entry.unwrap()));
    }

    #[test]
    fn an_entry_is_spelled_canonically_whatever_its_kind_is() {
        for kind in ["thing.made", "", "\"quoted\"\\", "tab\t\u{7}\u{1f}\u{7f}", "é\u{2028}𝄞/"]
        {
            let text = Entry::new(&sample::SALT, &row(), kind, 0).unwrap().encode().unwrap();
            let canonical = jcs::canonicalize(&jcs::parse(&text).unwrap()).unwrap();
            assert_eq!(text, canonical);
        }
    }

    #[test]
    fn another_salt_or_row_makes_another_commitment() {
        let first = entry::commitment(&sample::SALT, &row()).unwrap();
        assert_ne!(entry::commitment(&[0; 32], &row()).unwrap(), first);
        let mut other = row();
        other["id"] = 8.into();
        assert_ne!(entry::commitment(&sample::SALT, &other).unwrap(), first);
    }

    #[test]
    fn other_spellings_and_versions_of_an_entry_are_refused() {
        let entry = Entry::new(&sample::SALT, &row(), "x", 0).unwrap();
        let text = entry.encode().unwrap();
        for other in [
            text.replace("\"v\":1", "\"v\":2"),
            text.replace("\"v\":1", "\"v\":1,\"w\":1"),
            text.replace(":", ": "),
            text.replace(&hex::encode(entry.commitment), &hex::encode_upper(entry.commitment)),
            text.replace("\"x\"", "7"),
        ] {
            assert_eq!(Entry::parse(&other), Err(EntryError::Malformed), "{other}");
        }
        assert!(matches!(Entry::parse("{"), Err(EntryError::Json(_))));
        let long = Entry { kind: "x".repeat(70_000), ..entry };
        assert_eq!(long.encode(), Err(EntryError::Malformed));
    }
}
