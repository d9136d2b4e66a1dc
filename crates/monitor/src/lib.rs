//! The supervisor of one container: stdio, log, attach, exec, exit.
