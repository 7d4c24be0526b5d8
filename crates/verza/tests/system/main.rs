//! The whole system, as the executable starts it.

mod describe;
mod story;
mod world;
