//! Texts to embeddings: encoders on this machine, and endpoints of others. Nothing is sent anywhere unless an endpoint was named.

pub mod endpoint;
