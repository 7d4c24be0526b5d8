//! Values that may change while the platform runs.
//!
//! Whoever depends on such a value holds a [`Live`] and asks it each time; whoever knows what the
//! value is now sets it. Reading is a lock of a few nanoseconds and never waits for I/O, so that a
//! setting costs a hot path nothing.

use std::sync::Arc;

use parking_lot::RwLock;

/// A value that others may change. Its clones are the same value.
#[derive(Debug, Default)]
pub struct Live<T>(Arc<RwLock<T>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(RwLock::new(value)))
    }
}

impl<T: Clone> Live<T> {
    /// What it is now.
    pub fn get(&self) -> T {
        self.0.read().clone()
    }

    pub fn set(&self, value: T) {
        *self.0.write() = value;
    }
}
