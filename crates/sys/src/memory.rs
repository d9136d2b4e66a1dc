//! Giving memory back to the kernel.

/// Returns freed heap memory to the kernel.
///
/// A supervisor lives as long as its container: what it needed only while starting is given back.
pub fn trim_heap() {
    // SAFETY: malloc_trim has no precondition; it takes the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}
