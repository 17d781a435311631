//! The states of the job `flights`, in all their schema versions, and the migrations between them.

mod aircraft;
mod carriers;

pub use aircraft::{Aircraft, AircraftBad, AircraftV1, AircraftV2};
pub use carriers::{Delays, DelaysToV2, DelaysV1, DelaysV2};
