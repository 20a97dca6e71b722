//! switchctl.
