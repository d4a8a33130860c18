"""Context to headers and back: settings, encoder, extractor."""
