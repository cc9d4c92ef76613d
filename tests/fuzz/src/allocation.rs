//! How much memory a decoder takes: an allocator that counts, for each thread on its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting. A test binary that is to bound allocations declares it:
///
/// ```text
/// #[global_allocator]
/// static ALLOCATOR: farthing_fuzz::allocation::Counting = farthing_fuzz::allocation::Counting;
/// ```
///
/// Without it, nothing is counted and every bound holds.
pub struct Counting;

thread_local! {
    /// Bytes allocated and not freed by this thread. It may fall below zero: threads free what others allocated.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// The highest that it was.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The most bytes that `run` held at one time beyond what was held before it, on this thread.
pub fn peak_of<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = run();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

fn count(bytes: isize) {
    // A thread that is ending has no counters any more, and nobody asks for them.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator with the same arguments; counting allocates nothing.
#[expect(unsafe_code, reason = "an allocator cannot be written without; this one only passes on what it is asked")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        unsafe { System.dealloc(old, layout) }
    }
}
