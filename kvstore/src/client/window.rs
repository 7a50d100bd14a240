//! Several calls under way at once, answered in the order in which they were begun.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
};

type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Calls under way. Dropping it cancels them.
pub(super) struct Window<T> {
    calls: VecDeque<Call<T>>,
}

enum Call<T> {
    Running(Running<T>),
    Answered(T),
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { calls: VecDeque::new() }
    }
}

impl<T> Window<T> {
    /// How many calls are under way, or answered and not taken.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Begins a call behind those under way. It goes out when the window is used next.
    pub(super) fn push(&mut self, call: impl Future<Output = T> + Send + 'static) {
        self.calls.push_back(Call::Running(Box::pin(call)));
    }

    /// The answer of the first call; none when there is none under way.
    pub(super) async fn next(&mut self) -> Option<T> {
        poll_fn(|context| {
            self.poll(context);
            match self.calls.pop_front() {
                None => Poll::Ready(None),
                Some(Call::Answered(answer)) => Poll::Ready(Some(answer)),
                Some(running) => {
                    self.calls.push_front(running);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Does something else while the calls go on.
    pub(super) async fn meanwhile<O>(&mut self, work: impl Future<Output = O>) -> O {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.poll(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// In their order, in which they so go out.
    fn poll(&mut self, context: &mut Context<'_>) {
        for call in &mut self.calls {
            if let Call::Running(running) = call
                && let Poll::Ready(answer) = running.as_mut().poll(context)
            {
                *call = Call::Answered(answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_calls_and_calls_go_on_during_other_work() {
        let mut window = Window::default();
        let (first, second) = (oneshot::channel::<u32>(), oneshot::channel::<u32>());
        window.push(async { first.1.await.unwrap() });
        window.push(async { second.1.await.unwrap() });
        second.0.send(2).unwrap();
        let (begun, seen) = oneshot::channel();
        window.push(async move {
            begun.send(()).unwrap();
            3
        });
        window.meanwhile(async { seen.await.unwrap() }).await;
        first.0.send(1).unwrap();
        assert_eq!(window.len(), 3);
        assert_eq!([window.next().await, window.next().await], [Some(1), Some(2)]);
        assert_eq!([window.next().await, window.next().await], [Some(3), None]);
    }
}
