//! The state of the job `alarm`, in all its schema versions, and the migrations between them.

mod activation;

pub use activation::{
    Activation, ActivationToV2, ActivationToV3, ActivationV1, ActivationV2, ActivationV3, ArmedBy,
    USUAL_TOLERANCE_MS,
};
