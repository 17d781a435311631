//! The derive macros of pitlane.
