//! Several ways to the same end, tried one after the other without waiting for each to fail ("happy eyeballs", as
//! RFC 8305 does it for the addresses of a host). What the ways are is not known here.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::time::sleep;

/// Begins with the first attempt, and with the next one whenever one has failed or `head_start` is over. The first
/// success counts, and the other attempts are dropped. Without one, all failures are merged into `why`, in the order
/// in which they came.
pub(super) async fn race<F, T, E>(
    attempts: Vec<F>,
    head_start: Duration,
    mut why: E,
    mut merge: impl FnMut(E, E) -> E,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = attempts.into_iter();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    loop {
        match waiting.next() {
            Some(attempt) => running.push(Box::pin(attempt)),
            None if running.is_empty() => return Err(why),
            None => {}
        }
        let is_last = waiting.len() == 0;
        tokio::select! {
            biased;
            ended = first(&mut running) => match ended {
                Ok(success) => return Ok(success),
                Err(other) => why = merge(why, other),
            },
            () = sleep(head_start), if !is_last => {}
        }
    }
}

/// Waits for the first that ends, and takes it out.
async fn first<F: Future>(running: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|cx| {
        for index in 0..running.len() {
            if let Poll::Ready(output) = running[index].as_mut().poll(cx) {
                drop(running.remove(index));
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending, rc::Rc};

    use tokio::time::Instant;

    use super::*;

    const HEAD_START: Duration = Duration::from_millis(500);

    /// Each attempt: how long it takes (`None`: for ever) and how it ends.
    type Plan = (Option<u64>, Result<&'static str, &'static str>);

    /// The result, how many attempts were begun, and how many milliseconds it took on the test's clock.
    async fn run(plans: &[Plan]) -> (Result<&'static str, String>, usize, u128) {
        let begun = Rc::new(RefCell::new(0));
        let attempts = plans.iter().map(|&(after_ms, end)| {
            let begun = Rc::clone(&begun);
            async move {
                *begun.borrow_mut() += 1;
                match after_ms {
                    Some(ms) => sleep(Duration::from_millis(ms)).await,
                    None => pending().await,
                }
                end.map_err(str::to_owned)
            }
        });
        let started = Instant::now();
        let merge = |why: String, other: String| format!("{why} {other}");
        let result = race(attempts.collect(), HEAD_START, "none".to_owned(), merge).await;
        let count = *begun.borrow();
        (result, count, started.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_one_needs_no_other() {
        assert_eq!(run(&[(Some(400), Ok("a")), (Some(0), Ok("b"))]).await, (Ok("a"), 1, 400));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_one_holds_up_nobody() {
        assert_eq!(run(&[(None, Ok("a")), (Some(10), Ok("b")), (Some(0), Ok("c"))]).await, (Ok("b"), 2, 510));
        // And may still win.
        assert_eq!(run(&[(Some(600), Ok("a")), (None, Ok("b"))]).await, (Ok("a"), 2, 600));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_the_next_begins_at_once() {
        assert_eq!(run(&[(Some(10), Err("a")), (Some(10), Ok("b"))]).await, (Ok("b"), 2, 20));
        assert_eq!(
            run(&[(None, Ok("a")), (Some(10), Err("b")), (Some(10), Ok("c"))]).await,
            (Ok("c"), 3, 520)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_merged() {
        assert_eq!(run(&[]).await, (Err("none".to_owned()), 0, 0));
        let plans = [(Some(700), Err("a")), (Some(10), Err("b"))];
        assert_eq!(run(&plans).await, (Err("none b a".to_owned()), 2, 700));
    }
}
