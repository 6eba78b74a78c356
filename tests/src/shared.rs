//! One stack (or server) for all tests of a file, taken down with the last of them.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use anyhow::Result;

use crate::stack::Stack;

/// What can be shared: it tells what went on in it when a test fails.
pub trait Logs {
    fn logs(&self) -> String;
}

/// A `static` of a test file. The first test starts the stack, tests that run meanwhile share it.
#[derive(Debug)]
pub struct Shared<T: Logs = Stack>(Mutex<Weak<T>>);

impl<T: Logs> Shared<T> {
    #[expect(clippy::new_without_default, reason = "only a static is of use")]
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The running stack, else the one that `start` makes.
    ///
    /// # Errors
    /// Whatever `start` says.
    pub fn lease(&self, start: impl FnOnce() -> Result<T>) -> Result<Lease<T>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stack) = held.upgrade() {
            return Ok(Lease(stack));
        }
        let stack = Arc::new(start()?);
        *held = Arc::downgrade(&stack);
        Ok(Lease(stack))
    }
}

/// A share of a running stack. If the test that holds it fails, the ends of the logs are printed.
#[derive(Debug)]
pub struct Lease<T: Logs = Stack>(Arc<T>);

impl<T: Logs> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Logs> Drop for Lease<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.0.logs());
        }
    }
}
