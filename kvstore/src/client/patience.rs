//! Calls that are made again, for some time, while the store has too much to do. What comes in an order of its own, as the
//! parts of a put do, is sent again where that order is known.

use std::time::Duration;

use actix::Message;
use ensemble::{CallError, Refusal, RemoteMessage};

use super::{
    error::ClientError,
    handle::{Again, Client},
};
use crate::messages::StoreError;

/// How often a call is made again that an overloaded store has refused, and after which time.
pub(super) const ATTEMPTS: u32 = 20;
pub(super) const PAUSE: Duration = Duration::from_millis(100);

impl Client {
    /// As [`call`](Self::call), for a step of a stream: again while the store refuses it as overloaded, and so has not done it.
    pub(super) async fn call_patiently<M, T>(
        &self,
        again: Again,
        message: impl Fn() -> M,
    ) -> Result<T, ClientError>
    where
        M: RemoteMessage + Message<Result = Result<T, StoreError>>,
    {
        let mut attempts = 0;
        loop {
            let outcome = match self.call(self.parts_time(), again, &message).await {
                Ok(answer) => answer.map_err(ClientError::from),
                Err(why) => Err(why.into()),
            };
            match outcome {
                Err(why) if attempts < ATTEMPTS && is_for_a_while(&why) => attempts += 1,
                outcome => return outcome,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether the store has too much to do, and has not done what it was asked for.
pub(super) fn is_for_a_while(why: &ClientError) -> bool {
    matches!(
        why,
        ClientError::Store(StoreError::Overloaded)
            | ClientError::Call(CallError::Refused(Refusal::Overloaded))
    )
}
