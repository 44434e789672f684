//! The service itself: whether it runs.

pub mod api;

use super::Feature;

/// Builds its endpoint.
pub(crate) fn build() -> Feature {
    Feature { endpoints: vec![api::root::endpoint()], ..Feature::default() }
}
