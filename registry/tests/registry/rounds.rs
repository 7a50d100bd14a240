//! Many rounds of what can happen to servers and to the registry, in random order.

use std::collections::BTreeMap;

use ensemble::Node;
use registry::{ClientError, JoinError};

use crate::common::{Ensemble, end, id};

const ROUNDS: u32 = 200;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// xorshift64*: good enough to mix things up, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(mixed).unwrap() % limit
    }
}

fn seed() -> u64 {
    let bytes = ensemble::Incarnation::fresh();
    u64::from_le_bytes(bytes.as_bytes()[..8].try_into().unwrap()) | 1
}

#[actix::test]
async fn rightful_owners_get_their_ids_and_others_do_not() {
    let seed = seed();
    println!("seed {seed}");
    let mut random = Random(seed);
    let ensemble = Ensemble::new();
    let mut registry = ensemble.registry().await;
    let mut living: BTreeMap<&str, Node> = BTreeMap::new();
    let mut was_killed: BTreeMap<&str, bool> = BTreeMap::new();
    for round in 0..ROUNDS {
        let name = NAMES[random.below(NAMES.len())];
        let at = format!("{name}-{round}");
        match (random.below(6), living.remove(name)) {
            (0, Some(server)) => {
                drop(server);
                was_killed.insert(name, true);
            }
            (1, Some(server)) => {
                end(server).await;
                was_killed.insert(name, false);
            }
            (0 | 1, None) => {
                if random.below(2) == 0 {
                    end(registry).await;
                } else {
                    drop(registry);
                }
                registry = ensemble.registry_again(ensemble.dir.path()).await;
            }
            (_, Some(server)) => {
                let refused = ensemble.join_listening(name, &at).await;
                match refused {
                    Err(JoinError::Held { incarnation, .. }) => assert_eq!(incarnation, server.incarnation()),
                    other => panic!("round {round} of seed {seed}: {other:?}"),
                }
                living.insert(name, server);
            }
            (_, None) => match ensemble.join_listening(name, &at).await {
                Ok(server) => {
                    living.insert(name, server);
                }
                Err(cause) => panic!("round {round} of seed {seed}: {cause:?}"),
            },
        }
        let (_console, client) = ensemble.console().await;
        for name in NAMES {
            let found = client.lookup(&id(name)).await;
            match (living.get(name), was_killed.get(name)) {
                (Some(server), _) => assert_eq!(
                    found.map(|info| info.incarnation),
                    Ok(server.incarnation()),
                    "{name} in round {round} of seed {seed}"
                ),
                // It may be in the directory until its lease ends.
                (None, Some(true)) => {}
                (None, _) => assert_eq!(
                    found,
                    Err(ClientError::UnknownServer(id(name))),
                    "{name} in round {round} of seed {seed}"
                ),
            }
        }
    }
}
