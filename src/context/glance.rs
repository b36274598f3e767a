//! Looking for a header without hashing its name.
//!
//! A map of headers looks up by a hash of the name, which for the few headers of most messages
//! takes longer than a glance at each.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// [`HeaderMap::get`].
pub(crate) fn get<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    if are_many(headers) {
        return headers.get(name);
    }
    // The values of a name come in their order.
    headers.iter().find_map(|(each, value)| (each == name).then_some(value))
}

/// [`HeaderMap::get`], of several names, which are not the same.
#[inline]
pub(crate) fn get_each<'a, const N: usize>(
    headers: &'a HeaderMap,
    names: [&HeaderName; N],
) -> [Option<&'a HeaderValue>; N] {
    if are_many(headers) {
        return names.map(|name| headers.get(name));
    }
    let mut values = [None; N];
    for (each, value) in headers {
        for (name, found) in names.iter().zip(&mut values) {
            if each == *name && found.is_none() {
                *found = Some(value);
            }
        }
    }
    values
}

/// [`HeaderMap::contains_key`].
pub(crate) fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    if are_many(headers) {
        headers.contains_key(name)
    } else {
        headers.keys().any(|each| each == name)
    }
}

/// Whether a lookup is less than a glance at each.
pub(super) fn are_many(headers: &HeaderMap) -> bool {
    headers.keys_len() > FEW
}

/// Names up to which each is looked at.
const FEW: usize = 8;

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn a_glance_finds_what_a_lookup_finds() {
        let mut headers = HeaderMap::new();
        let names = [header::HOST, header::ACCEPT, HeaderName::from_static("x-custom")];
        for others in 0..=FEW + 1 {
            for name in &names {
                assert_eq!(get(&headers, name), headers.get(name), "{name} beside {others}");
                assert_eq!(
                    has(&headers, name),
                    headers.contains_key(name),
                    "{name} beside {others}"
                );
            }
            let each = [&header::COOKIE, &names[0], &names[2]];
            assert_eq!(get_each(&headers, each), each.map(|name| headers.get(name)), "{others}");
            match others {
                // Before the others, and twice.
                0 => {
                    headers.append(header::HOST, HeaderValue::from_static("first"));
                    headers.append(header::HOST, HeaderValue::from_static("second"));
                    headers.append("x-custom", HeaderValue::from_static("first"));
                }
                others => {
                    let name = HeaderName::try_from(format!("x-{others}")).unwrap();
                    headers.append(name, HeaderValue::from_static("another"));
                }
            }
        }
        assert!(are_many(&headers), "a lookup was asked, too");
    }
}
