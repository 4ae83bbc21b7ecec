//! What every attempt passes before it is sent: the pace, the pause that a server asked for, and the budget.

use super::flow::{Call, Ended};
use super::{Endpoint, Prices, Usage};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a wait looks whether it was cancelled.
const STEP: Duration = Duration::from_millis(25);
/// Sums of prices are off by this share.
const ROUNDING: f64 = 1e-9;

/// Shared by all threads of a client.
pub(super) struct Gate {
    state: Mutex<State>,
    moved: Condvar,
    prices: Prices,
    budget: Option<f64>,
    interval: Duration,
}

struct State {
    /// Cost by the server's counts, and what was estimated for the same.
    counted: f64,
    foreseen: f64,
    /// Estimates of what may have been charged uncounted.
    uncounted: f64,
    /// Estimates of what runs, uncorrected, and its number.
    running: f64,
    flights: usize,
    /// When the next request may start: by the pace, and by the server's wish.
    slot: Instant,
    pause: Instant,
    /// Good answers.
    good: u64,
}

/// A request that may be sent, with its cost by the estimate alone.
pub(super) struct Ticket(f64);

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bill {
    /// The server's count.
    Counted(Usage),
    /// It may be charged, and nobody said how much.
    Uncounted,
    /// An answer without a count.
    Good,
    /// Nothing.
    Free,
}

impl State {
    /// What turned out dearer than foreseen so far is expected of the rest too.
    fn factor(&self) -> f64 {
        if self.foreseen > 0.0 { (self.counted / self.foreseen).max(1.0) } else { 1.0 }
    }
}

impl Gate {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let now = Instant::now();
        let state =
            State { counted: 0.0, foreseen: 0.0, uncounted: 0.0, running: 0.0, flights: 0, slot: now, pause: now, good: 0 };
        Self {
            state: Mutex::new(state),
            moved: Condvar::new(),
            prices: endpoint.prices.unwrap_or_default(),
            budget: endpoint.budget,
            interval: endpoint.per_minute.map_or(Duration::ZERO, |n| Duration::from_secs_f64(60.0 / n)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request that is estimated to take `usage` may be sent, not before `from`; `None` once the call is over.
    pub(super) fn enter(&self, usage: Usage, from: Instant, call: &Call) -> Option<Ticket> {
        let plain = self.prices.of(usage);
        let mut state = self.lock();
        loop {
            if call.over() {
                return None;
            }
            let now = Instant::now();
            let at = state.pause.max(state.slot).max(from);
            if at > now {
                state = self.wait(state, at - now);
                continue;
            }
            if let Some(budget) = self.budget {
                let (spent, factor) = (state.counted + state.uncounted, state.factor());
                let cost = plain * factor;
                if spent + state.running * factor + cost > budget * (1.0 + ROUNDING) {
                    // Those that run may turn out cheaper.
                    if state.flights > 0 {
                        state = self.wait(state, STEP);
                        continue;
                    }
                    call.end(Ended::Budget(format!(
                        "the budget of {budget} has {:.6} left, and the next request may cost {cost:.6}; raise it, then run again for what is missing",
                        (budget - spent).max(0.0)
                    )));
                    return None;
                }
            }
            state.slot = now + self.interval;
            state.running += plain;
            state.flights += 1;
            return Some(Ticket(plain));
        }
    }

    /// Takes back a ticket, by value since it holds once.
    #[allow(clippy::needless_pass_by_value)]
    pub(super) fn leave(&self, ticket: Ticket, bill: Bill) {
        let mut state = self.lock();
        state.flights -= 1;
        // Nothing runs: no rounding is left behind.
        state.running = if state.flights == 0 { 0.0 } else { state.running - ticket.0 };
        match bill {
            Bill::Counted(usage) => {
                state.counted += self.prices.of(usage);
                state.foreseen += ticket.0;
            }
            Bill::Uncounted | Bill::Good => state.uncounted += ticket.0 * state.factor(),
            Bill::Free => {}
        }
        if matches!(bill, Bill::Counted(_) | Bill::Good) {
            state.good += 1;
        }
        drop(state);
        self.moved.notify_all();
    }

    /// Holds up all requests.
    pub(super) fn pause(&self, until: Instant) {
        let mut state = self.lock();
        state.pause = state.pause.max(until);
    }

    /// Good answers so far.
    pub(super) fn good(&self) -> u64 {
        self.lock().good
    }

    pub(super) fn spent(&self) -> f64 {
        let state = self.lock();
        state.counted + state.uncounted
    }

    /// What `usage` costs.
    pub(super) fn price(&self, usage: Usage) -> f64 {
        self.prices.of(usage)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left: Duration) -> MutexGuard<'a, State> {
        match self.moved.wait_timeout(state, left.min(STEP)) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }
}
