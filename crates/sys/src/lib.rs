//! Every unsafe line and raw system call of loment, typed and documented.
