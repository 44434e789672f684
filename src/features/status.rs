//! The service itself: whether it is there.

pub mod api;

use super::Feature;

/// Builds it.
pub(crate) fn build() -> Feature {
    Feature { endpoints: vec![api::root::endpoint()], ..Feature::default() }
}
