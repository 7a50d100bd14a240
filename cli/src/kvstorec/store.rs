//! What the subcommands have in common: the way to the store, and what they say of it.

use std::{rc::Rc, time::Duration};

use ensemble::{CallError, Refusal};
use kvstore::{
    Client, ClientError, PutOptions, ValueStream,
    messages::{ApplyRefused, Done, Op, PutDone, StoreError},
};
use tokio::signal;

use super::{
    cli::{Place, Reach},
    key::Key,
};
use crate::{
    console::{self, Console},
    exit::{Code, Failure, Outcome},
    human,
    input::{self, Long},
    progress,
    settings::Settings,
    translate::{self, Target},
};

/// What a message has at most beside one value: the key and what goes with it.
const MESSAGE_OVERHEAD_BYTES: u64 = 64 << 10;

/// The server that a command is for.
pub(super) struct Server {
    pub(super) client: Client,
    console: Console,
    id: String,
    given_timeout: Option<Duration>,
}

/// The key that a command is for, and its store.
pub(super) struct Store {
    pub(super) key: Key,
    server: Server,
}

/// How often a call is made that an overloaded store refuses, and how long is waited before it is made again: twice as long
/// each time.
const MAX_TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Makes a call again, for some time, that an overloaded store refuses, and so has not done.
pub(super) async fn unless_overloaded<T>(
    call: impl AsyncFn() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let is_overloaded = |why: &ClientError| {
        matches!(
            why,
            ClientError::Store(StoreError::Overloaded)
                | ClientError::Apply(ApplyRefused { why: StoreError::Overloaded, .. })
                | ClientError::Call(CallError::Refused(Refusal::Overloaded))
        )
    };
    let mut pause = FIRST_PAUSE;
    for _ in 1..MAX_TRIES {
        match call().await {
            Err(why) if is_overloaded(&why) => tokio::time::sleep(pause).await,
            outcome => return outcome,
        }
        pause *= 2;
    }
    call().await
}

/// How long the end of an interrupted put may take.
const GIVE_UP_TIME: Duration = Duration::from_secs(1);

/// How much longer than a short call a part of a long value may take.
const PART_TIME: Duration = Duration::from_secs(10);

/// How long a put of so many bytes may take: what `--timeout` says, else what the client would give it.
fn put_timeout(given: Option<Duration>, default: Duration, bytes: usize) -> Duration {
    given.unwrap_or_else(|| kvstore::put_time(default, bytes))
}

/// Runs `work` with the store at `place`.
pub(super) fn with_store(
    place: &Place,
    settings: &Settings,
    work: impl AsyncFnOnce(Store) -> Outcome,
) -> Outcome {
    with_server(&place.reach, settings, async |server| work(Store { key: place.key(), server }).await)
}

/// Runs `work` with a store's server.
pub(super) fn with_server(
    reach: &Reach,
    settings: &Settings,
    work: impl AsyncFnOnce(Server) -> Outcome,
) -> Outcome {
    console::run_with(settings, &reach.client, settings.timeout(), async |console| {
        let client = Client::new(&console.node, &reach.server).with_timeout(settings.timeout());
        let id = reach.server.to_string();
        let given_timeout = settings.given_timeout();
        work(Server { client, console, id, given_timeout }).await
    })
}

impl Server {
    /// What a failed call was about: the key.
    pub(super) fn failure(&self, why: &ClientError, key: &Key) -> Failure {
        failure_within(why, key, self.target())
    }

    /// There is nothing under the key.
    pub(super) fn no_such_key(&self, key: &Key) -> Failure {
        Failure::new(Code::NotFound, format_args!("{} has no key {key}", self.id))
            .advise("store something with `kvstorec put`")
    }

    /// The longest value that can be on its way to a store, in bytes.
    pub(super) fn max_value_bytes(&self) -> u64 {
        self.console.node.limits().max_message_bytes
    }

    /// The longest value that goes in one message with what belongs to it, in bytes.
    pub(super) fn max_whole_value_bytes(&self) -> u64 {
        self.max_value_bytes().saturating_sub(MESSAGE_OVERHEAD_BYTES)
    }

