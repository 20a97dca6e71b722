//! Which slot a request may go to besides the active one.

use super::preview::Links;
use super::seal::Seal;
use super::seal::is_same;
use crate::switch::Generation;
use crate::switch::Percent;
use crate::switch::ServiceName;
use crate::switch::SlotName;
use std::sync::Arc;

/// One service's. A View of a service without any has none: that is the one branch that it costs then.
#[derive(Debug)]
pub struct Choices {
    pub seal: Arc<Seal>,
    pub canary: Option<Canary>,
    /// Those that lead to a slot once.
    pub links: Links,
}

/// Some of the new visitors go to another slot, and all stay where they came to.
#[derive(Debug)]
pub struct Canary {
    /// Index into the service's slots.
    pub slot: usize,
    pub generation: Generation,
    pub share: Percent,
    /// What the cookie says of those who stay on the active slot.
    stays: Box<str>,
    /// What it says of those who have come to the canary.
    comes: Box<str>,
}

/// Where a visitor belongs while there is a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Active,
    Canary,
}

/// What a canary is made of.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    pub service: &'a ServiceName,
    pub active: &'a SlotName,
    pub canary: &'a SlotName,
    pub generation: Generation,
}

impl Canary {
    /// `slot` is the index of `sides.canary`.
    #[must_use]
    pub fn new(slot: usize, sides: Sides<'_>, share: Percent, seal: &Seal) -> Self {
        let value = |name: &SlotName| {
            let generation = sides.generation.0.to_string();
            let parts = [
                b"canary".as_slice(),
                sides.service.as_str().as_bytes(),
                name.as_str().as_bytes(),
                generation.as_bytes(),
            ];
            format!("{name}.{generation}.{}", seal.text_of(&parts)).into()
        };
        Self {
            slot,
            generation: sides.generation,
            share,
            stays: value(sides.active),
            comes: value(sides.canary),
        }
    }

    /// What a visitor's cookie says; none for one of another canary, or of somebody else's making.
    #[must_use]
    pub fn side_of(&self, cookie: &[u8]) -> Option<Side> {
        if is_same(self.comes.as_bytes(), cookie) {
            return Some(Side::Canary);
        }
        is_same(self.stays.as_bytes(), cookie).then_some(Side::Active)
    }

    /// What the cookie of one on this side says.
    #[must_use]
    pub fn cookie(&self, side: Side) -> &str {
        match side {
            Side::Active => &self.stays,
            Side::Canary => &self.comes,
        }
    }

    /// Where one who drew `lot` comes to now.
    #[must_use]
    pub fn draw(&self, lot: u16) -> Side {
        if self.share.takes(lot) {
            Side::Canary
        } else {
            Side::Active
        }
    }

    /// The lot of one who is known by `mark`: the same as long as this canary runs.
    #[must_use]
    pub fn lot_of(&self, mark: &[u8], seal: &Seal) -> u16 {
        let generation = self.generation.0.to_be_bytes();
        let hash = seal.of(&[b"lot", &generation, mark]);
        let number = hash[..8]
            .iter()
            .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        // It is below the number of lots, which fits.
        u16::try_from(number % u64::from(Percent::LOTS)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::seal::KEY_BYTES;
    use super::*;

    fn canary(generation: u64, share: &str, seal: &Seal) -> Canary {
        let slot = |name| SlotName::new(name).unwrap();
        let sides = Sides {
            service: &ServiceName::new("odoo").unwrap(),
            active: &slot("blue"),
            canary: &slot("green"),
            generation: Generation(generation),
        };
        Canary::new(1, sides, share.parse().unwrap(), seal)
    }

    #[test]
    fn a_cookie_is_good_for_its_own_canary_and_nobody_can_make_one_up() {
        let seal = Seal::new(&[7; KEY_BYTES]);
        let canary = canary(12, "5%", &seal);
        for side in [Side::Active, Side::Canary] {
            let cookie = canary.cookie(side).to_owned();
            assert_eq!(canary.side_of(cookie.as_bytes()), Some(side));
            assert!(cookie.contains(".12."), "{cookie}");
            let others = [
                self::canary(13, "5%", &seal),
                self::canary(12, "5%", &Seal::new(&[8; KEY_BYTES])),
            ];
            for other in others {
                assert_eq!(other.side_of(cookie.as_bytes()), None);
            }
            // Another share is the same canary.
            let more = self::canary(12, "50%", &seal);
            assert_eq!(more.side_of(cookie.as_bytes()), Some(side));
        }
        for forged in ["", "green", "green.12.", "green.12.AAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(canary.side_of(forged.as_bytes()), None);
        }
    }

    #[test]
    fn a_larger_share_takes_nobody_back_who_is_known_by_a_mark() {
        let seal = Seal::new(&[7; KEY_BYTES]);
        let shares = ["0%", "1%", "5%", "25%", "100%"];
        let mut counts = [0; 5];
        for client in 0..2000 {
            let mark = format!("Bearer {client}");
            let mut was = Side::Active;
            for (at, share) in shares.iter().enumerate() {
                let canary = canary(12, share, &seal);
                let side = canary.draw(canary.lot_of(mark.as_bytes(), &seal));
                assert!(was == Side::Active || side == Side::Canary, "{mark}");
                counts[at] += usize::from(side == Side::Canary);
                was = side;
            }
        }
        assert_eq!((counts[0], counts[4]), (0, 2000));
        assert!((60..=140).contains(&counts[2]), "{counts:?} at 5%");
        assert!((430..=570).contains(&counts[3]), "{counts:?} at 25%");
    }
}
