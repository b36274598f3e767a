/// The known key that `written` was probably meant to be.
///
/// Keys are compared without case, `_` and `-`, so that `exporterUrl` and `exporter-url` are
/// `exporter_url`. Near is: equal, the beginning of one another (from three characters on), or at
/// most one slip for each four characters. In doubt a shared beginning is better than three slips.
pub(super) fn nearest(written: &str, known: &[&'static str]) -> Option<&'static str> {
    let written = squeezed(written);
    // Also bounds the work on a key of any length.
    if written.is_empty() || written.len() > LONGEST {
        return None;
    }
    known
        .iter()
        .filter_map(|&key| Some((distance(&written, &squeezed(key))?, key)))
        // The first of equals, in the order in which keys are documented.
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, key)| key)
}

/// Whether two keys differ at most in case, `_` and `-`.
#[cfg(feature = "yaml")]
pub(super) fn is_same_but_for_style(written: &str, key: &str) -> bool {
    squeezed(written) == squeezed(key)
}

fn distance(written: &[char], key: &[char]) -> Option<usize> {
    let slips = slips(written, key);
    let starts = written.starts_with(key) || key.starts_with(written);
    let is_near = slips <= written.len().min(key.len()).div_ceil(4);
    if is_near && slips <= 2 {
        Some(slips)
    } else if starts && written.len() >= 3 {
        Some(slips + LONGEST)
    } else if is_near {
        Some(slips + 2 * LONGEST)
    } else {
        None
    }
}

/// Letters to add, drop, replace or swap with their neighbour: the optimal string alignment
/// distance.
fn slips(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

fn squeezed(key: &str) -> Vec<char> {
    key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_key_that_was_meant_and_only_that() {
        const KEYS: [&str; 8] = [
            "enabled",
            "exporter_url",
            "sampling_rate_per_million",
            "sampling_rules",
            "forced_sampling_per_second",
            "ca_certs",
            "https_keypairs",
            "keypairs",
        ];
        let cases = [
            ("enabeld", Some("enabled"), "two letters swapped"),
            ("enable", Some("enabled"), "a letter forgotten"),
            ("Enabled", Some("enabled"), "another case"),
            ("exporterUrl", Some("exporter_url"), "another naming style"),
            ("exporter-url", Some("exporter_url"), "and another"),
            ("exporter", Some("exporter_url"), "the beginning of a key"),
            ("exporter_url_grpc", Some("exporter_url"), "a key and more"),
            (
                "sampling_rate",
                Some("sampling_rate_per_million"),
                "the beginning of a long key, rather than three slips from another",
            ),
            ("sampling_rule", Some("sampling_rules"), "one slip"),
            ("forced_smpling_per_sekond", Some("forced_sampling_per_second"), "two slips"),
            ("forsed_smpling_per_sekond", Some("forced_sampling_per_second"), "and even three"),
            ("keypair", Some("keypairs"), "nearer than https_keypairs"),
            ("http_keypairs", Some("https_keypairs"), "nearer than keypairs"),
            ("ca_cert", Some("ca_certs"), "a letter forgotten"),
            ("headers", None, "nothing like it"),
            ("timeout", None, "nothing like it"),
            ("url", None, "an end is not a beginning"),
            ("e", None, "one letter says nothing"),
            ("", None, "nothing was written"),
            ("__", None, "nothing but punctuation"),
        ];
        for (written, meant, reason) in cases {
            assert_eq!(nearest(written, &KEYS), meant, "{written}: {reason}");
        }
        assert_eq!(nearest(&"exporter_url".repeat(1000), &KEYS), None, "no work on huge keys");
    }
}