    /// Does several writes; long values get more time.
    pub(super) async fn apply(&self, writes: Vec<Op>) -> Result<Vec<Done>, ClientError> {
        let bytes =
            writes.iter().map(|write| if let Op::Put { value, .. } = write { value.len() } else { 0 });
        let timeout = put_timeout(self.given_timeout, self.target().timeout, bytes.sum());
        self.client.clone().with_timeout(timeout).apply(writes).await
    }

    /// Why several writes, from these lines and of these keys, were not done.
    pub(super) fn apply_failure(&self, why: &ClientError, lines: &[u64], keys: &[Key]) -> Failure {
        let ClientError::Apply(ApplyRefused { index, why }) = why else {
            return self.failure(why, &Key::default());
        };
        let at = index.and_then(|index| usize::try_from(index).ok());
        let of = at.and_then(|at| Some((lines.get(at)?, keys.get(at)?)));
        let why = ClientError::Store(*why);
        match (self.failure(&why, of.map_or(&Key::default(), |(_, key)| key)), of) {
            (Failure::Problem { code, what, advice }, Some((line, _))) => {
                Failure::Problem { code, what: format!("line {line}: {what}"), advice }
            }
            (failure, _) => failure,
        }
    }

    /// Waits for an answer from the store; what takes longer is seen.
    pub(super) async fn waiting<T>(&self, answer: impl Future<Output = T>) -> T {
        let text = async || {
            let received = self.console.traffic(&self.id).await.1;
            format!("waiting for {}, {} so far", self.id, human::bytes(received))
        };
        progress::showing(text, answer).await
    }

    fn target(&self) -> Target<'_> {
        self.console.target(&self.id, kvstore::ACTOR)
    }
}

impl Store {
    /// A way to ask it.
    pub(super) fn client(&self) -> &Client {
        &self.server.client
    }

    /// The longest value that can be on its way to a store, in bytes.
    pub(super) fn max_value_bytes(&self) -> u64 {
        self.server.max_value_bytes()
    }

    /// Puts a value under the key; a long one gets more time.
    pub(super) async fn put(&self, value: Vec<u8>, options: PutOptions) -> Outcome<PutDone> {
        let Server { console, id, given_timeout, .. } = &self.server;
        let mut target = self.server.target();
        target.timeout = put_timeout(*given_timeout, target.timeout, value.len());
        let client = self.client().clone().with_timeout(target.timeout);
        let bytes = value.len() as u64;
        let text = async || {
            let sent = console.traffic(id).await.0.min(bytes);
            format!("storing {} of {}", human::bytes(sent), human::bytes(bytes))
        };
        let put = async {
            if options == PutOptions::new() {
                client.put(self.key.bytes(), value).await
            } else {
                client.put_with(self.key.bytes(), value, options).await
            }
        };
        let done = progress::showing(text, put).await;
        done.map_err(|why| failure_within(&why, &self.key, target))
    }

    /// Puts what an input gives under the key.
    pub(super) async fn put_stream(&self, input: Long, options: PutOptions) -> Outcome<PutDone> {
        let (taken, bytes, name) = (Rc::clone(&input.taken), input.bytes, input.name.clone());
        let (client, target) = self.for_streams();
        let put = async {
            tokio::select! {
                done = client.put_stream(self.key.bytes(), input, bytes, options) => return Some(done),
                _ = signal::ctrl_c() => {}
            }
            // That the put is given up is only on its way, and the connections end with the command: this is answered behind it.
            if let Err(why) = client.clone().with_timeout(GIVE_UP_TIME).limits().await {
                tracing::debug!(%why, "the store gives the put up by itself later");
            }
            None
        };
        match progress::showing(async || share("storing", taken.get(), bytes), put).await {
            Some(Ok(done)) => Ok(done),
            Some(Err(ClientError::Input { why, .. })) => Err(input::unreadable(&name, &why)),
            Some(Err(why)) => Err(failure_within(&why, &self.key, target)),
            None => Err(interrupted("nothing was stored, unless it was just being finished")),
        }
    }

