use std::num::NonZeroU32;

use super::super::limits::ForwardLimits;
use super::*;

fn accounts(limits: ForwardLimits) -> Arc<Accounts> {
    Arc::new(Accounts::new(limits.resolve(1 << 20), Arc::default()))
}

fn words<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    result.unwrap_err().words().into_owned()
}

fn per_second(spans: u32) -> NonZeroU32 {
    NonZeroU32::new(spans).unwrap()
}

#[test]
fn requests_have_places_of_each_sender_and_of_all() {
    let accounts = accounts(ForwardLimits::default().requests(3).requests_of_each(2));
    let one = accounts.admit("alice").unwrap();
    let _two = accounts.admit("alice").unwrap();
    let of_alice = "too many requests of this sender at the same time";
    assert_eq!(words(accounts.admit("alice")), of_alice);
    let bob = accounts.admit("bob").unwrap();
    assert_eq!(words(accounts.admit("carol")), "too many requests of all senders at the same time");
    drop(bob);
    assert_eq!(words(accounts.admit("alice")), of_alice, "also where others have room");
    drop(one);
    assert_eq!(accounts.admit("alice").unwrap().identity(), "alice");
    let none = self::accounts(ForwardLimits::default().requests_of_each(0));
    assert_eq!(words(none.admit("alice")), of_alice);
    assert_eq!(none.book().of.len(), 0, "nobody is remembered for nothing");
}

#[test]
fn bytes_are_held_until_they_are_let_go() {
    let limits = ForwardLimits::default().bytes_in_flight(100).bytes_in_flight_of_each(60);
    let accounts = accounts(limits);
    let (alice, bob) = (accounts.admit("alice").unwrap(), accounts.admit("bob").unwrap());
    let again = accounts.admit("alice").unwrap();
    let (mut first, mut second, mut third) = (alice.hold(), again.hold(), bob.hold());
    first.grow(50).unwrap();
    assert_eq!(words(second.grow(11)), "too many bytes of this sender are under way");
    third.grow(50).unwrap();
    assert_eq!(words(second.grow(10)), "too many bytes of all senders are under way");
    first.shrink_to(40);
    second.grow(10).unwrap();
    let alone = "message too large: more bytes than this sender may have under way";
    assert_eq!(words(second.grow(51)), alone);
    assert_eq!(words(second.grow(usize::MAX)), alone, "no overflow");
    first.shrink_to(1000);
    assert_eq!(accounts.under_way.load(Relaxed), 100, "shrinking takes no more");
    // What is held may wait for its export for long after the request.
    drop((alice, again, bob));
    assert_eq!(accounts.book().of["alice"].bytes, 50);
    drop((first, second, third));
    assert_eq!(accounts.under_way.load(Relaxed), 0);
    assert_eq!(accounts.book().of["alice"].bytes, 0);
}

#[test]
fn a_request_whose_copies_never_fit_is_not_told_to_come_again() {
    let limits = ForwardLimits::default().bytes_in_flight_of_each(100);
    let accounts = accounts(limits);
    let (alice, another) = (accounts.admit("alice").unwrap(), accounts.admit("alice").unwrap());
    let (mut received, mut stamped, mut other) = (alice.hold(), alice.hold(), another.hold());
    received.grow(60).unwrap();
    assert_eq!(stamped.grow(41).unwrap_err().retry_after(), None);
    other.grow(1).unwrap();
    assert_eq!(stamped.grow(40).unwrap_err().retry_after(), Some(SOON), "when the other is gone");
    drop(other);
    stamped.grow(40).unwrap();
    drop(received);
    stamped.grow(60).expect("what it has let go of does not count");
}

