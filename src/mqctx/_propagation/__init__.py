"""Context to headers and back, within the settings of a propagator."""
