//! What each sender has under way, and all of them together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::limits::Limits;
use super::rate::{Rate, Short};
use super::refusal::{Refusal, SOON};
use crate::pipeline::Scope;

/// The accounts of all senders. There are so many and no more: those of senders who have nothing
/// under way are closed when another one needs the place.
#[derive(Debug)]
pub(super) struct Accounts {
    limits: Limits,
    /// Bytes that are held for all senders to all forwarders of one tracing service.
    under_way: Arc<AtomicUsize>,
    began: Instant,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    all: Balance,
    of: HashMap<Arc<str>, Account>,
}

#[derive(Debug)]
struct Account {
    balance: Balance,
    bytes: usize,
    /// For each way that the spans come by.
    scopes: Vec<(Bytes, Arc<Scope>)>,
}

#[derive(Debug)]
struct Balance {
    requests: usize,
    rate: Rate,
}

/// The place of one request among those under way.
#[derive(Debug)]
pub(super) struct Visit {
    accounts: Arc<Accounts>,
    identity: Arc<str>,
    /// What all its [`Held`] hold.
    held: Arc<AtomicUsize>,
}

/// Bytes that a request takes up. They may outlive the visit.
#[derive(Debug)]
pub(super) struct Held {
    accounts: Arc<Accounts>,
    identity: Arc<str>,
    of_visit: Arc<AtomicUsize>,
    bytes: usize,
}