#[test]
fn all_forwarders_of_a_service_share_its_bytes() {
    let under_way = Arc::default();
    let limits =
        |bytes| ForwardLimits::default().bytes_in_flight(bytes).bytes_in_flight_of_each(bytes);
    let [one, other] = [100, 60].map(|bytes| {
        let accounts = Accounts::new(limits(bytes).resolve(1 << 20), Arc::clone(&under_way));
        Arc::new(accounts)
    });
    let (at_one, at_other) = (one.admit("alice").unwrap(), other.admit("alice").unwrap());
    let (mut first, mut second) = (at_one.hold(), at_other.hold());
    first.grow(50).unwrap();
    let all = "too many bytes of all senders are under way";
    assert_eq!(words(second.grow(11)), all);
    second.grow(10).unwrap();
    assert_eq!(words(first.grow(41)), all);
    first.grow(40).expect("each has its own limit");
    drop((first, second));
    assert_eq!(under_way.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn spans_per_second_are_of_each_sender_and_of_all() {
    let limits = ForwardLimits::default()
        .spans_per_second(per_second(15))
        .spans_per_second_of_each(per_second(10));
    let accounts = accounts(limits);
    let (alice, bob) = (accounts.admit("alice").unwrap(), accounts.admit("bob").unwrap());
    alice.take_spans(10).unwrap();
    let refusal = alice.take_spans(5).unwrap_err();
    assert_eq!(refusal.words(), "more than 10 spans per second of this sender");
    let after = refusal.retry_after().unwrap();
    assert_eq!(after, Duration::from_millis(500));
    let refusal = bob.take_spans(10).unwrap_err();
    assert_eq!(refusal.words(), "more than 15 spans per second of all senders");
    bob.take_spans(5).expect("what all refused was not taken of this sender's");
    alice.give_back_spans(10);
    alice.take_spans(10).expect("given back, of all, too");
    let too_many = alice.take_spans(11).unwrap_err();
    let expected =
        "message too large: 11 spans, and 10 spans per second are allowed of this sender";
    assert_eq!(too_many.words(), expected);
    assert_eq!(too_many.retry_after(), None, "it would never pass");
}

#[tokio::test(start_paused = true)]
async fn senders_are_forgotten_when_nothing_of_them_is_left() {
    let limits = ForwardLimits::default().identities(16).spans_per_second_of_each(per_second(1));
    let accounts = accounts(limits);
    for sender in 0..10_000 {
        accounts.admit(&sender.to_string()).unwrap();
        assert!(accounts.book().of.len() <= 16);
    }
    // Now each of them counts against a limit for a second.
    for sender in 0..16 {
        accounts.admit(&format!("busy {sender}")).unwrap().take_spans(1).unwrap();
    }
    assert_eq!(words(accounts.admit("another")), "too many senders at the same time");
    accounts.admit("busy 3").expect("one that is known");
    let mut held = accounts.admit("busy 7").unwrap().hold();
    held.grow(1).unwrap();
    let free = |sender: &str| accounts.book().of.get_mut(sender).unwrap().balance.rate.give_back(1);
    free("busy 7");
    assert_eq!(words(accounts.admit("another")), "too many senders at the same time");
    drop(held);
    accounts.admit("another").expect("there is a place now");
    assert!(!accounts.book().of.contains_key("busy 7"));
}

#[test]
fn spans_that_come_the_same_way_share_a_scope() {
    let accounts = accounts(ForwardLimits::default());
    let (alice, bob) = (accounts.admit("alice").unwrap(), accounts.admit("bob").unwrap());
    let way = |text: &'static str| Bytes::from_static(text.as_bytes());
    let first = alice.scope(&way("a")).unwrap();
    assert!(Arc::ptr_eq(&first, &alice.scope(&way("a")).unwrap()));
    assert!(!Arc::ptr_eq(&first, &alice.scope(&way("b")).unwrap()), "by another way");
    assert!(!Arc::ptr_eq(&first, &bob.scope(&way("a")).unwrap()), "of another sender");
    for sender in 0..1000 {
        alice.scope(&Bytes::from(sender.to_string())).unwrap();
    }
    assert_eq!(accounts.book().of["alice"].scopes.len(), WAYS);
    assert!(Arc::ptr_eq(&first, &alice.scope(&way("a")).unwrap()), "something of it waits");
}

#[test]
fn spans_of_a_sender_wait_that_came_few_ways() {
    let accounts = accounts(ForwardLimits::default());
    let (alice, bob) = (accounts.admit("alice").unwrap(), accounts.admit("bob").unwrap());
    let way = |number: usize| Bytes::from(number.to_string());
    let mut waiting: Vec<_> = (0..WAYS).map(|number| alice.scope(&way(number)).unwrap()).collect();
    let refusal = alice.scope(&way(WAYS)).unwrap_err();
    assert_eq!(refusal.words(), "spans of this sender wait that came too many ways");
    assert_eq!(refusal.retry_after(), Some(SOON));
    alice.scope(&way(0)).expect("one of them");
    bob.scope(&way(WAYS)).expect("another sender");
    waiting.pop();
    alice.scope(&way(WAYS)).expect("nothing waits any more that came the last way");
}
