//! Which coding a client wants (RFC 9110, section 12.5.3).

use crate::config::Coding;

/// The coding of `offered` that the client likes best; the first of those that it likes equally.
///
/// `accept` are the values of all its Accept-Encoding fields. None means that it wants the content as
/// it is, or accepts none of what is offered: then it gets the content as it is all the same.
#[must_use]
pub fn best<'a>(accept: impl IntoIterator<Item = &'a [u8]>, offered: &[Coding]) -> Option<Coding> {
    let mut weights = Weights::default();
    for member in accept
        .into_iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
    {
        weights.add(member.trim_ascii());
    }
    let mut best = None;
    // Without a word about it, the content as it is comes last, but it comes.
    let mut most = weights.identity.unwrap_or(0);
    for coding in offered {
        let weight = weights.of(*coding);
        if weight > most || (weight == most && weight > 0 && best.is_none()) {
            most = weight;
            best = Some(*coding);
        }
    }
    best
}

/// Thousandths; none where the client says nothing.
#[derive(Default)]
struct Weights {
    codings: [Option<u16>; Coding::ALL.len()],
    identity: Option<u16>,
    any: Option<u16>,
}

impl Weights {
    fn add(&mut self, member: &[u8]) {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let mut weight = Some(1000);
        for parameter in parts {
            if let Some((b'q' | b'Q', value)) = parameter.split_first()
                && let Some((b'=', value)) = value.split_first()
            {
                weight = thousandths(value);
            }
        }
        // A weight that is none: this member cannot be meant.
        let Some(weight) = weight else { return };
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("*") {
            self.any = Some(weight);
        } else if is("identity") {
            self.identity = Some(weight);
        } else if is("x-gzip") {
            self.codings[Coding::Gzip as usize] = Some(weight);
        } else if let Some(coding) = Coding::ALL.iter().find(|coding| is(coding.token())) {
            self.codings[*coding as usize] = Some(weight);
        }
    }

    fn of(&self, coding: Coding) -> u16 {
        self.codings[coding as usize].or(self.any).unwrap_or(0)
    }
}

/// `0`, `1`, `0.5`, `1.000`: at most three digits behind the point.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, rest) = value.split_first()?;
    let digits = match rest.split_first() {
        None => &[][..],
        Some((b'.', digits)) if digits.len() <= 3 => digits,
        Some(_) => return None,
    };
    let mut weight = 0;
    for at in 0..3 {
        let digit = digits.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        weight = weight * 10 + u16::from(digit - b'0');
    }
    match whole {
        b'0' => Some(weight),
        b'1' if weight == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::proptest;
    use proptest::sample::select;

    fn best_of(accept: &str) -> Option<&'static str> {
        best([accept.as_bytes()], &Coding::ALL).map(Coding::token)
    }

    #[test]
    fn the_heaviest_wins_and_the_operators_order_breaks_ties() {
        for (accept, chosen) in [
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip, deflate, br", Some("br")),
            ("gzip", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("GZIP;Q=0.5", Some("gzip")),
            ("zstd;q=0.5, br;q=0.501", Some("br")),
            ("*", Some("zstd")),
            ("*;q=0.1, gzip;q=0.2", Some("gzip")),
            ("zstd;q=0, *", Some("br")),
            ("gzip;q=0.3, identity;q=0.3", Some("gzip")),
            ("gzip ; q=1.000 , br;q=0.999", Some("gzip")),
        ] {
            assert_eq!(best_of(accept), chosen, "{accept}");
        }
    }

    #[test]
    fn without_a_wish_the_content_goes_as_it_is() {
        for accept in [
            "",
            "identity",
            "deflate",
            "gzip;q=0",
            "*;q=0",
            "gzip;q=0.5, identity",
            "gzip;q=2",
            "gzip;q=0.1234",
            "gzip;q=",
            "gzip;q=.5",
            "gzip;q=1.5",
            "gzip;q=-1",
            ", ,;q=1",
        ] {
            assert_eq!(best_of(accept), None, "{accept}");
        }
        assert_eq!(best([], &Coding::ALL), None);
    }

    #[test]
    fn several_fields_are_one_list_and_only_what_is_offered_is_chosen() {
        let accept = [&b"zstd"[..], b"gzip;q=0.2"];
        assert_eq!(best(accept, &[Coding::Brotli]), None);
        assert_eq!(best(accept, &[Coding::Gzip]), Some(Coding::Gzip));
        let turned = [Coding::Gzip, Coding::Brotli, Coding::Zstd];
        assert_eq!(best([&b"*"[..]], &turned), Some(Coding::Gzip));
    }

    proptest! {
        /// Whatever arrives, what is chosen was accepted: named, or by `*`, and not with a weight of nothing.
        #[test]
        fn nothing_is_chosen_that_was_not_accepted(
            accept in vec(select(vec!["gzip", "br", "zstd", "*", "identity", ";q=0", ";q=0.5", ";q=1", ",", " ", "x", ";"]), 0..12),
            junk in vec(any::<u8>(), 0..16),
        ) {
            let text = accept.concat();
            let chosen = best([text.as_bytes(), &junk], &[Coding::Gzip]);
            let _ = best([&junk[..]], &Coding::ALL);
            if chosen.is_some() && !junk.contains(&b'*') && !junk.to_ascii_lowercase().ends_with(b"gzip") {
                prop_assert!(text.contains("gzip") || text.contains('*'), "{}", text);
            }
        }

        #[test]
        fn of_two_weights_the_larger_wins(gzip in 0_u16..=1000, br in 0_u16..=1000) {
            let shown = |weight: u16| format!("{}.{:03}", weight / 1000, weight % 1000);
            let accept = format!("gzip;q={}, br;q={}", shown(gzip), shown(br));
            let expected = match (gzip, br) {
                (0, 0) => None,
                _ if gzip > br => Some("gzip"),
                _ => Some("br"),
            };
            prop_assert_eq!(best_of(&accept), expected, "{}", accept);
        }
    }
}