impl Accounts {
    pub(super) fn new(limits: Limits, under_way: Arc<AtomicUsize>) -> Self {
        let all = Balance::new(Rate::per_second(limits.spans_per_second));
        let book = Mutex::new(Book { all, of: HashMap::new() });
        Self { limits, under_way, began: Instant::now(), book }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets in a request of this sender, if there is room for one.
    pub(super) fn admit(self: &Arc<Self>, identity: &str) -> Result<Visit, Refusal> {
        let mut book = self.book();
        let Book { all, of } = &mut *book;
        if all.requests >= self.limits.requests {
            return Err(over("too many requests of all senders at the same time"));
        }
        if !of.contains_key(identity) && of.len() >= self.limits.identities {
            let now = self.began.elapsed();
            of.retain(|_, account| !account.is_idle(now));
            if of.len() >= self.limits.identities {
                return Err(over("too many senders at the same time"));
            }
        }
        let identity = match of.get_key_value(identity) {
            Some((known, account)) if account.balance.requests < self.limits.requests_of_each => {
                Arc::clone(known)
            }
            Some(_) => return Err(over("too many requests of this sender at the same time")),
            None if self.limits.requests_of_each == 0 => {
                return Err(over("too many requests of this sender at the same time"));
            }
            None => {
                let rate = Rate::per_second(self.limits.spans_per_second_of_each);
                let identity: Arc<str> = identity.into();
                let account = Account { balance: Balance::new(rate), bytes: 0, scopes: Vec::new() };
                of.insert(Arc::clone(&identity), account);
                identity
            }
        };
        all.requests += 1;
        if let Some(account) = of.get_mut(&identity) {
            account.balance.requests += 1;
        }
        Ok(Visit { accounts: Arc::clone(self), identity, held: Arc::default() })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Numbers are changed under this lock, and nothing in between can panic.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.accounts.limits
    }

    /// An empty hand, to hold bytes of this request in.
    pub(super) fn hold(&self) -> Held {
        Held {
            accounts: Arc::clone(&self.accounts),
            identity: Arc::clone(&self.identity),
            of_visit: Arc::clone(&self.held),
            bytes: 0,
        }
    }

    /// Takes so many spans of what a second allows.
    pub(super) fn take_spans(&self, spans: u64) -> Result<(), Refusal> {
        let now = self.accounts.began.elapsed();
        let mut book = self.accounts.book();
        let Book { all, of } = &mut *book;
        let Some(account) = of.get_mut(&self.identity) else { return Ok(()) };
        let limits = &self.accounts.limits;
        let refusal = |short, limit, whose| match short {
            Short::ForGood => Refusal::TooLarge(
                format!("{spans} spans, and {limit} spans per second are allowed {whose}").into(),
            ),
            Short::For(after) => Refusal::OverLimit {
                words: format!("more than {limit} spans per second {whose}").into(),
                after,
            },
        };
        let rate = &mut account.balance.rate;
        rate.take(spans, now)
            .map_err(|short| refusal(short, limits.spans_per_second_of_each, "of this sender"))?;
        all.rate.take(spans, now).map_err(|short| {
            rate.give_back(spans);
            refusal(short, limits.spans_per_second, "of all senders")
        })
    }

    /// Undoes a [`take_spans`](Self::take_spans) of so many.
    pub(super) fn give_back_spans(&self, spans: u64) {
        let mut book = self.accounts.book();
        book.all.rate.give_back(spans);
        if let Some(account) = book.of.get_mut(&self.identity) {
            account.balance.rate.give_back(spans);
        }
    }

    /// The scope that spans of this sender have which have come this way. They share it; and as each
    /// is exported by itself, while it is the sender who says which way they came, there are few of
    /// which something waits.
    pub(super) fn scope(&self, via: &Bytes) -> Result<Arc<Scope>, Refusal> {
        let mut book = self.accounts.book();
        let new = || Arc::new(Scope::of_others(via.clone()));
        let Some(account) = book.of.get_mut(&self.identity) else { return Ok(new()) };
        let scopes = &mut account.scopes;
        if let Some((_, scope)) = scopes.iter().find(|(known, _)| known == via) {
            return Ok(Arc::clone(scope));
        }
        if scopes.len() >= WAYS {
            let idle = scopes.iter().position(|(_, scope)| Arc::strong_count(scope) == 1);
            let Some(idle) = idle else {
                return Err(over("spans of this sender wait that came too many ways"));
            };
            scopes.swap_remove(idle);
        }
        let scope = new();
        scopes.push((via.clone(), Arc::clone(&scope)));
        Ok(scope)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut book = self.accounts.book();
        book.all.requests -= 1;
        if let Some(account) = book.of.get_mut(&self.identity) {
            account.balance.requests -= 1;
        }
    }
}

impl Held {
    /// Holds so many bytes more, or as many as before.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let limits = &self.accounts.limits;
        let (most, of_each) = (limits.bytes_in_flight, limits.bytes_in_flight_of_each);
        let mut book = self.accounts.book();
        let Some(account) = book.of.get_mut(&self.identity) else { return Ok(()) };
        // Its copies alone are too much: it would not fit another time either.
        if self.of_visit.load(Relaxed).saturating_add(bytes) > most.min(of_each) {
            return Err(Refusal::TooLarge("more bytes than this sender may have under way".into()));
        }
        if account.bytes + bytes > of_each {
            return Err(over("too many bytes of this sender are under way"));
        }
        let take = |held: usize| held.checked_add(bytes).filter(|&held| held <= most);
        if self.accounts.under_way.fetch_update(Relaxed, Relaxed, take).is_err() {
            return Err(over("too many bytes of all senders are under way"));
        }
        account.bytes += bytes;
        self.bytes += bytes;
        self.of_visit.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Holds no more than so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        let mut book = self.accounts.book();
        if let Some(account) = book.of.get_mut(&self.identity) {
            account.bytes -= less;
            self.accounts.under_way.fetch_sub(less, Relaxed);
            self.bytes -= less;
            self.of_visit.fetch_sub(less, Relaxed);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

impl Account {
    fn is_idle(&self, now: Duration) -> bool {
        self.balance.requests == 0 && self.bytes == 0 && self.balance.rate.is_full(now)
    }
}

impl Balance {
    fn new(rate: Rate) -> Self {
        Self { requests: 0, rate }
    }
}

fn over(words: &'static str) -> Refusal {
    Refusal::OverLimit { words: words.into(), after: SOON }
}

/// Ways that waiting spans of one sender may have come by.
const WAYS: usize = 4;

#[cfg(test)]
mod tests;
