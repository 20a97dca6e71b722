//! CERTIFICATES AND HANDSHAKES, both directions.

mod challenges;

pub use challenges::Challenges;
pub use challenges::Offer;
