//! Kubernetes in real guests: stand-ins for its programs there, and the strict model that answers them in the world.
