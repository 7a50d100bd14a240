//! Which server a key belongs to: rendezvous hashing (Thaler and Ravishankar, 1996). Each server has a score for each
//! key, and the highest wins. When a server goes, only its keys move; when one comes, only those that it wins.
//!
//! The scores are fixed for good, so that all programs of all versions agree: with `h` the 64-bit FNV-1a hash of some
//! bytes, and `mix` the finalizer of SplitMix64, the score of a server for a key is `mix(mix(h(id)) ^ mix(h(key)))`.

use ensemble::ServerId;

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// See the module.
pub(super) fn score(id: &ServerId, key: &[u8]) -> u64 {
    mix(mix(fnv1a(id.as_str().as_bytes())) ^ mix(fnv1a(key)))
}

/// The position of the one among `ids` that the key belongs to.
pub(super) fn owner<'a>(ids: impl Iterator<Item = &'a ServerId>, key: &[u8]) -> Option<usize> {
    let best = ids
        .enumerate()
        .max_by(|(_, one), (_, other)| (score(one, key), one).cmp(&(score(other, key), other)));
    best.map(|(position, _)| position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> Vec<ServerId> {
        (0..count).map(|n| ServerId::new(format!("server-{n}")).unwrap()).collect()
    }

    fn owners(ids: &[ServerId], keys: u32) -> Vec<&ServerId> {
        (0..keys).map(|key| &ids[owner(ids.iter(), &key.to_be_bytes()).unwrap()]).collect()
    }

    #[test]
    fn scores_never_change() {
        let id = |text: &str| ServerId::new(text).unwrap();
        // The published test values of the two parts; the rest was computed apart from this code.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
        assert_eq!(score(&id("a"), b""), 0x3be5_d845_2221_ad66);
        assert_eq!(score(&id("a"), b"key"), 0x737c_e33e_5488_8513);
        assert_eq!(score(&id("kvstore@/example/one"), b"key"), 0x4968_3b99_4916_2f39);
    }

    #[test]
    fn keys_are_shared_out_evenly() {
        let ids = ids(10);
        let owners = owners(&ids, 10_000);
        for id in &ids {
            let count = owners.iter().filter(|owner| **owner == id).count();
            assert!((850..1150).contains(&count), "{id} has {count} of 10,000 keys");
        }
    }

    #[test]
    fn only_the_keys_of_a_server_that_goes_or_comes_move() {
        let ids = ids(8);
        let before = owners(&ids, 5_000);
        for gone in &ids {
            let rest: Vec<ServerId> = ids.iter().filter(|id| *id != gone).cloned().collect();
            for (was, is) in before.iter().zip(owners(&rest, 5_000)) {
                assert!(*was == is || *was == gone, "a key moved from {was} to {is} when {gone} went");
            }
        }
    }

    #[test]
    fn the_order_of_the_servers_does_not_matter() {
        let ids = ids(5);
        let reversed: Vec<ServerId> = ids.iter().rev().cloned().collect();
        assert_eq!(owners(&ids, 1_000), owners(&reversed, 1_000));
        assert_eq!(owner([].into_iter(), b"key"), None);
    }
}
