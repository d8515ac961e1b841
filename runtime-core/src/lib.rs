//! An embeddable OCI container runtime.