    /// Begins to get the value under the key, however long it is.
    pub(super) async fn get_stream(&self) -> Outcome<ValueStream> {
        let (client, target) = self.for_streams();
        let begun = self.getting(client.get_stream(self.key.bytes())).await;
        begun.map_err(|why| failure_within(&why, &self.key, target))?.ok_or_else(|| self.no_such_key())
    }

    /// A client that has more time for each part than short calls have, and what its failures name.
    fn for_streams(&self) -> (Client, Target<'_>) {
        let Server { given_timeout, .. } = &self.server;
        let mut target = self.server.target();
        target.timeout = given_timeout.unwrap_or(target.timeout + PART_TIME);
        (self.client().clone().with_timeout(target.timeout), target)
    }

    /// Waits for a value from the store.
    pub(super) async fn getting<T>(&self, get: impl Future<Output = T>) -> T {
        self.server.waiting(get).await
    }

    pub(super) fn failure(&self, why: &ClientError) -> Failure {
        self.server.failure(why, &self.key)
    }

    /// There is nothing under the key.
    pub(super) fn no_such_key(&self) -> Failure {
        self.server.no_such_key(&self.key)
    }
}

/// How far a stream has come.
pub(super) fn share(doing: &str, done: u64, of: Option<u64>) -> String {
    match of {
        Some(of) => {
            format!("{doing} {}  {} of {}", progress::bar(done, of), human::bytes(done), human::bytes(of))
        }
        None => format!("{doing}: {}", human::bytes(done)),
    }
}

/// The failure of a stream that its user has ended.
pub(super) fn interrupted(advice: &str) -> Failure {
    Failure::new(Code::Failed, "interrupted").advise(advice)
}

fn failure_within(why: &ClientError, key: &Key, target: Target<'_>) -> Failure {
    let failure = match why {
        ClientError::Store(StoreError::Conflict { current: Some(revision) }) => {
            Failure::new(Code::Conflict, format_args!("the key {key} has revision {revision}"))
        }
        ClientError::Store(StoreError::Conflict { current: None }) => {
            Failure::new(Code::Conflict, format_args!("there is no key {key}"))
        }
        ClientError::Store(why @ (StoreError::TooMany { .. } | StoreError::AnswerTooLarge { .. })) => {
            return Failure::of(Code::Usage, why).advise("ask in several calls");
        }
        ClientError::Store(StoreError::KeyRepeated) => {
            return Failure::new(Code::Usage, format_args!("the key {key} has come before"))
                .advise("nothing was changed: write each key once");
        }
        _ => return translate::store(why, key, target),
    };
    failure.advise("nothing was changed: see what is there now, and decide again")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_an_overloaded_store_refuses_is_tried_again_and_not_for_ever() {
        let overloaded = || ClientError::Store(StoreError::Overloaded);
        for (first, calls_due, expected) in [
            (overloaded(), MAX_TRIES, Err(overloaded())),
            (StoreError::Closed.into(), 1, Err(StoreError::Closed.into())),
        ] {
            let calls = Cell::new(0);
            let call = async || {
                calls.set(calls.get() + 1);
                Err::<(), _>(first.clone())
            };
            assert_eq!((unless_overloaded(call).await, calls.get()), (expected, calls_due));
        }
        let calls = Cell::new(0);
        let call = async || {
            calls.set(calls.get() + 1);
            if calls.get() < 3 { Err(overloaded()) } else { Ok(calls.get()) }
        };
        assert_eq!(unless_overloaded(call).await, Ok(3));
    }

    #[test]
    fn long_values_get_more_time_unless_it_was_given() {
        let seconds = Duration::from_secs;
        for (given, bytes, expected) in
            [(None, 0, 5), (None, (8 << 20) - 1, 5), (None, 64 << 20, 13), (Some(seconds(2)), 64 << 20, 2)]
        {
            assert_eq!(put_timeout(given, seconds(5), bytes), seconds(expected), "{given:?} {bytes}");
        }
    }
}
