//! The allocator of benchmarks and tests: mimalloc, as in a job that is to be fast, and a count of the bytes in use while
//! somebody wants to know.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

static IS_ON: AtomicBool = AtomicBool::new(false);
static IN_USE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

struct Counted;

/// Counts a change, while somebody wants to know.
#[inline(always)]
fn count(bytes: isize) {
    if IS_ON.load(Relaxed) {
        let in_use = IN_USE.fetch_add(bytes, Relaxed) + bytes;
        PEAK.fetch_max(in_use, Relaxed);
    }
}

#[allow(unsafe_code)]
// SAFETY: every call is mimalloc's.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}

/// Does something, and returns the most bytes that were in use above those at the start: of the whole process, so nothing
/// else may run in it.
pub fn peak_bytes<R>(then: impl FnOnce() -> R) -> (usize, R) {
    IN_USE.store(0, Relaxed);
    PEAK.store(0, Relaxed);
    IS_ON.store(true, Relaxed);
    let result = then();
    IS_ON.store(false, Relaxed);
    (PEAK.load(Relaxed).max(0).cast_unsigned(), result)
}

/// As [`peak_bytes`], in megabytes.
pub fn peak_mb<R>(then: impl FnOnce() -> R) -> (f64, R) {
    let (bytes, result) = peak_bytes(then);
    (bytes as f64 / 1e6, result)
}
