//! Tests that take a machine's disk or all of its processors for themselves.

mod power;
